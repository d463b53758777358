//! The process dies at every step of a create and a delete, and single actors die at every call they make. Afterwards
//! rows, ledger and containers agree, and whoever was answered has what they were promised.

use std::{cell::RefCell, time::Duration};

use getaredis_actors::{
    domain::{EndReason, IdempotencyKey, InstanceState, Quotas},
    scheduler::messages::{CreateInstance, DeleteInstance},
    settings::Settings,
    sim::harness::{World, creator, request, settings},
    supervision::ask,
};

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

#[actix::test]
async fn an_actor_that_panics_at_any_call_leaves_rows_ledger_and_containers_in_agreement() {
    tokio::time::pause();
    let ops = [
        "store.admit",
        "store.apply",
        "store.live",
        "store.due",
        "store.instance",
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
            world.expect_restarts();
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
