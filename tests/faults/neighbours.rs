//! Two server processes on one database: together they keep what one promises.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use serde_json::json;

use crate::{
    databases::{Kind, TestDatabase},
    support::{
        agreement::{RECOVERY, everything_agrees},
        api::{Answer, Instance},
        eventually,
        server::Server,
        tenant::must_work,
    },
};

/// The other server ends what a dead one left within this time, of which it needs some 17 s to believe that it is dead.
const CLEANED_UP_WITHIN: Duration = Duration::from_secs(45);

struct Two {
    a: Server,
    b: Server,
    _database: TestDatabase,
}

impl Two {
    async fn start(kind: Kind, settings: &[(&str, &str)]) -> Self {
        let database = TestDatabase::create(kind).await;
        let url = database.url();
        let mut all = vec![("database.url", url.as_str()), ("docker.network", "bridge")];
        all.extend(settings);
        let a = Server::start(&all).await;
        let b = a.start_beside().await;
        Self { a, b, _database: database }
    }

    /// So many requests at once, half at each, with an idempotency key if one is given. Who is told that the database has
    /// no time asks again; that two transactions stood in each other's way is never said.
    async fn ask(&self, requests: usize, key: Option<&str>) -> Vec<Answer> {
        let (a, b) = (self.a.api(), self.b.api());
        join_all((0..requests).map(|n| {
            let api = if n % 2 == 0 { &a } else { &b };
            async move {
                eventually("an answer", RECOVERY, async || {
                    let answer = match key {
                        Some(key) => api.post_with_key(key).await,
                        None => api.post(json!({})).await,
                    };
                    let again = answer.status == 503 && answer.problem(503) == "store-unavailable";
                    if again { Err(format!("{answer:?}")) } else { Ok(answer) }
                })
                .await
            }
        }))
        .await
    }

    /// Both say the same.
    async fn agree(&self, answered: &[Instance]) {
        for server in [&self.a, &self.b] {
            assert!(!server.log().contains("too many at once"), "transactions that collide are repeated");
        }
        let alive = everything_agrees(&self.a, answered).await;
        assert_eq!(alive, everything_agrees(&self.b, answered).await);
    }
}

fn by_outcome(answers: &[Answer]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        let outcome = match answer.status {
            201 => "created",
            status => answer.problem(status),
        };
        *counts.entry(outcome.to_owned()).or_default() += 1;
    }
    counts
}

fn created(answers: Vec<Answer>) -> Vec<Instance> {
    answers.into_iter().filter(|answer| answer.status == 201).map(Answer::created).collect()
}

#[tokio::test]
async fn two_hundred_requests_at_two_servers_give_exactly_the_quota() {
    for kind in Kind::ALL {
        let two = Two::start(kind, &[("limits.per_creator", "6")]).await;
        let answers = two.ask(200, None).await;
        let expected = [("created".to_owned(), 6), ("quota-exceeded".to_owned(), 194)];
        assert_eq!(by_outcome(&answers), expected.into(), "{kind:?}");
        two.agree(&created(answers)).await;
    }
}

#[tokio::test]
async fn two_servers_never_overfill_a_host() {
    for kind in Kind::ALL {
        let two = Two::start(kind, &[("limits.per_creator", "0"), ("fleet.slots", "5")]).await;
        let answers = two.ask(30, None).await;
        assert_eq!(by_outcome(&answers), [("created".to_owned(), 5), ("fleet-full".to_owned(), 25)].into(), "{kind:?}");
        assert_eq!(two.a.containers().await.len(), 5);
        let instances = created(answers);
        two.agree(&instances).await;
        // What one frees, the other can give away.
        assert_eq!(two.a.api().delete(&instances[0]).await.status, 204);
        must_work(&two.b.api().create().await).await;
    }
}

#[tokio::test]
async fn one_key_at_two_servers_gives_one_instance_and_one_answer() {
    for kind in Kind::ALL {
        let two = Two::start(kind, &[]).await;
        let mut instances = created(two.ask(20, Some("the-same-click")).await);
        assert_eq!(instances.len(), 20, "{kind:?}");
        // The only member that goes with the time of the answer.
        instances.iter_mut().for_each(|instance| instance.expires_in_s = 0);
        instances.dedup();
        assert_eq!(instances.len(), 1, "{kind:?}: {instances:?}");
        two.agree(&instances).await;
    }
}

#[tokio::test]
async fn what_a_killed_server_was_creating_is_ended_by_the_other() {
    for kind in Kind::ALL {
        let mut two = Two::start(kind, &[("limits.per_creator", "0")]).await;
        let api = two.a.api();
        let mut asking: FuturesUnordered<_> = (0..10).map(|_| api.try_post(json!({}))).collect();
        let mut answered = Vec::new();
        while answered.len() < 2 {
            answered.push(asking.next().await.unwrap().unwrap().created());
        }
        two.a.kill();
        let killed = Instant::now();
        while let Some(answer) = asking.next().await {
            answered.extend(answer.ok().map(Answer::created));
        }
        assert!(answered.len() < 10, "the server was faster than its end");
        let alive = everything_agrees(&two.b, &answered).await;
        assert!(killed.elapsed() < CLEANED_UP_WITHIN, "it took {:?}", killed.elapsed());
        for instance in &answered {
            assert!(alive.contains(&instance.id), "an instance that was answered has ended");
            must_work(instance).await;
        }
        must_work(&two.b.api().create().await).await;
    }
}
