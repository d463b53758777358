//! The autoscaler through its messages.

mod baking;
mod interleaving;
mod orders;
mod pressure;
mod two_servers;
mod world;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use getaredis_actors::{
    autoscaler::messages::{ScaleNow, ScalingStatus},
    brain::Brain,
    domain::{Cordon, DeploymentId, MasterKey, scaling::ScalingPolicy},
    scheduler::messages::{CordonHost, CreateInstance, DescribeFleet, FleetView},
    sim::{faults::Faults, harness},
    supervision::{Status, ask},
};
use tokio::time::sleep;

use self::world::{Auditor, MINUTE, UNCOUNTED, World, grow_and_shrink, policy};
use crate::support::{name, seconds};

#[actix::test]
async fn the_standby_boots_is_counted_and_nothing_more_is_done() {
    let world = World::paused(policy());
    sleep(3600 * seconds(24)).await;
    world.agrees(1).await;
    assert_eq!((world.cloud.ordered(), world.up().len()), (1, 1));
    let droplet = world.droplets().first().unwrap().clone();
    assert!(droplet.as_str().starts_with("test-"), "{droplet}");
}

#[actix::test]
async fn the_pool_grows_with_use_to_its_maximum_and_shrinks_when_it_is_idle() {
    let world = World::paused(policy());
    sleep(5 * MINUTE).await;
    let first = world.up()[0].clone();
    world.occupy(&first, 1);
    sleep(5 * MINUTE).await;
    world.agrees(2).await;
    let second = world.up().into_iter().find(|host| host != &first).unwrap();
    world.occupy(&second, 2);
    sleep(60 * MINUTE).await;
    world.agrees(2).await;
    let explanation = world.status().await.explanation.join("\n");
    assert!(explanation.contains("max_hosts allows no more"), "{explanation}");

    world.vacate(&first, 1);
    world.vacate(&second, 2);
    sleep(8 * MINUTE).await;
    world.agrees(2).await;
    sleep(10 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!(world.up().len(), 1);
}

#[actix::test]
async fn what_drains_is_taken_back_before_anything_is_bought() {
    let world = World::paused(ScalingPolicy { max_hosts: 3, ..policy() });
    sleep(5 * MINUTE).await;
    let first = world.up()[0].clone();
    world.occupy(&first, 1);
    sleep(40 * MINUTE).await;
    world.vacate(&first, 1);
    // One of the two begins to drain, and at once the other one is needed.
    while world.up().len() == 2 {
        sleep(seconds(1)).await;
    }
    let left = world.up()[0].clone();
    world.occupy(&left, 2);
    sleep(10 * MINUTE).await;
    assert_eq!((world.up().len(), world.cloud.ordered()), (2, 2));
    world.agrees(2).await;
}

#[actix::test]
async fn a_droplet_that_never_boots_is_replaced_and_deleted() {
    let world = World::paused(policy());
    world.cloud.next_never_boot(1);
    sleep(20 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!((world.cloud.ordered(), world.up().len()), (2, 1));
}

#[actix::test]
async fn a_droplet_without_a_row_is_reported_and_deleted_after_a_while() {
    let world = World::paused(policy());
    sleep(5 * MINUTE).await;
    let lost = name("test-lost");
    world.cloud.order(&lost);
    sleep(2 * MINUTE).await;
    let explanation = world.status().await.explanation.join("\n");
    assert!(explanation.contains("test-lost: it carries our tag and has no row"), "{explanation}");
    assert!(world.droplets().contains(&lost) && !world.up().contains(&lost), "it takes no instance meanwhile");
    sleep(10 * MINUTE).await;
    world.agrees(1).await;
}

#[actix::test]
async fn a_host_with_a_container_that_nobody_counts_is_not_deleted() {
    let world = World::paused(policy());
    sleep(5 * MINUTE).await;
    let host = world.up()[0].clone();
    world.occupy(&host, UNCOUNTED);
    world.fleet.cordon(CordonHost { name: host.clone(), cordon: Some(Cordon::Draining) }).unwrap();
    sleep(60 * MINUTE).await;
    assert!(world.droplets().contains(&host));
    let explanation = world.status().await.explanation.join("\n");
    assert!(explanation.contains("containers still on it: 1"), "{explanation}");
    world.vacate(&host, UNCOUNTED);
    sleep(5 * MINUTE).await;
    assert!(!world.droplets().contains(&host));
    world.agrees(1).await;
}

/// The old program judged by a stale heartbeat, so a host that had just been used could be deleted.
#[actix::test]
async fn a_host_that_is_given_an_instance_in_the_last_moment_is_not_deleted() {
    for last_moment in 0..2 {
        if last_moment == 0 {
            tokio::time::pause();
        }
        let world = World::new(policy());
        sleep(5 * MINUTE).await;
        let first = world.up()[0].clone();
        world.occupy(&first, 1);
        sleep(40 * MINUTE).await;
        *world.fleet.late_tenant.lock().unwrap() = Some(last_moment);
        world.vacate(&first, 1);
        sleep(60 * MINUTE).await;
        assert_eq!(world.fleet.runtimes.leftovers().len(), 1, "{last_moment}");
        world.agrees(2).await;
        assert_eq!((world.up().len(), world.cloud.ordered()), (2, 2));
    }
}

#[actix::test]
async fn nothing_is_bought_or_given_back_before_the_intent_is_in_the_books() {
    let mut world = World::paused(policy());
    let audited = Arc::new(Mutex::new(Vec::new()));
    let auditor = Auditor { cloud: world.cloud.clone(), store: world.store.clone(), audited: audited.clone() };
    world.ports.cloud = Some(Arc::new(auditor));
    world.restart().await;
    grow_and_shrink(&mut world).await;
    // It would have panicked, and been restarted.
    assert_eq!(world.child().report().restarts, 0);
    assert_eq!(audited.lock().unwrap()[..], ["creating", "creating", "deleting"]);
}

#[actix::test]
async fn while_the_scheduler_does_not_know_its_hosts_nothing_is_done() {
    let world = World::paused(policy());
    *world.fleet.ready.lock().unwrap() = false;
    sleep(60 * MINUTE).await;
    assert_eq!(world.cloud.ordered(), 0);
    assert_eq!(world.status().await.explanation, ["the scheduler does not know its hosts yet"]);
}

#[actix::test]
async fn without_a_cloud_it_idles_and_says_so() {
    let mut world = World::paused(policy());
    world.ports.cloud = None;
    world.restart().await;
    let status: ScalingStatus = ask(&world.child().addr().recipient(), ScaleNow, seconds(1)).await.unwrap();
    assert_eq!(status.explanation, ["no cloud is configured, so the pool neither grows nor shrinks"]);
    assert_eq!(status.passes, 0);
}

#[actix::test]
async fn who_asks_for_a_pass_is_answered_by_one_that_began_afterwards() {
    let world = World::paused(policy());
    sleep(seconds(1)).await;
    world.faults.slow_next("cloud.list", seconds(5));
    let to = world.child().addr().recipient();
    let (first, second) = tokio::join!(ask(&to, ScaleNow, MINUTE), async {
        sleep(seconds(1)).await;
        ask(&to, ScaleNow, MINUTE).await
    });
    assert_eq!((first.unwrap().passes, second.unwrap().passes), (2, 3));
    assert_eq!(world.cloud.ordered(), 1);
}

#[actix::test]
async fn a_droplet_that_never_boots_is_told_of_as_a_failure_once() {
    let world = World::paused(policy());
    world.cloud.next_never_boot(1);
    sleep(20 * MINUTE).await;
    let status = world.status().await;
    assert_eq!((status.totals.ordered, status.totals.failures), (2, 1), "{status:?}");
}

const CALLS: [&str; 13] = [
    "cloud.list",
    "cloud.create",
    "cloud.delete",
    "store.droplets",
    "store.builders",
    "store.live",
    "store.order_limits",
    "store.order_droplet",
    "store.hold_orders",
    "store.confirm_droplet",
    "store.condemn_droplet",
    "store.bury_droplet",
    "store.remove_droplet",
];

/// Those that change something.
const CHANGES: [&str; 7] = [
    "cloud.create",
    "cloud.delete",
    "store.order_droplet",
    "store.confirm_droplet",
    "store.condemn_droplet",
    "store.bury_droplet",
    "store.remove_droplet",
];

#[actix::test]
async fn a_call_that_fails_hangs_is_slow_or_lies_leaks_nothing() {
    tokio::time::pause();
    let faults: [fn(&Faults, &'static str); 4] = [
        |faults, call| faults.fail_next(call, 2),
        |faults, call| faults.hang_next(call),
        |faults, call| faults.slow_next(call, seconds(20)),
        |faults, call| faults.lie_next(call),
    ];
    for call in CALLS {
        for fault in faults {
            let mut world = World::new(policy());
            fault(&world.faults, call);
            grow_and_shrink(&mut world).await;
            world.agrees(1).await;
        }
    }
}

#[actix::test]
async fn a_process_that_dies_at_any_call_leaks_nothing() {
    let mut world = World::paused(policy());
    grow_and_shrink(&mut world).await;
    world.agrees(1).await;
    // Only the calls that change something are steps; the readings between them are one moment to the cloud.
    let log = world.faults.log();
    let steps = log.iter().enumerate().filter(|(_, call)| CHANGES.contains(call)).flat_map(|(n, _)| [n + 1, n + 2]);
    for n in steps.collect::<BTreeSet<_>>() {
        let mut world = World::new(policy());
        world.faults.freeze_at(n as u64);
        grow_and_shrink(&mut world).await;
        assert!(world.faults.log().len() > n, "it died");
        world.agrees(1).await;
    }
}

/// With the real scheduler, discovery and reaper in place of the stand-ins.
#[actix::test]
async fn a_whole_brain_grows_with_its_tenants_and_shrinks_when_they_have_gone() {
    let mut world = World::paused(ScalingPolicy { max_hosts: 3, ..policy() });
    world.child = None;
    sleep(seconds(1)).await;
    let key = Arc::new(MasterKey::new([7; 32]));
    let brain =
        Brain::start(DeploymentId::parse("test").unwrap(), world.ports.clone(), world.settings.clone(), key.clone());
    sleep(10 * MINUTE).await;
    let fleet = async || -> FleetView { ask(&brain.doors.fleet, DescribeFleet, seconds(5)).await.unwrap() };
    assert_eq!(fleet().await.hosts.len(), 1);

    // More than one droplet carries, asked for at once when there is room.
    for n in 0..60 {
        let request = CreateInstance { ttl: Some(120 * MINUTE), ..harness::request(harness::creator(n)) };
        ask(&brain.doors.create, request, MINUTE).await.unwrap().unwrap();
        if n == 20 {
            sleep(10 * MINUTE).await;
        }
    }
    sleep(10 * MINUTE).await;
    assert_eq!(world.cloud.alive().len(), 3);
    assert_eq!(world.fleet.runtimes.leftovers().len(), 60);

    sleep(180 * MINUTE).await;
    assert_eq!(world.fleet.runtimes.leftovers(), []);
    let left = fleet().await.hosts;
    assert_eq!((world.cloud.alive().len(), left.len()), (1, 1), "{left:?}");
    assert_eq!((world.cloud.most_ever(), world.fleet.runtimes.casualties().len()), (3, 0));
    for report in brain.roster.reports() {
        assert_eq!((&report.status, report.restarts), (&Status::Up, 0), "{report:?}");
    }
}
