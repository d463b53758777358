//! What the reaper keeps up: warnings before the end, many ends at once, and rows that are kept for a while only.

use std::time::Duration;

use futures_util::future::join_all;
use getaredis_actors::{
    domain::{EndReason, HostName, Instance, InstanceState, Quotas},
    feed::messages::{Fact, Subscribe},
    ports::{Clock, Store},
    reaper::messages::{DescribeReaper, ReaperStatus, SweepNow},
    scheduler::messages::{CreateError, CreateInstance},
    settings::{HostSettings, ReaperSettings, Settings},
    sim::{
        harness::{World, creator, request, settings},
        runtime::Reach,
        samples,
    },
    supervision::ask,
};
use tokio::time::{Instant, sleep};

use crate::host;

const WITHIN: Duration = Duration::from_secs(120);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn reaper(world: &World) -> ReaperStatus {
    ask(&world.doors().reaper, DescribeReaper, WITHIN).await.unwrap()
}

#[actix::test]
async fn an_owner_is_warned_once_before_the_end_and_again_after_an_extension() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let short = CreateInstance { ttl: Some(10 * MINUTE), ..request(creator(1)) };
    let id = world.create(short).await.unwrap().unwrap().instance.id;
    let mut feed = ask(&world.doors().subscribe, Subscribe, WITHIN).await.unwrap();
    let mut warnings = async |until: Duration| {
        let (end, mut warnings) = (Instant::now() + until, Vec::new());
        while let Ok(Some(delta)) = tokio::time::timeout_at(end, feed.deltas.recv()).await {
            if let Fact::InstanceExpiring { id, expires_at } = &delta.fact {
                warnings.push((id.clone(), Duration::try_from(expires_at.duration_since(delta.at)).unwrap().as_secs()));
            }
        }
        warnings
    };
    // Half of a short lease is over before its owner is warned.
    assert_eq!(warnings(4 * MINUTE).await, []);
    let first = warnings(2 * MINUTE).await;
    assert!(matches!(&first[..], [(warned, 298..=300)] if *warned == id), "{first:?}");
    let extend = getaredis_actors::reaper::messages::ExtendLease { id: id.clone(), ttl: 25 * MINUTE };
    ask(&world.doors().extend, extend, WITHIN).await.unwrap().unwrap();
    let second = warnings(24 * MINUTE).await;
    assert!(matches!(&second[..], [(warned, 598..=600)] if *warned == id), "{second:?}");
    assert_eq!(reaper(&world).await.warned, 2);
    world.finish().await;
}

#[actix::test]
async fn a_thousand_owners_are_warned_within_seconds() {
    tokio::time::pause();
    let slots = 1001;
    let world = World::running(Settings { max_in_flight: 2000, ..settings() }, &[("a", slots)]).await;
    let short = |n| CreateInstance { ttl: Some(4 * MINUTE), ..request(creator(n)) };
    let begun = Instant::now();
    let made = join_all((0..8).map(|n| world.create(short(n)))).await;
    assert!(made.iter().all(|made| matches!(made, Ok(Ok(_)))));
    // The rest is written as it would be, with containers that run.
    for n in 0..992 {
        let id = world.clock.new_id();
        world.runtimes.plant(&host("a"), &id);
        let row = world.live_rows()[0].clone();
        world.store.seed(Instance { id, creator: creator(n + 8), ..row });
    }
    sleep((2 * MINUTE).saturating_sub(begun.elapsed()) + Duration::from_secs(10)).await;
    assert_eq!(reaper(&world).await.warned, 1000);
    assert!(world.live_rows().iter().all(|row| row.lease.warn_at.is_none()));
    world.finish().await;
}

#[actix::test]
async fn five_hundred_leases_on_several_hosts_end_within_a_second_although_one_host_hangs() {
    tokio::time::pause();
    let hosts = ["a", "b", "c", "d", "e"];
    let world = World::running(settings(), &hosts.map(|name| (name, 100))).await;
    let sample = world.must_create(creator(0)).await;
    let expires_at = world.clock.now() + MINUTE;
    for name in hosts {
        let free = if name == "a" { 99 } else { 100 };
        for _ in 0..free {
            let (id, on) = (world.clock.new_id(), HostName::parse(name).unwrap());
            world.runtimes.plant(&on, &id);
            let lease = getaredis_actors::domain::Lease { expires_at, ..sample.lease };
            world.store.seed(Instance { id, host: on, lease, ..sample.clone() });
        }
    }
    world.runtimes.reach(&host("a"), Reach::Silent);
    sleep(MINUTE + Duration::from_secs(2)).await;
    let on_others: Vec<_> = world.store.rows().into_iter().filter(|row| row.host != host("a")).collect();
    assert_eq!(on_others.len(), 400);
    for row in on_others {
        let late = row.ended_at.expect("it has ended").duration_since(expires_at);
        assert!(!late.is_negative() && late.as_millis() <= 1000, "{late:?} late");
    }
    assert!(reaper(&world).await.reap_lag_s >= 1, "those on the host that hangs are due");
    world.runtimes.reach(&host("a"), Reach::Well);
    world.finish().await;
}

#[actix::test]
async fn orphans_are_shown_by_kind_until_they_are_settled() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let lonely = world.must_create(creator(1)).await;
    world.runtimes.plant(&host("a"), &world.clock.new_id());
    world.faults.fail_always("runtime.remove:a");
    world.runtimes.reach(&host("a"), Reach::Refusing);
    world.runtimes.remove_by_hand(&host("a"), &lonely.id);
    world.runtimes.reach(&host("a"), Reach::Well);
    ask(&world.doors().sweep, SweepNow, WITHIN).await.unwrap();
    let shown = async |world: &World| {
        let snapshot = ask(&world.doors().subscribe, Subscribe, WITHIN).await.unwrap().snapshot;
        (snapshot.reaper.orphans.container, snapshot.reaper.orphans.row)
    };
    world.eventually("both are shown", async |world| shown(world).await == (1, 1)).await;
    world.faults.heal("runtime.remove:a");
    world.eventually("none is left", async |world| shown(world).await == (0, 0)).await;
    world.finish().await;
}

fn keep(time: Duration) -> Settings {
    // These tests last for hours, in which nothing else is to be done.
    let usual = settings();
    let reaper = ReaperSettings { keep_ended: time, poll: MINUTE, sweep: 10 * MINUTE, ..usual.reaper };
    Settings { reaper, host: HostSettings { probe_every: MINUTE, ..usual.host }, directory_poll: MINUTE, ..usual }
}

/// Rows that ended so long ago.
fn seed_ended(world: &World, count: u128, ago: Duration) {
    let ended_at = Some(world.clock.now() - ago);
    for n in 0..count {
        let row = samples::a_request(n).instance;
        let id = world.clock.new_id();
        world.store.seed(Instance { id, state: InstanceState::Ended(EndReason::Expired), ended_at, ..row });
    }
}

#[actix::test]
async fn rows_are_forgotten_in_small_batches_after_the_time_they_are_kept() {
    tokio::time::pause();
    let world = World::new(keep(7 * DAY), &[("a", 4)]);
    seed_ended(&world, 450, 8 * DAY);
    seed_ended(&world, 3, 7 * DAY - 2 * HOUR);
    let mut world = world;
    world.start().await;
    world.eventually("the old ones are forgotten", async |world| world.store.rows().len() == 3).await;
    assert_eq!(world.faults.calls("store.purge"), 5);
    assert_eq!(reaper(&world).await.purged, 450);
    sleep(2 * HOUR + MINUTE).await;
    assert_eq!(world.store.rows(), [], "an hourly pass finds the others");
    world.finish().await;
}

#[actix::test]
async fn a_create_is_served_while_rows_are_forgotten() {
    tokio::time::pause();
    let mut world = World::new(keep(DAY), &[("a", 40)]);
    seed_ended(&world, 5000, 2 * DAY);
    world.start().await;
    world.eventually("it has begun", async |world| reaper(world).await.purging).await;
    let begun = Instant::now();
    world.must_create(creator(1)).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    world.eventually("it is done", async |world| reaper(world).await.purged == 5000).await;
    world.finish().await;
}

#[actix::test]
async fn no_jump_of_the_clock_forgets_a_row_too_early() {
    tokio::time::pause();
    let world = World::running(keep(7 * DAY), &[("a", 4)]).await;
    seed_ended(&world, 3, HOUR);
    world.clock.jump_forward(30 * DAY);
    sleep(3 * HOUR).await;
    assert_eq!(world.store.rows().len(), 3);
    world.clock.jump_back(60 * DAY);
    sleep(3 * HOUR).await;
    assert_eq!(world.store.rows().len(), 3);
    // What ends while the clock is behind is no older when somebody sets it right.
    seed_ended(&world, 2, Duration::ZERO);
    world.clock.jump_forward(30 * DAY);
    sleep(3 * HOUR).await;
    assert_eq!(world.store.rows().len(), 5);
    world.finish().await;
}

#[actix::test]
async fn a_purge_that_fails_goes_on_soon() {
    tokio::time::pause();
    let mut world = World::new(keep(DAY), &[("a", 4)]);
    seed_ended(&world, 250, 2 * DAY);
    world.faults.pass_next("store.purge", 1);
    world.faults.fail_next("store.purge", 1);
    world.start().await;
    world.eventually("the first batch is gone", async |world| world.store.rows().len() == 150).await;
    sleep(MINUTE).await;
    assert_eq!(world.store.rows(), []);
    assert!(world.store.ping().await.is_ok());
    world.finish().await;
}

#[actix::test]
async fn a_creator_over_its_quota_is_told_so_also_when_the_fleet_is_full() {
    tokio::time::pause();
    let settings = Settings { quotas: Quotas { per_creator: 1, global: 0 }, ..settings() };
    let world = World::running(settings, &[("a", 1)]).await;
    world.must_create(creator(1)).await;
    assert!(matches!(world.create(request(creator(1))).await, Ok(Err(CreateError::Quota(_)))));
    assert!(matches!(world.create(request(creator(2))).await, Ok(Err(CreateError::NoPlace(_)))));
    world.finish().await;
}
