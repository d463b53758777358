//! The harness itself: whatever a world must not end with fails its test.

use getaredis_actors::{
    domain::{EndReason, InstanceEvent},
    ports::{Clock, Store},
    sim::harness::{World, creator, settings},
    supervision::Status,
};
use tokio::time::sleep;

use crate::{host, support::seconds};

async fn world() -> World {
    tokio::time::pause();
    World::running(settings(), &[("a", 4)]).await
}

#[actix::test]
#[should_panic(expected = "nobody expected ChildReport { name: \"reaper\"")]
async fn a_panic_that_nobody_expected_fails_the_test() {
    let world = world().await;
    world.faults.panic_next("store.due");
    sleep(seconds(5)).await;
    world.finish().await;
}

#[actix::test]
#[should_panic(expected = "nobody expected ChildReport { name: \"reaper\"")]
async fn a_panic_of_another_actor_than_the_expected_one_fails_the_test() {
    let mut world = world().await;
    world.expect_restarts(&["discovery"]);
    world.faults.panic_next("store.due");
    sleep(seconds(5)).await;
    world.finish().await;
}

#[actix::test]
#[should_panic(expected = "nobody expected ChildReport { name: \"reaper\"")]
async fn a_panic_before_a_crash_fails_the_test() {
    let mut world = world().await;
    world.faults.panic_next("store.due");
    sleep(seconds(5)).await;
    world.crash().await;
    world.start().await;
    world.finish().await;
}

#[actix::test]
#[should_panic(expected = "nobody expected ChildReport { name: \"reaper\", status: Down")]
async fn an_actor_that_is_down_fails_the_test() {
    let mut world = world().await;
    world.expect_restarts(&["reaper"]);
    for _ in 0..11 {
        world.faults.panic_next("store.due");
    }
    let down = |world: &World| world.brain().roster.report("reaper").is_some_and(|r| r.status == Status::Down);
    world.eventually("the reaper is down", async |world| down(world)).await;
    world.finish().await;
}

#[actix::test]
#[should_panic(expected = "never came true: rows, ledger and containers agree")]
async fn a_container_that_is_left_over_fails_the_test() {
    let world = world().await;
    world.faults.fail_always("runtime.remove:a");
    world.runtimes.plant(&host("a"), &world.clock.new_id());
    world.finish().await;
}

#[actix::test]
#[should_panic(expected = "on a 1 slots are taken by 0 rows")]
async fn a_slot_that_is_left_over_fails_the_test() {
    let world = world().await;
    let instance = world.must_create(creator(1)).await;
    // Nobody compares the ledger with the rows any more, so that it never finds out what happened behind its back.
    world.faults.fail_always("store.live");
    for event in [InstanceEvent::StopRequested { reason: EndReason::Deleted }, InstanceEvent::ConfirmedGone] {
        world.store.apply(&instance.id, &event, world.clock.now()).await.unwrap();
    }
    world.runtimes.remove_by_hand(&instance.host, &instance.id);
    world.finish().await;
}

#[actix::test]
#[should_panic(expected = "a carried 2 of 1")]
async fn a_host_that_ever_carried_more_than_its_slots_fails_the_test() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    for _ in 0..2 {
        world.runtimes.plant(&host("a"), &world.clock.new_id());
    }
    world.finish().await;
}

#[actix::test]
#[should_panic(expected = "the test did not finish its world")]
async fn a_test_that_forgets_to_finish_fails() {
    drop(world().await);
}
