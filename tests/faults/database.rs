//! The database server goes away and comes back.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    databases::{DatabaseServer, Kind, TestDatabase},
    support::{
        agreement::{RECOVERY, everything_agrees},
        api::{Answer, Api, Instance},
        eventually,
        server::Server,
        tenant::must_work,
    },
};

/// How long the database is stopped.
const STOPPED: Duration = Duration::from_secs(10);
/// Longer than a create may wait for a database that is not there.
const REFUSED_WITHIN: Duration = Duration::from_secs(12);
/// Visitors that ask at once.
const VISITORS: usize = 4;

/// A server whose database is on a database server of its own.
async fn start(kind: Kind) -> (DatabaseServer, TestDatabase, Server) {
    let database_server = DatabaseServer::start(kind).await;
    let database = TestDatabase::create_on(&database_server).await;
    let server = Server::start(&[
        ("database.url", &database.url()),
        ("docker.network", "bridge"),
        ("limits.per_creator", "0"),
        ("fleet.slots", "200"),
    ])
    .await;
    (database_server, database, server)
}

fn must_be_refused(answer: &Answer) {
    assert_eq!(answer.problem(503), "store-unavailable", "{answer:?}");
    assert!((1..=60).contains(&answer.retry_after()), "{answer:?}");
}

async fn survives_a_stop(kind: Kind) {
    let (mut database_server, _database, server) = start(kind).await;
    let api = server.api();
    let (staying, leaving) = (api.create().await, api.create().await);
    let brief = api.create_brief(4).await;
    database_server.stop().await;
    let stopped = Instant::now();
    let mut refused = 0;
    while stopped.elapsed() < STOPPED {
        let asked = Instant::now();
        must_be_refused(&api.post(json!({})).await);
        assert!(asked.elapsed() < REFUSED_WITHIN, "it took {:?}", asked.elapsed());
        must_be_refused(&api.delete(&leaving).await);
        must_be_refused(&api.extend(&staying, json!("20h")).await);
        must_work(&staying).await;
        refused += 1;
    }
    assert!(refused >= 2, "only {refused} creates were refused");
    assert_eq!(api.get("/livez").await.status, 200);
    assert_eq!(api.get("/readyz").await.status, 503);
    assert_eq!(server.containers().await.len(), 3, "nothing is ended that is not in the records as ending");

    database_server.start_again().await;
    server.becomes_ready().await;
    // Its time was over while nobody could write that down.
    assert_eq!(api.until_ended(&brief).await.body["reason"], "expired");
    let alive = everything_agrees(&server, &[staying.clone(), leaving.clone(), brief]).await;
    assert_eq!(alive, [staying.id.clone(), leaving.id.clone()].into());
    must_work(&staying).await;
    assert_eq!(api.delete(&leaving).await.status, 204);
    let new = api.create().await;
    assert_eq!(everything_agrees(&server, &[staying.clone(), new.clone()]).await, [staying.id, new.id].into());
}

#[tokio::test]
async fn while_mariadb_is_stopped_creates_are_refused_with_a_time_and_nothing_is_lost() {
    survives_a_stop(Kind::Mysql).await;
}

#[tokio::test]
async fn while_postgresql_is_stopped_creates_are_refused_with_a_time_and_nothing_is_lost() {
    survives_a_stop(Kind::Postgres).await;
}

/// What visitors do while the database is restarted, and what they were answered.
#[derive(Default)]
struct Load {
    answered: RefCell<Vec<Instance>>,
    deleted: RefCell<Vec<Instance>>,
    extended: Cell<usize>,
    refused: Cell<usize>,
    over: Cell<bool>,
}

impl Load {
    /// One visitor who creates, extends and deletes until it is over; keeps every third instance.
    async fn visit(&self, api: Api) {
        for n in 0.. {
            if self.over.get() {
                return;
            }
            let answer = api.post(json!({})).await;
            if answer.status != 201 {
                self.refused(&answer);
                continue;
            }
            let instance = answer.created();
            self.answered.borrow_mut().push(instance.clone());
            match api.extend(&instance, json!("20h")).await {
                answer if answer.status == 200 => self.extended.set(self.extended.get() + 1),
                answer => self.refused(&answer),
            }
            if n % 3 == 0 {
                continue;
            }
            match api.delete(&instance).await {
                answer if [202, 204].contains(&answer.status) => self.deleted.borrow_mut().push(instance),
                answer => self.refused(&answer),
            }
        }
    }

    fn refused(&self, answer: &Answer) {
        assert!(["store-unavailable", "restarting", "busy"].contains(&answer.problem(503)), "{answer:?}");
        assert!(answer.retry_after() > 0);
        self.refused.set(self.refused.get() + 1);
    }

    /// Waits for so many more instances.
    async fn goes_on(&self, more: usize) {
        let before = self.answered.borrow().len();
        eventually("creates go on", RECOVERY, async || {
            let now = self.answered.borrow().len();
            if now >= before + more { Ok(()) } else { Err(format!("{} more", now - before)) }
        })
        .await;
    }
}

async fn survives_restarts(kind: Kind) {
    let (mut database_server, _database, server) = start(kind).await;
    let load = Load::default();
    let restarts = async {
        load.goes_on(VISITORS).await;
        database_server.stop().await;
        database_server.start_again().await;
        load.goes_on(VISITORS).await;
        database_server.kill().await;
        database_server.start_again().await;
        load.goes_on(VISITORS).await;
        load.over.set(true);
    };
    let visitors = (0..VISITORS).map(|_| load.visit(server.api()));
    tokio::join!(restarts, futures_util::future::join_all(visitors));
    let (answered, deleted) = (load.answered.take(), load.deleted.take());
    assert!(load.extended.get() > 0 && !deleted.is_empty(), "{} were extended", load.extended.get());

    let alive = everything_agrees(&server, &answered).await;
    for instance in &answered {
        let was_deleted = deleted.iter().any(|deleted| deleted.id == instance.id);
        let answer = server.api().show(instance).await;
        if was_deleted {
            assert_eq!((answer.status, answer.body["reason"].as_str()), (410, Some("deleted")), "{answer:?}");
        } else if answer.status == 410 {
            // A delete that was refused may have been written down all the same.
            assert_eq!(answer.body["reason"], "deleted", "{answer:?}");
        } else {
            assert!(alive.contains(&instance.id));
            must_work(instance).await;
        }
    }
}

#[tokio::test]
async fn mariadb_may_be_restarted_and_killed_under_load() {
    survives_restarts(Kind::Mysql).await;
}

#[tokio::test]
async fn postgresql_may_be_restarted_and_killed_under_load() {
    survives_restarts(Kind::Postgres).await;
}
