//! Connections to a database server, as many as are wanted and only such as work.
//!
//! Owns what is the same for every server: how long anything on the network may take, when a connection is tested,
//! renewed or thrown away, whose turn it is, and how often a transaction that lost against another is repeated. Must not
//! know a dialect.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use bb8::{ErrorSink, ManageConnection, Pool, PooledConnection, RunError};
use diesel_async::{AsyncConnection, SimpleAsyncConnection, TransactionManager, pooled_connection::PoolableConnection};
use getaredis_actors::ports::StoreError;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::failure::no_connection;

/// Longest time for a connection to be made, TLS and password included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time for a connection that is taken from the pool to prove that it works. Short, because a server that went
/// away leaves a pool full of connections that are found out one after the other.
const CHECK_TIMEOUT: Duration = Duration::from_millis(400);

/// Longest time for a query with all its repetitions. With the default wait for a connection it stays below the time
/// that the brain waits. What takes longer has lost its connection, which then must not keep a place in the pool.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_millis(2500);

/// Queries of one server that may wait for the lock of admissions at once: one that has it, and one that is there when it
/// lets go.
const AT_THE_GATE: usize = 2;

/// Idle connections are closed this long afterwards, or up to 30 s later, when bb8 looks again: a burst does not occupy
/// the server for ever.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// Connections are renewed after this time, so that a change of address or of roles arrives.
const LIFETIME: Duration = Duration::from_secs(1800);

/// A database server with everything that is needed to connect to it.
pub(super) trait Server: fmt::Display + Send + Sync + 'static {
    /// What connects to it.
    type Conn: PoolableConnection + 'static;

    /// A connection that is ready for queries; else the reason and the remedy, without any secret.
    fn connect(&self) -> impl Future<Output = Result<Self::Conn, String>> + Send;
}

/// As [`Server::connect`], in time, and saying which server it is.
pub(super) async fn connect<S: Server>(server: &S) -> Result<S::Conn, StoreError> {
    let why = match timeout(CONNECT_TIMEOUT, server.connect()).await {
        Ok(Ok(conn)) => return Ok(conn),
        Ok(Err(why)) => why,
        Err(_) => format!("it does not answer within {} s; {NO_ANSWER}", CONNECT_TIMEOUT.as_secs()),
    };
    Err(StoreError::Unavailable(format!("cannot use the {server}: {why}")))
}

/// What an operator can do about silence.
pub(super) const NO_ANSWER: &str = "start it, open the way to it, or correct the host and port in database.url";

/// Makes and tests a pool's connections.
pub(super) struct Manager<S>(S);

impl<S: Server> ManageConnection for Manager<S> {
    type Connection = S::Conn;
    type Error = StoreError;

    async fn connect(&self) -> Result<S::Conn, StoreError> {
        connect(&self.0).await
    }

    async fn is_valid(&self, conn: &mut S::Conn) -> Result<(), StoreError> {
        let answer = timeout(CHECK_TIMEOUT, conn.batch_execute("SELECT 1")).await;
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
            Err(_) => {
                // The caller may be gone before the pool hears of it.
                abandon(conn);
                Err(StoreError::Unavailable("a connection fell silent".to_owned()))
            }
        }
    }

    fn has_broken(&self, conn: &mut S::Conn) -> bool {
        conn.is_broken()
    }
}

/// A pool whose connections are lent in the order in which they were asked for. bb8 gives a connection to whoever comes
/// first after it is back, so that of many who wait some wait for ever.
pub(super) struct Fair<M: ManageConnection> {
    pool: Pool<M>,
    turns: Arc<Semaphore>,
    gate: Option<Arc<Semaphore>>,
    patience: Duration,
}

/// A connection that was lent; dropping it gives it back.
pub(super) struct Lent<M: ManageConnection> {
    // First, so that it is back when the next turn begins.
    connection: PooledConnection<'static, M>,
    _turn: OwnedSemaphorePermit,
    _gate: Option<OwnedSemaphorePermit>,
}

impl<M: ManageConnection> Deref for Lent<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        &self.connection
    }
}

impl<M: ManageConnection> DerefMut for Lent<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.connection
    }
}

impl<M: ManageConnection<Error: fmt::Display>> Fair<M> {
    /// Lends the `size` connections of this pool, each waited for no longer than `patience`.
    pub(super) fn new(pool: Pool<M>, size: u32, patience: Duration) -> Self {
        Self { pool, turns: Arc::new(Semaphore::new(size as usize)), gate: None, patience }
    }

    /// The same connections, for queries that wait for each other in the database: few of them at once, so that the
    /// others neither occupy connections nor use up the time of a query while they wait.
    pub(super) fn gated(&self) -> Self {
        let (pool, turns) = (self.pool.clone(), Arc::clone(&self.turns));
        Self { pool, turns, gate: Some(Arc::new(Semaphore::new(AT_THE_GATE))), patience: self.patience }
    }

    /// Waits for a connection, and before that at the gate if there is one. Who gives up waiting has caused nothing.
    pub(super) async fn get(&self) -> Result<Lent<M>, StoreError> {
        let _gate = match &self.gate {
            Some(gate) => Some(self.patiently(turn(gate)).await?),
            None => None,
        };
        self.patiently(async {
            let _turn = turn(&self.turns).await?;
            let connection = self.pool.get_owned().await.map_err(no_connection)?;
            Ok(Lent { connection, _turn, _gate })
        })
        .await
    }

    async fn patiently<T>(&self, wait: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        timeout(self.patience, wait).await.unwrap_or_else(|_| Err(no_connection(RunError::<M::Error>::TimedOut)))
    }
}

async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StoreError> {
    // Nobody closes it.
    Arc::clone(turns).acquire_owned().await.map_err(|closed| StoreError::Unavailable(closed.to_string()))
}

/// The connections to one server; readers and writers share them.
pub(super) struct Connections<S: Server> {
    /// For what only reads.
    pub(super) read: Arc<Fair<Manager<S>>>,
    /// For what writes.
    pub(super) write: Arc<Fair<Manager<S>>>,
    /// For what waits for its turn among all admissions.
    pub(super) gate: Fair<Manager<S>>,
}

impl<S: Server> Connections<S> {
    /// At most `size` of them, each waited for no longer than `acquire_timeout`.
    pub(super) async fn open(server: S, size: u32, acquire_timeout: Duration) -> Result<Self, StoreError> {
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(1))
            .idle_timeout(Some(IDLE))
            .max_lifetime(Some(LIFETIME))
            .connection_timeout(acquire_timeout)
            .error_sink(Box::new(LogErrors::default()))
            .build(Manager(server))
            .await?;
        let pool = Arc::new(Fair::new(pool, size, acquire_timeout));
        Ok(Self { gate: pool.gated(), read: Arc::clone(&pool), write: pool })
    }
}

/// Marks a connection that was left in the middle of something. The pool closes it instead of lending it again, and
/// the server rolls back what it was doing.
pub(super) fn abandon<C: AsyncConnection>(conn: &mut C) {
    C::TransactionManager::transaction_manager_status_mut(conn).set_in_error();
}

/// The pauses between the repetitions of a transaction that collided: 5 ms, then longer, with jitter, some 1.5 s in all.
pub(super) fn pauses() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(5))
        .with_max_delay(Duration::from_millis(200))
        .with_max_times(9)
        .with_jitter()
        .build()
}

/// Says why the pool has no connection; the caller that waits for one only learns that it took too long. A database
/// that stays away is tried many times a second and told of every ten.
#[derive(Debug, Clone, Default)]
pub(super) struct LogErrors(Arc<Mutex<Option<Instant>>>);

/// The pause between two lines about the same trouble.
const SAY_AGAIN: Duration = Duration::from_secs(10);

impl<E: fmt::Display> ErrorSink<E> for LogErrors {
    fn sink(&self, error: E) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= SAY_AGAIN) {
            *last = Some(Instant::now());
            tracing::warn!(%error, "store.connect");
        } else {
            tracing::debug!(%error, "store.connect");
        }
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<E>> {
        Box::new(self.clone())
    }
}
