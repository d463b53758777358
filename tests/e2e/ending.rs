//! An instance ends: by its time, by its creator, by itself.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use crate::support::{
    SOON,
    agreement::{ORPHAN_CONTAINERS, ORPHANS_UNKNOWN, numbers},
    api::Instance,
    engine::{Container, Engine},
    eventually, same,
    server::{Server, USED},
    tenant::{must_work, ping},
};

/// Fails unless it ended so, its container is gone, and its slot is free.
async fn must_be_gone(server: &Server, instance: &Instance, reasons: &[&str]) {
    let answer = server.api().until_ended(instance).await;
    assert_eq!(answer.problem(410), "instance-ended");
    assert!(reasons.iter().any(|reason| answer.body["reason"] == *reason), "{answer:?}");
    let ended_at: Timestamp = answer.body["ended_at"].as_str().unwrap().parse().unwrap();
    assert!(ended_at >= instance.created_at && ended_at <= Timestamp::now(), "{answer:?}");
    assert!(!answer.body.to_string().contains(&instance.password));
    same(server.containers().await, Vec::new()).unwrap();
    assert_eq!(server.api().capacity().await.slots_used, 0);
    assert!(ping(&instance.redis_url).await.is_err());
}

#[tokio::test]
async fn a_deleted_instance_is_gone_with_its_container_when_the_answer_comes() {
    let server = Server::start(&[]).await;
    let api = server.api();
    let instance = api.create().await;
    must_work(&instance).await;
    let answer = api.delete(&instance).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    must_be_gone(&server, &instance, &["deleted"]).await;
    assert_eq!(api.delete(&instance).await.problem(410), "instance-ended");
    assert_eq!(api.extend(&instance, json!("2h")).await.problem(410), "instance-ended");
}

#[tokio::test]
async fn an_instance_lives_until_its_time_and_no_longer() {
    let server = Server::start(&[]).await;
    let instance = server.api().create_brief(1).await;
    let due = instance.expires_at;
    let (mut last_answer, give_up) = (Timestamp::MIN, Instant::now() + SOON);
    let first_silence = loop {
        let asked = Timestamp::now();
        match ping(&instance.redis_url).await {
            Ok(_) => last_answer = asked,
            Err(_) => break asked,
        }
        assert!(Instant::now() < give_up, "it still answers");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let late = |at: Timestamp| at.duration_since(due).as_millis();
    assert!(late(first_silence) >= 0, "it was silent {} ms before its time", -late(first_silence));
    assert!(late(last_answer) < 3000, "it answered {} ms after its time", late(last_answer));
    must_be_gone(&server, &instance, &["expired"]).await;
    assert!(late(Timestamp::now()) < 5000, "its container was there {} ms after its time", late(Timestamp::now()));
}

#[tokio::test]
async fn an_extended_instance_outlives_its_first_time() {
    let server = Server::start(&[
        ("instances.default_ttl", "4s"),
        ("instances.max_ttl", "1m"),
        ("instances.max_lifetime", "2m"),
    ])
    .await;
    let api = server.api();
    let (instance, other) = tokio::join!(api.create(), api.create());
    let extended = api.extend(&instance, json!(30)).await;
    assert_eq!(extended.status, 200, "{extended:?}");
    let extended = extended.instance();
    assert!((28..=30).contains(&extended.expires_in_s), "{}", extended.expires_in_s);
    assert_eq!((&extended.redis_url, extended.max_expires_at), (&instance.redis_url, instance.max_expires_at));
    // The other one shows that the time is over.
    api.until_ended(&other).await;
    assert!(Timestamp::now() > instance.expires_at);
    must_work(&instance).await;
    assert_eq!(api.show(&instance).await.instance().expires_at, extended.expires_at);

    let shorter = api.extend(&instance, json!("2s")).await;
    assert_eq!((shorter.problem(400), &shorter.body["field"]), ("invalid-request", &json!("ttl")));
    let beyond = api.extend(&instance, json!("3h")).await;
    assert_eq!((beyond.problem(400), &beyond.body["field"]), ("invalid-request", &json!("ttl")));
    assert!(beyond.body["allowed"].is_object(), "{beyond:?}");
}

/// Ends its only instance behind the server's back.
async fn lose(server: &Server, how: impl AsyncFn(&Engine, &Container)) -> Instance {
    let instance = server.api().create().await;
    let container = server.container(&instance.id).await;
    how(&Engine::given(), &container).await;
    instance
}

#[tokio::test]
async fn an_instance_whose_container_is_killed_by_hand_has_exited() {
    let server = Server::start(&[]).await;
    let instance = lose(&server, async |engine, container| engine.kill(container).await).await;
    must_be_gone(&server, &instance, &["exited"]).await;
}

#[tokio::test]
async fn an_instance_whose_container_is_removed_by_hand_is_noticed() {
    let server = Server::start(&[]).await;
    let instance = lose(&server, async |engine, container| engine.remove(container).await).await;
    must_be_gone(&server, &instance, &["exited", "lost"]).await;
}

#[tokio::test]
async fn a_container_of_this_deployment_whose_row_is_gone_is_removed() {
    let server = Server::start(&[]).await;
    let instance = server.api().create().await;
    server.lose_rows();
    eventually("the orphan is removed", SOON, async || same(server.containers().await, Vec::new())).await;
    assert_eq!(server.api().show(&instance).await.problem(404), "not-found");
}

#[tokio::test]
async fn on_another_database_than_before_nobodys_instance_is_ended_and_on_the_right_one_all_go_on() {
    let mut server = Server::start(&[]).await;
    let before = server.api().create().await;
    server.terminate();
    server.ended().await;
    server.copy_database(USED, "copy.db");
    server.start_again().await;
    let after = server.api().create().await;
    server.terminate();
    server.ended().await;
    server.copy_database(USED, "right.db");
    // Nothing is there, then an older copy, and then what ought to be.
    for (database, unknown) in [("none.db", 2.0), ("copy.db", 1.0), ("right.db", 0.0)] {
        server.copy_database(database, USED);
        let said = server.log().len();
        server.start_again().await;
        eventually("the sweep has looked", SOON, async || {
            let numbers = numbers(&server.api()).await?;
            let looked = numbers.get("getaredis_sweeps_total").is_some_and(|sweeps| *sweeps >= 2.0);
            let shown = (numbers.get(ORPHANS_UNKNOWN), numbers.get(ORPHAN_CONTAINERS));
            if looked && shown == (Some(&unknown), Some(&0.0)) { Ok(()) } else { Err(format!("{numbers:?}")) }
        })
        .await;
        assert_eq!(server.log()[said..].contains("reaper.orphans_unknown"), unknown > 0.0);
        assert_eq!(server.api().capacity().await.slots_used, 2, "what is there takes its place");
        for instance in [&before, &after] {
            must_work(instance).await;
        }
        server.terminate();
        server.ended().await;
    }
    server.start_again().await;
    for instance in [&before, &after] {
        assert_eq!(server.api().delete(instance).await.status, 204);
    }
}

#[tokio::test]
async fn what_a_database_has_never_heard_of_is_removed_when_no_lease_can_be_as_long() {
    // So long that it is certainly there when the database goes, on any machine.
    let (lifetime, time) = (Duration::from_secs(25), "25s");
    let brief = ["instances.default_ttl", "instances.max_ttl", "instances.max_lifetime"].map(|key| (key, time));
    let mut server = Server::start(&[&brief[..], &[("instances.warn_before", "0s")]].concat()).await;
    let instance = server.api().create().await;
    server.terminate();
    server.ended().await;
    server.copy_database("none.db", USED);
    server.start_again().await;
    let gone = async || same(server.containers().await, Vec::new());
    eventually("it is removed", SOON, gone).await;
    assert!(Timestamp::now() >= instance.created_at + lifetime, "it might have been somebody's");
}
