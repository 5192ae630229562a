//! The handler of calls.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::seal::Keyring;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use providers::Upstreams;

use super::admin::{Admin, nothing_here};
use super::admit::{Admission, Verdict};
use super::alone::Soloist;
use super::answer::refusal;
use super::body::Intake;
use super::headers::{RELAY_REASON, ROUTE};
use super::keep::{Manner, keep};
use super::linger::linger;
use super::meter::Meter;
use super::patience::Patience;
use super::payload::Payload;
use super::route::{Ours, Place, Route, Routes};
use super::server::{Answering, Handler};
use super::socket::Socket;
use crate::accounts::{Cashier, Prices, Relayed};
use crate::dialect::{Dialect, Endpoint, Problem, Unbatchable, of};
use crate::fair::{Amount, Bounds, Refused};
use crate::gate::Gate;
use crate::hold::{Call, Holder};
use crate::relay::Relay;
use crate::stats::{Answered, Ongoing, Stats};
use crate::tokens::Tokens;

/// What operators should know of some callers, once.
const TOTAL_TIMEOUT: &str = "a caller uses OpenAI's SDK for Node 7.5 or newer without streaming: it gives up after its whole timeout (600 s unless set), whatever it hears; set `timeout: 86400000` on its client or use `stream: true` (docs/clients.md)";

/// When a request should come again that could not be relayed: relayed ones are short.
const RELAY_AGAIN: Duration = Duration::from_secs(2);

/// What the front is made of.
pub struct FrontConfig {
    /// Where admitted calls wait.
    pub holder: Holder,
    /// Names credentials.
    pub keyring: Arc<Keyring>,
    /// Counts.
    pub stats: Arc<Stats>,
    /// Who is called.
    pub upstreams: Upstreams,
    /// Takes what is not batched, to the same upstreams.
    pub relay: Arc<Relay>,
    /// Makes calls alone.
    pub soloist: Arc<Soloist>,
    /// Knows what models cost.
    pub prices: Arc<Prices>,
    /// The largest body of a batched call in bytes.
    pub max_body: u64,
    /// Requests that are being relayed at a time.
    pub max_relaying: usize,
    /// Requests that are being received at a time, and bytes of their bodies; what may be held is a sensible value.
    pub max_receiving: Amount,
    /// Whether the status of callers that are known to be direct and able stays open, by interim responses.
    pub hold_status: bool,
    /// Who may come in, if not everybody.
    pub tokens: Option<Arc<Tokens>>,
    /// When the batch of a call is given up that says nothing else.
    pub deadline: Option<Duration>,
    /// Whether nothing is held, and what batches would save only reported.
    pub observes: bool,
    /// Enters what is relayed into the books.
    pub cashier: Arc<Cashier>,
    /// Whether `/stats`, `/healthz` and `/readyz` are served here; otherwise they answer 404.
    pub admin: bool,
}

/// Answers every request: holds it, relays it, refuses it, or tells how things are.
pub struct Front {
    routes: Routes,
    reception: Arc<Reception>,
    holder: Holder,
    tokens: Option<Arc<Tokens>>,
    admin: Option<Admin>,
}

/// All that happens to a request before it waits.
pub(super) struct Reception {
    pub(super) admission: Admission,
    pub(super) stats: Arc<Stats>,
    pub(super) relay: Arc<Relay>,
    /// Knows which batches are refused.
    pub(super) soloist: Arc<Soloist>,
    pub(super) prices: Arc<Prices>,
    pub(super) cashier: Arc<Cashier>,
    pub(super) relaying: Arc<Gate>,
    pub(super) hold_status: bool,
    /// Whether the log names the clients whose timeout needs attention.
    pub(super) warned: AtomicBool,
}

/// How far a request has come once it was received.
pub(super) enum Step {
    /// Its answer is there.
    Answer(Response<Payload>),
    /// It has to wait for its batch.
    Hold(Call, Manner, Ongoing),
}

impl Front {
    /// Puts the parts together.
    pub fn new(config: FrontConfig) -> Self {
        let FrontConfig { holder, keyring, stats, relay, soloist, prices, cashier, .. } = config;
        let FrontConfig { hold_status, tokens, admin, .. } = config;
        let routes = Routes::new(&config.upstreams);
        let intake = Intake::new(config.max_body, config.max_receiving);
        let admission = Admission::new(keyring, intake, config.deadline, config.observes);
        let relaying = relaying(config.max_relaying);
        let admin = admin.then(|| Admin::new(holder.clone(), stats.clone()));
        let warned = AtomicBool::new(false);
        let reception =
            Reception { admission, stats, relay, soloist, prices, cashier, relaying, hold_status, warned };
        Self { routes, reception: Arc::new(reception), holder, tokens, admin }
    }

    fn ours(&self, method: &Method, ours: Ours) -> Response<Payload> {
        match &self.admin {
            Some(admin) => admin.answer(method, ours),
            None => refusal(Dialect::OpenAi, &nothing_here()).map(Payload::from),
        }
    }

    /// Whether the caller may come in. The answers to these two are no secret, and who asks has often no way to send a token.
    fn check(&self, route: &Route, headers: &HeaderMap) -> Result<(), Problem> {
        match (&self.tokens, route) {
            (None, _) | (_, Route::Ours(Ours::Health | Ours::Ready)) => Ok(()),
            (Some(tokens), _) => tokens.check(headers),
        }
    }

    async fn hold(&self, call: Call, manner: Manner, ongoing: Ongoing) -> Response<Payload> {
        let dialect = manner.dialect;
        match self.holder.hold(call).await {
            Ok(held) => keep(held, manner, ongoing).await,
            Err(fault) => refuse(dialect, fault.into(), ongoing),
        }
    }
}

impl Handler for Front {
    fn handle(self: Arc<Self>, request: Request<Incoming>, socket: Option<Arc<Socket>>) -> Answering {
        let (head, body) = request.into_parts();
        let route = self.routes.route(&head);
        let dialect = route.dialect();
        if let Err(problem) = self.check(&route, &head.headers) {
            let_finish(&head, body);
            return Box::pin(ready(refusal(dialect, &problem).map(Payload::from)));
        }
        let (place, endpoint) = match route {
            Route::Batch(place, endpoint) => (place, Some(endpoint)),
            Route::Relay(place) => (place, None),
            Route::Ours(ours) => return Box::pin(ready(self.ours(&head.method, ours))),
            Route::Nowhere(_) => {
                let_finish(&head, body);
                return Box::pin(ready(refusal(dialect, &nothing_here()).map(Payload::from)));
            }
        };
        // In a box of its own, which is gone while the call waits: with it go the head of the request and all that
        // receiving and relaying need. What waits for hours is small.
        let received = Box::pin(self.reception.clone().receive(place, endpoint, head, body, socket));
        Box::pin(async move {
            let step = received.await;
            match step {
                Step::Answer(response) => response,
                Step::Hold(call, manner, ongoing) => self.hold(call, manner, ongoing).await,
            }
        })
    }
}

impl Reception {
    /// Receives a call of an endpoint, or a request to relay if there is none.
    pub(super) async fn receive(
        self: Arc<Self>,
        place: Place,
        endpoint: Option<Endpoint>,
        head: Parts,
        body: Incoming,
        socket: Option<Arc<Socket>>,
    ) -> Step {
        match endpoint {
            Some(endpoint) => self.admit(&place, &endpoint, head, body, socket).await,
            None => Step::Answer(self.relay(&place, head, Payload::Streamed(body, None)).await),
        }
    }

    async fn admit(
        &self,
        place: &Place,
        endpoint: &Endpoint,
        head: Parts,
        mut body: Incoming,
        socket: Option<Arc<Socket>>,
    ) -> Step {
        let ongoing = self.stats.arrived();
        match self.admission.judge(place, endpoint, &head, &mut body).await {
            Ok(Verdict::Hold(mut call, streaming)) => {
                let patience = Patience::of(&head, streaming.is_some(), self.hold_status);
                if patience.is_short && !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!("{TOTAL_TIMEOUT}");
                }
                let dialect = place.dialect();
                match self.uri(place, &head) {
                    Ok(uri) => call.uri = self.admission.shared_uri(uri),
                    Err(problem) => return Step::Answer(refuse(dialect, problem, ongoing)),
                }
                call.plan.refused = self.soloist.knows(&call.key);
                let flex = place.upstream.caps.flex;
                call.plan.flex = flex.iter().any(|end| call.key.endpoint().ends_with(end))
                    && self.prices.has_flex(&call.key);
                Step::Hold(call, Manner { dialect, patience, streaming, socket }, ongoing)
            }
            Ok(Verdict::Observe(key, body)) => {
                ongoing.forget();
                let relayed = Relayed { key, tag: self.admission.shared_tag(&head), observed: true };
                let reason = Unbatchable::Observed;
                Step::Answer(self.relay_call(place, head, Payload::from(body), reason, relayed).await)
            }
            Ok(Verdict::Relay(reason, read)) => {
                ongoing.forget();
                let body = read.map_or_else(|| Payload::Streamed(body, None), Payload::from);
                let relayed = self.admission.relayed(place, endpoint, &head);
                Step::Answer(self.relay_call(place, head, body, reason, relayed).await)
            }
            Err(problem) => {
                let_finish(&head, body);
                Step::Answer(refuse(place.dialect(), problem, ongoing))
            }
        }
    }

    /// Where a call is made alone, and not as a stream.
    fn uri(&self, place: &Place, head: &Parts) -> Result<Uri, Problem> {
        let (below, query) = of(place.dialect()).alone(&place.below, head.uri.query());
        self.relay.uri(place, &below, query)
    }

    /// Relays a call of an endpoint that is batched, and reads on the way what it used.
    async fn relay_call(
        &self,
        place: &Place,
        mut head: Parts,
        body: Payload,
        reason: Unbatchable,
        relayed: Relayed,
    ) -> Response<Payload> {
        // What is compressed cannot be read.
        head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let meter = Meter::new(self.cashier.clone(), relayed, self.prices.dialect_of(&place.upstream));
        let (mut answer, body) = self.relay(place, head, body).await.into_parts();
        let body = match body {
            Payload::Streamed(body, share) => {
                Payload::Metered(Box::new(meter.read(answer.status, &answer.headers, body, share)))
            }
            // An answer of ours.
            body => body,
        };
        let route = match reason {
            Unbatchable::Mode | Unbatchable::Observed => "sync",
            _ => "relay",
        };
        answer.headers.insert(ROUTE, HeaderValue::from_static(route));
        answer.headers.insert(RELAY_REASON, HeaderValue::from_static(reason.as_str()));
        Response::from_parts(answer, body)
    }

    async fn relay(&self, place: &Place, head: Parts, body: Payload) -> Response<Payload> {
        self.stats.relayed();
        let one = Amount { count: 1, bytes: 0 };
        let share = self.relaying.enter(self.admission.sharer(place, &head), one, 1);
        let forwarded = match share {
            Ok(share) => self.relay.forward(place, head, body, share).await,
            Err(why) => Err(too_many(why)),
        };
        let mut response =
            forwarded.unwrap_or_else(|problem| refusal(place.dialect(), &problem).map(Payload::from));
        response.headers_mut().insert(ROUTE, HeaderValue::from_static("relay"));
        response
    }
}

/// Bounds of what is relayed at a time: each key has its share.
pub(super) fn relaying(most: usize) -> Arc<Gate> {
    Gate::new(Bounds { most: Amount { count: most, bytes: 0 }, most_each: usize::MAX })
}

fn too_many(why: Refused) -> Problem {
    let message = match why {
        Refused::Full => "Too many requests are being relayed; try again soon.",
        Refused::Most | Refused::Share => {
            "Too many requests with your key are being relayed; try again soon."
        }
    };
    let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, message).code("too_many_relayed_requests");
    problem.retry_after = Some(RELAY_AGAIN);
    problem
}

/// Takes what a refused client still sends. Who waits for a "100 Continue" has sent nothing and will not, once it sees the
/// refusal.
fn let_finish(head: &Parts, body: Incoming) {
    if !head.headers.contains_key(header::EXPECT) {
        linger(body);
    }
}

/// Answers a call that was not held.
fn refuse(dialect: Dialect, problem: Problem, ongoing: Ongoing) -> Response<Payload> {
    ongoing.answered(Answered::Synthesized);
    let mut response = refusal(dialect, &problem).map(Payload::from);
    response.headers_mut().insert(ROUTE, HeaderValue::from_static("batch"));
    response
}
