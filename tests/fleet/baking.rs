//! A host that boots from a baked image is one like any other, and nobody's twin.

use std::{collections::BTreeSet, time::Instant};

use getaredis_testbed::droplet::Tier;
use serde_json::{Value, json};

use crate::{
    tenant::must_work,
    world::{World, in_a_world_of},
};

/// Starts the server, and waits for its one host; says how long that took.
async fn first_host(world: &mut World, image: &str) -> BTreeSet<String> {
    let begun = Instant::now();
    world.start();
    let hosts = world.settles_at(1).await;
    eprintln!("from the start of the server to a host that is up, from {image}: {:?}", begun.elapsed());
    hosts
}

/// What takes long of a host's first boot: whether packages were installed, and whether the image of instances was pulled.
fn installed_and_pulled(world: &World, host: &str) -> (bool, bool) {
    let machine = world.machine(host);
    let console = machine.console();
    let history = machine.run(&["sh", "-c", "cat /var/log/apt/history.log* 2>/dev/null; true"]).unwrap();
    let installed = history.contains("docker.io");
    assert_eq!(console.contains("getaredis: installing"), installed, "{history}{console}");
    (installed, console.contains("docker.io/library/redis:7"))
}

#[test]
fn a_host_boots_from_a_baked_image_as_itself_and_serves() {
    hosts_of_an_image(Tier::Lite, "debian-13-x64");
}

#[test]
fn cloud_init_takes_a_host_of_a_baked_image_for_a_new_machine_that_lacks_nothing() {
    hosts_of_an_image(Tier::Full, "debian-13-stock");
}

fn hosts_of_an_image(tier: Tier, from: &str) {
    let settings = [
        ("docker.image", "redis:7"),
        ("digitalocean.image", from),
        ("digitalocean.bake_from", from),
        ("fleet.boot_deadline", "10m"),
    ];
    in_a_world_of(tier, &settings, async |world| {
        let stock = first_host(world, from).await;
        // The images of lite droplets have all packages.
        let lacks_packages = tier == Tier::Full;
        for host in &stock {
            assert_eq!(installed_and_pulled(world, host), (lacks_packages, true), "{host}");
        }
        world.kill();
        world.set("fleet.standby", "0");
        world.start();
        world.settles_at(0).await;
        world.stop().await;

        let begun = Instant::now();
        let baked = world.runs(&["image", "bake", "--json"]);
        eprintln!("bake: {:?}", begun.elapsed());
        let baked: Value = serde_json::from_str(&baked).unwrap();
        let id = baked["image"]["id"].as_str().unwrap();
        assert!(world.paid_for().is_empty());
        assert_eq!(world.directory().await.users().await.len(), 0, "a builder is no host");

        world.set("digitalocean.image", id);
        world.set("fleet.standby", "1");
        let first = first_host(world, "the baked image").await;
        world.kill();
        world.set("fleet.standby", "2");
        world.set("fleet.max_hosts", "2");
        world.start();
        let hosts = world.settles_at(2).await;
        assert!(first.is_subset(&hosts));
        for host in &hosts {
            assert_eq!(installed_and_pulled(world, host), (false, false), "{host}");
            let machine = world.machine(host);
            assert_eq!(machine.run(&["hostname"]).unwrap().trim(), host);
            // Neither the builder's name is anywhere, nor what was only for it.
            let traces = "grep -rlaF getaredis-fleet-builder- /etc /root /var/log /var/lib/cloud /var/lib/systemd \
                          /var/lib/getaredis; ls -d /usr/local/lib/getaredis/seal 2>/dev/null; true";
            assert_eq!(machine.run(&["sh", "-c", traces]).unwrap(), "", "{host}");
        }
        // No two are the same machine, or have the same engine.
        for identity in [&["cat", "/etc/machine-id"][..], &["docker", "info", "--format", "{{.ID}}"]] {
            let told: BTreeSet<_> = hosts.iter().map(|host| world.machine(host).run(identity).unwrap()).collect();
            assert!(told.len() == 2 && told.iter().all(|id| id.trim().len() >= 32), "{identity:?}: {told:?}");
        }
        for _ in 0..4 {
            let answer = world.api().post(json!({"ttl": 60})).await;
            assert_eq!(answer.status, 201, "{answer:?}");
            must_work(&answer.created()).await;
        }
        assert_eq!(world.containers(), 4);
    });
}
