//! The feed against a simulated store, with a stand-in for the scheduler.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use getaredis_actors::{
    autoscaler::messages::ScalingStatus,
    domain::{EndReason, Instance, InstanceState, Timestamp},
    feed::{
        FeedActor, Peers,
        messages::{ActorView, Delta, Fact, InstanceView, Publish, Snapshot, Subscribe, Subscription},
    },
    scheduler::messages::FleetView,
    sim::{clock::SimClock, faults::Faults, samples, store::SimStore},
    supervision::{AskError, Child, Cradle, Roster, Spec, Status, ask, supervise},
};
use tokio::{
    sync::mpsc::{Receiver, error::TryRecvError},
    time::{Instant, sleep},
};

use crate::support::{host_view, roster, seconds, stand};

/// More than any subscriber may fall behind.
const TOO_MANY: usize = 1000;

struct World {
    faults: Faults,
    store: SimStore,
    fleet: Arc<Mutex<FleetView>>,
    feed: Child<FeedActor>,
    _roster: Roster,
}

impl World {
    fn new() -> Self {
        tokio::time::pause();
        let faults = Faults::new();
        let store = SimStore::new(faults.clone());
        let fleet = Arc::new(Mutex::new(FleetView {
            hosts: vec![host_view("h1", 40, 1)],
            ready: true,
            ..FleetView::default()
        }));
        let told = fleet.clone();
        let peers = Peers {
            fleet: stand(move |_| told.lock().unwrap().clone()),
            scaling: stand(|_| ScalingStatus { enabled: true, passes: 7, ..ScalingStatus::default() }),
            actors: Arc::new(|| vec![actor("scheduler", 0)]),
        };
        let (clock, port, roster) = (Arc::new(SimClock::new()), Arc::new(store.clone()), roster());
        let feed = supervise(Cradle::new(), Spec::permanent("feed"), &roster, move |_| {
            FeedActor::new(clock.clone(), port.clone(), peers.clone())
        });
        Self { faults, store, fleet, feed, _roster: roster }
    }

    fn tell(&self, fact: Fact) {
        self.feed.addr().do_send(Publish(fact));
    }

    async fn subscribe(&self) -> Subscription {
        ask(&self.feed.addr().recipient(), Subscribe, seconds(600)).await.unwrap()
    }

    /// Waits until everything that was told is handled.
    async fn settle(&self) {
        sleep(Duration::from_millis(10)).await;
    }
}

fn actor(name: &str, restarts: usize) -> ActorView {
    let since = Timestamp::UNIX_EPOCH;
    ActorView { name: name.to_owned(), status: Status::Up, restarts, since, last_cause: None }
}

/// The `n`-th instance as a row.
fn row(n: u128) -> Instance {
    Instance { state: InstanceState::Running, ..samples::a_request(n).instance }
}

fn changed(n: u128) -> Fact {
    Fact::InstanceChanged { instance: InstanceView::from(&row(n)) }
}

fn ended(n: u128) -> Fact {
    Fact::InstanceEnded { id: samples::id(n), reason: EndReason::Expired }
}

fn shown(snapshot: &Snapshot) -> Vec<String> {
    snapshot.instances.iter().map(|instance| instance.id.to_string()).collect()
}

fn ids(numbers: &[u128]) -> Vec<String> {
    numbers.iter().map(|n| samples::id(*n).to_string()).collect()
}

fn drain(deltas: &mut Receiver<Arc<Delta>>) -> Vec<Arc<Delta>> {
    std::iter::from_fn(|| deltas.try_recv().ok()).collect()
}

#[actix::test]
async fn a_viewer_sees_where_things_stand_and_then_every_fact_in_order_and_without_a_gap() {
    let world = World::new();
    world.store.seed(row(1));
    let mut viewer = world.subscribe().await;
    assert_eq!(shown(&viewer.snapshot), ids(&[1]));
    assert_eq!(viewer.snapshot.hosts, [host_view("h1", 40, 1)]);
    assert_eq!(viewer.snapshot.actors, [actor("scheduler", 0)]);

    let facts = [changed(2), changed(3), ended(2), Fact::ActorChanged { actor: actor("reaper", 1) }];
    facts.clone().into_iter().for_each(|fact| world.tell(fact));
    world.settle().await;
    let deltas = drain(&mut viewer.deltas);
    assert_eq!(deltas.iter().map(|delta| delta.fact.clone()).collect::<Vec<_>>(), facts);
    let seqs: Vec<_> = deltas.iter().map(|delta| delta.seq).collect();
    assert_eq!(seqs, (1..=4).map(|n| viewer.snapshot.seq + n).collect::<Vec<_>>());
    let later = world.subscribe().await.snapshot;
    assert_eq!((later.seq, shown(&later)), (viewer.snapshot.seq + 4, ids(&[1, 3])));
}

#[actix::test]
async fn what_is_no_news_is_told_to_nobody() {
    let world = World::new();
    let mut viewer = world.subscribe().await;
    for _ in 0..10 {
        world.tell(Fact::HostChanged { host: host_view("h1", 40, 1) });
        world.tell(ended(77));
    }
    world.settle().await;
    assert_eq!(viewer.deltas.try_recv(), Err(TryRecvError::Empty));
}

#[actix::test]
async fn a_viewer_that_does_not_keep_up_is_dropped_and_delays_nobody() {
    let world = World::new();
    let (mut slow, mut quick) = (world.subscribe().await, world.subscribe().await);
    let start = Instant::now();
    let mut seen = 0;
    for n in 1..=TOO_MANY {
        world.tell(changed(n as u128));
        if n % 100 == 0 {
            world.settle().await;
            seen += drain(&mut quick.deltas).len();
        }
    }
    assert_eq!(seen, TOO_MANY);
    assert!(start.elapsed() < seconds(1));
    let late = drain(&mut slow.deltas);
    assert!(late.len() < TOO_MANY);
    assert_eq!(slow.deltas.try_recv(), Err(TryRecvError::Disconnected));
    // What it got until then has no gap either.
    assert!(late.iter().zip(1..).all(|(delta, n)| delta.seq == slow.snapshot.seq + n));
    assert_eq!(shown(&world.subscribe().await.snapshot).len(), TOO_MANY);
}

#[actix::test]
async fn after_a_restart_viewers_come_back_to_a_snapshot_that_equals_the_store() {
    let world = World::new();
    let mut viewer = world.subscribe().await;
    world.tell(changed(1));
    world.settle().await;
    for n in [5, 6] {
        world.store.seed(row(n));
    }
    world.feed.cut();
    let again = world.subscribe().await;
    assert_eq!(drain(&mut viewer.deltas).len(), 1);
    assert_eq!(viewer.deltas.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(shown(&again.snapshot), ids(&[5, 6]));
}

#[actix::test]
async fn a_scheduler_that_was_restarted_sends_every_viewer_for_a_new_snapshot() {
    let world = World::new();
    let mut viewer = world.subscribe().await;
    world.fleet.lock().unwrap().hosts = vec![host_view("h2", 40, 0)];
    world.tell(Fact::ActorChanged { actor: actor("scheduler", 1) });
    world.settle().await;
    assert_eq!(drain(&mut viewer.deltas).len(), 1);
    assert_eq!(viewer.deltas.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(world.subscribe().await.snapshot.hosts, [host_view("h2", 40, 0)]);
}

#[actix::test]
async fn facts_that_are_told_while_it_rebuilds_are_neither_lost_nor_counted_twice() {
    let world = World::new();
    // The reading that counts is of a moment before the facts.
    world.store.seed(row(1));
    world.faults.slow_next("store.totals", seconds(3));
    sleep(seconds(1)).await;
    world.store.seed(row(2));
    [changed(2), changed(3), ended(1), changed(2)].into_iter().for_each(|fact| world.tell(fact));
    let mut viewer = world.subscribe().await;
    assert_eq!(shown(&viewer.snapshot), ids(&[2, 3]));
    world.tell(changed(3));
    world.tell(changed(4));
    world.settle().await;
    let deltas = drain(&mut viewer.deltas);
    assert_eq!(deltas.len(), 1);
    assert_eq!((deltas[0].seq, &deltas[0].fact), (viewer.snapshot.seq + 1, &changed(4)));
}

#[actix::test]
async fn viewers_wait_until_the_store_and_the_scheduler_are_back() {
    let world = World::new();
    world.faults.fail_always("store.live");
    world.fleet.lock().unwrap().ready = false;
    world.store.seed(row(1));
    let viewer = ask(&world.feed.addr().recipient(), Subscribe, seconds(60)).await;
    assert_eq!(viewer.unwrap_err(), AskError::Timeout);
    world.fleet.lock().unwrap().ready = true;
    world.faults.heal("store.live");
    let start = Instant::now();
    assert_eq!(shown(&world.subscribe().await.snapshot), ids(&[1]));
    assert!(start.elapsed() < seconds(10));
}

#[actix::test]
async fn a_store_that_hangs_is_given_up_and_asked_again() {
    let world = World::new();
    world.faults.hang_next("store.live");
    let start = Instant::now();
    world.subscribe().await;
    assert!(start.elapsed() < seconds(10), "{:?}", start.elapsed());
}

#[actix::test]
async fn how_the_pool_is_comes_with_the_snapshot_and_changes_with_every_pass() {
    let world = World::new();
    let mut viewer = world.subscribe().await;
    let before = viewer.snapshot.scaling.clone().unwrap();
    assert_eq!((before.enabled, before.passes), (true, 7));
    let after = ScalingStatus { passes: 8, paused: true, ..before.clone() };
    for scaling in [before, after.clone()] {
        world.tell(Fact::ScalingChanged { scaling });
    }
    world.settle().await;
    let facts: Vec<_> = drain(&mut viewer.deltas).iter().map(|delta| delta.fact.clone()).collect();
    assert_eq!(facts, [Fact::ScalingChanged { scaling: after.clone() }]);
    assert_eq!(world.subscribe().await.snapshot.scaling, Some(after));
}
