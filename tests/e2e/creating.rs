//! A visitor asks for an instance and uses it.

use redis::ErrorKind;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    SOON, eventually,
    server::Server,
    tenant::{self, connect, must_work, must_work_at},
};

#[tokio::test]
async fn a_created_instance_keeps_what_it_is_given_and_refuses_a_wrong_password() {
    let server = Server::start(&[]).await;
    let instance = server.api().post(json!({"ttl": "90m", "flavour": "redis", "label": "my ci job"})).await.created();
    assert_eq!((instance.host.as_str(), instance.username.as_str()), ("127.0.0.1", "default"));
    assert_eq!((instance.flavour.as_str(), instance.label.as_deref()), ("redis", Some("my ci job")));
    assert_eq!(instance.expires_at.as_second() - instance.created_at.as_second(), 90 * 60);
    assert!((5390..=5400).contains(&instance.expires_in_s), "{}", instance.expires_in_s);
    assert_eq!(instance.limits["memory_bytes"], 5 * 1024 * 1024);
    assert_eq!(instance.limits["connections"], 5);
    assert!(instance.isolated);
    must_work(&instance).await;

    let wrong = instance.redis_url.replace(&instance.password, "wrong");
    let none = format!("redis://{}:{}/0", instance.host, instance.port);
    assert_eq!(tenant::ping(&wrong).await.unwrap_err().kind(), ErrorKind::AuthenticationFailed);
    assert!(tenant::ping(&none).await.unwrap_err().to_string().contains("NOAUTH"));

    let shown = server.api().show(&instance).await.instance();
    assert_eq!(
        (&shown.id, &shown.redis_url, shown.expires_at),
        (&instance.id, &instance.redis_url, instance.expires_at)
    );
}

#[tokio::test]
async fn data_beyond_the_cap_is_refused_and_the_container_stays_up() {
    let server = Server::start(&[]).await;
    let instance = server.api().create().await;
    let container = server.container(&instance.id).await;
    let mut tenant = connect(&instance.redis_url).await.unwrap();
    let (taken, refusal) = tenant::fill(&mut tenant, 32 * 1024 * 1024).await;
    assert!(refusal.to_string().contains("OOM"), "{refusal}");
    assert!((4 * 1024 * 1024..=6 * 1024 * 1024).contains(&taken), "{taken} bytes were taken");
    // What was taken is still there, and room can be made.
    let kept: Vec<u8> = redis::cmd("GET").arg("filling:0").query_async(&mut tenant).await.unwrap();
    assert_eq!(kept.len(), 64 * 1024);
    redis::cmd("FLUSHALL").exec_async(&mut tenant).await.unwrap();
    must_work(&instance).await;
    assert_eq!(server.container(&instance.id).await, container);
    assert!(container.running);
}

#[tokio::test]
async fn what_the_old_program_answered_is_still_answered() {
    let server = Server::start(&[("limits.per_creator", "1")]).await;
    let api = server.api();
    let post = || api.request(Method::POST, "/instance");
    let answer = api.send(post()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.body.as_object().unwrap();
    let mut members: Vec<_> = body.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["IP", "password", "port"]);
    let [ip, port, password] = ["IP", "port", "password"].map(|name| body[name].as_str().unwrap());
    must_work_at(&format!("redis://:{password}@{ip}:{port}")).await;
    assert_eq!(api.send(post()).await.problem(429), "quota-exceeded");
}

#[tokio::test]
async fn an_instance_opens_to_its_management_token_only() {
    let server = Server::start(&[]).await;
    let api = server.api();
    let (mine, other) = tokio::join!(api.create(), api.create());
    let path = format!("/v1/instances/{}", mine.id);
    for method in [Method::GET, Method::DELETE] {
        let bare = api.send(api.request(method.clone(), &path)).await;
        assert_eq!(bare.problem(401), "unauthorized");
        assert!(bare.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")));
        let foreign = api.request(method, &path).bearer_auth(&other.management_token);
        assert_eq!(api.send(foreign).await.problem(401), "unauthorized");
    }
    assert_eq!(api.get("/v1/instances/0192f0c1a2b37c4d8e5f60718293a4b5").await.problem(404), "not-found");
    must_work(&mine).await;
}

#[tokio::test]
async fn the_capacity_follows_what_is_created_and_deleted() {
    let server = Server::start(&[("fleet.slots", "2"), ("limits.per_creator", "0")]).await;
    let api = server.api();
    let empty = api.capacity().await;
    assert_eq!((empty.slots_total, empty.slots_used, empty.slots_free), (2, 0, 2));
    assert_eq!((empty.hosts, empty.hosts_up, empty.accepting), (1, 1, true));
    assert_eq!((empty.instances_running, empty.instances_started_total), (0, 0));
    assert!(empty.isolated && empty.defaults["memory_bytes"] == 5 * 1024 * 1024);
    let first = api.create().await;
    api.create().await;
    let full = api.capacity().await;
    assert_eq!((full.slots_used, full.slots_free, full.accepting), (2, 0, false));
    assert!(full.reason.is_some());
    let refused = api.post(json!({})).await;
    assert_eq!(refused.problem(503), "fleet-full");
    assert!(refused.retry_after() > 0);
    assert_eq!(api.delete(&first).await.status, 204);
    api.create().await;
    eventually("the numbers agree", SOON, async || {
        let now = api.capacity().await;
        let numbers = (now.slots_used, now.instances_running, now.instances_started_total);
        if numbers == (2, 2, 3) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}
