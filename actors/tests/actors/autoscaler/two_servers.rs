//! Two servers on one database, one pool of droplets.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use getaredis_actors::{
    autoscaler::messages::{DescribeScaling, ResumeScaling},
    brain::{Brain, Ports},
    domain::{Cordon, DeploymentId, Health, MasterKey, scaling::ScalingPolicy},
    ports::Store,
    scheduler::messages::{CreateError, CreateInstance, DescribeFleet},
    sim::{
        harness::{self, Answer},
        runtime::Reach,
    },
    supervision::ask,
};
use tokio::time::{Instant, sleep};

use super::world::{BOOT, MINUTE, SLOTS, World, policy};
use crate::support::seconds;

fn brain(world: &World) -> Brain {
    let ports = Ports { store: Arc::new(world.store.clone().shared()), ..world.ports.clone() };
    let deployment = DeploymentId::parse("test").unwrap();
    Brain::start(deployment, ports, world.settings.clone(), Arc::new(MasterKey::new([7; 32])))
}

async fn explains(brain: &Brain) -> Vec<String> {
    ask(&brain.doors.scaling, DescribeScaling, seconds(5)).await.unwrap().explanation
}

fn follows(explanation: &[String]) -> bool {
    explanation[0].starts_with("another server looks after the pool")
}

/// Two servers and their pool after ten minutes: the one that looks after it, and the other one.
async fn leader_and_follower(policy: ScalingPolicy) -> (World, Brain, Brain) {
    let mut world = World::paused(policy);
    world.child = None;
    sleep(seconds(1)).await;
    let (first, second) = (brain(&world), brain(&world));
    sleep(10 * MINUTE).await;
    let (one, other) = (explains(&first).await, explains(&second).await);
    assert!(follows(&one) != follows(&other), "{one:?} {other:?}");
    if follows(&other) { (world, first, second) } else { (world, second, first) }
}

fn asks(brain: &Brain, who: std::ops::Range<u16>) -> impl Future<Output = Vec<Answer>> + use<> {
    let door = brain.doors.create.clone();
    let lasting = |n| CreateInstance { ttl: Some(60 * MINUTE), ..harness::request(harness::creator(n)) };
    join_all(who.map(move |n| {
        let door = door.clone();
        async move { ask(&door, lasting(n), 5 * MINUTE).await }
    }))
}

fn all_are_served(answers: &[Answer]) {
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Ok(_)))), "{answers:?}");
}

#[actix::test]
async fn one_of_two_servers_looks_after_the_pool_and_the_other_one_when_that_is_dead() {
    let (world, leader, follower) = leader_and_follower(ScalingPolicy { max_hosts: 3, ..policy() }).await;
    assert_eq!((world.cloud.ordered(), world.cloud.alive().len()), (1, 1));
    for n in 0..60 {
        all_are_served(&asks(if n % 2 == 0 { &leader } else { &follower }, n..n + 1).await);
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

#[actix::test]
async fn creates_that_wait_at_the_other_server_are_bought_for_within_seconds_and_once() {
    let without_reserve = ScalingPolicy { standby: 0, max_hosts: 3, create_burst: 3, ..policy() };
    let (world, leader, follower) = leader_and_follower(without_reserve).await;
    assert_eq!(world.cloud.ordered(), 0);
    let most = u16::try_from(SLOTS).unwrap();
    let served = actix::spawn(asks(&follower, 0..most));
    sleep(seconds(6)).await;
    assert_eq!(world.cloud.ordered(), 1, "{:?}", explains(&leader).await);
    let fleet = ask(&leader.doors.fleet, DescribeFleet, seconds(5)).await.unwrap();
    assert_eq!((fleet.waiting, fleet.waiting_elsewhere), (0, SLOTS));
    let explanation = explains(&leader).await;
    assert!(explanation.iter().any(|line| line.ends_with("; 40 creates wait")), "{explanation:?}");
    // The host that was bought is full to the last slot when all of them are served, and nothing more is needed.
    all_are_served(&served.await.unwrap());
    sleep(10 * MINUTE).await;
    assert_eq!((world.cloud.ordered(), world.cloud.alive().len()), (1, 1));
    // One more than there is room for, at each of them.
    let (here, there) = join(asks(&leader, 100..101), asks(&follower, 101..102)).await;
    all_are_served(&here);
    all_are_served(&there);
    sleep(10 * MINUTE).await;
    assert_eq!((world.cloud.ordered(), world.cloud.most_ever()), (2, 2));
    assert_eq!(world.fleet.runtimes.casualties(), []);
}

#[actix::test]
async fn a_host_on_which_the_starts_of_the_other_server_fail_is_no_room_for_those_who_wait_there() {
    let no_more_than_needed = ScalingPolicy { standby: 0, min_hosts: 1, max_hosts: 2, ..policy() };
    let (world, leader, follower) = leader_and_follower(no_more_than_needed).await;
    let [broken] = &world.cloud.alive()[..] else { panic!("{:?}", world.cloud.alive()) };
    world.fleet.runtimes.reach(&broken.name, Reach::Full);
    // Nobody asks the leader, which so knows of it by hearsay only.
    for n in 1..4 {
        let [Ok(Err(CreateError::Host(_)))] = &asks(&follower, n..n + 1).await[..] else { panic!("{n} started") };
    }
    let next = asks(&follower, 4..5).await;
    let [Ok(Ok(made))] = &next[..] else { panic!("{next:?}: {:?}", explains(&leader).await) };
    assert_ne!(made.instance.host, broken.name);
    assert_eq!((world.cloud.ordered(), world.cloud.most_ever()), (2, 2), "{:?}", explains(&leader).await);
    // The leader's own view is its own: its starts may succeed where those of the other one do not.
    let fleet = ask(&leader.doors.fleet, DescribeFleet, seconds(5)).await.unwrap();
    assert!(fleet.hosts.iter().all(|host| host.state == Health::Up), "{:?}", fleet.hosts);
}

#[actix::test]
async fn what_the_provider_refuses_one_server_the_other_knows_and_so_does_whoever_comes_after_both() {
    let (world, leader, follower) =
        leader_and_follower(ScalingPolicy { max_hosts: 3, retry_after: 20 * MINUTE, ..policy() }).await;
    world.cloud.sell_out(true);
    all_are_served(&asks(&follower, 0..u16::try_from(SLOTS).unwrap()).await);
    // The leader has asked, and the other one made its next pass.
    sleep(2 * MINUTE).await;
    let is_held = |told: &[String]| told.iter().any(|line| line.contains("nothing is bought for"));
    for brain in [&leader, &follower] {
        let told = explains(brain).await;
        assert!(is_held(&told), "{told:?}");
        let asked = Instant::now();
        let [Ok(Err(CreateError::NoPlace(_)))] = &asks(brain, 100..101).await[..] else { panic!("a place") };
        assert!(asked.elapsed() < seconds(1));
    }
    assert_eq!(world.faults.calls("cloud.create"), 2, "the host that is there, and the refusal");
    drop((leader, follower));
    let next = brain(&world);
    sleep(2 * MINUTE).await;
    let told = explains(&next).await;
    assert!(is_held(&told) && !follows(&told), "{told:?}");
    assert_eq!(world.faults.calls("cloud.create"), 2);

    world.cloud.sell_out(false);
    sleep(30 * MINUTE).await;
    assert_eq!((world.cloud.ordered(), world.cloud.alive().len()), (2, 2));
}

#[actix::test]
async fn whoever_has_mended_the_cause_resumes_at_any_server_and_waits_for_nothing() {
    let (world, leader, follower) =
        leader_and_follower(ScalingPolicy { max_hosts: 3, retry_after: 20 * MINUTE, ..policy() }).await;
    for (times, at) in [(1, &leader), (2, &follower)] {
        world.cloud.sell_out(true);
        all_are_served(&asks(&follower, 0..u16::try_from(SLOTS).unwrap()).await);
        sleep(2 * MINUTE).await;
        assert!(explains(&leader).await.iter().any(|line| line.contains("nothing is bought for")));
        world.cloud.sell_out(false);
        ask(&at.doors.resume_scaling, ResumeScaling, seconds(40)).await.unwrap();
        // The leader's next pass.
        sleep(MINUTE).await;
        assert_eq!(world.cloud.ordered(), 1 + times, "{:?}", explains(&leader).await);
        sleep(2 * BOOT).await;
    }
}

#[actix::test]
async fn creates_at_the_other_server_are_refused_at_once_where_the_pool_may_not_grow() {
    let (world, leader, follower) = leader_and_follower(ScalingPolicy { standby: 0, max_hosts: 1, ..policy() }).await;
    let most = u16::try_from(SLOTS).unwrap();
    all_are_served(&asks(&follower, 0..most).await);
    // Its next pass.
    sleep(MINUTE).await;
    let asked = Instant::now();
    let [Ok(Err(CreateError::NoPlace(_)))] = &asks(&follower, 100..101).await[..] else { panic!("a place") };
    assert!(asked.elapsed() < seconds(1));
    assert_eq!(world.cloud.ordered(), 1);
    drop(leader);
}

#[actix::test]
async fn a_create_that_meets_a_host_which_the_other_server_deletes_waits_for_the_next_one_in_peace() {
    let one_is_kept = ScalingPolicy { standby: 0, min_hosts: 1, max_hosts: 2, ..policy() };
    let (world, leader, follower) = leader_and_follower(one_is_kept).await;
    let [host] = &world.cloud.alive()[..] else { panic!("{:?}", world.cloud.alive()) };
    assert!(world.store.condemn_droplet(&host.name, host.created_at).await.unwrap());
    let admissions = world.faults.calls("store.admit");
    let answers = asks(&follower, 0..1).await;
    let [Ok(Ok(made))] = &answers[..] else { panic!("{answers:?}: {:?}", explains(&leader).await) };
    assert_ne!(made.instance.host, host.name);
    let tries = world.faults.calls("store.admit") - admissions;
    assert!(tries < 5, "{tries} admissions were tried");
    // Whoever looks at the follower sees what is going on.
    let fleet = ask(&follower.doors.fleet, DescribeFleet, seconds(5)).await.unwrap();
    assert!(fleet.hosts.iter().all(|shown| shown.name != host.name || shown.cordon == Some(Cordon::Draining)));
}
