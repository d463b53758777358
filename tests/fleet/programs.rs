//! A droplet's programs and its disk fail, and come back.

use serde_json::Value;

use crate::{
    SOON, eventually,
    operator::NOTICED,
    scene::Scene,
    tenant::must_work,
    world::{QUICK, containers_on, in_a_world},
};

#[test]
fn programs_that_die_or_hang_are_told_apart_and_no_tenant_notices() {
    in_a_world(&QUICK, async |world| {
        let scene = Scene::set(world).await;
        for program in ["dockerd", "containerd", "nginx"] {
            comes_back_from_its_death(&scene, program).await;
        }
        // It keeps its sockets and answers nobody, so only a deadline shows it; the heart beats on.
        for program in ["dockerd", "nginx"] {
            scene.machine.stop(program).unwrap();
            scene.is_unreachable(&["no answer within"]).await;
            assert!(world.directory().await.announced().await.contains(scene.name()));
            scene.is_reached().await;
            if program == "dockerd" {
                world.tells_vitals(scene.name(), "no engine", |vitals| vitals["engine"] == "silent").await;
            }
            scene.machine.resume(program).unwrap();
            scene.is_well_again().await;
        }
        engine_gone(&scene).await;
        heartbeat_gone(&scene).await;
        door_gone(&scene).await;
        disk_full(&scene).await;
        starts_nothing(&scene).await;
    });
}

/// Tenants go on meanwhile, others are served, and its successor works. (An engine that starts makes the rules anew by
/// which new connections come in; those that are there do not need them.) However soon that is, the operator is told of it.
async fn comes_back_from_its_death(scene: &Scene<'_>, program: &str) {
    let is_counted = |times: u64| move |vitals: &Value| vitals["restarts"][program] == times;
    scene.world.tells_vitals(scene.name(), &format!("{program} has not died"), is_counted(0)).await;
    let ids = || scene.machine.run(&["pidof", program]).unwrap_or_default();
    let before = ids();
    scene.machine.kill(program).unwrap();
    scene.stays_connected().await;
    scene.others_are_served_elsewhere().await;
    let back = async || {
        let now = ids();
        let is_new = !now.is_empty() && now.split_whitespace().all(|id| before.split_whitespace().all(|old| old != id));
        // An engine that is still starting has not found its containers yet, and would take them for dead if containerd
        // died at that moment.
        let listed = scene.machine.run(&["docker", "ps", "-q"]).map_err(|e| e.to_string())?;
        let has_all = listed.lines().count() == scene.tenants.len();
        if is_new && has_all { Ok(()) } else { Err(format!("{now:?}, before {before:?}; {listed:?}")) }
    };
    eventually(&format!("another {program}"), SOON, back).await;
    scene.stays_connected().await;
    scene.is_well_again().await;
    scene.world.tells_vitals(scene.name(), &format!("{program} was started again"), is_counted(1)).await;
    scene.world.logs(&[&format!(r#""program":"{program}""#)], scene.name()).await;
}

/// Door and heartbeat are there, and say that there is no engine; nobody who lives there needs one.
async fn engine_gone(scene: &Scene<'_>) {
    scene.machine.run(&["systemctl", "stop", "docker.socket", "docker.service"]).unwrap();
    scene.is_unreachable(&["502"]).await;
    scene.world.tells_vitals(scene.name(), "no engine", |vitals| vitals["engine"] == "silent").await;
    scene.stays_connected().await;
    scene.machine.run(&["systemctl", "start", "docker.socket", "docker.service"]).unwrap();
    scene.is_well_again().await;
    scene.world.tells_vitals(scene.name(), "an engine", |vitals| vitals["engine"] == "up").await;
}

/// The engine answers while the heartbeat stays away: nothing is wrong with who lives there, and nobody else comes.
async fn heartbeat_gone(scene: &Scene<'_>) {
    let world = scene.world;
    scene.machine.run(&["systemctl", "stop", "getaredis-heartbeat"]).unwrap();
    let shown = scene.shows("unannounced").await;
    assert_eq!(shown["reason"], "its announcement ran out", "{shown}");
    world.explains(&format!("{}: it does not announce itself and carries 2 instances", scene.name())).await;
    scene.tenants_are("running").await;
    scene.is_reached().await;
    scene.others_are_served_elsewhere().await;
    scene.machine.run(&["systemctl", "start", "getaredis-heartbeat"]).unwrap();
    scene.is_well_again().await;
}

/// The heartbeat goes on while there is no way to the engine.
async fn door_gone(scene: &Scene<'_>) {
    scene.machine.run(&["systemctl", "stop", "getaredis-door"]).unwrap();
    scene.is_unreachable(&["refused"]).await;
    assert!(scene.world.directory().await.announced().await.contains(scene.name()));
    scene.is_reached().await;
    scene.machine.run(&["systemctl", "start", "getaredis-door"]).unwrap();
    scene.is_well_again().await;
}

/// What needs the disk fails and is done elsewhere; what is in memory goes on.
async fn disk_full(scene: &Scene<'_>) {
    let (world, [stays, leaves]) = (scene.world, &scene.tenants);
    scene.machine.fill_disk(0).unwrap();
    assert_eq!(world.api().delete(leaves).await.status, 204);
    world.api().until_ended(leaves).await;
    // There is a slot now, and the busiest host is the first to be tried. What its last container left may not be room.
    scene.machine.fill_disk(0).unwrap();
    scene.others_are_served_elsewhere().await;
    world.logs(&["no space left on device"], scene.name()).await;
    let shown = eventually("it is believed to start nothing", NOTICED, async || {
        scene.others_are_served_elsewhere().await;
        let shown = world.listed(scene.name()).await.unwrap_or_default();
        if shown["state"] == "failing" { Ok(shown) } else { Err(shown.to_string()) }
    })
    .await;
    let reason = shown["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("3 starts in a row failed") && reason.contains("no space left on device"), "{shown}");
    world.explains(&format!("{}: no instance starts on it; it carries 1 instance", scene.name())).await;
    let is_full = |vitals: &Value| {
        let [free, total] = ["disk_free_bytes", "disk_total_bytes"].map(|member| vitals[member].as_u64());
        free.zip(total).is_some_and(|(free, total)| free < total / 20)
    };
    world.tells_vitals(scene.name(), "a full disk", is_full).await;
    scene.tenant_is(stays, "running").await;
    must_work(stays).await;
    scene.machine.free_disk().unwrap();
    scene.takes_instances_again().await;
    scene.shows("up").await;
}

/// The engine answers, and nothing can be started: nobody is sent there, and what was begun there just before is removed
/// when that can be done.
async fn starts_nothing(scene: &Scene<'_>) {
    let (world, stays) = (scene.world, &scene.tenants[0]);
    scene.machine.stop("containerd").unwrap();
    scene.others_are_served_elsewhere().await;
    let shown = scene.shows("failing").await;
    let reason = shown["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("can start and remove nothing: its containerd has not answered"), "{shown}");
    world.explains(&format!("{}: no instance starts on it; it carries 1 instance", scene.name())).await;
    world.logs(&["host.failing"], scene.name()).await;
    scene.others_are_served_elsewhere().await;
    must_work(stays).await;
    scene.tenant_is(stays, "running").await;
    scene.machine.resume("containerd").unwrap();
    scene.shows("up").await;
    scene.takes_instances_again().await;
    let left = async || match containers_on(&scene.machine) {
        1 => Ok(()),
        more => Err(format!("{more} containers")),
    };
    eventually("what was begun is gone", SOON, left).await;
}
