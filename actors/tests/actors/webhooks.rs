//! Notices on their way to sinks that accept, fail, hang or want no more.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use getaredis_actors::{
    domain::{EndReason, Endpoint, Instance, InstanceEvent, InstanceState, SinkName},
    ports::{Clock, Store, WebhookError},
    scheduler::messages::DeleteInstance,
    settings::{Settings, WebhookSettings},
    sim::{
        clock::SimClock,
        faults::Faults,
        harness::{self, creator, settings},
        samples::{a_request, id},
        store::SimStore,
        webhooks::{Manner, SimWebhooks},
    },
    supervision::{Child, Cradle, Roster, Spec, ask, supervise},
    webhooks::{
        Tools, WebhookActor,
        messages::{DescribeWebhooks, SinkStatus},
    },
};
use tokio::time::{Instant, sleep};

use crate::support::{roster, seconds, until};

fn sink(name: &str) -> SinkName {
    SinkName::parse(name).unwrap()
}

fn patience() -> WebhookSettings {
    WebhookSettings { sinks: vec![sink("a"), sink("b")], timeout: seconds(10), give_up_after: seconds(86_400) }
}

fn down() -> Manner {
    Manner::Refuse(WebhookError::Unreachable("connection refused".to_owned()))
}

fn busy(retry_after: Option<Duration>) -> Manner {
    Manner::Refuse(WebhookError::Refused { why: "503".to_owned(), retry_after })
}

/// Instances that are told of at the same time are so in any order.
fn sorted(ids: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut ids: Vec<_> = ids.into_iter().collect();
    ids.sort();
    ids
}

/// Two sinks and any number of servers that post to them.
struct World {
    patience: WebhookSettings,
    faults: Faults,
    clock: SimClock,
    store: SimStore,
    webhooks: SimWebhooks,
    servers: Vec<Child<WebhookActor>>,
    roster: Roster,
}

impl World {
    fn new() -> Self {
        let faults = Faults::new();
        Self {
            patience: patience(),
            clock: SimClock::new(),
            store: SimStore::new(faults.clone()).with_sinks(patience().sinks),
            webhooks: SimWebhooks::new(faults.clone()),
            servers: Vec::new(),
            roster: roster(),
            faults,
        }
    }

    fn with_servers(servers: usize) -> Self {
        let mut world = Self::new();
        for _ in 0..servers {
            world.start();
        }
        world
    }

    fn start(&mut self) {
        let tools = Tools {
            clock: Arc::new(self.clock.clone()),
            store: Arc::new(self.store.clone()),
            webhooks: Arc::new(self.webhooks.clone()),
            settings: self.patience.clone(),
        };
        let actor = move |_| WebhookActor::new(tools.clone());
        self.servers.push(supervise(Cradle::new(), Spec::permanent("webhooks"), &self.roster, actor));
    }

    /// The process dies and another one is started.
    async fn crash(&mut self) {
        self.servers.clear();
        sleep(Duration::from_millis(1)).await;
        self.faults.thaw();
        self.start();
    }

    async fn apply(&self, n: u128, event: InstanceEvent) {
        self.store.apply(&id(n), &event, self.clock.now()).await.unwrap();
    }

    async fn begin(&self, n: u128) {
        self.store.admit(a_request(n)).await.unwrap();
        let endpoint = Endpoint { address: [203, 0, 113, 7].into(), port: 32_768 };
        self.apply(n, InstanceEvent::Started { endpoint }).await;
    }

    async fn end(&self, n: u128) {
        self.apply(n, InstanceEvent::StopRequested { reason: EndReason::Deleted }).await;
        self.apply(n, InstanceEvent::ConfirmedGone).await;
    }

    fn created(n: u128) -> String {
        format!("{}.created", id(n))
    }

    fn ended(n: u128) -> String {
        format!("{}.ended", id(n))
    }

    async fn waiting(&self, name: &str) -> u64 {
        self.store.waiting_deliveries(&sink(name)).await.unwrap()
    }

    async fn status(&self, name: &str) -> SinkStatus {
        let door = self.servers[0].addr().recipient();
        let all = ask(&door, DescribeWebhooks, seconds(1)).await.unwrap();
        all.into_iter().find(|status| status.sink == sink(name)).unwrap()
    }

    /// The waits between the posts to a sink.
    fn waits(&self, name: &str) -> Vec<Duration> {
        let times: Vec<Instant> = self.webhooks.posts(&sink(name)).iter().map(|post| post.at).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

#[actix::test]
async fn what_happened_is_told_to_every_sink_once_and_within_a_second() {
    tokio::time::pause();
    let world = World::with_servers(1);
    sleep(seconds(60)).await;
    for n in 1..=40 {
        world.begin(n).await;
    }
    sleep(seconds(1)).await;
    for name in ["a", "b"] {
        assert_eq!(sorted(world.webhooks.accepted(&sink(name))), sorted((1..=40).map(World::created)));
        assert_eq!(world.waiting(name).await, 0);
    }
    sleep(seconds(600)).await;
    assert_eq!(world.webhooks.posts(&sink("a")).len(), 40, "nothing is told again");
    assert_eq!(world.status("a").await, SinkStatus { accepted: 40, backlog: Some(0), ..SinkStatus::new(sink("a")) });
}

#[actix::test]
async fn what_is_refused_is_posted_again_with_growing_waits_and_the_same_id() {
    tokio::time::pause();
    let world = World::with_servers(1);
    world.webhooks.behave(&sink("a"), busy(None));
    world.begin(1).await;
    until("five posts", || world.webhooks.posts(&sink("a")).len() == 5).await;
    assert!(world.webhooks.posts(&sink("a")).iter().all(|post| post.id == World::created(1)));
    for (wait, full) in world.waits("a").into_iter().zip([1, 2, 4, 8].map(Duration::from_secs)) {
        // Shortened by a fifth at most, and found by the next look.
        assert!(wait >= full.mul_f64(0.8) && wait <= full + seconds(1), "{wait:?} instead of {full:?}");
    }
    assert_eq!(world.status("a").await.last_error.as_deref(), Some("the sink refused: 503"));
    world.webhooks.behave(&sink("a"), Manner::Accept);
    until("it is accepted", || world.webhooks.accepted(&sink("a")) == [World::created(1)]).await;
    sleep(seconds(1)).await;
    let status = world.status("a").await;
    assert_eq!((status.accepted, status.failed, status.last_error), (1, 5, None));
    assert_eq!(world.waiting("a").await, 0);
}

#[actix::test]
async fn a_sink_that_asks_to_be_left_alone_is_left_alone() {
    tokio::time::pause();
    let world = World::with_servers(1);
    world.webhooks.behave(&sink("a"), busy(Some(seconds(300))));
    world.begin(1).await;
    until("two posts", || world.webhooks.posts(&sink("a")).len() == 2).await;
    assert!(world.waits("a")[0] >= seconds(300), "{:?}", world.waits("a"));
}

#[actix::test]
async fn sinks_that_are_down_or_hang_delay_no_other_one_and_keep_a_bounded_number_in_hand() {
    tokio::time::pause();
    for manner in [down(), Manner::Hang] {
        let world = World::with_servers(1);
        world.webhooks.behave(&sink("a"), manner);
        for n in 1..=100 {
            world.begin(n).await;
        }
        sleep(seconds(2)).await;
        assert_eq!(world.webhooks.accepted(&sink("b")).len(), 100);
        world.webhooks.behave(&sink("a"), Manner::Accept);
        until("the other one has caught up", || world.webhooks.accepted(&sink("a")).len() == 100).await;
    }
    let world = World::with_servers(1);
    world.webhooks.behave(&sink("a"), Manner::Hang);
    for n in 1..=100 {
        world.begin(n).await;
    }
    sleep(seconds(9)).await;
    assert_eq!(world.webhooks.posts(&sink("a")).len(), 16);
}

#[actix::test]
async fn a_crash_between_the_post_and_its_record_repeats_it_with_the_same_id() {
    tokio::time::pause();
    let mut world = World::with_servers(1);
    world.faults.hang_always("store.close_delivery");
    world.begin(1).await;
    until("it is posted", || world.webhooks.accepted(&sink("a")).len() == 1).await;
    world.faults.heal("store.close_delivery");
    world.crash().await;
    until("it is posted again", || world.webhooks.accepted(&sink("a")).len() == 2).await;
    sleep(seconds(600)).await;
    assert_eq!(world.webhooks.accepted(&sink("a")), [World::created(1), World::created(1)]);
    assert_eq!(world.waiting("a").await, 0);
}

#[actix::test]
async fn a_crash_at_any_call_forgets_nothing() {
    tokio::time::pause();
    let calls = {
        let world = World::with_servers(1);
        sleep(seconds(1)).await;
        world.begin(1).await;
        sleep(seconds(1)).await;
        world.faults.total_calls()
    };
    for at in 1..=calls {
        let mut world = World::with_servers(1);
        world.webhooks.behave(&sink("b"), busy(None));
        sleep(seconds(1)).await;
        world.begin(1).await;
        world.faults.freeze_at(at);
        sleep(seconds(3)).await;
        world.crash().await;
        world.webhooks.behave(&sink("b"), Manner::Accept);
        for name in ["a", "b"] {
            until("it is told", || world.webhooks.accepted(&sink(name)).contains(&World::created(1))).await;
        }
        sleep(seconds(60)).await;
        assert_eq!((world.waiting("a").await, world.waiting("b").await), (0, 0), "at call {at}");
    }
}

#[actix::test]
async fn what_no_sink_accepts_for_a_day_is_given_up_and_what_is_not_wanted_at_once() {
    tokio::time::pause();
    let world = World::with_servers(1);
    world.webhooks.behave(&sink("a"), down());
    world.webhooks.behave(&sink("b"), Manner::Refuse(WebhookError::Unwanted));
    world.begin(1).await;
    sleep(seconds(86_000)).await;
    assert_eq!((world.waiting("a").await, world.waiting("b").await), (1, 0));
    assert_eq!(world.webhooks.posts(&sink("b")).len(), 1);
    sleep(seconds(1_000)).await;
    assert_eq!((world.waiting("a").await, world.status("a").await.given_up), (0, 1));
    assert_eq!(world.status("b").await.unwanted, 1);
    let posts = world.webhooks.posts(&sink("a")).len();
    assert!((130..200).contains(&posts), "every ten minutes at last, but {posts}");
}

#[actix::test]
async fn what_waits_for_a_sink_that_hangs_is_given_up_in_time_though_there_is_no_time_to_try_it() {
    tokio::time::pause();
    let mut world = World::new();
    world.patience.give_up_after = seconds(600);
    world.webhooks.behave(&sink("a"), Manner::Hang);
    world.start();
    for n in 1..=3_000 {
        world.begin(n).await;
    }
    sleep(seconds(590)).await;
    assert_eq!(world.waiting("a").await, 3_000);
    sleep(seconds(110)).await;
    assert_eq!((world.waiting("a").await, world.status("a").await.given_up), (0, 3_000));
    let tried: BTreeSet<_> = world.webhooks.posts(&sink("a")).into_iter().map(|post| post.id).collect();
    assert!(tried.len() < 1_000, "{}", tried.len());
    assert_eq!(world.webhooks.accepted(&sink("b")).len(), 3_000);
}

#[actix::test]
async fn what_became_too_old_while_no_server_ran_is_posted_to_a_sink_that_accepts() {
    tokio::time::pause();
    let mut world = World::new();
    for n in 1..=40 {
        world.begin(n).await;
    }
    sleep(seconds(200_000)).await;
    world.start();
    until("all is told", || world.webhooks.accepted(&sink("a")).len() == 40).await;
}

#[actix::test]
async fn two_servers_post_nothing_twice() {
    tokio::time::pause();
    let world = World::with_servers(2);
    for n in 1..=100 {
        world.begin(n).await;
        if n % 10 == 0 {
            sleep(Duration::from_millis(170)).await;
        }
    }
    sleep(seconds(5)).await;
    assert_eq!(sorted(world.webhooks.accepted(&sink("a"))), sorted((1..=100).map(World::created)));
}

#[actix::test]
async fn the_end_of_an_instance_is_not_told_while_its_beginning_is_under_way() {
    tokio::time::pause();
    let world = World::with_servers(1);
    world.webhooks.behave(&sink("a"), Manner::Hang);
    world.begin(1).await;
    until("the beginning is posted", || world.webhooks.posts(&sink("a")).len() == 1).await;
    world.end(1).await;
    sleep(seconds(5)).await;
    assert_eq!(world.webhooks.posts(&sink("a")).len(), 1);
    world.webhooks.behave(&sink("a"), Manner::Accept);
    until("both are told", || world.webhooks.accepted(&sink("a")).len() == 2).await;
    assert_eq!(world.webhooks.accepted(&sink("a")), [World::created(1), World::ended(1)]);
}

#[actix::test]
async fn a_store_that_is_away_delays_notices_and_loses_none() {
    tokio::time::pause();
    let world = World::with_servers(1);
    world.begin(1).await;
    for op in ["store.take_deliveries", "store.close_delivery", "store.waiting_deliveries"] {
        world.faults.fail_always(op);
    }
    sleep(seconds(30)).await;
    assert_eq!(world.webhooks.posts(&sink("a")), []);
    world.faults.heal("store.take_deliveries");
    until("it is told", || world.webhooks.accepted(&sink("a")).len() == 1).await;
    world.faults.heal("store.close_delivery");
    world.faults.heal("store.waiting_deliveries");
    sleep(seconds(120)).await;
    assert_eq!((world.waiting("a").await, world.status("a").await.backlog), (0, Some(0)));
}

// With a whole brain.

fn telling() -> Settings {
    Settings { webhooks: patience(), ..settings() }
}

#[actix::test]
async fn a_life_is_told_from_its_beginning_to_its_end() {
    tokio::time::pause();
    let world = harness::World::running(telling(), &[("h1", 3)]).await;
    let instance = world.must_create(creator(1)).await;
    let request = DeleteInstance { id: instance.id.clone(), reason: EndReason::Deleted };
    ask(&world.doors().delete, request, seconds(60)).await.unwrap().unwrap();
    sleep(seconds(1)).await;
    let told = ["created", "ended"].map(|what| format!("{}.{what}", instance.id));
    assert_eq!(world.webhooks.accepted(&sink("a")), told);
    world.finish().await;
}

#[actix::test]
async fn a_panic_of_the_webhooks_delays_no_create_and_loses_no_notice() {
    tokio::time::pause();
    let mut world = harness::World::running(telling(), &[("h1", 20)]).await;
    world.expect_restarts(&["webhooks"]);
    let mut made: Vec<Instance> = Vec::new();
    for n in 1..=9 {
        world.faults.panic_next("webhooks.post");
        let before = Instant::now();
        made.push(world.must_create(creator(n)).await);
        assert!(before.elapsed() < seconds(5), "{:?}", before.elapsed());
        sleep(seconds(20)).await;
    }
    let restarts = world.brain().roster.report("webhooks").unwrap().restarts;
    assert!(restarts >= 5, "{restarts}");
    assert!(made.iter().all(|instance| instance.state == InstanceState::Running));
    world
        .eventually("everything is told", async |world| {
            let accepted = world.webhooks.accepted(&sink("b"));
            made.iter().all(|instance| accepted.contains(&format!("{}.created", instance.id)))
        })
        .await;
    world.finish().await;
}

#[actix::test]
async fn sinks_that_hang_delay_no_create() {
    tokio::time::pause();
    let world = harness::World::running(telling(), &[("h1", 40)]).await;
    for name in ["a", "b"] {
        world.webhooks.behave(&sink(name), Manner::Hang);
    }
    let before = Instant::now();
    for n in 1..=30 {
        world.must_create(creator(n)).await;
    }
    let with_sinks = before.elapsed();
    world.finish().await;
    let world = harness::World::running(settings(), &[("h1", 40)]).await;
    let before = Instant::now();
    for n in 1..=30 {
        world.must_create(creator(n)).await;
    }
    assert_eq!(with_sinks, before.elapsed());
    world.finish().await;
}
