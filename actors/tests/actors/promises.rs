//! Faults that come together, each of which once broke a promise.

use std::time::Duration;

use futures_util::{future::join_all, join};
use getaredis_actors::{
    domain::{Health, IdempotencyKey},
    ports::{HostRecord, Store},
    reaper::messages::{ExtendLease, SweepNow},
    scheduler::messages::CreateInstance,
    sim::{
        harness::{World, creator, request, settings},
        runtime::Reach,
    },
    supervision::{Status, ask},
};
use tokio::time::{Instant, sleep};

use crate::host;

const WITHIN: Duration = Duration::from_secs(120);
const MINUTE: Duration = Duration::from_secs(60);

/// What the edge waits longer than the deadline.
const MARGIN: Duration = Duration::from_secs(5);

fn announced(slots: u32) -> HostRecord {
    HostRecord { name: host("a"), public_address: [203, 0, 113, 1].into(), engine: String::new(), slots }
}

#[actix::test]
async fn two_extensions_at_once_never_shorten_what_was_answered() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    let id = world.must_create(creator(1)).await.id;
    let extend =
        |hours: u32| ask(&world.doors().extend, ExtendLease { id: id.clone(), ttl: hours * 60 * MINUTE }, WITHIN);
    world.faults.slow_next("store.apply", Duration::from_secs(1));
    let (short, long) = join!(extend(13), extend(48));
    let promised = long.unwrap().unwrap().lease.expires_at;
    assert!(short.unwrap().is_err(), "the shorter one came second");
    assert_eq!(world.store.instance(&id).await.unwrap().unwrap().lease.expires_at, promised);
    world.finish().await;
}

#[actix::test]
async fn a_host_whose_actor_was_given_up_still_ends_its_leases() {
    tokio::time::pause();
    let mut world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
    world.expect_loss("host:a");
    let short = CreateInstance { ttl: Some(5 * MINUTE), ..request(creator(1)) };
    let id = world.create(short).await.unwrap().unwrap().instance.id;
    for _ in 0..11 {
        world.faults.panic_next("runtime.probe:a");
    }
    let is_down = |world: &World| world.brain().roster.report("host:a").is_some_and(|r| r.status == Status::Down);
    world.eventually("its actor is given up", async |world| is_down(world)).await;
    let refused = async |world: &World| world.fleet().await.is_some_and(|fleet| fleet.hosts[0].cordon.is_some());
    world.eventually("the host is cordoned", refused).await;
    world.eventually("the lease has ended", async |world| world.live_rows().iter().all(|row| row.id != id)).await;
    world.finish().await;
}

#[actix::test]
async fn a_host_never_carries_more_than_its_slots_when_a_removal_failed() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1), ("b", 1)]).await;
    world.faults.lie_next("runtime.start:a");
    world.faults.fail_next("runtime.remove:a", 1);
    assert_eq!(world.must_create(creator(1)).await.host, host("b"));
    world
        .eventually("a is up", async |world| {
            world.fleet().await.is_some_and(|fleet| fleet.hosts[0].state == Health::Up)
        })
        .await;
    // Whether there is room again depends on how far the sweep is; that it is never too much is what finish checks.
    let _ = world.create(request(creator(2))).await;
    world.finish().await;
}

#[actix::test]
async fn a_create_is_answered_within_its_deadline_and_the_edges_margin() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    world.runtimes.reach(&host("a"), Reach::Silent);
    let begun = Instant::now();
    assert!(world.create(request(creator(1))).await.unwrap().is_err());
    let took = begun.elapsed();
    world.runtimes.reach(&host("a"), Reach::Well);
    world.finish().await;
    assert!(took <= settings().create_deadline + MARGIN, "{took:?}");
}

#[actix::test]
async fn one_start_that_takes_too_long_does_not_take_its_host_away() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    world.faults.hang_next("runtime.start:a");
    assert!(world.create(request(creator(1))).await.unwrap().is_err());
    world.must_create(creator(2)).await;
    world.finish().await;
}

#[actix::test]
async fn an_orphan_that_cannot_be_removed_does_not_keep_the_others() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    for _ in 0..3 {
        world.runtimes.plant(&host("a"), &getaredis_actors::ports::Clock::new_id(&world.clock));
    }
    world.faults.fail_next("runtime.remove:a", 1);
    assert_eq!(ask(&world.doors().sweep, SweepNow, WITHIN).await.unwrap().orphans_removed, 2);
    world.finish().await;
}

#[actix::test]
async fn an_instance_that_nobody_was_answered_with_does_not_live_for_its_lease() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    world.faults.lie_next("store.apply");
    world.faults.fail_next("store.apply", 1);
    assert!(world.create(request(creator(1))).await.unwrap().is_err());
    sleep(MINUTE).await;
    assert_eq!(world.live_rows(), []);
    world.finish().await;
}

#[actix::test]
async fn a_lost_host_is_forgotten_when_its_only_reservation_goes() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
    world.faults.hang_next("runtime.start:a");
    let withdraw = async {
        sleep(Duration::from_secs(1)).await;
        world.directory.withdraw(&host("a"));
    };
    let (made, ()) = join!(world.create(request(creator(1))), withdraw);
    assert_eq!(made.unwrap().unwrap().instance.host, host("b"));
    world
        .eventually("a is forgotten", async |world| world.fleet().await.is_some_and(|fleet| fleet.hosts.len() == 1))
        .await;
    world.finish().await;
}

#[actix::test]
async fn who_waits_for_a_key_is_answered_within_the_deadline_too() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 40)]).await;
    world.faults.hang_always("store.admit");
    let key = IdempotencyKey::parse("k").unwrap();
    let keyed = || CreateInstance { idempotency_key: Some(key.clone()), ..request(creator(1)) };
    let begun = Instant::now();
    join_all((0..30).map(|_| ask(&world.doors().create, keyed(), 60 * MINUTE))).await;
    let took = begun.elapsed();
    world.faults.heal("store.admit");
    world.finish().await;
    assert!(took <= settings().create_deadline + 2 * MARGIN, "{took:?}");
}

#[actix::test]
async fn a_host_that_announces_more_slots_keeps_its_starts() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    world.faults.slow_next("runtime.start:a", Duration::from_secs(5));
    let grow = async {
        sleep(Duration::from_secs(1)).await;
        world.directory.announce(announced(8));
    };
    let (made, ()) = join!(world.create(request(creator(1))), grow);
    assert!(made.unwrap().is_ok());
    assert_eq!(world.fleet().await.unwrap().hosts[0].slots, 8);
    world.finish().await;
}

#[actix::test]
async fn a_scheduler_that_restarts_while_discovery_is_away_finds_its_hosts_later() {
    tokio::time::pause();
    let mut world = World::running(settings(), &[("a", 4)]).await;
    world.expect_restarts(&["discovery", "scheduler"]);
    for _ in 0..5 {
        world.faults.panic_next("directory.read");
    }
    world.faults.panic_next("store.admit");
    assert!(world.create(request(creator(1))).await.is_err(), "the scheduler panicked");
    world
        .eventually("the host is back", async |world| world.fleet().await.is_some_and(|fleet| fleet.hosts.len() == 1))
        .await;
    world.finish().await;
}

#[actix::test]
async fn a_scheduler_whose_rows_always_take_long_to_read_answers_meanwhile_and_is_ready_in_the_end() {
    tokio::time::pause();
    let mut world = World::new(settings(), &[("a", 4)]);
    for _ in 0..100 {
        world.faults.slow_next("store.totals", Duration::from_secs(4));
    }
    let start = Instant::now();
    world.start_without_waiting();
    world.eventually("it answers", async |world| world.fleet().await.is_some_and(|fleet| !fleet.ready)).await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    world.eventually("it is ready", async |world| world.fleet().await.is_some_and(|fleet| fleet.ready)).await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    world.faults.heal("store.totals");
    world.must_create(creator(1)).await;
    world.finish().await;
}
