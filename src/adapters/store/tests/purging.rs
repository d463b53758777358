//! Forgetting what ended long ago, while instances live: nobody waits for it.

use std::cell::Cell;

use diesel_async::{AsyncConnection, SimpleAsyncConnection as _, TransactionManager as _};
use futures_util::future::join;
use getaredis_actors::{
    domain::{EndReason, Endpoint},
    ports::Admitted,
    sim::samples::{a_request, id, now},
};

use super::{
    super::{Database, mysql, postgres},
    databases::filling,
    *,
};

const ENDED: u32 = 2_000;
const LIVE: u32 = 10;

/// As many as the reaper forgets at once.
const AT_ONCE: u32 = 100;

/// What fills a database with what is to be forgotten: instances, and of each a notice that no sink has taken.
fn long_ago(scheme: &str) -> Vec<String> {
    let mut sql = filling::statements(scheme, ENDED, LIVE);
    sql.push(
        "INSERT INTO deliveries (notice, sink, body, created_at, due_at, attempts) \
         SELECT CONCAT(id, '.ended'), 'hooks', '{}', ended_at, ended_at, 1 FROM instances WHERE ended_at IS NOT NULL"
            .to_owned(),
    );
    sql
}

/// Later than all that was filled in, and earlier than all that lives in these tests.
fn today() -> Timestamp {
    Timestamp::from_millisecond(1_785_000_000_000).unwrap()
}

/// A whole life, with all that is written in it.
async fn lives(store: &SqlStore, n: u128) {
    assert_eq!(store.admit(a_request(n)).await.unwrap(), Admitted::New);
    let endpoint = Endpoint { address: [203, 0, 113, 7].into(), port: 32_768 };
    for event in [
        InstanceEvent::Started { endpoint },
        InstanceEvent::StopRequested { reason: EndReason::Deleted },
        InstanceEvent::ConfirmedGone,
    ] {
        store.apply(&id(n), &event, now()).await.unwrap();
    }
}

async fn forgotten(store: &SqlStore) -> u32 {
    let mut forgotten = 0;
    loop {
        match store.purge(today(), AT_ONCE).await.unwrap() {
            0 => break forgotten,
            batch => forgotten += batch,
        }
    }
}

async fn lives_begin_and_end_until_all_is_forgotten(store: &SqlStore) {
    let over = Cell::new(false);
    let forgetting = async {
        let forgotten = forgotten(store).await;
        over.set(true);
        forgotten
    };
    let living = async {
        let mut lived = 0;
        while !over.get() {
            lived += 1;
            lives(store, lived).await;
        }
        lived
    };
    let (forgotten, lived) = join(forgetting, living).await;
    assert!(lived > 1, "nobody lived beside it");
    assert_eq!(forgotten, ENDED);
    assert_eq!(store.live(None, u32::MAX).await.unwrap().len(), LIVE as usize);
}

#[tokio::test]
async fn on_sqlite_instances_begin_and_end_while_thousands_are_forgotten() {
    let (store, dir) = empty_file().await;
    for sql in long_ago("sqlite") {
        diesel::connection::SimpleConnection::batch_execute(&mut sqlite::by_hand(&dir), &sql).unwrap();
    }
    lives_begin_and_end_until_all_is_forgotten(&store).await;
}

async fn filled(kind: Kind) -> (SqlStore, TestDatabase) {
    let (store, database) = empty(kind).await;
    let scheme = match kind {
        Kind::Mysql => "mysql",
        Kind::Postgres => "postgres",
    };
    for sql in long_ago(scheme) {
        database.execute(&sql).await;
    }
    (store, database)
}

#[tokio::test]
async fn on_servers_instances_begin_and_end_while_thousands_are_forgotten() {
    for kind in Kind::ALL {
        let (store, _database) = filled(kind).await;
        lives_begin_and_end_until_all_is_forgotten(&store).await;
    }
}

/// Lets instances live while a transaction holds all that it locks to forget a batch.
macro_rules! while_forgetting {
    ($store:ident, $database:ident, $server:ident, $for_as_long_as_it_takes:literal) => {{
        let mut lent = $database.write.get().await.unwrap();
        let conn: &mut $server::Conn = &mut lent;
        conn.batch_execute($for_as_long_as_it_takes).await.unwrap();
        <$server::Conn as AsyncConnection>::TransactionManager::begin_transaction(conn).await.unwrap();
        assert_eq!($server::queries::purge(conn, today(), AT_ONCE).await.unwrap(), AT_ONCE);
        for n in 1..=10 {
            lives(&$store, n).await;
        }
        <$server::Conn as AsyncConnection>::TransactionManager::commit_transaction(conn).await.unwrap();
    }};
}

#[tokio::test]
async fn what_is_being_forgotten_locks_nothing_that_an_instance_needs() {
    for kind in Kind::ALL {
        let (store, _database) = filled(kind).await;
        match &store.database {
            Database::Sqlite(_) => panic!("it has one writer, and no locks"),
            Database::Mysql(database) => while_forgetting!(
                store,
                database,
                mysql,
                "SET SESSION wait_timeout = 600 /*M!, idle_transaction_timeout = 0 */"
            ),
            Database::Postgres(database) => {
                while_forgetting!(store, database, postgres, "SET idle_in_transaction_session_timeout = 0");
            }
        }
        assert_eq!(store.purge(today(), AT_ONCE).await.unwrap(), AT_ONCE, "{kind:?}");
    }
}
