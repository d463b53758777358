//! The database behind the port [`Store`]: a SQLite file, or a database on a MySQL, MariaDB or PostgreSQL server.
//!
//! Owns how rows are written and read, and which failure is the port's which. Decides nothing: transitions and quotas
//! are the domain's, called from inside the transactions here. Holds no secret, because no row does.
//!
//! The queries are written once (`queries`) and mounted by each backend (`sqlite`, `mysql`, `postgres`), which spells
//! what databases spell differently.

// Three times the same file, each against another backend's names.
#![allow(clippy::duplicate_mod)]

mod checkpoints;
mod failure;
mod file;
mod migrate;
mod mysql;
mod pool;
mod postgres;
mod rows;
mod schema;
mod sqlite;
mod tls;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use getaredis_actors::{
    domain::{
        Cordon, Creator, DeploymentId, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, ServerId,
        SinkName, Timestamp,
        scaling::{Hold, OrderBudget},
    },
    ports::{
        Admission, Admitted, Attended, Beat, BuilderRow, Delivery, DropletRow, DropletState, OrderLimits, Orders,
        Relocated, Report, Store, StoreError, Totals,
    },
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{runtime::Handle, task::JoinError, time::timeout};

/// Where the database is and how it is used.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `sqlite://path`, `mysql://…`, `mariadb://…`, `postgres://…` or `postgresql://…`, with its password.
    pub url: SecretString,
    /// Connections at most; a SQLite file has at least two, of which one writes.
    pub pool: u32,
    /// Longest wait for a free one, and for SQLite's lock.
    pub acquire_timeout: Duration,
    /// PEM file of the authorities that may sign a database server's certificate. With it TLS is required.
    pub tls_ca: Option<PathBuf>,
}

/// Whose instances a database holds. Another deployment would take the containers of these instances for nobody's, and
/// with another master key their passwords and tokens would be others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// What every container of them is labelled with.
    pub deployment: DeploymentId,
    /// See [`MasterKey::fingerprint`](getaredis_actors::domain::MasterKey::fingerprint).
    pub key_fingerprint: String,
}

/// As what a process comes to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// For as long as it lives, and where only one may, as that one.
    Server,
    /// Beside a server, for a few rows.
    Guest,
}

/// The store of a process. Dropping it closes the database; a SQLite file is free for another server then.
pub struct SqlStore {
    database: Database,
    runtime: Handle,
    sinks: Arc<[SinkName]>,
}

enum Database {
    Sqlite(sqlite::Database),
    Mysql(mysql::Database),
    Postgres(postgres::Database),
}

/// Runs a query on a connection for reading or for writing, where it goes on although its caller gives up: on a server as
/// a task of the runtime that opened the store, and again while it collides with others; on SQLite on a thread, whatever
/// it consists of.
///
/// That is what makes it safe for a caller to give up. Were the query's future dropped half-way on an actor's thread, its
/// transaction would stay open. A caller that gives up while it waits for a connection has started nothing.
macro_rules! query {
    ($store:ident.$side:ident, $query:ident($($argument:ident),*)) => {
        match &$store.database {
            Database::Sqlite(database) => {
                let work = async move |conn: &mut sqlite::Conn| {
                    let answer = sqlite::queries::$query(conn $(, $argument)*).await;
                    answer.map_err(|failure| failure.into_store_error(sqlite::trouble))
                };
                database.$side.run(work).await
            }
            Database::Mysql(database) => query!(@server $store, database, mysql, $side, $query($($argument),*)),
            Database::Postgres(database) => query!(@server $store, database, postgres, $side, $query($($argument),*)),
        }
    };
    (@server $store:ident, $database:ident, $server:ident, $side:ident, $query:ident($($argument:ident),*)) => {{
        let mut lent = $database.$side.get().await?;
        let task = $store.runtime.spawn(async move {
            let conn: &mut $server::Conn = &mut lent;
            let attempts = async {
                let mut pauses = pool::pauses();
                loop {
                    let answer = $server::queries::$query(conn $(, Clone::clone(&$argument))*).await;
                    match (answer, pauses.next()) {
                        (Err(failure), Some(pause)) if failure.is_collision($server::trouble) => {
                            tokio::time::sleep(pause).await;
                        }
                        (answer, _) => break answer.map_err(|failure| failure.into_store_error($server::trouble)),
                    }
                }
            };
            match timeout(pool::QUERY_TIMEOUT, attempts).await {
                Ok(answer) => answer,
                Err(_) => {
                    pool::abandon(conn);
                    Err(StoreError::Unavailable(format!("no answer within {:?}", pool::QUERY_TIMEOUT)))
                }
            }
        });
        settle(task.await)
    }};
}

impl SqlStore {
    /// Opens the database that the scheme of its URL names, and brings its tables up to date. A SQLite file is created
    /// (mode 0600) where it is missing; the database of a server must be there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be used: a file that another process uses, a server that does not
    /// answer or refuses; [`StoreError::Corrupt`] when it is not a database of this program or of a later version. Each
    /// is a sentence that names the database and what to do, and never the password.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        Self::connect(settings, Role::Server).await
    }

    /// Opens the database as a guest: for a command that writes a few rows beside the server. A file of SQLite is not kept
    /// from a server, neither from one that uses it now nor from one that is started meanwhile; the tables are brought up
    /// to date only while no server uses it. On a database server this is [`open`](Self::open). A guest does not make a
    /// database its own: see [`visit`](Self::visit).
    ///
    /// # Errors
    /// As [`open`](Self::open); [`StoreError::Unavailable`] when a server of another version uses the file.
    pub async fn join(settings: &StoreSettings) -> Result<Self, StoreError> {
        Self::connect(settings, Role::Guest).await
    }

    async fn connect(settings: &StoreSettings, role: Role) -> Result<Self, StoreError> {
        let StoreSettings { url, pool, acquire_timeout, tls_ca } = settings;
        let (url, tls_ca) = (url.expose_secret(), tls_ca.as_deref());
        let (pool, patience) = (*pool, *acquire_timeout);
        let database = match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("mysql") => Database::Mysql(mysql::Mysql::new(url, tls_ca)?.open(pool, patience).await?),
            Some("mariadb") => {
                let url = url.replacen("mariadb", "mysql", 1);
                Database::Mysql(mysql::Mysql::new(&url, tls_ca)?.open(pool, patience).await?)
            }
            Some("postgres" | "postgresql") => {
                Database::Postgres(postgres::Postgres::new(url, tls_ca)?.open(pool, patience).await?)
            }
            _ => Database::Sqlite(sqlite::Database::open(url, role, pool, patience).await?),
        };
        Ok(Self { database, runtime: Handle::current(), sinks: Arc::default() })
    }

    /// Sees that the database is this owner's; one that was nobody's is from now on. With `take_over` it is in any case.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with a sentence that says what is different and what to do, and when the database
    /// does not answer.
    pub async fn claim(&self, owner: Owner, take_over: bool) -> Result<(), StoreError> {
        query!(self.gate, claim(owner, take_over))
    }

    /// Sees that the database is this deployment's, or nobody's yet, and leaves it so. Returns whether it is this one's.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub async fn visit(&self, deployment: DeploymentId) -> Result<bool, StoreError> {
        query!(self.read, visit(deployment))
    }

    /// The same store, which writes a delivery to each of these sinks for what is worth a notice.
    #[must_use]
    pub fn with_sinks(self, sinks: Vec<SinkName>) -> Self {
        Self { sinks: sinks.into(), ..self }
    }
}

fn settle<T>(task: Result<Result<T, StoreError>, JoinError>) -> Result<T, StoreError> {
    match task {
        Ok(answer) => answer,
        Err(stopped) => Err(StoreError::Unavailable(format!("the query was cut short: {stopped}"))),
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        query!(self.gate, admit(admission))
    }

    async fn instance(&self, id: &InstanceId) -> Result<Option<Instance>, StoreError> {
        let id = id.clone();
        query!(self.read, instance(id))
    }

    async fn by_key(&self, creator: &Creator, key: &IdempotencyKey) -> Result<Option<Instance>, StoreError> {
        let (creator, key) = (creator.clone(), key.clone());
        query!(self.read, by_key(creator, key))
    }

    async fn apply(&self, id: &InstanceId, event: &InstanceEvent, now: Timestamp) -> Result<Instance, StoreError> {
        let (id, event, sinks) = (id.clone(), event.clone(), Arc::clone(&self.sinks));
        query!(self.write, apply(id, event, now, sinks))
    }

    async fn relocate(
        &self,
        id: &InstanceId,
        host: &HostName,
        slots: u32,
        now: Timestamp,
    ) -> Result<Relocated, StoreError> {
        let (id, host) = (id.clone(), host.clone());
        query!(self.gate, relocate(id, host, slots, now))
    }

    async fn live(&self, after: Option<&(Timestamp, InstanceId)>, limit: u32) -> Result<Vec<Instance>, StoreError> {
        let after = after.cloned();
        query!(self.read, live(after, limit))
    }

    async fn carried(&self, hosts: &[HostName]) -> Result<BTreeMap<HostName, u32>, StoreError> {
        let hosts = hosts.to_vec();
        query!(self.read, carried(hosts))
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError> {
        query!(self.read, due(now, limit))
    }

    async fn warnings_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError> {
        query!(self.read, warnings_due(now, limit))
    }

    async fn purge(&self, ended_before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        query!(self.write, purge(ended_before, limit))
    }

    async fn take_deliveries(
        &self,
        sink: &SinkName,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let sink = sink.clone();
        query!(self.write, take_deliveries(sink, now, until, limit))
    }

    async fn close_delivery(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let delivery = delivery.clone();
        query!(self.write, close_delivery(delivery))
    }

    async fn postpone_delivery(&self, delivery: &Delivery, until: Timestamp) -> Result<(), StoreError> {
        let delivery = delivery.clone();
        query!(self.write, postpone_delivery(delivery, until))
    }

    async fn waiting_deliveries(&self, sink: &SinkName) -> Result<u64, StoreError> {
        let sink = sink.clone();
        query!(self.read, waiting_deliveries(sink))
    }

    async fn beat(&self, server: &ServerId, report: &Report) -> Result<Vec<Beat>, StoreError> {
        let (server, report) = (server.clone(), report.clone());
        query!(self.write, beat(server, report))
    }

    async fn retire(&self, server: &ServerId) -> Result<(), StoreError> {
        let server = server.clone();
        query!(self.write, retire(server))
    }

    async fn attend(&self, last: Option<Attended>, now: Timestamp) -> Result<Attended, StoreError> {
        query!(self.write, attend(last, now))
    }

    async fn attended(&self) -> Result<Vec<Attended>, StoreError> {
        query!(self.read, attended())
    }

    async fn known(&self, ids: &[InstanceId]) -> Result<BTreeSet<InstanceId>, StoreError> {
        let ids = ids.to_vec();
        query!(self.read, known(ids))
    }

    fn is_shared(&self) -> bool {
        !matches!(self.database, Database::Sqlite(_))
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        query!(self.read, totals())
    }

    async fn droplets(&self) -> Result<Vec<DropletRow>, StoreError> {
        query!(self.read, droplets())
    }

    async fn order_droplet(&self, row: &DropletRow, most: u32, budget: OrderBudget) -> Result<bool, StoreError> {
        let row = row.clone();
        query!(self.gate, order_droplet(row, most, budget))
    }

    async fn order_limits(&self) -> Result<OrderLimits, StoreError> {
        query!(self.read, order_limits())
    }

    async fn hold_orders(&self, hold: Option<&Hold>) -> Result<(), StoreError> {
        let hold = hold.cloned();
        query!(self.write, hold_orders(hold))
    }

    async fn confirm_droplet(&self, name: &HostName) -> Result<bool, StoreError> {
        let name = name.clone();
        query!(self.write, confirm_droplet(name))
    }

    async fn condemn_droplet(&self, name: &HostName, created_at: Timestamp) -> Result<bool, StoreError> {
        let name = name.clone();
        query!(self.gate, condemn_droplet(name, created_at))
    }

    async fn keep_droplet(&self, name: &HostName) -> Result<bool, StoreError> {
        let name = name.clone();
        query!(self.gate, keep_droplet(name))
    }

    async fn bury_droplet(&self, name: &HostName) -> Result<bool, StoreError> {
        let name = name.clone();
        query!(self.write, bury_droplet(name))
    }

    async fn remove_droplet(&self, name: &HostName, state: DropletState) -> Result<bool, StoreError> {
        let name = name.clone();
        query!(self.write, remove_droplet(name, state))
    }

    async fn builders(&self) -> Result<Vec<BuilderRow>, StoreError> {
        query!(self.read, builders())
    }

    async fn order_builder(&self, row: &BuilderRow, now: Timestamp, most: u32) -> Result<bool, StoreError> {
        let row = row.clone();
        query!(self.gate, order_builder(row, now, most))
    }

    async fn close_builder(&self, name: &HostName) -> Result<bool, StoreError> {
        let name = name.clone();
        query!(self.write, close_builder(name))
    }

    async fn orders(&self) -> Result<Orders, StoreError> {
        query!(self.read, orders())
    }

    async fn order_cordon(&self, host: &HostName, cordon: Option<Cordon>) -> Result<(), StoreError> {
        let host = host.clone();
        query!(self.write, order_cordon(host, cordon))
    }

    async fn order_pause(&self, paused: bool) -> Result<(), StoreError> {
        query!(self.write, order_pause(paused))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        query!(self.write, ping())
    }
}
