//! How instances come to be: placement, failures of hosts, quotas and idempotency keys.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use getaredis_actors::{
    domain::{Creator, EndReason, Health, IdempotencyKey, InstanceState, Label, Quotas, Strategy, TokenName},
    ports::Found,
    scheduler::messages::{CreateError, CreateInstance, OrderCordon},
    settings::Settings,
    sim::{
        harness::{World, creator, request, settings},
        runtime::Reach,
    },
    supervision::{AskError, ask},
};

use crate::host;

fn on_each_host(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in world.live_rows() {
        *counts.entry(row.host.to_string()).or_default() += 1;
    }
    counts
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[actix::test]
async fn a_hundred_concurrent_creates_on_three_hosts_never_overfill_and_fill_in_the_declared_order() {
    tokio::time::pause();
    let world = World::running(settings(), &[("b", 40), ("a", 40), ("c", 40)]).await;
    let answers = join_all((0..100).map(|n| world.create(request(creator(n))))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Ok(_)))));
    assert_eq!(on_each_host(&world), counts([("b", 40), ("a", 40), ("c", 20)]));
    world.finish().await;
}

#[actix::test]
async fn spread_evens_the_hosts_out() {
    tokio::time::pause();
    let settings = Settings { strategy: Strategy::Spread, ..settings() };
    let world = World::running(settings, &[("a", 40), ("b", 40)]).await;
    join_all((0..10).map(|n| world.create(request(creator(n))))).await;
    assert_eq!(on_each_host(&world), counts([("a", 5), ("b", 5)]));
    world.finish().await;
}

#[actix::test]
async fn more_creates_than_slots_are_refused_with_the_reason_and_the_rest_is_served() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 2), ("b", 1)]).await;
    let answers = join_all((0..10).map(|n| world.create(request(creator(n))))).await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count(), 3);
    for refused in answers.into_iter().flatten().filter_map(Result::err) {
        assert_eq!(refused.to_string(), "no host has room: 2 hosts full");
    }
    world.finish().await;
}

#[actix::test]
async fn a_host_that_fails_mid_create_leads_to_the_next_one_and_keeps_nothing() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
    world.faults.fail_next("runtime.start:a", 1);
    assert_eq!(world.must_create(creator(1)).await.host, host("b"));
    assert_eq!(world.runtimes.containers(&host("a")), []);
    world.finish().await;
}

#[actix::test]
async fn a_host_that_starts_and_denies_it_keeps_nothing_either() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
    world.faults.lie_next("runtime.start:a");
    assert_eq!(world.must_create(creator(1)).await.host, host("b"));
    assert_eq!(world.runtimes.containers(&host("a")), []);
    world.finish().await;
}

#[actix::test]
async fn a_host_that_never_answers_costs_one_start_timeout_and_no_more() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
    world.faults.hang_next("runtime.start:a");
    let begun = tokio::time::Instant::now();
    assert_eq!(world.must_create(creator(1)).await.host, host("b"));
    assert!(begun.elapsed() <= world.settings.host.start_timeout + Duration::from_secs(2));
    world.finish().await;
}

async fn taken_back(world: &World) -> bool {
    world.faults.calls("runtime.remove:a") > 0
        && world.live_rows().is_empty()
        && world.runtimes.containers(&host("a")).is_empty()
}

#[actix::test]
async fn what_was_made_for_somebody_who_left_meanwhile_is_taken_back_unless_they_can_ask_for_it_again() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let hurried = async |wish: CreateInstance| {
        world.faults.slow_next("runtime.start:a", Duration::from_secs(3));
        let answer = ask(&world.doors().create, wish, Duration::from_secs(1)).await;
        assert!(matches!(answer, Err(AskError::Timeout)), "{answer:?}");
    };
    hurried(request(creator(1))).await;
    world.eventually("it is started and taken back", taken_back).await;
    let keyed = || CreateInstance { idempotency_key: Some(IdempotencyKey::parse("k").unwrap()), ..request(creator(1)) };
    hurried(keyed()).await;
    let kept = world.create(keyed()).await.unwrap().unwrap();
    assert!(kept.replayed && kept.instance.state == InstanceState::Running, "{kept:?}");
    world.finish().await;
}

async fn first_is_up(world: &World) -> bool {
    world.fleet().await.is_some_and(|fleet| fleet.hosts[0].state == Health::Up)
}

#[actix::test]
async fn of_many_creates_one_at_a_time_tries_a_host_that_starts_nothing_although_its_engine_answers() {
    tokio::time::pause();
    let spread = Settings { strategy: Strategy::Spread, ..settings() };
    let world = World::running(spread, &[("a", 9), ("b", 6)]).await;
    let created = async |n| world.must_create(creator(n)).await.host;
    world.faults.fail_next("runtime.start:a", 2);
    assert_eq!(created(1).await, host("b"), "a fails");
    world.eventually("a answers", first_is_up).await;
    assert_eq!(created(2).await, host("b"), "a has more room, but is in doubt");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(created(3).await, host("b"), "a is tried and fails again");
    assert_eq!(created(4).await, host("b"));
    tokio::time::sleep(Duration::from_secs(11)).await;
    world.faults.slow_next("runtime.start:a", Duration::from_secs(2));
    let (trial, beside) = tokio::join!(created(5), created(6));
    assert_eq!((trial, beside), (host("a"), host("b")), "one tries it, the other keeps away meanwhile");
    assert_eq!(created(7).await, host("a"), "it is trusted again");
    world.finish().await;
}

#[actix::test]
async fn a_host_in_doubt_is_chosen_when_no_other_has_room() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 2), ("b", 1)]).await;
    world.faults.fail_next("runtime.start:a", 1);
    assert_eq!(world.must_create(creator(1)).await.host, host("b"));
    world.eventually("a answers", first_is_up).await;
    assert_eq!(world.must_create(creator(2)).await.host, host("a"));
    world.finish().await;
}

#[actix::test]
async fn where_there_is_no_room_a_database_that_takes_no_writes_is_named_instead() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    world.must_create(creator(1)).await;
    world.faults.fail_next("store.ping", 1);
    let refused = world.create(request(creator(2))).await.unwrap();
    assert!(matches!(refused, Err(CreateError::Store(_))), "{refused:?}");
    let refused = world.create(request(creator(2))).await.unwrap();
    assert!(matches!(refused, Err(CreateError::NoPlace(_))), "{refused:?}");
    world.finish().await;
}

#[actix::test]
async fn when_every_host_fails_the_creator_is_told_and_the_row_ends_as_failed() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
    world.faults.fail_next("runtime.start:a", 1);
    world.faults.fail_next("runtime.start:b", 1);
    let answer = world.create(request(creator(1))).await;
    assert!(matches!(answer, Ok(Err(CreateError::Host(_)))), "{answer:?}");
    let states: Vec<_> = world.store.rows().into_iter().map(|row| row.state).collect();
    assert_eq!(states, [InstanceState::Ended(EndReason::Failed)]);
    world.finish().await;
}

#[actix::test]
async fn an_unreachable_host_is_not_chosen_and_is_chosen_again_once_it_answers() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
    world.runtimes.reach(&host("a"), Reach::Refusing);
    world
        .eventually("a is unreachable", async |world| {
            world.fleet().await.is_some_and(|fleet| fleet.hosts[0].reason.is_some())
        })
        .await;
    assert_eq!(world.must_create(creator(1)).await.host, host("b"));
    world.runtimes.reach(&host("b"), Reach::Refusing);
    world.runtimes.reach(&host("a"), Reach::Well);
    world
        .eventually("a is up and b is not", async |world| {
            world.fleet().await.is_some_and(|fleet| fleet.hosts[0].reason.is_none() && fleet.hosts[1].reason.is_some())
        })
        .await;
    assert_eq!(world.must_create(creator(2)).await.host, host("a"));
    world.runtimes.reach(&host("b"), Reach::Well);
    world.finish().await;
}

#[actix::test]
async fn a_cordoned_host_takes_nothing_until_it_is_uncordoned() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let cordon = |cordon| OrderCordon { name: host("a"), cordon };
    let within = Duration::from_secs(1);
    ask(&world.doors().cordon, cordon(Some(getaredis_actors::domain::Cordon::Cordoned)), within)
        .await
        .unwrap()
        .unwrap();
    let refused = world.create(request(creator(1))).await.unwrap().unwrap_err();
    assert_eq!(refused.to_string(), "no host has room: 1 host cordoned");
    ask(&world.doors().cordon, cordon(None), within).await.unwrap().unwrap();
    world.must_create(creator(1)).await;
    world.finish().await;
}

#[actix::test]
async fn twenty_concurrent_creates_of_one_creator_with_quota_six_give_exactly_six() {
    tokio::time::pause();
    let settings = Settings { quotas: Quotas { per_creator: 6, global: 0 }, ..settings() };
    let world = World::running(settings, &[("a", 40)]).await;
    let answers = join_all((0..20).map(|_| world.create(request(creator(1))))).await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count(), 6);
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(Err(CreateError::Quota(_))))).count(), 14);
    world.must_create(creator(2)).await;
    world.finish().await;
}

#[actix::test]
async fn the_quota_of_a_token_is_its_own_and_takes_nothing_from_an_address() {
    tokio::time::pause();
    let token = |name: &str| TokenName::parse(name).unwrap();
    let token_caps = [(token("ci"), 5), (token("free"), 0)].into();
    let settings = Settings { quotas: Quotas { per_creator: 2, global: 0 }, token_caps, ..settings() };
    let world = World::running(settings, &[("a", 40)]).await;
    for (who, most) in [("ci", 5), ("free", 10), ("plain", 2)] {
        let who = Creator::Token(token(who));
        let answers = join_all((0..10).map(|_| world.create(request(who.clone())))).await;
        assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count(), most, "{who}");
    }
    let answers = join_all((0..10).map(|_| world.create(request(creator(1))))).await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count(), 2);
    world.finish().await;
}

fn keyed(key: &str) -> CreateInstance {
    CreateInstance { idempotency_key: Some(IdempotencyKey::parse(key).unwrap()), ..request(creator(1)) }
}

#[actix::test]
async fn fifty_concurrent_creates_with_one_key_give_one_container_and_one_answer() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 40)]).await;
    let answers = join_all((0..50).map(|_| world.create(keyed("k")))).await;
    let created: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
    assert!(created.iter().all(|c| c.instance == created[0].instance));
    assert_eq!(created.iter().filter(|c| !c.replayed).count(), 1);
    assert_eq!(world.runtimes.containers(&host("a")), [Found { id: created[0].instance.id.clone(), running: true }]);
    world.finish().await;
}

#[actix::test]
async fn a_key_is_answered_again_also_when_the_fleet_is_full() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    let first = world.create(keyed("k")).await.unwrap().unwrap();
    let again = world.create(keyed("k")).await.unwrap().unwrap();
    assert_eq!((again.instance, again.replayed), (first.instance, true));
    world.finish().await;
}

#[actix::test]
async fn a_key_with_another_request_is_refused_and_with_another_creator_is_another_key() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let first = world.create(keyed("k")).await.unwrap().unwrap();
    let other = CreateInstance { label: Some(Label::parse("else").unwrap()), ..keyed("k") };
    assert!(matches!(world.create(other).await, Ok(Err(CreateError::KeyConflict))));
    let stranger = CreateInstance { creator: creator(2), ..keyed("k") };
    assert_ne!(world.create(stranger).await.unwrap().unwrap().instance.id, first.instance.id);
    world.finish().await;
}

#[actix::test]
async fn a_key_whose_first_request_failed_may_be_tried_again() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    world.faults.fail_next("runtime.start:a", 1);
    assert!(world.create(keyed("k")).await.unwrap().is_err());
    world
        .eventually("the host has answered again", async |world| {
            world.fleet().await.is_some_and(|fleet| fleet.refusal.is_none())
        })
        .await;
    assert!(!world.create(keyed("k")).await.unwrap().unwrap().replayed);
    world.finish().await;
}

#[actix::test]
async fn more_creates_at_once_than_may_be_worked_on_are_told_so() {
    tokio::time::pause();
    let world = World::running(Settings { max_in_flight: 3, ..settings() }, &[("a", 40)]).await;
    let answers = join_all((0..5).map(|n| world.create(request(creator(n))))).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Ok(Err(CreateError::Busy { in_flight: 3 })))).count();
    assert_eq!(busy, 2);
    world.finish().await;
}

#[actix::test]
async fn a_store_that_fails_refuses_creates_and_leaves_nothing_behind() {
    tokio::time::pause();
    for lie in [false, true] {
        for op in ["store.admit", "store.apply"] {
            let world = World::running(settings(), &[("a", 4)]).await;
            if lie {
                world.faults.lie_next(op)
            } else {
                world.faults.fail_next(op, 1)
            }
            let answer = world.create(request(creator(1))).await;
            assert!(matches!(answer, Ok(Err(CreateError::Store(_)))), "{op} {lie}: {answer:?}");
            world.must_create(creator(2)).await;
            world.finish().await;
        }
    }
}

#[actix::test]
async fn unknown_flavours_and_leases_out_of_bounds_are_refused_before_anything_happens() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let odd = CreateInstance { flavour: Some("kv".into()), ..request(creator(1)) };
    assert!(matches!(world.create(odd).await, Ok(Err(CreateError::UnknownFlavour { .. }))));
    let endless = CreateInstance { ttl: Some(Duration::MAX), ..request(creator(1)) };
    assert!(matches!(world.create(endless).await, Ok(Err(CreateError::Lease(_)))));
    assert_eq!(world.store.rows(), []);
    world.finish().await;
}
