//! A droplet's networks fail, or all of it at once, and come back.

use std::time::Duration;

use getaredis_testbed::droplet::Side;

use crate::{
    SOON, eventually,
    scene::{SILENT, Scene},
    tenant::{must_work, ping},
    world::{QUICK, containers_on, in_a_world},
};

#[test]
fn a_droplet_that_is_cut_off_or_freezes_keeps_who_lives_there_and_nobody_is_sent_to_it() {
    in_a_world(&QUICK, async |world| {
        let scene = Scene::set(world).await;
        slow_and_lossy(&scene).await;

        scene.machine.freeze().unwrap();
        assert!(ping(&scene.tenants[0].redis_url).await.is_err());
        scene.is_unreachable(SILENT).await;
        scene.machine.thaw().unwrap();
        scene.is_well_again().await;

        cut_off_from_the_server(&scene).await;
        cut_off_from_tenants(&scene).await;
    });
}

/// Everything takes longer and nothing breaks.
async fn slow_and_lossy(scene: &Scene<'_>) {
    scene.machine.delay(Duration::from_millis(100)).unwrap();
    scene.machine.lose(Side::Private, 10).unwrap();
    let slow = async || {
        let begun = std::time::Instant::now();
        let answer = ping(&scene.tenants[0].redis_url).await.map_err(|error| error.to_string())?;
        // The way, its authentication and the question are a round trip each.
        if begun.elapsed() >= Duration::from_millis(400) { Ok(answer) } else { Err(format!("{:?}", begun.elapsed())) }
    };
    assert_eq!(eventually("a late answer", SOON, slow).await, "PONG");
    let other = scene.world.api().create().await;
    must_work(&other).await;
    scene.shows("up").await;
    scene.tenants_are("running").await;
    assert_eq!(scene.world.api().delete(&other).await.status, 204);
    scene.world.api().until_ended(&other).await;
    scene.machine.heal().unwrap();
    scene.is_well_again().await;
}

/// Neither engine nor heartbeat: it is silent, and its tenants are well all the same. What is ended now ends when it is
/// back.
async fn cut_off_from_the_server(scene: &Scene<'_>) {
    let (world, [stays, leaves]) = (scene.world, &scene.tenants);
    scene.machine.cut(Side::Private).unwrap();
    scene.is_unreachable(SILENT).await;
    scene.is_reached().await;
    let asked = world.api().delete(leaves).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let pending = async || match world.metric("getaredis_reaper_pending").await {
        Some(1.0) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("the operator sees an end that is not confirmed", SOON, pending).await;
    assert_eq!(ping(&leaves.redis_url).await.unwrap(), "PONG", "nobody can reach it to end it");
    scene.machine.heal().unwrap();
    assert_eq!(world.api().until_ended(leaves).await.problem(410), "instance-ended");
    assert!(ping(&leaves.redis_url).await.is_err());
    scene.shows("up").await;
    must_work(stays).await;
    world.settles_at(2).await;
    assert_eq!(world.containers(), 1);
}

/// Engine and heartbeat are on the private network, so the operator sees a host that is up. It is the first to be tried,
/// for a part of it is free; what is begun there is never ready, and is made elsewhere.
async fn cut_off_from_tenants(scene: &Scene<'_>) {
    let (world, stays) = (scene.world, &scene.tenants[0]);
    scene.machine.cut(Side::Public).unwrap();
    assert!(ping(&stays.redis_url).await.is_err());
    scene.others_are_served_elsewhere().await;
    world.logs(&["instance.start_failed"], scene.name()).await;
    scene.shows("up").await;
    // Nobody on this side can know.
    scene.tenant_is(stays, "running").await;
    assert_eq!(containers_on(&scene.machine), 1, "what was begun is gone");
    scene.machine.heal().unwrap();
    scene.takes_instances_again().await;
    must_work(stays).await;
}
