//! The database behind the port [`Store`]: one SQLite file.
//!
//! Owns how rows are written and read, and which failure is the port's which. Decides nothing: transitions and quotas
//! are the domain's, called from inside the transactions here. Holds no secret, because no row does.

mod failure;
mod file;
mod rows;
mod schema;
mod sqlite;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use getaredis_actors::{
    domain::{Creator, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, ServerId, SinkName, Timestamp},
    ports::{Admission, Admitted, Beat, Delivery, DropletRow, Relocated, Store, StoreError, Totals},
};
use tokio::{runtime::Handle, task::JoinError};

use failure::{Failure, no_connection};
use sqlite::{Conn, Database, queries};

/// The store of a server. Dropping it closes the database and lets another process have it.
pub struct SqlStore {
    database: Arc<Database>,
    runtime: Handle,
    sinks: Arc<[SinkName]>,
}

impl SqlStore {
    /// Opens the database at `sqlite://relative/path` or `sqlite:///absolute/path`, creating the file (mode 0600) and
    /// its tables where they are missing, with `pool` connections (at least 2: one of them writes, the others read).
    /// A connection, or SQLite's lock, is waited for no longer than `acquire_timeout`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be used, another process using it included;
    /// [`StoreError::Corrupt`] when it is not a database of this program. Both name the path and what to do.
    pub async fn open(url: &str, pool: u32, acquire_timeout: Duration) -> Result<Self, StoreError> {
        let database = Arc::new(Database::open(url, pool, acquire_timeout).await?);
        Ok(Self { database, runtime: Handle::current(), sinks: Arc::default() })
    }

    /// The same store, which writes a delivery to each of these sinks for what is worth a notice.
    #[must_use]
    pub fn with_sinks(self, sinks: Vec<SinkName>) -> Self {
        Self { sinks: sinks.into(), ..self }
    }
}

/// Runs a query on a connection of one of the pools, as a task of its own on the runtime that opened the store.
///
/// The task is what makes it safe for a caller to give up. Were the query's future dropped half-way on an actor's
/// thread, its transaction would stay open, and diesel's wrapper, which waits there for its blocking call, would panic.
/// A caller that gives up while it waits for a connection has started nothing.
macro_rules! query {
    ($store:ident.$pool:ident, |$conn:ident| $work:expr) => {{
        let database = Arc::clone(&$store.database);
        let mut pooled = database.$pool.get_owned().await.map_err(no_connection)?;
        let task = $store.runtime.spawn(async move {
            let $conn: &mut Conn = &mut pooled;
            let result = $work.await;
            // The connection goes home before the file can be given to another process.
            drop(pooled);
            drop(database);
            result
        });
        settle(task.await)
    }};
}

fn settle<T>(task: Result<Result<T, Failure>, JoinError>) -> Result<T, StoreError> {
    match task {
        Ok(result) => result.map_err(|failure| failure.into_store_error(sqlite::passing)),
        Err(stopped) => Err(StoreError::Unavailable(format!("the query was cut short: {stopped}"))),
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        query!(self.write, |conn| queries::admit(conn, admission))
    }

    async fn instance(&self, id: &InstanceId) -> Result<Option<Instance>, StoreError> {
        let id = id.clone();
        query!(self.read, |conn| queries::instance(conn, id))
    }

    async fn by_key(&self, creator: &Creator, key: &IdempotencyKey) -> Result<Option<Instance>, StoreError> {
        let (creator, key) = (creator.clone(), key.clone());
        query!(self.read, |conn| queries::by_key(conn, creator, key))
    }

    async fn apply(&self, id: &InstanceId, event: &InstanceEvent, now: Timestamp) -> Result<Instance, StoreError> {
        let (id, event, sinks) = (id.clone(), event.clone(), Arc::clone(&self.sinks));
        query!(self.write, |conn| queries::apply(conn, id, event, now, sinks))
    }

    async fn relocate(
        &self,
        id: &InstanceId,
        host: &HostName,
        slots: u32,
        now: Timestamp,
    ) -> Result<Relocated, StoreError> {
        let (id, host) = (id.clone(), host.clone());
        query!(self.write, |conn| queries::relocate(conn, id, host, slots, now))
    }

    async fn live(&self) -> Result<Vec<Instance>, StoreError> {
        query!(self.read, |conn| queries::live(conn))
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError> {
        query!(self.read, |conn| queries::due(conn, now, limit))
    }

    async fn warnings_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError> {
        query!(self.read, |conn| queries::warnings_due(conn, now, limit))
    }

    async fn purge(&self, ended_before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        query!(self.write, |conn| queries::purge(conn, ended_before, limit))
    }

    async fn take_deliveries(
        &self,
        sink: &SinkName,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let sink = sink.clone();
        query!(self.write, |conn| queries::take_deliveries(conn, sink, now, until, limit))
    }

    async fn close_delivery(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let delivery = delivery.clone();
        query!(self.write, |conn| queries::close_delivery(conn, delivery))
    }

    async fn postpone_delivery(&self, delivery: &Delivery, until: Timestamp) -> Result<(), StoreError> {
        let delivery = delivery.clone();
        query!(self.write, |conn| queries::postpone_delivery(conn, delivery, until))
    }

    async fn waiting_deliveries(&self, sink: &SinkName) -> Result<u64, StoreError> {
        let sink = sink.clone();
        query!(self.read, |conn| queries::waiting_deliveries(conn, sink))
    }

    async fn beat(&self, server: &ServerId) -> Result<Vec<Beat>, StoreError> {
        let server = server.clone();
        query!(self.write, |conn| queries::beat(conn, server))
    }

    async fn retire(&self, server: &ServerId) -> Result<(), StoreError> {
        let server = server.clone();
        query!(self.write, |conn| queries::retire(conn, server))
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        query!(self.read, |conn| queries::totals(conn))
    }

    async fn droplets(&self) -> Result<Vec<DropletRow>, StoreError> {
        query!(self.read, |conn| queries::droplets(conn))
    }

    async fn put_droplet(&self, row: &DropletRow) -> Result<(), StoreError> {
        let row = row.clone();
        query!(self.write, |conn| queries::put_droplet(conn, row))
    }

    async fn remove_droplet(&self, name: &HostName) -> Result<(), StoreError> {
        let name = name.clone();
        query!(self.write, |conn| queries::remove_droplet(conn, name))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Reads a row: `SELECT 1` would be answered without looking at the file.
        self.totals().await.map(drop)
    }
}
