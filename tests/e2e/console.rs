//! The operator's page in a real browser.

use std::{fs, sync::Arc};

use getaredis_testbed::api::{Api, Nothing, Settings};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    support::{
        SOON,
        browser::Browser,
        directory::{DirectoryServer, Host},
        eventually,
        proxy::EngineDoor,
        server::Server,
    },
    watching::{Inside, TOKEN, inside},
};

#[tokio::test]
async fn the_operator_sees_hosts_actors_and_instances_as_they_change() {
    let server = Server::start(&[]).await;
    let browser = Browser::open().await;
    browser.goto(&format!("{}/admin", server.url())).await;

    browser.type_into("#token", "not-the-token").await;
    browser.click("#connect").await;
    browser.sees("#error").await;
    browser.reads("#error", "a refusal", |text| text.contains("Wrong token").then_some(())).await;

    browser.goto(&format!("{}/admin", server.url())).await;
    browser.type_into("#token", server.admin_token()).await;
    browser.click("#connect").await;
    browser.sees("#connection[data-state=open]").await;
    browser.sees("#hosts .row").await;
    browser
        .reads("#hosts .row", "the host", |text| (text.contains("local") && text.contains("0 of 40")).then_some(()))
        .await;
    browser
        .reads("#actors", "the actors", |text| (text.contains("scheduler") && text.contains("reaper")).then_some(()))
        .await;
    assert!(!browser.address().await.contains(server.admin_token()));

    let instance = server.api().create().await;
    browser
        .reads("#instances", "the new instance", |text| {
            (text.contains(&instance.id) && text.contains("running")).then_some(())
        })
        .await;
    browser.reads("#hosts .row", "its slot", |text| text.contains("1 of 40").then_some(())).await;
    browser.reads("#total", "the total", |text| (text == "1").then_some(())).await;
    assert_eq!(server.api().delete(&instance).await.status, 204);
    browser.reads("#instances", "its end", |text| (!text.contains(&instance.id)).then_some(())).await;
    browser.reads("#hosts .row", "its slot is free", |text| text.contains("0 of 40").then_some(())).await;
}

#[test]
fn the_operator_sees_an_actor_fail_and_come_back_and_why() {
    inside(async |Inside { mut world, authority }| {
        world.expect_restarts(&["discovery"]);
        let browser = Browser::open().await;
        browser.goto(&format!("http://{authority}/admin")).await;
        browser.type_into("#token", TOKEN).await;
        browser.click("#connect").await;
        let shows = async |what: &str| {
            browser.reads("#actors", what, |text| text.contains(&format!("discovery{what}")).then_some(())).await;
        };
        shows("up0").await;
        // Each wait is twice as long as the one before, so that the last can be seen for a second and more.
        for _ in 0..5 {
            world.faults.panic_next("directory.read");
        }
        shows("backing off5").await;
        shows("up5").await;
        let why = "simulated panic in directory.read";
        browser.reads("#actors", "the cause", |text| text.contains(why).then_some(())).await;
        world.finish().await;
    });
}

/// A server with one host that is nearly full, and one more on its way that never comes up.
struct Pool {
    server: Server,
    api: Api,
    _files: TempDir,
    _directory: DirectoryServer,
    _engine: EngineDoor,
    _host: Host,
}

impl Pool {
    async fn start() -> Self {
        let (directory, engine) = (DirectoryServer::start().await, EngineDoor::open().await);
        let api = Api::start("dop_v1_console", Settings::default(), Arc::new(Nothing)).unwrap();
        let files = TempDir::new().unwrap();
        let file = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (token, user_data) = (file("token", "dop_v1_console"), file("user-data", "#!/bin/sh\n# {name}\n"));
        let vitals = json!({
            "MemoryTotal": 1000, "MemoryAvailable": 50, "DiskTotal": 1000, "DiskFree": 600, "Load": 0.29, "Cpus": 2,
            "EngineVersion": "26.1.5", "SetupVersion": "0.1.0", "BootedAt": 1_700_000_000,
        });
        let host = Host::announce_with(&directory, "machine-1", 4, &vitals);
        let server = Server::start(&[
            ("directory.kind", "redis"),
            ("directory.url", &directory.url()),
            ("directory.poll", "200ms"),
            ("directory.ttl", "4s"),
            ("directory.endpoint", &format!("tcp://{{private_address}}:{}", engine.port())),
            ("fleet.provider", "digitalocean"),
            ("fleet.standby", "0"),
            ("fleet.min_hosts", "1"),
            ("fleet.max_hosts", "1"),
            ("fleet.queue_for", "0s"),
            ("docker.publish_address", "0.0.0.0"),
            ("digitalocean.api", api.url()),
            ("digitalocean.token_file", &token),
            ("digitalocean.user_data_file", &user_data),
            ("digitalocean.placements", r#"[{ region = "fra1", size = "s-1vcpu-1gb" }]"#),
        ])
        .await;
        Self { server, api, _files: files, _directory: directory, _engine: engine, _host: host }
    }
}

#[tokio::test]
async fn the_operator_sees_the_pool_and_how_hosts_fare_and_acts_on_both() {
    let pool = Pool::start().await;
    eventually("one is ordered", SOON, async || match pool.api.droplets().len() {
        1 => Ok(()),
        n => Err(format!("{n} droplets")),
    })
    .await;
    let browser = Browser::open().await;
    browser.goto(&format!("{}/admin", pool.server.url())).await;
    browser.type_into("#token", pool.server.admin_token()).await;
    browser.click("#connect").await;

    browser.sees("#pool").await;
    let on_its_way = "1 of at most 1 host, 1 on the way";
    browser.reads("#pool-numbers", "what is on its way", |text| text.contains(on_its_way).then_some(())).await;
    let name = pool.api.droplets()[0].name.clone();
    browser
        .reads("#pool-moving", "its name", |text| (text.contains("booting") && text.contains(&name)).then_some(()))
        .await;
    browser.reads("#pool-why", "the reasons", |text| text.contains("on the way").then_some(())).await;

    browser.click("#pool-switch").await;
    browser.reads("#pool-state", "the pause", |text| (text == "paused").then_some(())).await;
    browser.reads("#announce", "it is said", |text| text.contains("paused").then_some(())).await;
    browser.sees("#pool-hint").await;
    browser.click("#pool-switch").await;
    browser.reads("#pool-state", "the end of the pause", |text| (text == "running").then_some(())).await;

    let row = "#hosts .row";
    browser
        .reads(row, "its memory", |text| (text.contains("95 %") && text.contains("nearly full")).then_some(()))
        .await;
    browser.reads(row, "its load", |text| text.contains("0.29 on 2 cores").then_some(())).await;
    let details = async || {
        let heard = browser.heard().await;
        let button = heard.into_iter().find(|one| one.role == "button" && one.name == "Details of machine-1");
        button.unwrap().properties["expanded"].clone()
    };
    assert_eq!(details().await, false);
    browser.click("#hosts [aria-expanded]").await;
    assert_eq!(details().await, true);
    browser
        .reads("#hosts .facts", "its versions", |text| {
            (text.contains("26.1.5") && text.contains("0.1.0")).then_some(())
        })
        .await;

    browser.click("#hosts .deeds button:not([hidden])").await;
    browser.reads(row, "the cordon", |text| text.contains("up, cordoned").then_some(())).await;
    let refused = pool.server.api().post(json!({})).await;
    assert_eq!(refused.problem(503), "fleet-full");
    let focused = "arguments[0](document.activeElement.getAttribute('aria-label'))";
    assert_eq!(browser.run(focused).await, "Details of machine-1", "the focus is not lost with the button");
    browser.click("#hosts .deeds button:last-child").await;
    browser.reads(row, "it is taken back", |text| (!text.contains("cordoned")).then_some(())).await;
    browser.reads("#hosts-states", "the count", |text| (text == "1 up").then_some(())).await;
}
