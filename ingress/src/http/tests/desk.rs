//! The whole front, with the test in the place of the state machine.

use common::outcome::{Fault, FaultClass};

use tokio_rustls::TlsAcceptor;

use super::*;
use crate::core::Input;
use crate::fair::Bounds;
use crate::gate::Gate;
use crate::hold::{Holder, Waiter};
use crate::http::{Front, FrontConfig, Soloist};

/// An address where no provider is.
pub(super) const NOWHERE: &str = "127.0.0.1:9";

pub(super) struct House {
    pub(super) address: SocketAddr,
    holder: Holder,
    pub(super) inputs: mpsc::Receiver<Input<Waiter>>,
    pub(super) soloist: Arc<Soloist>,
}

impl House {
    async fn open(admin: bool) -> Self {
        Self::with(admin, false, Amount { count: 1, bytes: 1000 }).await
    }

    pub(super) async fn with(admin: bool, hold_status: bool, most: Amount) -> Self {
        let bounds = Bounds { most, most_each: usize::MAX };
        let furnish = |config: &mut FrontConfig| (config.admin, config.hold_status) = (admin, hold_status);
        Self::furnished(bounds, NOWHERE, furnish).await
    }

    pub(super) async fn furnished(
        bounds: Bounds,
        provider: &str,
        furnish: impl FnOnce(&mut FrontConfig),
    ) -> Self {
        Self::built(bounds, provider, None, furnish).await
    }

    /// With all that a house can have.
    pub(super) async fn built(
        bounds: Bounds,
        provider: &str,
        tls: Option<TlsAcceptor>,
        furnish: impl FnOnce(&mut FrontConfig),
    ) -> Self {
        let (inputs, receiver) = mpsc::channel(10);
        let holder = Holder::new(inputs, Gate::new(bounds));
        let upstreams = upstreams(&format!("http://{provider}"), "/v1");
        let relay = Arc::new(Relay::new(&upstreams, CancellationToken::new()).unwrap());
        let mut config = FrontConfig {
            holder: holder.clone(),
            keyring: Arc::new(Keyring::for_one_process()),
            stats: Arc::default(),
            soloist: Soloist::new(relay.clone(), upstreams.clone()),
            prices: Arc::new(Prices::new(&upstreams)),
            cashier: Arc::new(Cashier::new(Arc::new(Prices::new(&upstreams)), Arc::default())),
            observes: false,
            upstreams,
            relay,
            max_body: MAX_BODY,
            max_relaying: MAX_CONNECTIONS,
            max_receiving: Amount { count: MAX_CONNECTIONS, bytes: MAX_BODY },
            hold_status: false,
            deadline: None,
            tokens: None,
            admin: true,
        };
        furnish(&mut config);
        let soloist = config.soloist.clone();
        let listener = listen("127.0.0.1:0".parse().unwrap(), UNREAD_FOR).unwrap();
        let address = listener.local_addr().unwrap();
        let limits = ServeLimits { max_connections: MAX_CONNECTIONS };
        let never = CancellationToken::new;
        tokio::spawn(serve(listener, tls, Arc::new(Front::new(config)), limits, never(), never()));
        Self { address, holder, soloist, inputs: receiver }
    }

    pub(super) async fn client(&self) -> Wire {
        Wire(TcpStream::connect(self.address).await.unwrap())
    }

    async fn get(&self, method: &str, path: &str) -> (String, Bytes) {
        let mut client = self.client().await;
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: p\r\n\r\n")).await;
        if method == "HEAD" { (client.head().await, Bytes::new()) } else { client.message().await }
    }

    pub(super) async fn held(&mut self) -> Waiter {
        loop {
            match soon(self.inputs.recv()).await {
                Some(Input::Hold(_, _, waiter)) => return waiter,
                Some(Input::Received(_)) => {}
                _ => panic!("a call was expected"),
            }
        }
    }
}

const CALL: &str = "{\"model\":\"m\"}";

#[tokio::test]
async fn calls_wait_for_the_state_machine() {
    let mut house = House::open(true).await;
    let mut client = house.client().await;
    for class in [FaultClass::Expired, FaultClass::Forbidden] {
        client.send(post("/v1/responses", CALL)).await;
        let waiter = house.held().await;
        let outcome = Outcome::Fault(Fault::new(class, "code", "words").no_retry());
        waiter.end(Ended::new(outcome.into(), Duration::from_millis(7)));

        let (head, body) = client.message().await;
        assert_eq!(status(&head), class.status().as_str());
        assert_eq!(
            (line(&head, "x-should-retry"), line(&head, "x-llm-proxy-queued-ms")),
            (Some("false"), Some("7"))
        );
        assert_eq!(error(&body), "words");
    }
    let (_, stats) = house.get("GET", "/stats").await;
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!(
        (&stats["requests"]["total"], &stats["requests"]["synthesized_error_responses"]),
        (&2.into(), &2.into())
    );
}

#[tokio::test]
async fn a_full_house_says_when_to_come_back() {
    let mut house = House::open(true).await;
    let (mut first, mut second) = (house.client().await, house.client().await);
    first.send(post("/v1/responses", CALL)).await;
    let waiter = house.held().await;
    let (head, _) = second.call("/v1/responses", CALL).await;
    assert_eq!((status(&head), line(&head, "x-llm-proxy-route")), ("429", Some("batch")));
    assert!(line(&head, "retry-after").is_some());
    let (_, stats) = house.get("GET", "/stats").await;
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!(stats["held"], serde_json::json!({"requests": 1, "bytes": CALL.len()}));
    // Who leaves is withdrawn.
    drop(first);
    assert!(matches!(soon(house.inputs.recv()).await, Some(Input::Gone(_))));
    drop(waiter);
    assert_eq!(house.holder.gauge(), Amount::default());
}

#[tokio::test]
async fn operators_routes() {
    let house = House::open(true).await;
    assert_eq!(status(&house.get("GET", "/healthz").await.0), "200");
    assert_eq!(status(&house.get("GET", "/readyz").await.0), "503");
    house.holder.set_ready(true);
    assert_eq!(house.get("GET", "/readyz").await.1, "{\"status\":\"ready\"}");
    let (head, body) = house.get("HEAD", "/stats").await;
    assert_eq!((status(&head), body.len()), ("200", 0));
    assert!(line(&head, "content-length").is_some());
    let (head, _) = house.get("POST", "/stats").await;
    assert_eq!((status(&head), line(&head, "allow")), ("405", Some("GET, HEAD")));
}

#[tokio::test]
async fn operators_routes_elsewhere() {
    let house = House::open(false).await;
    for path in ["/stats", "/healthz", "/readyz"] {
        assert_eq!(status(&house.get("GET", path).await.0), "404");
    }
}

#[tokio::test]
async fn one_key_leaves_room_for_another() {
    let most = Amount { count: 9, bytes: 1_000_000 };
    for (most_each, gets, why) in [(3, 3, "--max-held-per-key"), (usize::MAX, 8, "share of the room")] {
        let mut house = House::furnished(Bounds { most, most_each }, NOWHERE, |_| {}).await;
        let mut greedy = Vec::new();
        for _ in 0..gets {
            let mut client = house.client().await;
            client.send(post("/v1/responses", CALL)).await;
            greedy.push((house.held().await, client));
        }
        let (head, body) = house.client().await.call("/v1/responses", CALL).await;
        assert_eq!((status(&head), line(&head, "retry-after")), ("429", Some("5")));
        assert!(error(&body).contains(why), "{body:?}");
        let mut other = house.client().await;
        other.send(post("/v1/responses", CALL).replace("Bearer k", "Bearer l")).await;
        house.held().await;
    }
}

#[tokio::test]
async fn operators_routes_show_no_key_and_no_content() {
    let mut house = House::open(true).await;
    house.holder.set_ready(true);
    let mut client = house.client().await;
    let call = "{\"model\":\"m-marker\",\"input\":\"prompt-marker\"}";
    client.send(post("/v1/responses", call).replace("Bearer k", "Bearer key-marker")).await;
    let waiter = house.held().await;
    let everything = async |house: &House| {
        let mut all = String::new();
        for (method, path) in [("GET", "/stats"), ("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/stats")]
        {
            let (head, body) = house.get(method, path).await;
            all += &format!("{head}{}", String::from_utf8_lossy(&body));
        }
        all
    };
    let waiting = everything(&house).await;
    assert!(waiting.contains("\"requests\":1") && !waiting.contains("marker"), "{waiting}");
    let provided = Provided {
        status: StatusCode::OK,
        headers: HeaderMap::from_iter([(http::header::SET_COOKIE, "c-marker".parse().unwrap())]),
        job: "batch_1".into(),
        body: "answer-marker".into(),
        unbatchable: false,
        route: Default::default(),
    };
    let outcome = Outcome::Response(provided).into();
    waiter.end(Ended::new(outcome, Duration::from_secs(1)));
    assert_eq!(client.message().await.1, "answer-marker");
    let answered = everything(&house).await;
    assert!(answered.contains("\"successful\":1") && !answered.contains("marker"), "{answered}");
}
