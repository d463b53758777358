//! Two servers on one database and the same hosts.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{future::join_all, join};
use getaredis_actors::{
    domain::{EndReason, IdempotencyKey, InstanceState, Quotas},
    feed::messages::{Fact, Snapshot, Subscribe},
    ports::{Report, Store},
    scheduler::messages::{CreateError, CreateInstance, DeleteInstance, Ending},
    settings::Settings,
    sim::harness::{Answer, World, creator, request, settings},
    supervision::ask,
};
use tokio::time::{Instant, sleep};

use crate::host;

const WITHIN: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3600);

fn keyed(key: &str) -> CreateInstance {
    CreateInstance { idempotency_key: Some(IdempotencyKey::parse(key).unwrap()), ..request(creator(1)) }
}

fn served(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count()
}

/// What the second server's operators see.
async fn seen_by_neighbour(world: &World) -> Snapshot {
    ask(&world.neighbour().subscribe, Subscribe, WITHIN).await.unwrap().snapshot
}

#[actix::test]
async fn two_servers_together_never_overfill_a_host_and_use_every_slot() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 7), ("b", 6)]).await;
    let here = join_all((0..20).map(|n| world.create(request(creator(n)))));
    let there = join_all((20..40).map(|n| world.create_at_neighbour(request(creator(n)))));
    let (here, there) = join!(here, there);
    assert_eq!(served(&here) + served(&there), 13);
    for refused in here.into_iter().chain(there).flatten().filter_map(Result::err) {
        assert_eq!(refused.to_string(), "no host has room: 2 hosts full");
    }
    world.finish().await;
}

#[actix::test]
async fn an_owner_that_one_server_warned_is_shown_as_warned_by_both_and_once() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 7)]).await;
    let short = || CreateInstance { ttl: Some(Duration::from_secs(600)), ..request(creator(1)) };
    let created = [world.create(short()).await, world.create_at_neighbour(short()).await];
    let ids = BTreeSet::from(created.map(|created| created.unwrap().unwrap().instance.id));
    let end = Instant::now() + Duration::from_secs(500);
    let told = join_all([world.doors(), world.neighbour()].map(async |doors| {
        let (mut feed, mut told) = (ask(&doors.subscribe, Subscribe, WITHIN).await.unwrap(), Vec::new());
        while let Ok(Some(delta)) = tokio::time::timeout_at(end, feed.deltas.recv()).await {
            told.extend(if let Fact::InstanceExpiring { id, .. } = &delta.fact { Some(id.clone()) } else { None });
        }
        told
    }));
    for told in told.await {
        assert_eq!((told.len(), &BTreeSet::from_iter(told)), (2, &ids));
    }
    world.finish().await;
}

#[actix::test]
async fn of_a_creators_requests_at_two_servers_the_quota_admits_exactly_six() {
    tokio::time::pause();
    let settings = Settings { quotas: Quotas { per_creator: 6, global: 0 }, ..settings() };
    let world = World::with_neighbour(settings, &[("a", 40)]).await;
    let (here, there) = join!(
        join_all((0..20).map(|_| world.create(request(creator(1))))),
        join_all((0..20).map(|_| world.create_at_neighbour(request(creator(1)))))
    );
    assert_eq!(served(&here) + served(&there), 6);
    world.finish().await;
}

#[actix::test]
async fn a_slot_that_another_server_gave_back_is_used_at_once() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 1)]).await;
    let first = world.must_create(creator(1)).await;
    sleep(Duration::from_secs(10)).await;
    let delete = DeleteInstance { id: first.id, reason: EndReason::Deleted };
    assert!(matches!(ask(&world.doors().delete, delete, WITHIN).await, Ok(Ok(Ending::Gone(_)))));
    assert!(world.create_at_neighbour(request(creator(2))).await.unwrap().is_ok());
    world.finish().await;
}

#[actix::test]
async fn a_host_that_another_server_filled_leads_to_the_next_one_also_after_a_failed_start() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 1), ("b", 1), ("c", 1)]).await;
    // While the first start takes its time and fails, the other server fills b.
    world.faults.slow_next("runtime.start:a", Duration::from_millis(400));
    world.directory.withdraw(&host("x"));
    let fill = async {
        sleep(Duration::from_millis(100)).await;
        world.create_at_neighbour(request(creator(2))).await.unwrap().unwrap().instance.host
    };
    let remove = async {
        sleep(Duration::from_millis(500)).await;
        let [found] = &world.runtimes.containers(&host("a"))[..] else { panic!("half a container") };
        world.runtimes.remove_by_hand(&host("a"), &found.id);
    };
    let (made, filled, ()) = join!(world.create(request(creator(1))), fill, remove);
    assert_eq!((filled, made.unwrap().unwrap().instance.host), (host("b"), host("c")));
    world.finish().await;
}

#[actix::test]
async fn every_servers_operators_see_every_servers_instances() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 4)]).await;
    let made = world.must_create(creator(1)).await;
    world
        .eventually("it is seen as running", async |world| {
            let seen = seen_by_neighbour(world).await;
            let [only] = &seen.instances[..] else { return false };
            only.id == made.id && only.state == "running" && seen.totals.started == 1 && seen.hosts[0].used == 1
        })
        .await;
    let delete = DeleteInstance { id: made.id.clone(), reason: EndReason::Deleted };
    ask(&world.doors().delete, delete, WITHIN).await.unwrap().unwrap();
    world
        .eventually("it is seen as gone", async |world| {
            let seen = seen_by_neighbour(world).await;
            seen.instances.is_empty() && seen.hosts[0].used == 0
        })
        .await;
    world.finish().await;
}

#[actix::test]
async fn what_a_dead_server_was_creating_is_ended_by_another_within_seconds() {
    tokio::time::pause();
    let mut world = World::with_neighbour(settings(), &[("a", 4)]).await;
    world.faults.slow_next("runtime.start:a", Duration::from_secs(10));
    tokio::select! {
        answer = world.create_at_neighbour(request(creator(1))) => panic!("answered: {answer:?}"),
        () = sleep(Duration::from_secs(5)) => {}
    }
    assert_eq!(world.live_rows()[0].state, InstanceState::Creating);
    world.crash_neighbour().await;
    let died = Instant::now();
    let is_creating = |world: &World| world.live_rows().iter().any(|row| row.state == InstanceState::Creating);
    world.eventually("nothing is being created", async |world| !is_creating(world)).await;
    assert!(died.elapsed() < Duration::from_secs(20), "{:?}", died.elapsed());
    let silent = world.store.beat(&getaredis_actors::sim::samples::server(9), &Report::default()).await.unwrap();
    assert_eq!(silent.len(), 2, "the dead one is forgotten: {silent:?}");
    world.finish().await;
}

#[actix::test]
async fn what_a_living_server_is_creating_is_left_alone_whatever_the_clock_does() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 4)]).await;
    world.faults.slow_next("runtime.start:a", Duration::from_secs(19));
    let jumps = async {
        sleep(Duration::from_secs(2)).await;
        world.clock.jump_forward(HOUR);
        sleep(Duration::from_secs(8)).await;
        world.clock.jump_back(2 * HOUR);
    };
    let (made, ()) = join!(world.create_at_neighbour(request(creator(1))), jumps);
    assert!(made.unwrap().is_ok());
    world.finish().await;
}

#[actix::test]
async fn a_server_that_cannot_reach_the_database_for_long_loses_no_running_instance() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 4)]).await;
    let made = world.create_at_neighbour(request(creator(1))).await.unwrap().unwrap().instance;
    world.faults.fail_always("store.beat");
    sleep(Duration::from_secs(60)).await;
    world.faults.heal("store.beat");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.live_rows()[0].id, made.id);
    assert!(world.create_at_neighbour(request(creator(2))).await.unwrap().is_ok());
    world.finish().await;
}

#[actix::test]
async fn a_server_that_stops_in_good_order_is_forgotten_at_once() {
    tokio::time::pause();
    let mut world = World::with_neighbour(settings(), &[("a", 4)]).await;
    world.stop_neighbour().await;
    let left = world.store.beat(&getaredis_actors::sim::samples::server(9), &Report::default()).await.unwrap();
    assert_eq!(left.len(), 2, "itself and the other one: {left:?}");
    world.finish().await;
}

#[actix::test]
async fn a_key_whose_first_request_is_worked_on_by_another_server_waits_for_its_answer() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 4)]).await;
    world.faults.slow_next("runtime.start:a", Duration::from_secs(8));
    let repeat = async {
        sleep(Duration::from_secs(1)).await;
        join_all((0..5).map(|_| world.create_at_neighbour(keyed("k")))).await
    };
    let (first, repeats) = join!(world.create(keyed("k")), repeat);
    let first = first.unwrap().unwrap();
    for repeat in repeats {
        let repeat = repeat.unwrap().unwrap();
        assert_eq!((repeat.instance, repeat.replayed), (first.instance.clone(), true));
    }
    world.finish().await;
}

#[actix::test]
async fn a_key_whose_first_request_failed_at_another_server_is_tried_anew_by_who_waits() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 4), ("b", 4)]).await;
    world.faults.slow_next("runtime.start:a", Duration::from_secs(3));
    let fail = async {
        sleep(Duration::from_millis(1500)).await;
        // The first one is ended under its server's hands.
        let delete = DeleteInstance { id: world.live_rows()[0].id.clone(), reason: EndReason::Deleted };
        ask(&world.doors().delete, delete, WITHIN).await.unwrap().unwrap();
    };
    let repeat = async {
        sleep(Duration::from_secs(1)).await;
        world.create_at_neighbour(keyed("k")).await
    };
    let (first, repeat, ()) = join!(world.create(keyed("k")), repeat, fail);
    assert!(first.unwrap().is_err());
    assert!(!repeat.unwrap().unwrap().replayed);
    world.finish().await;
}

#[actix::test]
async fn a_key_whose_server_died_is_tried_anew_by_who_waits() {
    tokio::time::pause();
    let mut world = World::with_neighbour(settings(), &[("a", 4)]).await;
    world.faults.slow_next("runtime.start:a", Duration::from_secs(18));
    tokio::select! {
        answer = world.create_at_neighbour(keyed("k")) => panic!("answered: {answer:?}"),
        () = sleep(Duration::from_secs(2)) => {}
    }
    world.crash_neighbour().await;
    let repeat = world.create(keyed("k")).await.unwrap().unwrap();
    assert!(!repeat.replayed);
    world.finish().await;
}

#[actix::test]
async fn a_key_that_stays_in_use_is_refused_within_the_deadline() {
    tokio::time::pause();
    let world =
        World::with_neighbour(Settings { create_deadline: Duration::from_secs(10), ..settings() }, &[("a", 4)]).await;
    world.faults.slow_next("runtime.start:a", Duration::from_secs(9));
    let repeat = async {
        sleep(Duration::from_secs(1)).await;
        let begun = Instant::now();
        let impatient = CreateInstance { ttl: None, ..keyed("k") };
        (world.create_at_neighbour(impatient).await.unwrap(), begun.elapsed())
    };
    let (first, (repeat, took)) = join!(world.create(keyed("k")), repeat);
    // Which of the two is quicker is a matter of milliseconds; both are answered.
    assert!(first.unwrap().is_ok());
    assert!(matches!(repeat, Ok(_) | Err(CreateError::KeyInUse)), "{repeat:?}");
    assert!(took <= Duration::from_secs(11), "{took:?}");
    world.finish().await;
}

#[actix::test]
async fn leases_that_two_servers_end_at_once_end_once() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 20), ("b", 20)]).await;
    let short = |n| CreateInstance { ttl: Some(Duration::from_secs(60)), ..request(creator(n)) };
    join_all((0..40).map(|n| world.create(short(n)))).await;
    world.eventually("they have ended", async |world| world.live_rows().is_empty()).await;
    for row in world.store.rows() {
        let late = row.ended_at.unwrap().duration_since(row.lease.expires_at);
        assert!(!late.is_negative() && late.as_millis() <= 1000, "{late:?} late");
    }
    world.finish().await;
}
