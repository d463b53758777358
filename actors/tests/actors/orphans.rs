//! Containers that no row claims, and databases that are not what they were.

use std::time::Duration;

use getaredis_actors::{
    domain::{EndReason, Instance, InstanceId, InstanceState, LeasePolicy},
    ports::Clock,
    reaper::messages::{ReaperStatus, SweepNow},
    settings::Settings,
    sim::{
        harness::{World, creator, settings},
        runtime::Reach,
        samples,
        store::SimStore,
    },
    supervision::ask,
};
use tokio::time::sleep;

use crate::host;

const WITHIN: Duration = Duration::from_secs(120);

const LIFETIME: Duration = Duration::from_secs(4 * 3600);

/// No instance lives for longer than [`LIFETIME`].
fn short_lived() -> Settings {
    let usual = settings();
    let lease = LeasePolicy { default_ttl: LIFETIME, max_ttl: LIFETIME, max_lifetime: LIFETIME, ..usual.lease };
    Settings { lease, ..usual }
}

async fn world() -> World {
    tokio::time::pause();
    World::running(short_lived(), &[("a", 4)]).await
}

async fn sweep(world: &World) -> ReaperStatus {
    ask(&world.doors().sweep, SweepNow, WITHIN).await.unwrap()
}

fn containers(world: &World) -> Vec<InstanceId> {
    world.runtimes.containers(&host("a")).into_iter().map(|found| found.id).collect()
}

async fn used(world: &World) -> u32 {
    world.fleet().await.unwrap().hosts[0].used
}

/// The two that are there, of which the database has never heard of one or both, stay until no lease can be as long.
async fn are_left_alone(world: World, there: [Instance; 2], unknown: u64) {
    let made_last = there.iter().filter_map(|instance| instance.id.made_at()).max().unwrap();
    let status = sweep(&world).await;
    assert_eq!(
        (status.orphans.unknown, status.orphans.container, status.orphans_removed),
        (unknown, 0, 0),
        "{status:?}"
    );
    assert_eq!(containers(&world), there.each_ref().map(|instance| instance.id.clone()));
    world.eventually("they take slots", async |world| used(world).await == 2).await;
    // There is room beside them, and no more than that.
    for n in 5..7 {
        world.must_create(creator(n)).await;
    }
    assert!(world.create(getaredis_actors::sim::harness::request(creator(9))).await.unwrap().is_err());
    let left = Duration::try_from((made_last + LIFETIME).duration_since(world.clock.now())).unwrap();
    sleep(left - Duration::from_secs(1)).await;
    assert!(containers(&world).contains(&there[1].id), "it may still be somebody's");
    world.eventually("they are over", async |world| there.iter().all(|i| !containers(world).contains(&i.id))).await;
    assert_eq!(sweep(&world).await.orphans.unknown, 0);
    world.finish().await;
}

#[actix::test]
async fn on_an_empty_database_nobodys_instance_is_ended_before_its_longest_lease_would_be() {
    let mut world = world().await;
    let there = [world.must_create(creator(1)).await, world.must_create(creator(2)).await];
    world.crash().await;
    world.store = SimStore::new(world.faults.clone());
    world.start().await;
    are_left_alone(world, there, 2).await;
}

#[actix::test]
async fn on_a_copy_of_the_database_what_was_created_after_it_was_made_is_left_alone() {
    let mut world = world().await;
    let before = world.must_create(creator(1)).await;
    let copy = world.store.back_up();
    let after = world.must_create(creator(2)).await;
    world.crash().await;
    world.store.restore(&copy);
    world.start().await;
    are_left_alone(world, [before, after], 1).await;
}

#[actix::test]
async fn a_copy_that_is_put_beneath_a_server_at_work_is_noticed() {
    let world = world().await;
    let before = world.must_create(creator(1)).await;
    let copy = world.store.back_up();
    sleep(world.settings.reaper.sweep * 3).await;
    let after = world.must_create(creator(2)).await;
    sweep(&world).await;
    world.store.restore(&copy);
    are_left_alone(world, [before, after], 1).await;
}

#[actix::test]
async fn while_there_is_what_the_database_does_not_know_nothing_new_is_taken_for_nobodys_either() {
    let mut world = world().await;
    let there = world.must_create(creator(1)).await;
    world.crash().await;
    // Another server works on the right database, beside one on an empty one.
    world.store = SimStore::new(world.faults.clone());
    world.start().await;
    sleep(Duration::from_secs(1)).await;
    let made_there = world.clock.new_id();
    world.runtimes.plant(&host("a"), &made_there);
    let status = sweep(&world).await;
    assert_eq!((status.orphans.unknown, status.orphans_removed), (2, 0));
    assert_eq!(containers(&world), [there.id, made_there]);
    sleep(LIFETIME + world.settings.reaper.sweep).await;
    world.finish().await;
}

#[actix::test]
async fn a_host_that_falls_silent_with_what_nobody_knows_is_not_forgotten_until_that_is_over() {
    let mut world = world().await;
    let there = world.must_create(creator(1)).await;
    world.crash().await;
    world.store = SimStore::new(world.faults.clone());
    world.start().await;
    sweep(&world).await;
    world.runtimes.reach(&host("a"), Reach::Refusing);
    world.directory.withdraw(&host("a"));
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(used(&world).await, 1, "whoever gives hosts back sees that this one is in use");
    assert_eq!(sweep(&world).await.orphans.unknown, 1);
    let left = Duration::try_from((there.id.made_at().unwrap() + LIFETIME).duration_since(world.clock.now())).unwrap();
    sleep(left + 2 * world.settings.reaper.sweep).await;
    world.eventually("it is forgotten", async |world| world.fleet().await.unwrap().hosts.is_empty()).await;
    assert_eq!(sweep(&world).await.orphans.unknown, 0);
    world.runtimes.remove_by_hand(&host("a"), &there.id);
    world.finish().await;
}

#[actix::test]
async fn what_ended_in_a_time_that_the_database_does_not_know_of_is_removed_all_the_same() {
    tokio::time::pause();
    let mut world = World::new(short_lived(), &[("a", 4)]);
    let id = world.clock.new_id();
    let row = Instance { id: id.clone(), ended_at: Some(world.clock.now()), ..samples::a_request(1).instance };
    world.store.seed(Instance { state: InstanceState::Ended(EndReason::Deleted), ..row });
    world.runtimes.plant(&host("a"), &id);
    world.faults.fail_always("store.known");
    sleep(Duration::from_secs(1)).await;
    world.start().await;
    let status = sweep(&world).await;
    assert!(status.last_error.is_some_and(|why| why.contains("store.known")), "nobody knows whether it was somebody's");
    assert_eq!((status.orphans.unknown, status.orphans_removed, containers(&world)), (0, 0, vec![id]));
    world.faults.heal("store.known");
    assert_eq!(sweep(&world).await.orphans_removed, 1);
    world.finish().await;
}

#[actix::test]
async fn while_nobody_can_write_down_that_the_server_is_at_work_nothing_new_is_taken_for_nobodys() {
    let world = world().await;
    world.faults.fail_always("store.attend");
    sleep(world.settings.reaper.sweep).await;
    let planted = world.clock.new_id();
    world.runtimes.plant(&host("a"), &planted);
    assert_eq!((sweep(&world).await.orphans.unknown, containers(&world)), (1, vec![planted]));
    world.faults.heal("store.attend");
    // The same server goes on: it has been there all the time.
    let status = sweep(&world).await;
    assert_eq!((status.orphans.unknown, status.orphans_removed), (0, 1));
    world.finish().await;
}
