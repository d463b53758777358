//! Two servers on one database, one pool of droplets.

use std::sync::Arc;

use getaredis_actors::{
    autoscaler::messages::DescribeScaling,
    brain::{Brain, Ports},
    domain::{DeploymentId, MasterKey, scaling::ScalingPolicy},
    scheduler::messages::CreateInstance,
    sim::harness,
    supervision::ask,
};
use tokio::time::sleep;

use super::world::{MINUTE, World, policy};
use crate::support::seconds;

fn brain(world: &World) -> Brain {
    let ports = Ports { store: Arc::new(world.store.clone().shared()), ..world.ports.clone() };
    let deployment = DeploymentId::parse("test").unwrap();
    Brain::start(deployment, ports, world.settings.clone(), Arc::new(MasterKey::new([7; 32])))
}

async fn explains(brain: &Brain) -> Vec<String> {
    ask(&brain.doors.scaling, DescribeScaling, seconds(5)).await.unwrap().explanation
}

#[actix::test]
async fn one_of_two_servers_looks_after_the_pool_and_the_other_one_when_that_is_dead() {
    let mut world = World::paused(ScalingPolicy { max_hosts: 3, ..policy() });
    world.child = None;
    sleep(seconds(1)).await;
    let (first, second) = (brain(&world), brain(&world));
    sleep(10 * MINUTE).await;
    assert_eq!((world.cloud.ordered(), world.cloud.alive().len()), (1, 1));
    let follows = |explanation: &[String]| explanation[0].starts_with("another server looks after the pool");
    let (one, other) = (explains(&first).await, explains(&second).await);
    assert!(follows(&one) != follows(&other), "{one:?} {other:?}");
    let (leader, follower) = if follows(&other) { (first, second) } else { (second, first) };

    for n in 0..60 {
        let door = if n % 2 == 0 { &leader.doors.create } else { &follower.doors.create };
        let request = CreateInstance { ttl: Some(60 * MINUTE), ..harness::request(harness::creator(n)) };
        ask(door, request, 5 * MINUTE).await.unwrap().unwrap();
    }
    sleep(5 * MINUTE).await;
    assert_eq!((world.cloud.ordered(), world.cloud.alive().len()), (3, 3));

    drop(leader);
    sleep(120 * MINUTE).await;
    let explanation = explains(&follower).await;
    assert!(!follows(&explanation), "{explanation:?}");
    assert_eq!(world.fleet.runtimes.leftovers(), []);
    assert_eq!((world.cloud.ordered(), world.cloud.alive().len(), world.cloud.most_ever()), (3, 1, 3));
    assert_eq!(world.fleet.runtimes.casualties(), []);
}
