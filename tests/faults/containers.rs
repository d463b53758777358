//! Containers that go by themselves, and an engine that does not let them go.

use std::collections::BTreeSet;

use crate::{
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

/// Longest pause of a removal that is tried again is a second, so an engine lies for some seconds.
const LIES: usize = 6;

/// An engine that fails at so many removals.
fn removals_fail(times: usize) -> Lie {
    Lie {
        method: "DELETE",
        path: "/containers/",
        status: "500 Internal Server Error",
        body: r#"{"message":"driver failed to remove root filesystem"}"#,
        times,
    }
}

/// An engine that so often cannot say whether a container of ours is there.
fn looks_fail(times: usize) -> Lie {
    Lie { method: "GET", path: "/containers/getaredis-", ..removals_fail(times) }
}

async fn on(liar: &Liar) -> Server {
    Server::start(&[("docker.endpoint", &liar.endpoint()), ("docker.network", "bridge"), ("reaper.retry_max", "1s")])
        .await
}

/// Waits until a scrape shows this much at least.
async fn shows(server: &Server, name: &str, least: f64) {
    eventually(&format!("{name} is {least}"), SOON, async || {
        let numbers = numbers(&server.api()).await?;
        if numbers.get(name).is_some_and(|number| *number >= least) { Ok(()) } else { Err(format!("{numbers:?}")) }
    })
    .await;
}

#[tokio::test]
async fn containers_that_are_removed_or_killed_by_hand_end_their_instances_and_no_others() {
    let server = Server::start(&[("docker.network", "bridge")]).await;
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
async fn an_engine_that_fails_at_removals_is_asked_until_it_removes_and_the_lag_is_seen() {
    let liar = Liar::telling(vec![removals_fail(LIES)]).await;
    let server = on(&liar).await;
    let api = server.api();
    let staying = api.create().await;
    let brief = api.create_for(3).await;
    shows(&server, "getaredis_reap_lag_seconds", 2.0).await;
    shows(&server, "getaredis_reaper_pending", 1.0).await;
    // It is not said to have ended before that is true.
    let answer = api.show(&brief).await;
    assert!(answer.status != 410 || liar.left() == 0, "{answer:?}");
    assert_eq!(api.until_ended(&brief).await.body["reason"], "expired");
    assert_eq!(liar.left(), 0);
    let id = staying.id.clone();
    assert_eq!(everything_agrees(&server, &[staying, brief]).await, BTreeSet::from([id]));
}

#[tokio::test]
async fn a_container_without_a_row_that_cannot_be_removed_is_seen_until_it_is() {
    let liar = Liar::telling(Vec::new()).await;
    let mut server = on(&liar).await;
    server.api().create().await;
    server.kill();
    for file in ["getaredis.db", "getaredis.db-wal", "getaredis.db-shm"] {
        let _ = std::fs::remove_file(server.home().join(file));
    }
    liar.tell(removals_fail(LIES));
    server.start_again().await;
    shows(&server, ORPHAN_CONTAINERS, 1.0).await;
    assert_eq!(everything_agrees(&server, &[]).await, BTreeSet::new());
    assert_eq!(liar.left(), 0);
    must_work(&server.api().create().await).await;
}

#[tokio::test]
async fn a_row_without_a_container_that_cannot_be_ended_is_seen_until_it_is() {
    let liar = Liar::telling(Vec::new()).await;
    let mut server = on(&liar).await;
    let instance = server.api().create().await;
    // Nobody is there to see it go.
    server.kill();
    Engine::given().remove(&server.container(&instance.id).await).await;
    liar.tell(looks_fail(LIES));
    server.start_again().await;
    shows(&server, ORPHAN_ROWS, 1.0).await;
    assert_eq!(everything_agrees(&server, &[instance]).await, BTreeSet::new());
    assert_eq!(liar.left(), 0);
}
