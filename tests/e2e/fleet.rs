//! Hosts that announce themselves in a Redis, as those of 2015 did.

use std::time::{Duration, Instant};

use crate::support::{
    SOON,
    api::Api,
    directory::{DirectoryServer, Host},
    eventually,
    proxy::EngineDoor,
    server::Server,
    tenant::must_work,
};

/// How long a host's key lives, in seconds: long enough for one life to be told from two on a busy machine.
const KEY_LIVES: u64 = 5;

async fn serve(directory: &DirectoryServer, engine: &EngineDoor) -> Server {
    let template = format!("tcp://{{private_address}}:{}", engine.port());
    Server::start_unready(&[
        ("directory.kind", "redis"),
        ("directory.url", &directory.url()),
        ("directory.poll", "200ms"),
        ("directory.ttl", &format!("{KEY_LIVES}s")),
        ("directory.endpoint", &template),
        ("fleet.slots", "3"),
    ])
    .await
}

async fn until_hosts_up(api: &Api, count: u32) {
    eventually("so many hosts are up", SOON, async || {
        let capacity = api.capacity().await;
        if capacity.hosts_up == count { Ok(()) } else { Err(format!("{capacity:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_host_that_announces_itself_takes_instances_and_one_that_falls_silent_takes_none() {
    let (directory, engine) = (DirectoryServer::start().await, EngineDoor::open().await);
    let server = serve(&directory, &engine).await;
    let api = server.api();
    let refused = api.post(serde_json::json!({})).await;
    assert_eq!(refused.problem(503), "fleet-full");
    assert!(refused.retry_after() > 0);

    let host = Host::announce(&directory, "droplet-1", KEY_LIVES);
    until_hosts_up(&api, 1).await;
    server.becomes_ready().await;
    assert_eq!(api.capacity().await.slots_total, 3);
    let instance = api.create().await;
    assert_eq!(instance.host, "127.0.0.1");
    must_work(&instance).await;

    drop(host);
    until_hosts_up(&api, 0).await;
    let refused = api.post(serde_json::json!({})).await;
    assert_eq!(refused.problem(503), "fleet-full");
    assert!(refused.retry_after() > 0);
    // Nobody knows whether its machine is gone, so what it carries is left alone.
    must_work(&instance).await;
    assert_eq!(api.show(&instance).await.instance().id, instance.id);

    let _host = Host::announce(&directory, "droplet-1", KEY_LIVES);
    until_hosts_up(&api, 1).await;
    must_work(&api.create().await).await;
    must_work(&instance).await;
    assert_eq!((server.containers().await.len(), api.capacity().await.slots_used), (2, 2));
}

#[tokio::test]
async fn hosts_that_die_are_missed_within_one_life_of_a_key_whether_one_or_all_of_them() {
    let (directory, engine) = (DirectoryServer::start().await, EngineDoor::open().await);
    let server = serve(&directory, &engine).await;
    for names in [&["droplet-1"][..], &["droplet-1", "droplet-2"]] {
        let hosts: Vec<_> = names.iter().map(|name| Host::announce(&directory, name, KEY_LIVES)).collect();
        until_hosts_up(&server.api(), u32::try_from(names.len()).unwrap()).await;
        drop(hosts);
        let died = Instant::now();
        until_hosts_up(&server.api(), 0).await;
        // The last beat was up to a quarter of a life before. Whoever waited for a second one would need almost twice as
        // long.
        assert!(died.elapsed() < Duration::from_millis(KEY_LIVES * 1000 * 17 / 10), "{:?}", died.elapsed());
    }
}

#[tokio::test]
async fn a_directory_that_restarts_empty_loses_no_host_and_no_instance() {
    let (mut directory, engine) = (DirectoryServer::start().await, EngineDoor::open().await);
    let server = serve(&directory, &engine).await;
    let api = server.api();
    let _host = Host::announce(&directory, "droplet-1", KEY_LIVES);
    until_hosts_up(&api, 1).await;
    let instance = api.create().await;
    let mut feed = server.feed().await;
    assert_eq!(feed.snapshot().await["hosts"].as_array().map(Vec::len), Some(1));

    directory.stop();
    eventually("the outage is seen", SOON, async || {
        let ready = api.get("/readyz").await;
        // What runs, runs on: it is degraded and no more.
        if ready.status == 200 && ready.body["status"] == "degraded" { Ok(()) } else { Err(ready.body.to_string()) }
    })
    .await;
    assert_eq!(api.capacity().await.hosts_up, 1);
    must_work(&api.create().await).await;

    directory.start_again().await;
    eventually("the directory is read again", SOON, async || {
        let ready = api.get("/readyz").await;
        if ready.body["status"] == "ok" { Ok(()) } else { Err(ready.body.to_string()) }
    })
    .await;
    must_work(&instance).await;
    let last = api.create().await;
    // Nothing was ever said about the host in all this.
    feed.until("the last create", |fact| {
        assert_ne!(fact["kind"], "host_removed", "{fact}");
        assert!(fact["kind"] != "host_changed" || fact["host"]["state"] == "up", "{fact}");
        (fact["instance"]["id"] == last.id && fact["instance"]["state"] == "running").then_some(())
    })
    .await;
}
