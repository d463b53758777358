//! Droplets that are lost for good, or forget everything: told honestly, replaced, and deleted in the end.

use reqwest::Method;

use crate::{
    SOON,
    api::{Api, Instance},
    eventually,
    scene::{SILENT, Scene},
    tenant::{must_work, ping},
    world::{BOOT, TOKEN, World, in_a_world},
};

#[test]
fn what_is_lost_with_a_droplet_is_told_and_the_broken_ones_are_replaced_and_deleted() {
    let settings = [
        ("fleet.max_hosts", "4"),
        ("fleet.boot_deadline", "40s"),
        ("fleet.bad_after", "2s"),
        // Longer than it takes to notice that a machine is silent, so that there is time to see what is told meanwhile.
        ("fleet.list_grace", "15s"),
        ("directory.ttl", "5s"),
        ("docker.call_timeout", "5s"),
        ("reaper.lost_after", "20s"),
    ];
    in_a_world(&settings, async |world| {
        world.start();
        let first = world.settles_at(1).await.pop_first().unwrap();
        // What is bought when the first one is used never comes up; who comes meanwhile is served all the same.
        world.next_never_boot(1);
        let tenant = world.api().create().await;
        let dud = ordered_beside(world, &first).await;
        world.shows_droplet(&dud, "booting").await;
        let other = world.api().create().await;
        assert_eq!(world.home_of(&other).name(), first);
        assert_eq!(world.api().delete(&other).await.status, 204);

        rebooted(world, &tenant).await;
        eventually("the one that never came up is deleted", BOOT, async || {
            if world.paid_for().contains(&dud) { Err(format!("{:?}", world.paid_for())) } else { Ok(()) }
        })
        .await;
        world.logs(&["droplet.deleted"], &dud).await;
        let why = format!("{dud}: it did not come up in time");
        assert!(world.explanations().iter().any(|line| line.contains(&why)), "{:#?}", world.explanations());

        world.settles_at(1).await;
        let scene = Scene::on(world, &first).await;
        deleted_by_somebody_else(&scene).await;
        let next = world.settles_at(1).await.pop_first().unwrap();
        let scene = Scene::on(world, &next).await;
        frozen_for_good(&scene).await;
        world.settles_at(1).await;
        must_work(&world.api().create().await).await;
    });
}

/// The droplet that was ordered beside this one.
async fn ordered_beside(world: &World, first: &str) -> String {
    eventually("another one is ordered", BOOT, async || {
        let paid = world.paid_for();
        paid.iter().find(|name| *name != first).cloned().ok_or_else(|| format!("{paid:?}"))
    })
    .await
}

/// A droplet that restarts has forgotten what was in its memory, and takes instances again.
async fn rebooted(world: &World, tenant: &Instance) {
    let machine = world.home_of(tenant);
    machine.reboot().unwrap();
    let ended = lost(&world.api(), tenant).await;
    assert!(["exited", "lost"].contains(&&*ended), "{ended}");
    world.logs(&["instance.ended", "instance.lost"], &tenant.id).await;
    assert!(world.paid_for().contains(machine.name()), "it comes back");
    world.shows(machine.name(), "up").await;
    let next = world.api().create().await;
    assert_eq!(world.home_of(&next).name(), machine.name());
    must_work(&next).await;
    assert_eq!(world.api().delete(&next).await.status, 204);
    world.api().until_ended(&next).await;
}

/// Somebody deletes it by hand.
async fn deleted_by_somebody_else(scene: &Scene<'_>) {
    let world = scene.world;
    let droplet = world.bought.droplets().into_iter().find(|droplet| droplet.name == scene.name()).unwrap();
    let url = format!("{}/v2/droplets/{}", world.bought.url(), droplet.id);
    let deleted = crate::api::http().request(Method::DELETE, url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    let shown = scene.shows("unreachable").await;
    let reason = shown["reason"].as_str().unwrap_or_default();
    let is_told = SILENT.iter().chain(&["No route to host"]).any(|words| reason.contains(words));
    assert!(is_told, "{shown}");
    scene.tenants_are("unreachable").await;
    scene.others_are_served_elsewhere().await;
    for tenant in &scene.tenants {
        assert_eq!(lost(&world.api(), tenant).await, "lost");
    }
    world.logs(&["droplet.row_closed"], scene.name()).await;
}

/// It never answers again: it is paid for as long as anybody may live on it, and no longer.
async fn frozen_for_good(scene: &Scene<'_>) {
    let world = scene.world;
    scene.machine.freeze().unwrap();
    scene.is_unreachable(SILENT).await;
    world
        .explains(&format!("{}: it has been silent for too long; 2 instances on it not given up yet", scene.name()))
        .await;
    assert!(world.paid_for().contains(scene.name()));
    for tenant in &scene.tenants {
        assert_eq!(lost(&world.api(), tenant).await, "lost");
        assert!(ping(&tenant.redis_url).await.is_err());
    }
    eventually("it is deleted", SOON, async || {
        if world.paid_for().contains(scene.name()) { Err(format!("{:?}", world.paid_for())) } else { Ok(()) }
    })
    .await;
    world.logs(&["droplet.deleted"], scene.name()).await;
}

/// Waits until the instance has ended; the reason that its owner is told.
async fn lost(api: &Api, tenant: &Instance) -> String {
    eventually("its end is told", BOOT, async || {
        let shown = api.show(tenant).await;
        match shown.status {
            410 => Ok(shown.body["reason"].as_str().unwrap().to_owned()),
            200 => Err(format!("{shown:?}")),
            _ => panic!("{shown:?}"),
        }
    })
    .await
}
