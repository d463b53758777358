//! The Docker Engine goes away and comes back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{SOON, api::Api, eventually, proxy::EngineDoor, server::Server, tenant::must_work};

/// Waits until a create is refused because of the host, and says so in every way.
async fn until_refused(api: &Api) {
    eventually("creates are refused", SOON, async || {
        let answer = api.post(json!({})).await;
        if answer.status == 201 {
            return Err("a create went well".to_owned());
        }
        assert!(["fleet-full", "host-failed"].contains(&answer.problem(503)), "{answer:?}");
        assert!(answer.retry_after() > 0);
        let ready = api.get("/readyz").await;
        let checks = ready.body["checks"].as_array().unwrap();
        let named = checks.iter().any(|check| check["name"] == "hosts" && check["ok"] == false);
        if ready.status == 503 && ready.body["status"] == "unavailable" && named {
            Ok(())
        } else {
            Err(ready.body.to_string())
        }
    })
    .await;
    let capacity = api.capacity().await;
    assert_eq!((capacity.hosts, capacity.hosts_up, capacity.accepting), (1, 0, false));
    assert!(capacity.reason.is_some());
    // Nothing is wrong with the process itself.
    assert_eq!(api.get("/livez").await.status, 200);
}

#[tokio::test]
async fn without_the_engine_creates_are_refused_with_a_time_and_with_it_they_work_again() {
    let door = EngineDoor::open().await;
    let server = Server::start(&[("docker.endpoint", &door.endpoint())]).await;
    let api = server.api();
    let (staying, leaving) = (api.create().await, api.create().await);
    door.shut().await;
    until_refused(&api).await;
    // Instances do not need the way between server and engine.
    must_work(&staying).await;
    assert_eq!(api.show(&staying).await.instance().redis_url, staying.redis_url);
    // A delete is taken on, and finished later.
    let answer = api.delete(&leaving).await;
    assert_eq!((answer.status, &answer.body["state"]), (202, &json!("stopping")), "{answer:?}");

    door.reopen();
    server.becomes_ready().await;
    assert_eq!(api.until_ended(&leaving).await.body["reason"], "deleted");
    must_work(&api.create().await).await;
    must_work(&staying).await;
    assert_eq!(server.containers().await.len(), 2);
    assert_eq!(api.capacity().await.slots_used, 2);
}

#[tokio::test]
async fn a_server_that_starts_without_an_engine_waits_for_it() {
    let door = EngineDoor::open().await;
    door.shut().await;
    let server = Server::start_unready(&[("docker.endpoint", &door.endpoint())]).await;
    until_refused(&server.api()).await;
    door.reopen();
    server.becomes_ready().await;
    must_work(&server.api().create().await).await;
}

#[tokio::test]
async fn an_engine_that_hangs_costs_a_create_its_deadline_and_no_more() {
    let door = EngineDoor::open().await;
    let server = Server::start(&[
        ("docker.endpoint", &door.endpoint()),
        ("docker.call_timeout", "1s"),
        ("docker.start_timeout", "6s"),
        ("instances.create_deadline", "7s"),
    ])
    .await;
    let api = server.api();
    let instance = api.create().await;
    door.jam();
    let asked = Instant::now();
    let refused = api.post(json!({})).await;
    assert!(["fleet-full", "host-failed"].contains(&refused.problem(503)), "{refused:?}");
    assert!(refused.retry_after() > 0);
    assert!(asked.elapsed() < Duration::from_secs(12), "it took {:?}", asked.elapsed());
    must_work(&instance).await;
    until_refused(&api).await;

    door.reopen();
    server.becomes_ready().await;
    eventually("nothing is left of what was refused", SOON, async || {
        let (containers, used) = (server.containers().await.len(), api.capacity().await.slots_used);
        if (containers, used) == (1, 1) { Ok(()) } else { Err(format!("{containers} containers, {used} slots")) }
    })
    .await;
    must_work(&api.create().await).await;
}
