//! The store against real SQLite in a directory of its own.

use std::{os::unix::fs::PermissionsExt, path::Path};

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use diesel_async::{AsyncConnection, SimpleAsyncConnection as _, TransactionManager as _};
use getaredis_actors::{
    domain::Endpoint,
    sim::samples::{a_request, droplet, id, now},
};
use tempfile::TempDir;

use super::{
    super::{Database, sqlite},
    *,
};

const IMPATIENCE: Duration = Duration::from_millis(50);

async fn open(dir: &TempDir, acquire_timeout: Duration) -> Result<SqlStore, StoreError> {
    SqlStore::open(&StoreSettings { pool: 2, acquire_timeout, ..settings(&url(dir)) }).await
}

/// What only SQLite has.
fn inside(store: &SqlStore) -> &sqlite::Database {
    let Database::Sqlite(database) = &store.database else { panic!("no SQLite") };
    database
}

async fn by_the_writer(store: &SqlStore, statement: String) {
    let said = inside(store).write.run(async move |conn| Ok(conn.batch_execute(&statement).await));
    said.await.unwrap().unwrap();
}

async fn refusal(url: &str) -> String {
    match SqlStore::open(&StoreSettings { acquire_timeout: IMPATIENCE, ..settings(url) }).await {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error.to_string(),
    }
}

/// A connection of somebody who does not ask for the lock file, such as an operator's `sqlite3`.
pub(super) fn by_hand(dir: &TempDir) -> SqliteConnection {
    SqliteConnection::establish(dir.path().join("test.db").to_str().unwrap()).unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

async fn run_one(store: &SqlStore, n: u128) -> Instance {
    store.admit(a_request(n)).await.unwrap();
    let endpoint = Endpoint { address: [203, 0, 113, 7].into(), port: 32768 };
    store.apply(&id(n), &InstanceEvent::Started { endpoint }, now()).await.unwrap()
}

#[tokio::test]
async fn a_start_waits_for_somebody_who_looks_into_the_file() {
    let (store, dir) = empty_file().await;
    drop(store);
    let mut reader = by_hand(&dir);
    reader.batch_execute("PRAGMA journal_mode = DELETE; BEGIN; SELECT * FROM counters;").unwrap();
    let looks_for_a_while = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        reader.batch_execute("COMMIT").unwrap();
    };
    let (store, ()) = tokio::join!(open(&dir, PATIENCE), looks_for_a_while);
    store.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn a_reopened_file_holds_what_was_written() {
    let (store, dir) = empty_file().await;
    let running = run_one(&store, 1).await;
    store.order_droplet(&droplet("d1"), 1, OrderBudget::default()).await.unwrap();
    drop(store);
    let store = open(&dir, PATIENCE).await.unwrap();
    assert_eq!(store.live(None, u32::MAX).await.unwrap(), [running]);
    assert_eq!(store.droplets().await.unwrap(), [droplet("d1")]);
    assert_eq!(store.totals().await.unwrap().started, 1);
}

#[tokio::test]
async fn a_second_store_on_the_same_file_is_refused_until_the_first_is_gone() {
    let (store, dir) = empty_file().await;
    std::os::unix::fs::symlink(dir.path().join("test.db"), dir.path().join("alias.db")).unwrap();
    for name in ["test.db", "alias.db"] {
        let path = dir.path().join(name);
        let refused = refusal(&format!("sqlite://{}", path.display())).await;
        assert!(refused.contains("test.db: another getaredis server is using it; stop that one"), "{refused}");
    }
    store.ping().await.unwrap();
    drop(store);
    open(&dir, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_file_with_a_second_name_is_refused_for_its_lock_and_its_log_stand_beside_the_first() {
    let (store, dir) = empty_file().await;
    drop(store);
    std::fs::hard_link(dir.path().join("test.db"), dir.path().join("twin.db")).unwrap();
    for name in ["test.db", "twin.db"] {
        let refused = refusal(&format!("sqlite://{}", dir.path().join(name).display())).await;
        assert!(refused.contains("the file has a second name (a hard link)"), "{refused}");
    }
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let (store, dir) = empty_file().await;
    store.order_droplet(&droplet("d1"), 1, OrderBudget::default()).await.unwrap();
    for name in ["test.db", "test.db-wal", "test.db-shm", "test.db.lock"] {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn dropping_the_store_closes_the_database() {
    let (store, dir) = empty_file().await;
    store.order_droplet(&droplet("d1"), 1, OrderBudget::default()).await.unwrap();
    drop(store);
    // SQLite removes the log when the last connection is closed.
    assert!(!dir.path().join("test.db-wal").exists());
}

#[tokio::test]
async fn what_is_committed_is_moved_into_the_database_long_before_a_commit_has_to() {
    let (store, dir) = empty_file().await;
    let size = || dir.path().join("test.db").metadata().unwrap().len();
    let before = size();
    let moved = async {
        let admissions = 1u32..;
        for n in admissions {
            store.admit(a_request(n.into())).await.unwrap();
            if size() > before {
                return n;
            }
        }
        unreachable!()
    };
    let admitted = timeout(PATIENCE, moved).await.unwrap();
    assert!(admitted < sqlite::LONGEST_LOG / 12, "after {admitted} admissions of less than 12 pages");
}

#[tokio::test]
async fn a_url_that_names_no_file_is_refused_without_showing_it() {
    for bad in ["", "oracle://user:hunter2@db/x", "sqlite://", "sqlite://:memory:", "sqlite://a.db?mode=ro"] {
        let refused = refusal(bad).await;
        assert!(refused.contains("database.url must be") && !refused.contains("hunter2"), "{refused}");
    }
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let dir = dir();
    let refused = refusal(&format!("sqlite://{}/no/such/x.db", dir.path().display())).await;
    let expected = format!("there is no directory {}/no/such; create it, or change database.url", dir.path().display());
    assert!(refused.contains(&expected), "{refused}");
}

#[tokio::test]
async fn a_directory_is_no_database() {
    let dir = dir();
    let refused = refusal(&format!("sqlite://{}", dir.path().display())).await;
    assert!(refused.contains("it is a directory; set database.url to a file"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is_and_named() {
    let dir = dir();
    let path = dir.path().join("test.db");
    std::fs::write(&path, "a shopping list, long enough to be read as the header of a database file").unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = refusal(&url(&dir)).await;
    let expected = format!("{} cannot be read (file is not a database); restore a backup", path.display());
    assert!(refused.contains(&expected), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_database_is_reported_as_corrupt() {
    let (store, dir) = empty_file().await;
    run_one(&store, 1).await;
    drop(store);
    let path = dir.path().join("test.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // Everything but the first page, which holds the schema.
    bytes[4096..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let outcome = match open(&dir, PATIENCE).await {
        Ok(store) => store.live(None, u32::MAX).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(&outcome, StoreError::Corrupt(why) if why.contains("malformed")), "{outcome:?}");
}

#[tokio::test]
async fn the_database_of_a_later_version_is_refused() {
    let (store, dir) = empty_file().await;
    drop(store);
    by_hand(&dir).batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231235959')").unwrap();
    let refused = refusal(&url(&dir)).await;
    assert!(refused.contains("was written by another version of getaredis"), "{refused}");
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_named_with_its_column() {
    let nonsense = [
        ("state = 'dancing'", "column state: "),
        ("state = 'stopping'", "column state: "),
        ("state = 'running', reason = 'bored'", "column reason: "),
        ("creator = 'nobody'", "column creator: "),
        ("host = ''", "column host: "),
        ("label = ''", "column label: "),
        ("address = 'here', port = 1", "column address: "),
        ("address = '192.0.2.1', port = 65536", "column port: "),
        ("port = 5", "column port: "),
        ("rotation = -1", "column rotation: "),
        ("expires_at = 9223372036854775807", "column expires_at: "),
        ("ended_at = 0", "column ended_at: "),
    ];
    for (change, column) in nonsense {
        let (store, dir) = empty_file().await;
        store.admit(a_request(1)).await.unwrap();
        let sql = format!("PRAGMA ignore_check_constraints = ON; UPDATE instances SET {change}");
        by_hand(&dir).batch_execute(&sql).unwrap();
        let error = store.instance(&id(1)).await.unwrap_err();
        let StoreError::Corrupt(why) = &error else { panic!("{change}: {error:?}") };
        assert!(why.starts_with(&format!("instance {}, {column}", id(1))), "{change}: {why}");
    }
}

#[tokio::test]
async fn a_column_refuses_a_value_of_another_type() {
    let (store, dir) = empty_file().await;
    store.admit(a_request(1)).await.unwrap();
    assert!(by_hand(&dir).batch_execute("UPDATE instances SET created_at = 'yesterday'").is_err());
    assert!(by_hand(&dir).batch_execute("UPDATE instances SET state = 'ended'").is_err());
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_unavailable_and_passes() {
    let dir = dir();
    let store = open(&dir, IMPATIENCE).await.unwrap();
    let mut other = by_hand(&dir);
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let refused = store.admit(a_request(1)).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("locked")), "{refused:?}");
    assert_eq!(store.live(None, u32::MAX).await.unwrap(), [], "readers do not wait for writers");
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(store.admit(a_request(1)).await.unwrap(), Admitted::New);
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_passes() {
    let (store, _dir) = empty_file().await;
    let pages = async |pragma: &str| {
        by_the_writer(&store, pragma.to_owned()).await;
    };
    pages("PRAGMA max_page_count = 1").await;
    let mut admitted = 0;
    let refused = loop {
        match store.admit(a_request(admitted)).await {
            Ok(_) => admitted += 1,
            Err(error) => break error,
        }
        assert!(admitted < 1000, "the disk never filled");
    };
    assert!(matches!(&refused, StoreError::Unavailable(why) if why.contains("full")), "{refused:?}");
    assert_eq!(store.live(None, u32::MAX).await.unwrap().len() as u128, admitted);
    pages("PRAGMA max_page_count = 1000000").await;
    assert_eq!(store.admit(a_request(admitted)).await.unwrap(), Admitted::New);
}

#[tokio::test]
async fn a_caller_that_waits_too_long_for_a_connection_is_told_so() {
    let dir = dir();
    let store = open(&dir, IMPATIENCE).await.unwrap();
    let (let_go, hoarded) = std::sync::mpsc::channel::<()>();
    let hoard = inside(&store).write.run(async move |_| Ok(hoarded.recv().is_err()));
    let refused = async {
        let refused = store.order_pause(true).await;
        drop(let_go);
        refused
    };
    let (hoarded, refused) = tokio::join!(hoard, refused);
    assert!(hoarded.unwrap());
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("in time")), "{refused:?}");
    assert!(!store.orders().await.unwrap().paused, "it was given up");
    store.order_pause(true).await.unwrap();
}

#[tokio::test]
async fn a_write_that_panics_or_leaves_its_transaction_open_is_rolled_back_and_the_next_ones_go_on() {
    let (store, _dir) = empty_file().await;
    let panics = inside(&store).write.run(async |conn| -> Result<(), StoreError> {
        conn.batch_execute("BEGIN IMMEDIATE; DELETE FROM counters").await.unwrap();
        panic!("a bug in a query")
    });
    let refused = panics.await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("cut short")), "{refused:?}");
    assert_eq!(store.admit(a_request(1)).await.unwrap(), Admitted::New);
    let left_open = inside(&store).write.run(async |conn| {
        <sqlite::Conn as AsyncConnection>::TransactionManager::begin_transaction(conn).await.unwrap();
        Ok(())
    });
    left_open.await.unwrap();
    assert_eq!(store.admit(a_request(2)).await.unwrap(), Admitted::New);
}

#[tokio::test]
async fn a_caller_that_gives_up_half_way_leaves_a_whole_row_or_none_and_no_lock() {
    let (store, _dir) = empty_file().await;
    for n in 0..60 {
        // Polled a little further each time, then dropped: every place it can be cut short at.
        let mut call = store.admit(a_request(n));
        for _ in 0..n % 6 {
            let _ = futures_util::poll!(&mut call);
            tokio::task::yield_now().await;
        }
        drop(call);
    }
    assert_eq!(store.admit(a_request(1000)).await.unwrap(), Admitted::New);
    let live = store.live(None, u32::MAX).await.unwrap().len();
    assert!((1..=61).contains(&live), "{live}");
}

#[tokio::test]
async fn a_connection_that_reads_cannot_write() {
    let (store, _dir) = empty_file().await;
    let delete = async |conn: &mut sqlite::Conn| Ok(conn.batch_execute("DELETE FROM instances").await);
    assert!(inside(&store).read.run(delete).await.unwrap().is_err());
}

#[tokio::test]
async fn a_disk_that_takes_no_writes_is_unavailable_and_passes() {
    let (store, _dir) = empty_file().await;
    let write = async |pragma: &str| {
        by_the_writer(&store, pragma.to_owned()).await;
    };
    write("PRAGMA query_only = ON").await;
    let refused = store.admit(a_request(1)).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("readonly")), "{refused:?}");
    assert_eq!(store.live(None, u32::MAX).await.unwrap(), [], "it can be read");
    write("PRAGMA query_only = OFF").await;
    assert_eq!(store.admit(a_request(1)).await.unwrap(), Admitted::New);
}
