//! Where no Docker Engine can run: instances as plain children of the server.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{
    SOON, eventually, given,
    processes::{Process, descendants},
    same,
    server::Server,
    tenant::{self, connect, must_work},
};

async fn serve(settings: &[(&str, &str)]) -> Server {
    // Named here so that its absence is said in words.
    given("GETAREDIS_TEST_REDIS_SERVER");
    Server::start(&[&[("fleet.runtime", "process")], settings].concat()).await
}

/// The server's children that are engines.
fn engines(server: &Server) -> BTreeSet<Process> {
    descendants(server.process()).into_iter().filter(|process| process.command().contains("redis-server")).collect()
}

#[tokio::test]
async fn instances_without_containers_say_so_and_die_with_the_server() {
    let mut server = serve(&[]).await;
    let api = server.api();
    let (first, second) = tokio::join!(api.create(), api.create());
    assert!(!first.isolated && !api.capacity().await.isolated);
    assert!(server.log().contains("NOT isolated"), "the log does not warn");
    must_work(&first).await;
    must_work(&second).await;
    let wrong = first.redis_url.replace(&first.password, "wrong");
    assert!(tenant::ping(&wrong).await.is_err());
    let engines = engines(&server);
    assert_eq!(engines.len(), 2, "{engines:?}");
    for engine in &engines {
        assert_eq!(server.secrets().found_in(&engine.command()), Vec::<String>::new());
    }

    server.kill();
    eventually("no engine is left", SOON, async || {
        same(engines.iter().filter(|engine| engine.lives()).collect::<Vec<_>>(), Vec::new())
    })
    .await;
    server.start_again().await;
    let answer = server.api().until_ended(&first).await;
    assert!(["exited", "lost"].iter().any(|reason| answer.body["reason"] == *reason), "{answer:?}");
    must_work(&server.api().create().await).await;
}

#[tokio::test]
async fn instances_without_containers_are_capped_deleted_and_stopped_in_order() {
    let mut server = serve(&[]).await;
    let api = server.api();
    let instance = api.create().await;
    let mut tenant = connect(&instance.redis_url).await.unwrap();
    let (_, refusal) = tenant::fill(&mut tenant, 32 * 1024 * 1024).await;
    assert!(refusal.to_string().contains("OOM"), "{refusal}");
    assert_eq!(api.delete(&instance).await.status, 204);
    assert!(tenant::ping(&instance.redis_url).await.is_err());
    assert_eq!(engines(&server), BTreeSet::new());

    let brief = api.post(json!({"ttl": 1})).await.created();
    assert_eq!(api.until_ended(&brief).await.body["reason"], "expired");
    assert_eq!(engines(&server), BTreeSet::new());

    api.create().await;
    let last = engines(&server);
    assert_eq!(last.len(), 1);
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
    eventually("the last engine is gone", SOON, async || same(last.iter().filter(|engine| engine.lives()).count(), 0))
        .await;
}
