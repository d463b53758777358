//! Databases of earlier versions, and of later ones. What each version leaves is kept in `earlier`, this one's too: a new
//! version of the schema adds a file there, and nothing here.

use diesel::connection::SimpleConnection;
use getaredis_actors::{
    domain::{EndReason, Quotas},
    ports::{Admitted, DropletState},
    sim::samples::{a_request, id, later},
};

use super::*;

/// Each database that some version left, by its file's name, the newest last.
fn earlier(backend: &str) -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/adapters/store/tests/earlier");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut found: Vec<_> = files
        .filter(|path| name(path).starts_with(backend))
        .map(|path| (name(&path), std::fs::read_to_string(&path).unwrap()))
        .collect();
    assert!(!found.is_empty(), "nothing of {backend}");
    found.sort();
    found
}

/// The folders of a backend's migrations, in their order.
fn migrations(backend: &str) -> Vec<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(backend);
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// A migration that is in no file would be tried on no database of the version before it, once there is another one. A
/// file repeats the text of its migrations, so this also tells when one is changed that databases have behind them.
#[test]
fn the_newest_earlier_database_has_every_migration() {
    for backend in ["sqlite", "mysql", "postgres"] {
        let (file, dump) = earlier(backend).pop().unwrap();
        for migration in migrations(backend) {
            let name = migration.file_name().unwrap().to_str().unwrap();
            let version = name.split('_').next().unwrap().replace('-', "");
            let up = std::fs::read_to_string(migration.join("up.sql")).unwrap();
            assert!(
                dump.contains(&format!("VALUES ('{version}')")) && dump.contains(up.trim()),
                "earlier/{file} has not migration {name} as it is. If it is new: copy that file to earlier/{backend}-{}.sql, \
                 and add there its version to __diesel_schema_migrations, all of its up.sql behind the other tables, and \
                 rows in what it makes behind the other rows. Else undo its change: databases have it behind them.",
                &name[..10],
            );
        }
    }
}

/// Every version that was ever released knew the instances 1 to 6, four of them live.
async fn keeps_everything_and_goes_on(name: &str, store: &SqlStore) {
    let mut live = Vec::new();
    for n in 1.. {
        let Some(row) = store.instance(&id(n)).await.unwrap() else {
            assert!(n > 6, "{name}: instance {n} is gone");
            break;
        };
        live.extend(row.state.is_live().then_some(row));
    }
    assert!(live.len() >= 4, "{name}: {live:?}");
    assert_eq!(store.live(None, u32::MAX).await.unwrap(), live, "{name}");
    assert_eq!(store.totals().await.unwrap().started, 4, "{name}");
    let droplets = store.droplets().await.unwrap();
    let droplets: Vec<_> = droplets.iter().map(|d| (d.name.to_string(), d.state)).collect();
    assert_eq!(
        droplets,
        [("d1".to_owned(), DropletState::Creating), ("d2".to_owned(), DropletState::Deleting)],
        "{name}"
    );
    let orders = store.orders().await.unwrap();
    assert_eq!(orders.paused, orders.cordons.len() == 1, "{name}: versions that know orders left one of each kind");
    let limits = store.order_limits().await.unwrap();
    assert_eq!(limits.hold.is_some(), limits.budget.full_at().is_some(), "{name}: versions that know them left both");
    let running = &live[1];
    assert_eq!(running.label.as_ref().unwrap().to_string(), "it's ünï 🦀", "{name}");
    let by_key = store.by_key(&running.creator, running.idempotency_key.as_ref().unwrap()).await.unwrap();
    assert_eq!(by_key.as_ref(), Some(running), "{name}");

    let global = u32::try_from(live.len()).unwrap();
    let capped = |global| Admission { quotas: Quotas { per_creator: 0, global }, ..a_request(99) };
    assert!(matches!(store.admit(capped(global)).await.unwrap(), Admitted::Refused(_)), "{name}");
    assert_eq!(store.admit(capped(global + 1)).await.unwrap(), Admitted::New, "{name}");
    for row in &live {
        if row.state.reason().is_none() {
            let stop = InstanceEvent::StopRequested { reason: EndReason::Deleted };
            store.apply(&row.id, &stop, later(20)).await.unwrap();
        }
        store.apply(&row.id, &InstanceEvent::ConfirmedGone, later(20)).await.unwrap();
    }
    assert_eq!(store.live(None, u32::MAX).await.unwrap(), [a_request(99).instance], "{name}");
    assert_eq!(store.purge(later(9999), 100).await.unwrap(), global + 2, "{name}");
}

#[tokio::test]
async fn a_file_of_every_earlier_version_keeps_everything_and_goes_on() {
    for (name, dump) in earlier("sqlite") {
        let dir = dir();
        sqlite::by_hand(&dir).batch_execute(&dump).unwrap();
        keeps_everything_and_goes_on(&name, &opened(&url(&dir)).await).await;
    }
}

async fn of_every_earlier_version(kind: Kind, backend: &str) {
    for (name, dump) in earlier(backend) {
        let database = TestDatabase::create(kind).await;
        database.execute(&dump).await;
        keeps_everything_and_goes_on(&name, &opened(&database.url()).await).await;
    }
}

#[tokio::test]
async fn a_mysql_database_of_every_earlier_version_keeps_everything_and_goes_on() {
    of_every_earlier_version(Kind::Mysql, "mysql").await;
}

#[tokio::test]
async fn a_postgres_database_of_every_earlier_version_keeps_everything_and_goes_on() {
    of_every_earlier_version(Kind::Postgres, "postgres").await;
}

#[tokio::test]
async fn the_database_of_a_later_version_is_refused() {
    for kind in Kind::ALL {
        let (store, database) = empty(kind).await;
        drop(store);
        database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231235959')").await;
        let refused = SqlStore::open(&settings(&database.url())).await.err().unwrap().to_string();
        assert!(refused.contains("was written by another version of getaredis"), "{refused}");
        assert!(refused.contains(&database.name) && !refused.contains("test@"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_at_once_on_an_empty_database_all_come_up() {
    for kind in Kind::ALL {
        let database = TestDatabase::create(kind).await;
        let url = database.url();
        let stores: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn({
                    let url = url.clone();
                    async move { opened(&url).await }
                })
            })
            .collect();
        for (store, n) in stores.into_iter().zip(1..) {
            assert_eq!(store.await.unwrap().admit(a_request(n)).await.unwrap(), Admitted::New, "{kind:?}");
        }
    }
}

/// The server commits each statement that changes a table by itself.
#[tokio::test]
async fn a_mysql_migration_that_was_cut_short_is_finished_at_the_next_start() {
    let migrations = migrations("mysql");
    for cut in 1..=migrations.len() {
        let database = TestDatabase::create(Kind::Mysql).await;
        // Made, but not written down as made.
        for migration in &migrations[..cut] {
            database.execute(&std::fs::read_to_string(migration.join("up.sql")).unwrap()).await;
        }
        assert_eq!(opened(&database.url()).await.admit(a_request(1)).await.unwrap(), Admitted::New);
    }
}
