//! From nothing to a working Redis, and back to nothing.

use std::{collections::BTreeSet, net::Ipv4Addr};

use redis::ErrorKind;

use crate::{
    SOON, eventually,
    tenant::{connect, must_work, ping},
    world::{World, in_a_world},
};

#[test]
fn from_nothing_a_click_leads_to_a_working_redis_and_told_so_the_fleet_goes_back_to_nothing() {
    in_a_world(&[], async |world| {
        world.start();
        let hosts = world.settles_at(1).await;
        let host = hosts.first().unwrap();
        let machine = world.machine(host);
        let (public, private) = (machine.public_address(), machine.private_address());
        let beat = world.directory().await.heartbeat(host).await;
        assert_eq!((&beat["Name"], &beat["Engine"]), (&host.as_str().into(), &"up".into()), "{beat}");
        assert_eq!(beat["PublicIP"], public.to_string(), "{beat}");
        assert_eq!(beat["PrivateIP"], private.to_string(), "{beat}");

        operators_see_how_it_fares(world, host).await;

        let instance = world.api().create().await;
        assert_eq!(instance.host, public.to_string());
        assert_eq!(ping(&instance.redis_url).await.unwrap(), "PONG");
        must_work(&instance).await;
        let wrong = instance.redis_url.replace(&instance.password, "0123456789abcdef");
        assert_eq!(connect(&wrong).await.err().unwrap().kind(), ErrorKind::AuthenticationFailed);
        assert_eq!(world.containers(), 1);
        the_door_is_closed_to_strangers(public, private).await;

        assert_eq!(world.api().delete(&instance).await.status, 204);
        world.api().until_ended(&instance).await;
        assert_eq!(world.settles_at(1).await, hosts);
        assert_eq!(world.containers(), 0);

        world.stop().await;
        world.set("fleet.standby", "0");
        world.start();
        assert_eq!(world.settles_at(0).await, BTreeSet::new());
        assert_eq!((world.orders(), world.bought.most_droplets()), (1, 1));
    });
}

/// What its own heartbeat measured, all the way from the machine to the operator.
async fn operators_see_how_it_fares(world: &World, host: &str) {
    let hosts = world.operator_sees("hosts").await;
    let (name, vitals) = (&hosts["hosts"][0]["name"], &hosts["hosts"][0]["vitals"]);
    assert_eq!((name, &vitals["engine"]), (&host.into(), &"up".into()), "{hosts}");
    for number in ["memory_total_bytes", "memory_available_bytes", "disk_total_bytes", "disk_free_bytes", "cpus"] {
        assert!(vitals[number].as_u64().unwrap() > 0, "{number} in {hosts}");
    }
    for text in ["engine_version", "setup_version", "kernel", "booted_at"] {
        assert!(!vitals[text].as_str().unwrap().is_empty(), "{text} in {hosts}");
    }
    let pool = eventually("the pool is up", SOON, async || {
        let pool = world.operator_sees("scaling").await;
        if pool["droplets"][0]["stage"] == "up" { Ok(pool) } else { Err(pool.to_string()) }
    })
    .await;
    assert_eq!((&pool["droplets"][0]["name"], &pool["totals"]["ordered"]), (&host.into(), &1.into()), "{pool}");
}

/// What opens nothing: no password, a wrong one, plain HTTP; and the public address has no door at all.
async fn the_door_is_closed_to_strangers(public: Ipv4Addr, private: Ipv4Addr) {
    let stranger = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build().unwrap();
    for path in ["/_ping", "/containers/json"] {
        let door = format!("https://{private}:2376{path}");
        assert_eq!(stranger.get(&door).send().await.unwrap().status(), 401);
        for user in ["getaredis", "docker", "root"] {
            let asked = stranger.get(&door).basic_auth(user, Some("hunter2")).send().await.unwrap();
            assert_eq!(asked.status(), 401, "{user}");
        }
        let plain = stranger.get(door.replace("https", "http")).send().await.unwrap();
        assert_eq!(plain.status(), 400);
        let outside = stranger.get(format!("https://{public}:2376{path}")).send().await;
        assert!(outside.unwrap_err().is_connect());
    }
}
