//! SQLite: its dialect, its connections, its file.
//!
//! Owns what only SQLite needs: one connection that writes (on a [thread of its own](super::writer)) and several that read,
//! the pragmas, the classification of its messages. Every database is a sibling of this module with the same names in it.

use std::{error::Error, future::ready, io, path::Path, sync::Arc, time::Duration};

use diesel::{
    Connection, ConnectionError, ConnectionResult, SqliteConnection,
    connection::{AnsiTransactionManager, SimpleConnection},
};
use diesel_async::{
    TransactionManager,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, bb8::Pool},
    sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper, SyncTransactionManagerWrapper},
};
use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
use getaredis_actors::ports::StoreError;
use tokio::runtime::Handle;

use super::{
    Role,
    checkpoints::Checkpoints,
    failure::{Failure, Trouble},
    file::{DatabaseFile, unusable},
    pool::{Fair, LogErrors},
    settle,
    writer::Writer,
};

#[path = "queries.rs"]
pub(super) mod queries;

/// A connection: diesel's blocking one. Whoever uses it is on a blocking thread already.
pub(super) type Conn = SyncConnectionWrapper<SqliteConnection, Here>;

/// Runs diesel's blocking calls where they are made: a whole query is one visit to a blocking thread. With diesel's own
/// way each statement would be one, and the visits cost more than the statements.
pub(super) struct Here;

impl SpawnBlocking for Here {
    fn spawn_blocking<'a, R: Send + 'static>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn Error + Send + Sync + 'static>>> {
        ready(Ok(task())).boxed()
    }

    fn get_runtime() -> Self {
        Self
    }
}

/// A transaction that has the write lock from its first statement on. A deferred one would take it at its first
/// write and fail, without waiting, whenever another had written since its first read.
macro_rules! write_transaction {
    ($conn:expr, $work:expr) => {
        $crate::adapters::store::sqlite::immediately($conn, $work).await
    };
}

/// Does the work in a transaction that has the write lock from its beginning.
pub(super) async fn immediately<T>(
    conn: &mut Conn,
    work: impl AsyncFnOnce(&mut Conn) -> Result<T, Failure>,
) -> Result<T, Failure> {
    type Ends = SyncTransactionManagerWrapper<AnsiTransactionManager>;
    conn.spawn_blocking(|conn| AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")).await?;
    let done = work(conn).await;
    match done {
        Ok(_) => Ends::commit_transaction(conn).await?,
        Err(_) => Ends::rollback_transaction(conn).await?,
    }
    done
}

/// The row, new or over the old one with the same key.
macro_rules! upsert {
    ($table:expr, $key:expr, $row:expr) => {
        insert_into($table).values($row).on_conflict($key).do_update().set($row)
    };
}

/// A row that only this transaction may write until it ends. SQLite's write lock is on the whole file.
macro_rules! locked {
    ($query:expr) => {
        $query
    };
}

use locked;
use upsert;
use write_transaction;

/// What SQLite says when it rolls back by itself, as it does where a statement cannot be undone alone: diesel's own
/// ROLLBACK then finds nothing, and its complaint takes the place of the cause.
const ROLLED_BACK: &str = "no transaction is active";

/// Pages in the log (128 MiB of them) after which the next commit has to move them into the database itself. That is seldom
/// so: only where [`Checkpoints`] found somebody writing whenever it was done, and then little is left to move.
pub(super) const LONGEST_LOG: u32 = 32_768;

/// Reads a message of SQLite's. It knows no collisions: who writes has the lock from the beginning.
pub(super) fn trouble(message: &str) -> Option<Trouble> {
    // sqlite3_errstr's texts of BUSY, LOCKED, FULL, IOERR, READONLY, CANTOPEN, NOMEM, INTERRUPT, PROTOCOL and PERM.
    const PASSING: [&str; 9] = [
        "is locked",
        "disk is full",
        "disk I/O error",
        "readonly database",
        "unable to open database file",
        "out of memory",
        "interrupted",
        "locking protocol",
        "access permission denied",
    ];
    if message.contains(ROLLED_BACK) {
        let why = "SQLite gave up the transaction, as it does when the disk is full or fails";
        return Some(Trouble::Passing(why.to_owned()));
    }
    PASSING.iter().any(|text| message.contains(text)).then(|| Trouble::Passing(message.to_owned()))
}

/// An open database: its file, claimed or not, and the connections to it.
pub(super) struct Database {
    /// Connections that only read; writers never stand in their way.
    pub(super) read: Readers,
    /// What writes.
    pub(super) write: Arc<Writer>,
    /// The same: who writes has every lock there is.
    pub(super) gate: Arc<Writer>,
    /// Last, so that it is given back after the connections are closed.
    _file: Arc<DatabaseFile>,
}

impl Database {
    /// Finds the file, with its schema up to date, and connects. A server claims it, a guest does not.
    pub(super) async fn open(url: &str, role: Role, pool: u32, acquire_timeout: Duration) -> Result<Self, StoreError> {
        let url = url.to_owned();
        let opened = tokio::task::spawn_blocking(move || to_write(&url, role, acquire_timeout)).await;
        let (file, write) = opened.map_err(|e| StoreError::Unavailable(format!("opening was cut short: {e}")))??;
        let read = Readers::open(Arc::clone(&file), pool.saturating_sub(1).max(1), acquire_timeout).await?;
        Ok(Self { read, gate: Arc::clone(&write), write, _file: file })
    }
}

#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

/// The file, claimed if a server wants it, and what writes to it.
fn to_write(url: &str, role: Role, acquire_timeout: Duration) -> Result<(Arc<DatabaseFile>, Arc<Writer>), StoreError> {
    let file = match role {
        Role::Server => DatabaseFile::open(url)?,
        Role::Guest => DatabaseFile::join(url)?,
    };
    let path = file.path().to_owned();
    let connect = move || {
        let conn = prepared(&path, Access::Write, acquire_timeout);
        conn.map_err(|e| unusable(Path::new(&path), &e.to_string()))
    };
    let no_thread = |e: io::Error| file.unusable(&format!("no thread: {e}"));
    // A guest writes too little to make the log long.
    let checkpoints = match role {
        Role::Server => Some(Checkpoints::begin(connect()?).map_err(no_thread)?),
        Role::Guest => None,
    };
    let first = Conn::new(connect()?);
    let again = move || connect().map(Conn::new);
    let write = Writer::begin(first, again, checkpoints, acquire_timeout).map_err(no_thread)?;
    Ok((Arc::new(file), Arc::new(write)))
}

/// Connections that only read, on the runtime's blocking threads.
pub(super) struct Readers {
    connections: Fair<AsyncDieselConnectionManager<Conn>>,
    runtime: Handle,
    file: Arc<DatabaseFile>,
}

impl Readers {
    async fn open(file: Arc<DatabaseFile>, size: u32, acquire_timeout: Duration) -> Result<Self, StoreError> {
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(move |path| set_up(path.to_owned(), acquire_timeout).map_ok(Conn::new).boxed());
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(1))
            // A local file has no peer that closes a connection behind our back: nothing to renew, nothing to test.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(false)
            .connection_timeout(acquire_timeout)
            .error_sink(Box::new(LogErrors::default()))
            .build(AsyncDieselConnectionManager::new_with_config(file.path(), config))
            .await
            .map_err(|e| file.unusable(&e.to_string()))?;
        Ok(Self { connections: Fair::new(pool, size, acquire_timeout), runtime: Handle::current(), file })
    }

    /// Does the work as soon as a connection is free. Who gives up waiting has caused nothing; work that has begun is
    /// done, whoever still waits for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection became free in time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut lent = self.connections.get().await?;
        let (runtime, file) = (self.runtime.clone(), Arc::clone(&self.file));
        let task = self.runtime.spawn_blocking(move || {
            let answer = runtime.block_on(work(&mut lent));
            // The connection goes home before the file can be given to another process.
            drop(lent);
            drop(file);
            answer
        });
        settle(task.await)
    }
}

async fn set_up(path: String, patience: Duration) -> ConnectionResult<SqliteConnection> {
    let set_up = tokio::task::spawn_blocking(move || prepared(&path, Access::Read, patience));
    set_up.await.map_err(|e| ConnectionError::BadConnection(e.to_string()))?
}

fn prepared(path: &str, access: Access, patience: Duration) -> ConnectionResult<SqliteConnection> {
    let mut conn = SqliteConnection::establish(path)?;
    // The busy timeout comes first because the others may need a lock. NORMAL: in WAL mode a crash of the process
    // loses nothing and one of the machine at most the last moments, never consistency. What is deleted is overwritten,
    // else the addresses of those who were forgotten would stay in the file, and in its backups.
    let pragmas = format!(
        "PRAGMA busy_timeout = {}; PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL; PRAGMA query_only = {}; \
         PRAGMA wal_autocheckpoint = {}; PRAGMA secure_delete = ON;",
        patience.as_millis(),
        matches!(access, Access::Read),
        LONGEST_LOG
    );
    conn.batch_execute(&pragmas).map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}
