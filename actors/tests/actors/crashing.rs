//! The process dies at every step of a create and a delete, and single actors die at every call they make. Afterwards
//! rows, ledger and containers agree, and whoever was answered has what they were promised.

use std::{cell::RefCell, time::Duration};

use getaredis_actors::{
    domain::{EndReason, IdempotencyKey, Instance, InstanceState, Quotas, Strategy},
    ports::Clock,
    scheduler::messages::{CreateInstance, DeleteInstance},
    settings::{ReaperSettings, Settings},
    sim::{
        harness::{World, creator, request, settings},
        runtime::Reach,
        samples,
    },
    supervision::ask,
};

use crate::host;

/// Long enough for every deadline of a create and its sweep.
const AFTERMATH: Duration = Duration::from_secs(300);

/// Creates two instances on two hosts, the first after a host failed, and deletes the second. Each step may go
/// unanswered.
async fn scenario(world: &World, promises: &RefCell<Promises>) {
    world.faults.fail_next("runtime.start:a", 1);
    if let Ok(Ok(created)) = world.create(request(creator(1))).await {
        promises.borrow_mut().alive.push(created.instance.id);
    }
    if let Ok(Ok(created)) = world.create(request(creator(2))).await {
        let id = created.instance.id;
        let delete = DeleteInstance { id: id.clone(), reason: EndReason::Deleted };
        // Unanswered, it may be ended or not.
        if let Ok(Ok(_)) = ask(&world.doors().delete, delete, Duration::from_secs(120)).await {
            promises.borrow_mut().ended.push(id);
        }
    }
}

/// What the creators were told, kept outside of what a crash drops.
#[derive(Default)]
struct Promises {
    alive: Vec<getaredis_actors::domain::InstanceId>,
    ended: Vec<getaredis_actors::domain::InstanceId>,
}

impl Promises {
    fn check(&self, world: &World, step: u64) {
        let state = |id| world.store.rows().into_iter().find(|row| &row.id == id).map(|row| row.state);
        for id in &self.alive {
            assert_eq!(state(id), Some(InstanceState::Running), "step {step}");
        }
        for id in &self.ended {
            assert_eq!(state(id), Some(InstanceState::Ended(EndReason::Deleted)), "step {step}");
        }
    }
}

#[actix::test]
async fn a_process_that_dies_at_any_step_leaves_rows_ledger_and_containers_in_agreement() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
    let before = world.faults.total_calls();
    scenario(&world, &RefCell::default()).await;
    let steps = world.faults.total_calls() - before;
    world.finish().await;
    assert!(steps >= 10, "the scenario makes {steps} calls only");

    let mut kept = 0;
    for step in 1..=steps {
        let mut world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
        world.faults.freeze_at(step);
        let promises = RefCell::default();
        tokio::select! {
            () = scenario(&world, &promises) => {}
            () = world.faults.until_frozen() => {}
        }
        world.crash().await;
        world.start().await;
        tokio::time::sleep(AFTERMATH).await;
        let promises = promises.into_inner();
        promises.check(&world, step);
        kept += promises.alive.len() + promises.ended.len();
        world.must_create(creator(3)).await;
        world.finish().await;
    }
    assert!(kept > 0, "no crash came after an answer");
}

/// Nothing of a long life is waited for by the hour, and what is done periodically is done rarely.
fn hurried() -> Settings {
    let (usual, second) = (settings(), Duration::from_secs(1));
    let reaper =
        ReaperSettings { lost_after: 120 * second, keep_ended: 600 * second, poll: 5 * second, ..usual.reaper };
    Settings { reaper, strategy: Strategy::Spread, ..usual }
}

/// What ended long ago, in more than one batch.
fn seed_ended(world: &World) {
    for _ in 0..150 {
        let (id, ended_at) = (world.clock.new_id(), Some(world.clock.now() - Duration::from_secs(3600)));
        let row = samples::a_request(1).instance;
        world.store.seed(Instance { id, ended_at, state: InstanceState::Ended(EndReason::Expired), ..row });
    }
}

/// One instance is tried on a second host, warned of, unreachable for a while and expires; another one is given up with
/// its host, which comes back with what it carries; a third one is deleted meanwhile. Old rows are forgotten.
async fn long_life(world: &World) {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let with_ttl = |n, ttl| CreateInstance { ttl: Some(ttl), ..request(creator(n)) };
    world.faults.fail_next("runtime.start:a", 1);
    let _ = world.create(with_ttl(1, minutes(6))).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let _ = world.create(with_ttl(2, minutes(60))).await;
    let deleted = world.create(with_ttl(3, minutes(60))).await;
    for name in ["a", "b"] {
        world.runtimes.reach(&host(name), Reach::Refusing);
    }
    tokio::time::sleep(Duration::from_secs(40)).await;
    world.runtimes.reach(&host("b"), Reach::Well);
    if let Ok(Ok(created)) = deleted {
        let delete = DeleteInstance { id: created.instance.id, reason: EndReason::Deleted };
        let _ = ask(&world.doors().delete, delete, Duration::from_secs(120)).await;
    }
    tokio::time::sleep(minutes(3)).await;
    world.runtimes.reach(&host("a"), Reach::Well);
    tokio::time::sleep(minutes(4)).await;
}

const STEPS_OF_A_LONG_LIFE: [&str; 14] = [
    "store.admit",
    "store.relocate",
    "store.apply",
    "store.warnings_due",
    "store.purge",
    "store.beat",
    "store.attend",
    "store.live",
    "store.instance",
    "runtime.start:a",
    "runtime.start:b",
    "runtime.remove:a",
    "runtime.remove:b",
    "runtime.inventory:a",
];

/// Calls of one operation that are tried; the later ones of those that are made again and again are like the first.
const MOST_CALLS: usize = 20;

async fn long_world() -> World {
    let mut world = World::new(hurried(), &[("a", 4), ("b", 4)]);
    world.store = world.store.clone().shared();
    seed_ended(&world);
    world.start().await;
    world
}

async fn a_long_life_that_is_cut_off(after: bool) {
    tokio::time::pause();
    let world = long_world().await;
    let before = STEPS_OF_A_LONG_LIFE.map(|op| world.faults.calls(op));
    long_life(&world).await;
    let calls: Vec<_> = STEPS_OF_A_LONG_LIFE.iter().zip(before).map(|(op, n)| world.faults.calls(op) - n).collect();
    let reasons: Vec<_> = world.store.rows().iter().filter_map(|row| row.state.reason()).collect();
    assert_eq!(reasons, [EndReason::Expired, EndReason::Lost, EndReason::Lost], "the life is as long as it should be");
    world.finish().await;

    for (op, calls) in STEPS_OF_A_LONG_LIFE.into_iter().zip(calls) {
        assert!(calls > 0, "{op} is no step of this life");
        for skip in 0..calls.min(MOST_CALLS) {
            let mut world = long_world().await;
            world.faults.pass_next(op, skip);
            if after {
                world.faults.die_after_next(op)
            } else {
                world.faults.die_before_next(op)
            }
            tokio::select! {
                () = long_life(&world) => {}
                () = world.faults.until_frozen() => {}
            }
            world.crash().await;
            for name in ["a", "b"] {
                world.runtimes.reach(&host(name), Reach::Well);
            }
            // The life may not have come to a call that late.
            world.faults.heal(op);
            world.faults.heal("runtime.start:a");
            world.start().await;
            tokio::time::sleep(AFTERMATH).await;
            let old = world
                .store
                .rows()
                .iter()
                .filter(|row| row.created_at == samples::a_request(1).instance.created_at)
                .count();
            assert_eq!(old, 0, "{op} {skip}: forgetting goes on");
            world.must_create(creator(4)).await;
            world.finish().await;
        }
    }
}

#[actix::test]
async fn a_process_that_dies_before_any_step_of_a_long_life_is_taken_over_by_the_next_one() {
    a_long_life_that_is_cut_off(false).await;
}

#[actix::test]
async fn a_process_that_dies_after_any_step_of_a_long_life_is_taken_over_by_the_next_one() {
    a_long_life_that_is_cut_off(true).await;
}

#[actix::test]
async fn an_actor_that_panics_at_any_call_leaves_rows_ledger_and_containers_in_agreement() {
    tokio::time::pause();
    let ops = [
        "store.admit",
        "store.apply",
        "store.live",
        "store.due",
        "store.instance",
        "store.relocate",
        "store.warnings_due",
        "store.purge",
        "runtime.start:a",
        "runtime.start:b",
        "runtime.remove:a",
        "runtime.remove:b",
        "runtime.probe:a",
        "runtime.inventory:b",
        "directory.read",
    ];
    for op in ops {
        for skip in 0..3 {
            let mut world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
            world.expect_restarts(&["scheduler", "reaper", "discovery", "feed", "host:a", "host:b"]);
            world.faults.pass_next(op, skip);
            world.faults.panic_next(op);
            let promises = RefCell::default();
            scenario(&world, &promises).await;
            tokio::time::sleep(AFTERMATH).await;
            // The scenario may not have come to a call that late.
            world.faults.heal(op);
            promises.into_inner().check(&world, skip as u64);
            world.must_create(creator(3)).await;
            world.finish().await;
        }
    }
}

#[actix::test]
async fn a_create_that_a_crash_cut_off_costs_its_creator_nothing_after_the_restart() {
    tokio::time::pause();
    let settings = Settings { quotas: Quotas { per_creator: 1, global: 0 }, ..settings() };
    let mut world = World::running(settings, &[("a", 4)]).await;
    let keyed = CreateInstance { idempotency_key: Some(IdempotencyKey::parse("k").unwrap()), ..request(creator(1)) };
    world.faults.slow_next("runtime.start:a", Duration::from_secs(10));
    tokio::select! {
        answer = world.create(keyed.clone()) => panic!("answered: {answer:?}"),
        () = tokio::time::sleep(Duration::from_secs(5)) => {}
    }
    assert_eq!(world.live_rows()[0].state, InstanceState::Creating);
    world.crash().await;
    world.start().await;
    let again = world.create(keyed).await.unwrap().unwrap();
    assert!(!again.replayed);
    world.finish().await;
}
