//! Containers that go by themselves, and an engine that does not let them go.

use std::collections::BTreeSet;

use crate::{
    backend::{Backend, on_every_database},
    liar::{Liar, Lie},
    support::{
        SOON,
        agreement::{ORPHAN_CONTAINERS, ORPHAN_ROWS, everything_agrees, numbers},
        engine::Engine,
        eventually,
        server::Server,
        tenant::must_work,
    },
};

/// How often an engine lies at least before it tells the truth again.
const LIES: usize = 6;

/// An engine that fails at removals.
fn removals_fail() -> Lie {
    Lie {
        method: "DELETE",
        path: "/containers/",
        status: "500 Internal Server Error",
        body: r#"{"message":"driver failed to remove root filesystem"}"#,
    }
}

/// An engine that cannot say whether a container of ours is there.
fn looks_fail() -> Lie {
    Lie { method: "GET", path: "/containers/getaredis-", ..removals_fail() }
}

async fn on(liar: &Liar, database: &str) -> Server {
    Server::start(&[
        ("database.url", database),
        ("docker.endpoint", &liar.endpoint()),
        ("docker.network", "bridge"),
        ("reaper.retry_max", "1s"),
    ])
    .await
}

/// Waits until it has lied often enough, and lets it tell the truth.
async fn relents(liar: &Liar) {
    eventually("it is asked again and again", SOON, async || {
        if liar.told() >= LIES { Ok(()) } else { Err(format!("{} lies", liar.told())) }
    })
    .await;
    liar.relent();
}

/// Waits until a scrape shows this much at least.
async fn shows(server: &Server, name: &str, least: f64) {
    eventually(&format!("{name} is {least}"), SOON, async || {
        let numbers = numbers(&server.api()).await?;
        if numbers.get(name).is_some_and(|number| *number >= least) { Ok(()) } else { Err(format!("{numbers:?}")) }
    })
    .await;
}

async fn containers_go(backend: Backend) {
    let (_database, url) = backend.create().await;
    let server = Server::start(&[("database.url", &url), ("docker.network", "bridge")]).await;
    let api = server.api();
    let (removed, killed, staying) = (api.create().await, api.create().await, api.create().await);
    Engine::given().remove(&server.container(&removed.id).await).await;
    Engine::given().kill(&server.container(&killed.id).await).await;
    for (instance, reasons) in [(&removed, ["exited", "lost"]), (&killed, ["exited", "exited"])] {
        let answer = api.until_ended(instance).await;
        assert!(reasons.iter().any(|reason| answer.body["reason"] == *reason), "{answer:?}");
    }
    let id = staying.id.clone();
    assert_eq!(everything_agrees(&server, &[removed, killed, staying]).await, BTreeSet::from([id]));
}

#[tokio::test]
async fn containers_that_are_removed_or_killed_by_hand_end_their_instances_and_no_others() {
    on_every_database(containers_go).await;
}

async fn removals_fail_on(backend: Backend) {
    let (_database, url) = backend.create().await;
    let liar = Liar::telling(Vec::new()).await;
    let server = on(&liar, &url).await;
    let api = server.api();
    let staying = api.create().await;
    let brief = api.create_brief(3).await;
    // What was removed before had no part in it.
    liar.tell(removals_fail());
    shows(&server, "getaredis_reap_lag_seconds", 2.0).await;
    shows(&server, "getaredis_reaper_pending", 1.0).await;
    // It is not said to have ended before that is true.
    assert_ne!(api.show(&brief).await.status, 410);
    relents(&liar).await;
    assert_eq!(api.until_ended(&brief).await.body["reason"], "expired");
    let id = staying.id.clone();
    assert_eq!(everything_agrees(&server, &[staying, brief]).await, BTreeSet::from([id]));
}

#[tokio::test]
async fn an_engine_that_fails_at_removals_is_asked_until_it_removes_and_the_lag_is_seen() {
    on_every_database(removals_fail_on).await;
}

#[tokio::test]
async fn a_container_without_a_row_that_cannot_be_removed_is_seen_until_it_is() {
    let liar = Liar::telling(Vec::new()).await;
    let mut server = on(&liar, "sqlite://getaredis.db").await;
    server.api().create().await;
    liar.tell(removals_fail());
    server.lose_rows();
    shows(&server, ORPHAN_CONTAINERS, 1.0).await;
    // The next server finds it as well.
    server.kill();
    server.start_again().await;
    shows(&server, ORPHAN_CONTAINERS, 1.0).await;
    relents(&liar).await;
    assert_eq!(everything_agrees(&server, &[]).await, BTreeSet::new());
    must_work(&server.api().create().await).await;
}

async fn a_row_is_left(backend: Backend) {
    let (_database, url) = backend.create().await;
    let liar = Liar::telling(Vec::new()).await;
    let mut server = on(&liar, &url).await;
    let instance = server.api().create().await;
    // Nobody is there to see it go.
    server.kill();
    Engine::given().remove(&server.container(&instance.id).await).await;
    liar.tell(looks_fail());
    server.start_again().await;
    shows(&server, ORPHAN_ROWS, 1.0).await;
    relents(&liar).await;
    assert_eq!(everything_agrees(&server, &[instance]).await, BTreeSet::new());
}

#[tokio::test]
async fn a_row_without_a_container_that_cannot_be_ended_is_seen_until_it_is() {
    on_every_database(a_row_is_left).await;
}
