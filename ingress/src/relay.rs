//! Everything that is not batched goes to its provider as it is and comes back as it is.

mod connect;
mod lines;
pub(crate) mod target;
mod tunnel;

use std::io;

use bytes::Bytes;
use common::outcome::{Response as Provided, Route};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Error;
use tokio_util::sync::CancellationToken;

use crate::dialect::Problem;
use crate::gate::Share;
use crate::http::{Payload, Place};
use connect::Clients;
pub(crate) use lines::is_hop_by_hop;
use providers::Upstreams;
use target::Targets;
use tunnel::Tunnels;

/// Most bytes of an answer that is read whole: as of one that comes out of a batch.
const LONGEST: usize = 512 << 20;

/// A call that has no whole answer.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) problem: Problem,
    /// Whether the provider may have got it.
    pub(crate) sent: bool,
}

/// Relays requests to all upstreams.
pub struct Relay {
    targets: Targets,
    clients: Clients,
    tunnels: Tunnels,
}

impl Relay {
    /// A relay to these upstreams. Upgraded connections end when `abort` is cancelled; all others end with the connections
    /// of their clients.
    ///
    /// # Errors
    /// If a base URL is none, or if one needs TLS and the system's certificate authorities cannot be had.
    pub fn new(upstreams: &Upstreams, abort: CancellationToken) -> io::Result<Self> {
        let targets = Targets::new(upstreams)?;
        let clients = Clients::new(targets.need_tls())?;
        Ok(Self { targets, clients, tunnels: Tunnels::new(abort) })
    }

    /// Sends a request on and gives its answer, whose body streams. Dropping either ends the provider's side. `share` is what
    /// the request takes of the bounds, until its answer or its tunnel has ended.
    ///
    /// # Errors
    /// A [`Problem`]: 502 when the provider cannot be reached or breaks off, 405 for `CONNECT`, 400 for a URL without
    /// a path.
    pub(crate) async fn forward(
        &self,
        place: &Place,
        head: Parts,
        body: Payload,
        share: Share,
    ) -> Result<Response<Payload>, Problem> {
        if head.method == Method::CONNECT {
            return Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This is not a forward proxy: CONNECT is not served.",
            ));
        }
        let uri = self.targets.uri(place, &place.below, head.uri.query())?;
        match lines::upgrade(&head) {
            Some(protocol) => self.upgrade(head, uri, body, protocol, share).await,
            None => {
                let headers = lines::to_provider(&head, &body);
                let request = assemble(head.method, uri, headers, body);
                let response =
                    self.clients.any.request(request).await.map_err(|error| unreachable(&error))?;
                Ok(answer(response, Some(share)))
            }
        }
    }

    /// A provider's URL for a path below an upstream's base.
    ///
    /// # Errors
    /// A [`Problem`] with 400 if there can be none.
    pub(crate) fn uri(&self, place: &Place, below: &str, query: Option<&str>) -> Result<http::Uri, Problem> {
        self.targets.uri(place, below, query)
    }

    /// Makes a call and reads its answer whole.
    ///
    /// # Errors
    /// [`Broken`] if the provider cannot be reached, breaks off, or answers with more than [`LONGEST`].
    pub(crate) async fn whole(
        &self,
        uri: http::Uri,
        headers: http::HeaderMap,
        body: Bytes,
    ) -> Result<Provided, Broken> {
        let request = assemble(Method::POST, uri, headers, Payload::from(body));
        let failed = |error: Error| Broken { problem: unreachable(&error), sent: !error.is_connect() };
        let response = self.clients.any.request(request).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        let cut = |why: Box<dyn std::error::Error + Send + Sync>| Broken {
            problem: bad_gateway(&format!("The provider broke off its answer: {why}.")),
            sent: true,
        };
        let body = Limited::new(body, LONGEST).collect().await.map_err(cut)?.to_bytes();
        let headers = lines::from_provider(&head.headers);
        Ok(Provided {
            status: head.status,
            headers,
            job: String::new(),
            body,
            unbatchable: false,
            route: Route::Sync,
        })
    }

    /// Asks the provider for another protocol too, and joins the connections if it agrees.
    async fn upgrade(
        &self,
        mut head: Parts,
        uri: http::Uri,
        body: Payload,
        protocol: http::HeaderValue,
        share: Share,
    ) -> Result<Response<Payload>, Problem> {
        let place = self.tunnels.place(share.credential())?;
        let client = head.extensions.remove::<OnUpgrade>();
        let mut headers = lines::to_provider(&head, &body);
        lines::ask_upgrade(&mut headers, protocol);
        let request = assemble(head.method, uri, headers, body);
        let mut response = self.clients.http1.request(request).await.map_err(|error| unreachable(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer(response, Some(share)));
        }
        let Some(client) = client else {
            return Err(bad_gateway("The provider switched protocols on a connection that cannot."));
        };
        let provider = hyper::upgrade::on(&mut response);
        self.tunnels.join(client, provider, (place, share));
        let protocol = response.headers().get(http::header::UPGRADE).cloned();
        let mut answer = answer(response, None).map(|_| Payload::from(bytes::Bytes::new()));
        if let Some(protocol) = protocol {
            lines::ask_upgrade(answer.headers_mut(), protocol);
        }
        Ok(answer)
    }
}

fn assemble(method: Method, uri: http::Uri, headers: http::HeaderMap, body: Payload) -> Request<Payload> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

fn answer(response: Response<Incoming>, share: Option<Share>) -> Response<Payload> {
    let (head, body) = response.into_parts();
    let mut answer = Response::new(Payload::Streamed(body, share));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = lines::from_provider(&head.headers);
    if let Some(phrase) = head.extensions.get::<hyper::ext::ReasonPhrase>() {
        answer.extensions_mut().insert(phrase.clone());
    }
    answer
}

fn unreachable(error: &Error) -> Problem {
    let why = innermost(error);
    tracing::warn!(error = %why, connecting = error.is_connect(), "relaying failed");
    match error.is_connect() {
        true => bad_gateway(&format!("The provider cannot be reached: {why}.")),
        false => bad_gateway(&format!("The provider broke off before it answered: {why}.")),
    }
}

fn bad_gateway(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, message).code("provider_unreachable")
}

/// The cause at the bottom, which says what happened rather than where.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
