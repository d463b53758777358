//! The server dies, or is told to stop, at the worst moment; and starts again.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::support::{
    SOON,
    agreement::everything_agrees,
    api::{Answer, Instance},
    eventually,
    server::Server,
    tenant::{connect, must_work},
};

/// What clients that asked at once were answered with, when they were.
type Burst = JoinSet<(usize, Option<Answer>)>;

/// So many clients ask at once, each with its own key.
fn burst(server: &Server, clients: usize) -> Burst {
    let mut asking = JoinSet::new();
    for n in 0..clients {
        let api = server.api();
        asking.spawn(async move { (n, api.try_post_with_key(&format!("client-{n}")).await.ok()) });
    }
    asking
}

/// Waits for everybody; the instances that were answered.
async fn answered(asking: Burst) -> Vec<(usize, Instance)> {
    let answers = asking.join_all().await.into_iter();
    answers.filter_map(|(n, answer)| answer.filter(|a| a.status == 201).map(|a| (n, a.created()))).collect()
}

/// Everybody asks again with the same key until there is an instance, as clients do.
async fn insist(server: &Server, clients: usize) -> Vec<Instance> {
    let insisting = (0..clients).map(async |n| {
        eventually("an instance", SOON, async || {
            let answer = server.api().post_with_key(&format!("client-{n}")).await;
            if answer.status == 201 { Ok(answer.created()) } else { Err(format!("{answer:?}")) }
        })
        .await
    });
    join_all(insisting).await
}

#[tokio::test]
async fn a_server_killed_in_a_burst_keeps_what_it_answered_and_leaves_nothing_else() {
    const CLIENTS: usize = 8;
    let mut server = Server::start(&[("limits.per_creator", "0")]).await;
    let mut asking = burst(&server, CLIENTS);
    let mut kept = Vec::new();
    while kept.len() < 3 {
        let (n, answer) = asking.join_next().await.unwrap().unwrap();
        kept.push((n, answer.unwrap().created()));
    }
    server.kill();
    kept.extend(answered(asking).await);
    assert!(kept.len() < CLIENTS, "the server was faster than its end");

    server.start_again().await;
    for (n, instance) in &kept {
        must_work(instance).await;
        let again = server.api().show(instance).await.instance();
        assert_eq!((&again.password, again.expires_at), (&instance.password, instance.expires_at), "client {n}");
    }
    let alive = everything_agrees(&server, &[]).await;
    assert!(kept.iter().all(|(_, instance)| alive.contains(&instance.id)), "{alive:?}");

    let again = insist(&server, CLIENTS).await;
    for (n, instance) in &kept {
        assert_eq!((&again[*n].id, &again[*n].redis_url), (&instance.id, &instance.redis_url));
    }
    let alive = everything_agrees(&server, &[]).await;
    assert_eq!(alive, again.into_iter().map(|instance| instance.id).collect(), "one for each key and no other");
    assert_eq!(alive.len(), CLIENTS);
}

#[tokio::test]
async fn a_delete_that_a_crash_interrupted_is_finished_or_was_never_begun() {
    let mut server = Server::start(&[]).await;
    let api = server.api();
    let instances = join_all((0..5).map(|_| api.create())).await;
    let mut deleting = JoinSet::new();
    for instance in instances.clone() {
        let api = api.clone();
        deleting.spawn(async move { (api.try_delete(&instance).await.ok().map(|answer| answer.status), instance) });
    }
    let first = deleting.join_next().await.unwrap().unwrap();
    server.kill();
    let outcomes: Vec<_> = std::iter::once(first).chain(deleting.join_all().await).collect();

    server.start_again().await;
    let alive = everything_agrees(&server, &[]).await;
    for (status, instance) in outcomes {
        let answer = server.api().show(&instance).await;
        match answer.status {
            410 => assert_eq!(answer.body["reason"], "deleted", "{answer:?}"),
            _ => {
                assert_eq!(status, None, "it was said to be deleted: {answer:?}");
                must_work(&answer.instance()).await;
            }
        }
        assert_eq!(alive.contains(&instance.id), server.api().show(&instance).await.status == 200);
    }
}

#[tokio::test]
async fn a_restarted_server_answers_the_same_key_with_the_same_password_and_its_data_is_there() {
    let mut server = Server::start(&[]).await;
    let first = server.api().post_with_key("one").await.created();
    let mut tenant = connect(&first.redis_url).await.unwrap();
    redis::cmd("SET").arg("kept").arg("yes").exec_async(&mut tenant).await.unwrap();
    server.kill();
    // Nobody needs the server to use an instance.
    must_work(&first).await;
    server.start_again().await;
    let answer = server.api().post_with_key("one").await;
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    let second = answer.created();
    assert_eq!((&second.id, &second.redis_url), (&first.id, &first.redis_url));
    assert_eq!(second.management_token, first.management_token);
    let kept: String = redis::cmd("GET").arg("kept").query_async(&mut tenant).await.unwrap();
    assert_eq!(kept, "yes");
    assert_eq!(server.containers().await.len(), 1);
}

#[tokio::test]
async fn what_was_due_while_the_server_was_down_ends_when_it_is_back() {
    let mut server = Server::start(&[]).await;
    let lasting = server.api().create().await;
    let brief = server.api().create_brief(2).await;
    server.kill();
    eventually("its time is over", SOON, async || {
        if jiff::Timestamp::now() > brief.expires_at { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    assert_eq!(server.containers().await.len(), 2, "nobody was there to end it");
    server.start_again().await;
    assert_eq!(agreement_on(&server, 1).await, BTreeSet::from([lasting.id.clone()]));
    let answer = server.api().show(&brief).await;
    assert_eq!((answer.problem(410), answer.body["reason"].as_str()), ("instance-ended", Some("expired")));
    must_work(&lasting).await;
}

async fn agreement_on(server: &Server, count: usize) -> BTreeSet<String> {
    eventually("only so many are left", SOON, async || {
        let alive = everything_agrees(server, &[]).await;
        if alive.len() == count { Ok(alive) } else { Err(format!("{alive:?}")) }
    })
    .await
}

#[tokio::test]
async fn a_server_told_to_stop_finishes_what_it_began_and_leaves_what_it_made() {
    const CLIENTS: usize = 6;
    let mut server = Server::start(&[("limits.per_creator", "0")]).await;
    let mut viewer = server.feed().await;
    let asking = burst(&server, CLIENTS);
    eventually("creates are under way", SOON, async || {
        if server.containers().await.is_empty() { Err("no container yet".to_owned()) } else { Ok(()) }
    })
    .await;
    server.terminate();
    // Nobody who watches keeps it from ending.
    assert_eq!(viewer.goodbye().await, 1001);
    let answers = asking.join_all().await;
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{}", server.log());
    let made: Vec<Instance> = answers
        .into_iter()
        .filter_map(|(_, answer)| {
            // Whoever was too late is told so, or finds the door shut.
            let answer = answer?;
            if answer.status != 201 {
                assert!(["restarting", "busy"].contains(&answer.problem(503)), "{answer:?}");
                return None;
            }
            Some(answer.created())
        })
        .collect();
    assert!(!made.is_empty(), "nothing that was under way was finished");
    join_all(made.iter().map(must_work)).await;

    server.start_again().await;
    let alive = agreement_on(&server, made.len()).await;
    assert_eq!(alive, made.iter().map(|instance| instance.id.clone()).collect());
    join_all(made.iter().map(must_work)).await;
}

#[cfg(feature = "crash-points")]
#[tokio::test]
async fn a_server_that_dies_with_the_row_written_and_the_answer_not_sent_has_the_instance_for_who_asks_again() {
    let mut server = Server::start(&[]).await;
    server.kill();
    server.crash_at(Some("store.apply.Started:after"));
    server.start_again().await;
    assert!(server.api().try_post_with_key("one").await.is_err(), "it died before it could answer");
    server.crashes().await;
    let left: Vec<String> = server.containers().await.into_iter().map(|container| container.instance).collect();
    assert_eq!(left.len(), 1);

    server.crash_at(None);
    server.start_again().await;
    assert_eq!(everything_agrees(&server, &[]).await, left.iter().cloned().collect());
    let answer = server.api().post_with_key("one").await;
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    let instance = answer.created();
    assert_eq!(vec![instance.id.clone()], left);
    must_work(&instance).await;
}

#[cfg(feature = "crash-points")]
#[tokio::test]
async fn a_crash_point_that_is_none_is_refused_at_the_start_with_all_that_are() {
    let mut server = Server::start(&[]).await;
    server.kill();
    server.crash_at(Some("store.apply.Sarted:after"));
    let ended = server.command(0).status().unwrap();
    assert!(!ended.success());
    let log = server.log();
    assert!(log.contains("store.apply.Sarted:after") && log.contains("store.apply.Started"), "{log}");
}
