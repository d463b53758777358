//! What giving up means for each actor. Each is cut off as often as it comes back, which counts like a panic.
#![allow(clippy::unwrap_used)]

use tokio::time::{sleep, timeout};

use super::*;
use crate::{
    domain::{Creator, EndReason},
    scheduler::messages::Ending,
    sim::harness::{World, creator, request, settings},
    supervision::{AskError, Exit, ExitRequest, Status, Supervisable},
};

const MINUTE: Duration = Duration::from_secs(60);

async fn wear_out<A: Supervisable>(child: &Child<A>) {
    while child.report().status != Status::Down {
        child.cut();
        sleep(Duration::from_millis(50)).await;
    }
}

/// A world in which the actor of this name was given up.
async fn without(name: &'static str, wear_out: impl AsyncFnOnce(&Children)) -> World {
    tokio::time::pause();
    let mut world = World::running(settings(), &[("a", 4)]).await;
    world.expect_loss(name);
    wear_out(&world.brain()._children).await;
    let report = world.brain().roster.report(name).unwrap();
    assert_eq!((report.status, report.last_cause), (Status::Down, Some(Exit::Hung)), "{name}");
    world
}

/// Fails unless instances are made and ended as ever, and the process goes on.
async fn must_go_on(world: World) {
    let id = world.must_create(creator(1)).await.id;
    let delete = DeleteInstance { id, reason: EndReason::Deleted };
    let ended = ask(&world.doors().delete, delete, MINUTE).await;
    assert!(matches!(ended, Ok(Ok(Ending::Gone(_)))), "{ended:?}");
    let exit = timeout(MINUTE, world.brain().roster.exit_requested()).await;
    assert!(exit.is_err(), "{exit:?}");
    world.must_create(creator(2)).await;
    world.finish().await;
}

#[actix::test]
async fn without_its_scheduler_the_process_asks_for_its_end_and_the_next_one_goes_on() {
    let mut world = without("scheduler", async |all| wear_out(&all._scheduler).await).await;
    let exit = timeout(MINUTE, world.brain().roster.exit_requested()).await;
    assert_eq!(exit, Ok(ExitRequest { name: "scheduler".to_owned(), cause: Exit::Hung, code: 1 }));
    assert!(matches!(world.create(request(creator(1))).await, Err(AskError::Down)));
    world.crash().await;
    world.start().await;
    world.must_create(creator(1)).await;
    world.finish().await;
}

#[actix::test]
async fn without_its_rate_limit_nobody_is_let_in() {
    let world = without("rate_limit", async |all| wear_out(&all._rate_limit).await).await;
    let address = [192, 0, 2, 1].into();
    let admitted = ask(&world.doors().admit, Admit { creator: Creator::of(address), address }, MINUTE).await;
    assert_eq!(admitted, Err(AskError::Down));
    assert_eq!(ask(&world.doors().wrong_token, WrongToken { address }, MINUTE).await, Err(AskError::Down));
    must_go_on(world).await;
}

#[actix::test]
async fn without_its_reaper_creation_goes_on() {
    must_go_on(without("reaper", async |all| wear_out(&all._reaper).await).await).await;
}

#[actix::test]
async fn without_its_autoscaler_creation_goes_on() {
    must_go_on(without("autoscaler", async |all| wear_out(&all._autoscaler).await).await).await;
}

#[actix::test]
async fn without_discovery_creation_goes_on_where_hosts_are_known() {
    must_go_on(without("discovery", async |all| wear_out(&all._discovery).await).await).await;
}

#[actix::test]
async fn without_its_feed_creation_goes_on() {
    must_go_on(without("feed", async |all| wear_out(&all._feed).await).await).await;
}

#[actix::test]
async fn without_its_webhooks_creation_goes_on() {
    must_go_on(without("webhooks", async |all| wear_out(&all._webhooks).await).await).await;
}
