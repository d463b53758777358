//! What the operator orders outlives the server and holds for all servers on the database.

use std::time::Duration;

use getaredis_actors::{
    brain::Doors,
    domain::{Cordon, EndReason},
    ports::Store,
    scheduler::messages::{CordonError, DeleteInstance, DescribeFleet, HostView, OrderCordon},
    sim::harness::{World, creator, request, settings},
    supervision::ask,
};
use tokio::time::sleep;

use crate::{host, support::seconds};

/// Longer than a server takes to learn what another one was told.
const LEARNT: Duration = Duration::from_secs(7);

async fn order(doors: &Doors, name: &str, cordon: Option<Cordon>) -> Result<HostView, CordonError> {
    ask(&doors.cordon, OrderCordon { name: host(name), cordon }, seconds(10)).await.unwrap()
}

async fn cordon_of(doors: &Doors, name: &str) -> Option<Cordon> {
    let fleet = ask(&doors.fleet, DescribeFleet, seconds(1)).await.unwrap();
    fleet.hosts.into_iter().find(|view| view.name == host(name)).unwrap().cordon
}

#[actix::test]
async fn a_cordon_outlives_the_server_and_holds_before_the_first_create() {
    tokio::time::pause();
    for cordon in [Cordon::Cordoned, Cordon::Draining] {
        let mut world = World::running(settings(), &[("a", 4)]).await;
        assert_eq!(order(world.doors(), "a", Some(cordon)).await.unwrap().cordon, Some(cordon));
        world.crash().await;
        world.start().await;
        let refused = world.create(request(creator(1))).await.unwrap().unwrap_err();
        assert_eq!(refused.to_string(), "no host has room: 1 host cordoned");
        assert_eq!(order(world.doors(), "a", None).await.unwrap().cordon, None);
        world.crash().await;
        world.start().await;
        world.must_create(creator(1)).await;
        world.finish().await;
    }
}

#[actix::test]
async fn a_host_that_comes_back_has_the_cordon_that_was_ordered() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4), ("b", 4)]).await;
    order(world.doors(), "a", Some(Cordon::Cordoned)).await.unwrap();
    let record = world.directory.hosts().remove(0);
    world.directory.withdraw(&record.name);
    world.eventually("a is gone", async |world| world.fleet().await.is_some_and(|fleet| fleet.hosts.len() == 1)).await;
    assert!(matches!(order(world.doors(), "a", None).await, Err(CordonError::NoSuchHost)));
    world.directory.announce(record);
    world.eventually("a is back", async |world| world.fleet().await.is_some_and(|fleet| fleet.hosts.len() == 2)).await;
    assert_eq!(cordon_of(world.doors(), "a").await, Some(Cordon::Cordoned));
    world.finish().await;
}

#[actix::test]
async fn what_one_server_is_told_the_other_follows() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 4), ("b", 4)]).await;
    for cordon in [Some(Cordon::Draining), None, Some(Cordon::Cordoned), None] {
        order(world.doors(), "a", cordon).await.unwrap();
        sleep(LEARNT).await;
        assert_eq!(cordon_of(world.neighbour(), "a").await, cordon);
    }
    // From one cordon to the other between two looks.
    order(world.neighbour(), "a", Some(Cordon::Draining)).await.unwrap();
    sleep(LEARNT).await;
    order(world.neighbour(), "a", None).await.unwrap();
    order(world.neighbour(), "a", Some(Cordon::Cordoned)).await.unwrap();
    sleep(LEARNT).await;
    assert_eq!(cordon_of(world.doors(), "a").await, Some(Cordon::Cordoned));
    assert_eq!(cordon_of(world.doors(), "b").await, None);
    order(world.doors(), "a", None).await.unwrap();
    world.finish().await;
}

#[actix::test]
async fn an_order_does_not_undo_what_another_server_was_told_a_moment_ago() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 4)]).await;
    order(world.doors(), "a", Some(Cordon::Draining)).await.unwrap();
    let refused = order(world.neighbour(), "a", Some(Cordon::Cordoned)).await;
    assert!(matches!(refused, Err(CordonError::Illegal(_))), "{refused:?}");
    assert_eq!(cordon_of(world.neighbour(), "a").await, Some(Cordon::Draining));
    order(world.neighbour(), "a", None).await.unwrap();
    world.finish().await;
}

#[actix::test]
async fn an_order_that_is_not_written_is_not_followed_and_one_that_was_all_the_same_is() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 4)]).await;
    world.faults.fail_next("store.order_cordon", 1);
    assert!(matches!(order(world.doors(), "a", Some(Cordon::Cordoned)).await, Err(CordonError::Store(_))));
    sleep(LEARNT).await;
    assert_eq!(cordon_of(world.doors(), "a").await, None);
    world.faults.lie_next("store.order_cordon");
    assert!(matches!(order(world.doors(), "a", Some(Cordon::Cordoned)).await, Err(CordonError::Store(_))));
    sleep(LEARNT).await;
    assert_eq!(cordon_of(world.doors(), "a").await, Some(Cordon::Cordoned));
    order(world.doors(), "a", None).await.unwrap();
    world.finish().await;
}

#[actix::test]
async fn orders_that_cannot_be_read_are_followed_as_they_were_read_last() {
    tokio::time::pause();
    let world = World::with_neighbour(settings(), &[("a", 4)]).await;
    order(world.doors(), "a", Some(Cordon::Cordoned)).await.unwrap();
    world.faults.fail_always("store.orders");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(cordon_of(world.doors(), "a").await, Some(Cordon::Cordoned));
    world.faults.heal("store.orders");
    order(world.doors(), "a", None).await.unwrap();
    world.must_create(creator(1)).await;
    world.finish().await;
}

#[actix::test]
async fn what_a_host_carries_lives_on_under_a_cordon_that_is_found_at_the_start() {
    tokio::time::pause();
    let mut world = World::running(settings(), &[("a", 4)]).await;
    let lives = world.must_create(creator(1)).await;
    order(world.doors(), "a", Some(Cordon::Draining)).await.unwrap();
    world.crash().await;
    world.start().await;
    assert_eq!(world.store.instance(&lives.id).await.unwrap().unwrap().state, lives.state);
    let delete = DeleteInstance { id: lives.id, reason: EndReason::Deleted };
    ask(&world.doors().delete, delete, seconds(30)).await.unwrap().unwrap();
    order(world.doors(), "a", None).await.unwrap();
    world.finish().await;
}
