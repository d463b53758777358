//! Stubs behind every door and port, with answers that a test can replace, and a way to ask the application.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler, Message, MessageResult, Recipient};
use actix_web::{
    body::to_bytes,
    http::{StatusCode, header::HeaderMap},
    test::{TestRequest, init_service, try_call_service},
    web::Data,
};
use async_trait::async_trait;
use getaredis_actors::{
    autoscaler::messages::{DescribeScaling, PauseScaling, ResumeScaling, ScaleNow, ScalingStatus, ScalingTotals},
    brain::Doors,
    discovery::messages::{DescribeDirectory, DirectoryView},
    domain::{
        Cordon, Creator, EndReason, Endpoint, Flavour, Health, HostName, IdempotencyKey, Instance, InstanceEvent,
        InstanceId, InstanceState, Lease, LeasePolicy, MasterKey, Quotas, ServerId, SinkName, Timestamp, TokenName,
        scaling::{DropletView, Hold, OrderBudget, Stage},
    },
    feed::messages::{ActorView, CountInstances, InstanceCounts, Snapshot, Subscription},
    ports::{
        Admission, Admitted, Attended, Beat, BuilderRow, Clock, Delivery, DropletRow, DropletState, OrderLimits,
        Orders, Relocated, Report, Store, StoreError, Totals,
    },
    rate_limit::messages::{Admit, WrongToken},
    reaper::messages::{DescribeReaper, ExtendLease, ReaperStatus, SweepNow},
    scheduler::messages::{
        CordonError, CreateInstance, Created, DeleteInstance, DescribeFleet, Ending, FleetView, HostView, OrderCordon,
    },
    supervision::Status,
    webhooks::messages::{DescribeWebhooks, SinkStatus},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::web::{FeedSettings, TokenSettings, Vitals, Web, WebSettings, app};

pub(super) const ID: &str = "0192f0c1a2b37c4d8e5f60718293a4b5";
pub(super) const API_TOKEN: &str = "a-token-of-the-build-server";
pub(super) const OPERATOR_TOKEN: &str = "correct-horse-battery-staple";

pub(super) fn id() -> InstanceId {
    InstanceId::parse(ID).unwrap()
}

pub(super) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(super) fn key() -> MasterKey {
    MasterKey::new([7; 32])
}

pub(super) fn token() -> String {
    key().management_token(&id()).expose_secret().to_owned()
}

/// A running instance, made half a second ago.
pub(super) fn instance() -> Instance {
    let created_at = now() - Duration::from_millis(500);
    Instance {
        id: id(),
        creator: Creator::of("198.51.100.1".parse().unwrap()),
        flavour: "redis".to_owned(),
        label: None,
        host: HostName::parse("local").unwrap(),
        state: InstanceState::Running,
        endpoint: Some(Endpoint { address: "203.0.113.7".parse().unwrap(), port: 32768 }),
        idempotency_key: None,
        fingerprint: String::new(),
        rotation: 0,
        created_at,
        lease: Lease {
            expires_at: created_at + Duration::from_secs(43_200),
            max_expires_at: created_at + Duration::from_secs(259_200),
            warn_at: None,
        },
        server: None,
        unreachable_since: None,
        ended_at: None,
    }
}

pub(super) fn in_state(state: InstanceState) -> Instance {
    let ended_at = matches!(state, InstanceState::Ended(_)).then(now);
    Instance { state, ended_at, ..instance() }
}

pub(super) fn host(name: &str, state: Health, used: u32) -> HostView {
    HostView {
        name: HostName::parse(name).unwrap(),
        address: "203.0.113.7".parse().unwrap(),
        state,
        cordon: None,
        slots: 40,
        used,
        reason: None,
        isolated: true,
        unannounced_since: None,
        vitals: None,
    }
}

/// A pool that one droplet is on its way to.
pub(super) fn pool() -> ScalingStatus {
    let name = HostName::parse("test-0001").unwrap();
    ScalingStatus {
        enabled: true,
        passes: 9,
        explanation: vec!["1 of at most 5 droplets".to_owned()],
        droplets: vec![DropletView { name, stage: Stage::Booting, since: Some(now()) }],
        max_hosts: 5,
        ready_in_s: Some(40),
        totals: ScalingTotals { ordered: 3, deleted: 2, failures: 1 },
        ..ScalingStatus::default()
    }
}

pub(super) fn actor(name: &str, status: &str) -> ActorView {
    let status = match status {
        "up" => Status::Up,
        "down" => Status::Down,
        _ => Status::BackingOff { wait: Duration::from_secs(1) },
    };
    ActorView { name: name.to_owned(), status, restarts: 0, since: now(), last_cause: None }
}

// ---- Doors ---------------------------------------------------------------------------------------------------

struct Stub<M: Message>(Box<dyn FnMut(M) -> M::Result>);

impl<M: Message + 'static> Actor for Stub<M> {
    type Context = Context<Self>;
}

impl<M: Message + 'static> Handler<M> for Stub<M> {
    type Result = MessageResult<M>;

    fn handle(&mut self, message: M, _: &mut Context<Self>) -> MessageResult<M> {
        MessageResult((self.0)(message))
    }
}

/// An actor that answers with `answer`.
pub(super) fn door<M>(answer: impl FnMut(M) -> M::Result + 'static) -> Recipient<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    Stub(Box::new(answer)).start().recipient()
}

/// The same, and every message that it gets.
pub(super) fn recording<M>(mut answer: impl FnMut(M) -> M::Result + 'static) -> (Recipient<M>, Arc<Mutex<Vec<M>>>)
where
    M: Message + Clone + Send + 'static,
    M::Result: Send,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let door = door(move |message: M| {
        log.lock().unwrap().push(message.clone());
        answer(message)
    });
    (door, seen)
}

/// An actor that died and stays dead.
pub(super) fn dead<M>() -> Recipient<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    struct Dead;
    impl Actor for Dead {
        type Context = Context<Self>;
        fn started(&mut self, context: &mut Context<Self>) {
            actix::ActorContext::terminate(context);
        }
    }
    impl<M: Message + 'static> Handler<M> for Dead {
        type Result = MessageResult<M>;
        fn handle(&mut self, _: M, _: &mut Context<Self>) -> MessageResult<M> {
            unreachable!("it is dead")
        }
    }
    Dead.start().recipient()
}

/// An actor that takes a message and never answers.
pub(super) fn silent<M>() -> Recipient<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    struct Silent;
    impl Actor for Silent {
        type Context = Context<Self>;
    }
    impl<M: Message + 'static> Handler<M> for Silent {
        type Result = actix::ResponseFuture<M::Result>;
        fn handle(&mut self, _: M, _: &mut Context<Self>) -> Self::Result {
            Box::pin(std::future::pending())
        }
    }
    Silent.start().recipient()
}

// ---- Ports ---------------------------------------------------------------------------------------------------

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn new_id(&self) -> InstanceId {
        id()
    }
}

/// What a store that is only read has.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) instances: HashMap<InstanceId, Instance>,
    pub(super) fails: Option<StoreError>,
    pub(super) panics: bool,
    pub(super) hangs: bool,
}

impl Rows {
    async fn read<T>(&self, answer: T) -> Result<T, StoreError> {
        assert!(!self.panics, "the store stub panics as it was told to");
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.fails.clone().map_or(Ok(answer), Err)
    }
}

const UNUSED: &str = "the edge has no business with this";

#[async_trait]
impl Store for Rows {
    async fn admit(&self, _: Admission) -> Result<Admitted, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn instance(&self, id: &InstanceId) -> Result<Option<Instance>, StoreError> {
        self.read(self.instances.get(id).cloned()).await
    }
    async fn by_key(&self, _: &Creator, _: &IdempotencyKey) -> Result<Option<Instance>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn apply(&self, _: &InstanceId, _: &InstanceEvent, _: Timestamp) -> Result<Instance, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn live(&self, _: Option<&(Timestamp, InstanceId)>, _: u32) -> Result<Vec<Instance>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn carried(&self, _: &[HostName]) -> Result<BTreeMap<HostName, u32>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn due(&self, _: Timestamp, _: u32) -> Result<Vec<Instance>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn relocate(&self, _: &InstanceId, _: &HostName, _: u32, _: Timestamp) -> Result<Relocated, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn warnings_due(&self, _: Timestamp, _: u32) -> Result<Vec<Instance>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn purge(&self, _: Timestamp, _: u32) -> Result<u32, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn take_deliveries(
        &self,
        _: &SinkName,
        _: Timestamp,
        _: Timestamp,
        _: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn close_delivery(&self, _: &Delivery) -> Result<(), StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn postpone_delivery(&self, _: &Delivery, _: Timestamp) -> Result<(), StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn waiting_deliveries(&self, _: &SinkName) -> Result<u64, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn beat(&self, _: &ServerId, _: &Report) -> Result<Vec<Beat>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn retire(&self, _: &ServerId) -> Result<(), StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn attend(&self, _: Option<Attended>, _: Timestamp) -> Result<Attended, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn attended(&self) -> Result<Vec<Attended>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn known(&self, _: &[InstanceId]) -> Result<BTreeSet<InstanceId>, StoreError> {
        unreachable!("{UNUSED}")
    }
    fn is_shared(&self) -> bool {
        unreachable!("{UNUSED}")
    }
    async fn totals(&self) -> Result<Totals, StoreError> {
        self.read(Totals { started: 1234 }).await
    }
    async fn droplets(&self) -> Result<Vec<DropletRow>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn order_droplet(&self, _: &DropletRow, _: u32, _: OrderBudget) -> Result<bool, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn order_limits(&self) -> Result<OrderLimits, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn hold_orders(&self, _: Option<&Hold>) -> Result<(), StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn confirm_droplet(&self, _: &HostName) -> Result<bool, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn condemn_droplet(&self, _: &HostName, _: Timestamp) -> Result<bool, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn keep_droplet(&self, _: &HostName) -> Result<bool, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn bury_droplet(&self, _: &HostName) -> Result<bool, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn remove_droplet(&self, _: &HostName, _: DropletState) -> Result<bool, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn builders(&self) -> Result<Vec<BuilderRow>, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn order_builder(&self, _: &BuilderRow, _: Timestamp, _: u32) -> Result<bool, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn close_builder(&self, _: &HostName) -> Result<bool, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn orders(&self) -> Result<Orders, StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn order_cordon(&self, _: &HostName, _: Option<Cordon>) -> Result<(), StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn order_pause(&self, _: bool) -> Result<(), StoreError> {
        unreachable!("{UNUSED}")
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.read(()).await
    }
}

// ---- The application -----------------------------------------------------------------------------------------

/// Everything well; a test changes what it is about.
pub(super) struct Kit {
    pub(super) doors: Doors,
    pub(super) rows: Rows,
    pub(super) settings: WebSettings,
    pub(super) actors: Vec<ActorView>,
    pub(super) pulse_age: Duration,
}

impl Kit {
    pub(super) fn new() -> Self {
        let fleet = || FleetView { hosts: vec![host("local", Health::Up, 3)], ready: true, ..FleetView::default() };
        let subscription = |_| Subscription {
            snapshot: Snapshot {
                seq: 0,
                at: now(),
                hosts: vec![],
                instances: vec![],
                actors: vec![],
                totals: Totals::default(),
                reaper: ReaperStatus::default(),
                scaling: None,
            },
            deltas: mpsc::channel(1).1,
        };
        let gone = Instance { state: InstanceState::Ended(EndReason::Deleted), ended_at: Some(now()), ..instance() };
        Self {
            doors: Doors {
                admit: door(|_: Admit| Ok(())),
                wrong_token: door(|_: WrongToken| Ok(())),
                create: door(|_: CreateInstance| Ok(Created { instance: instance(), replayed: false })),
                delete: door(move |_: DeleteInstance| Ok(Ending::Gone(Box::new(gone.clone())))),
                fleet: door(move |_: DescribeFleet| fleet()),
                cordon: door(|_: OrderCordon| Err(CordonError::NoSuchHost)),
                extend: door(|asked: ExtendLease| {
                    let lease = Lease { expires_at: now() + asked.ttl, ..instance().lease };
                    Ok(Instance { lease, ..instance() })
                }),
                reaper: door(|_: DescribeReaper| ReaperStatus::default()),
                sweep: door(|_: SweepNow| ReaperStatus::default()),
                directory: door(|_: DescribeDirectory| DirectoryView { read_once: true, ..DirectoryView::default() }),
                scale: door(|_: ScaleNow| ScalingStatus::default()),
                scaling: door(|_: DescribeScaling| pool()),
                pause_scaling: door(|_: PauseScaling| ScalingStatus { paused: true, ..pool() }),
                resume_scaling: door(|_: ResumeScaling| pool()),
                subscribe: door(subscription),
                counts: door(|_: CountInstances| InstanceCounts {
                    live: Some([("running", 3)].into()),
                    ended: [("expired", 5)].into(),
                }),
                webhooks: door(|_: DescribeWebhooks| {
                    let sink = SinkName::parse("audit").unwrap();
                    vec![SinkStatus { accepted: 7, failed: 2, backlog: Some(4), ..SinkStatus::new(sink) }]
                }),
            },
            rows: Rows { instances: [(id(), instance())].into(), ..Rows::default() },
            settings: WebSettings {
                trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
                max_body_bytes: 1024,
                lease: LeasePolicy {
                    default_ttl: Duration::from_secs(43_200),
                    min_ttl: Duration::from_secs(60),
                    max_ttl: Duration::from_secs(86_400),
                    max_lifetime: Duration::from_secs(259_200),
                    warn_before: Duration::from_secs(600),
                },
                flavours: vec![Flavour {
                    name: "redis".to_owned(),
                    memory_bytes: 5_242_880,
                    connections: 5,
                    cpus: 0.5,
                    pids: 64,
                }],
                quotas: Quotas { per_creator: 6, global: 0 },
                create_deadline: Duration::from_secs(30),
                call_deadline: Duration::from_secs(15),
                tokens: vec![TokenSettings {
                    name: TokenName::parse("ci").unwrap(),
                    sha256: Sha256::digest(API_TOKEN).into(),
                    per_creator: 20,
                }],
                admin_token_sha256: Some(Sha256::digest(OPERATOR_TOKEN).into()),
                allowed_origins: vec!["https://console.example".to_owned()],
                isolated: true,
                metrics: true,
                feed: FeedSettings::default(),
            },
            actors: ["discovery", "rate_limit", "scheduler"].map(|name| actor(name, "up")).to_vec(),
            pulse_age: Duration::from_millis(300),
        }
    }

    pub(super) fn row(mut self, instance: Instance) -> Self {
        self.rows.instances.insert(instance.id.clone(), instance);
        self
    }

    pub(super) fn web(self) -> Data<Web> {
        let Self { doors, rows, settings, actors, pulse_age } = self;
        let vitals = Vitals { actors: Box::new(move || actors.clone()), pulse_age: Box::new(move || pulse_age) };
        Data::new(Web::new(doors, Arc::new(rows), Arc::new(FixedClock), Arc::new(key()), vitals, settings))
    }

    pub(super) async fn ask(self, request: TestRequest) -> Answer {
        ask(&self.web(), request).await
    }
}

pub(super) fn post(path: &str) -> TestRequest {
    TestRequest::post().uri(path).peer_addr("198.51.100.1:4711".parse().unwrap())
}

pub(super) fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path).peer_addr("198.51.100.1:4711".parse().unwrap())
}

/// The path of the one instance.
pub(super) fn own() -> String {
    format!("/v1/instances/{ID}")
}

pub(super) fn bearing(request: TestRequest, token: &str) -> TestRequest {
    request.insert_header(("authorization", format!("Bearer {token}")))
}

pub(super) fn with_json(request: TestRequest, body: &str) -> TestRequest {
    request.insert_header(("content-type", "application/json")).set_payload(body.to_owned())
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The last part of a problem's type, after checking that it is a whole one.
    pub(super) fn slug(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let retry = problem["retry_after_s"].as_u64().map(|s| s.to_string()).unwrap_or_default();
        assert_eq!(self.header("retry-after"), retry);
        problem["type"].as_str().unwrap().strip_prefix("/problems/").unwrap().to_owned()
    }
}

pub(super) async fn ask(web: &Data<Web>, request: TestRequest) -> Answer {
    let service = init_service(app(web.clone())).await;
    let (status, headers, body) = match try_call_service(&service, request.to_request()).await {
        Ok(response) => {
            let (status, headers) = (response.status(), response.headers().clone());
            (status, headers, to_bytes(response.into_body()).await.ok().unwrap())
        }
        // The server does the same with an error that comes out of the application.
        Err(error) => {
            let response = error.error_response();
            let (status, headers) = (response.status(), response.headers().clone());
            (status, headers, to_bytes(response.into_body()).await.unwrap())
        }
    };
    Answer { status, headers, body: body.to_vec() }
}
