//! The thread that writes to a SQLite file.
//!
//! Owns the one connection that writes, and whose turn it is. SQLite has one writer at a time anyhow. With a thread that
//! stays, one write follows the other without a wake-up in between; lending the connection to the threads of a pool costs
//! several of them for each write, and each is longer than the write. Must not know a query.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use diesel_async::pooled_connection::PoolableConnection;
use getaredis_actors::ports::StoreError;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use super::{checkpoints::Checkpoints, failure::NO_CONNECTION, sqlite::Conn};

/// What is called on the thread: with the connection, or with the reason why there is none.
type Job = Box<dyn FnOnce(Result<&mut Conn, StoreError>) + Send>;

/// The thread with its queue. It ends, and its connection is closed, when this is dropped; what waits is done before.
pub(super) struct Writer {
    /// Nothing only while this is being dropped; the thread ends with it.
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    runtime: Handle,
    patience: Duration,
}

impl Writer {
    /// Begins with the connection `first`, and opens another one by `connect` after one was left in the middle of
    /// something. Each write waits for its turn no longer than `patience`. Must be called on a runtime.
    pub(super) fn begin(
        first: Conn,
        connect: impl Fn() -> Result<Conn, StoreError> + Send + 'static,
        checkpoints: Option<Checkpoints>,
        patience: Duration,
    ) -> io::Result<Self> {
        let (queue, jobs) = channel();
        let work = move || run(&jobs, first, &connect, checkpoints);
        let thread = Some(thread::Builder::new().name("writer".to_owned()).spawn(work)?);
        Ok(Self { queue: Some(queue), thread, runtime: Handle::current(), patience })
    }

    /// Does the work when its turn has come: after all that was asked for before. Who gives up waiting, or waits for too
    /// long, has caused nothing; work that has begun is done, whoever still waits for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when its turn did not come in time, or there is no connection.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, mut answer) = oneshot::channel();
        let (turn, runtime) = (Turn::default(), self.runtime.clone());
        let place = Place(turn.clone());
        let job: Job = Box::new(move |conn| {
            if turn.take() {
                // Queries are written as futures, for all databases; on this one they are ready at once. Nobody may be
                // there any more to hear of it.
                let _ = done.send(conn.and_then(|conn| runtime.block_on(work(conn))));
            }
        });
        self.queue.as_ref().and_then(|queue| queue.send(job).ok()).ok_or_else(cut_short)?;
        let answer = match timeout(self.patience, &mut answer).await {
            Ok(answer) => answer,
            Err(_) if place.0.take() => return Err(StoreError::Unavailable(NO_CONNECTION.to_owned())),
            // It is being done.
            Err(_) => answer.await,
        };
        answer.unwrap_or_else(|_| Err(cut_short()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn cut_short() -> StoreError {
    StoreError::Unavailable("the query was cut short".to_owned())
}

/// Who takes it decides what becomes of a job: the thread begins it, or its caller gives it up.
#[derive(Clone, Default)]
struct Turn(Arc<AtomicBool>);

impl Turn {
    /// Whether nobody has taken it before.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// A caller's place in the queue. One who leaves has given it up.
struct Place(Turn);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.take();
    }
}

fn run(
    jobs: &Receiver<Job>,
    first: Conn,
    connect: &impl Fn() -> Result<Conn, StoreError>,
    mut checkpoints: Option<Checkpoints>,
) {
    let mut open = Some(first);
    while let Ok(job) = jobs.recv() {
        let conn = match &mut open {
            Some(conn) => Ok(conn),
            closed => connect().map(|conn| closed.insert(conn)),
        };
        // The caller learns of a panic by its answer's end.
        let panicked = catch_unwind(AssertUnwindSafe(|| job(conn))).is_err();
        if panicked || open.as_mut().is_some_and(|conn| conn.is_broken()) {
            open = None;
        }
        checkpoints.iter_mut().for_each(Checkpoints::count);
    }
}
