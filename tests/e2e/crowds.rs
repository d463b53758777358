//! Many at once, and the same one again and again.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    api::{Answer, Instance},
    server::Server,
    tenant::must_work,
};

fn by_status(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn fifty_parallel_requests_with_one_key_give_one_container_and_one_answer() {
    let server = Server::start(&[]).await;
    let api = server.api();
    let answers = join_all((0..50).map(|_| api.post_with_key("the-same-click"))).await;
    assert_eq!(by_status(&answers), BTreeMap::from([(201, 50)]), "{:?}", answers.iter().find(|a| a.status != 201));
    let fresh = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count();
    assert_eq!(fresh, 1, "answers that say to be the first");
    let mut instances: Vec<Instance> = answers.into_iter().map(Answer::created).collect();
    // The only member that goes with the time of the answer.
    instances.iter_mut().for_each(|instance| instance.expires_in_s = 0);
    instances.dedup();
    assert_eq!(instances.len(), 1, "{instances:?}");
    assert_eq!(server.containers().await.len(), 1);
    must_work(&instances[0]).await;
    let capacity = api.capacity().await;
    assert_eq!((capacity.slots_used, capacity.instances_started_total), (1, 1));

    let conflict = api.request(reqwest::Method::POST, "/v1/instances").header("idempotency-key", "the-same-click");
    assert_eq!(api.send(conflict.json(&json!({"ttl": "2h"}))).await.problem(409), "idempotency-conflict");
}

#[tokio::test]
async fn twenty_parallel_requests_of_one_creator_with_a_quota_of_six_give_exactly_six() {
    let server = Server::start(&[("limits.per_creator", "6")]).await;
    let api = server.api();
    let answers = join_all((0..20).map(|_| api.post(json!({"ttl": "1h"})))).await;
    assert_eq!(by_status(&answers), BTreeMap::from([(201, 6), (429, 14)]));
    assert_eq!(server.containers().await.len(), 6);
    for refused in answers.iter().filter(|answer| answer.status == 429) {
        assert_eq!((refused.problem(429), &refused.body["limit"]), ("quota-exceeded", &json!(6)));
        assert!((3500..=3600).contains(&refused.retry_after()), "{refused:?}");
    }
    let instances: Vec<Instance> =
        answers.into_iter().filter(|answer| answer.status == 201).map(Answer::created).collect();
    join_all(instances.iter().map(must_work)).await;
    // A place that is given back can be had again.
    assert_eq!(api.delete(&instances[0]).await.status, 204);
    api.create().await;
    assert_eq!(api.post(json!({})).await.problem(429), "quota-exceeded");
}

#[tokio::test]
async fn a_full_fleet_is_never_overfilled_by_a_crowd() {
    let server = Server::start(&[("limits.per_creator", "0"), ("fleet.slots", "4")]).await;
    let api = server.api();
    let answers = join_all((0..12).map(|_| api.post(json!({})))).await;
    assert_eq!(by_status(&answers), BTreeMap::from([(201, 4), (503, 8)]));
    assert_eq!(server.containers().await.len(), 4);
    let refused = answers.iter().find(|answer| answer.status == 503).unwrap();
    assert_eq!(refused.problem(503), "fleet-full");
    assert!(refused.retry_after() > 0 && refused.body["reason"].is_string(), "{refused:?}");
}

#[tokio::test]
async fn who_asks_too_fast_is_told_when_to_ask_again() {
    let server =
        Server::start(&[("limits.burst", "2"), ("limits.creates_per_minute", "1"), ("limits.per_creator", "0")]).await;
    let api = server.api();
    let answers = join_all((0..4).map(|_| api.post(json!({})))).await;
    assert_eq!(by_status(&answers), BTreeMap::from([(201, 2), (429, 2)]));
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.problem(429), "rate-limited");
    assert!((1..=60).contains(&refused.retry_after()), "{refused:?}");
}
