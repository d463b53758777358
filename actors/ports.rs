//! What the brain needs from outside, each as a trait with its written contract and its own errors.
//!
//! Owns the contracts only. An adapter lives in `src/adapters`, its simulated twin in `sim`; both must keep what is
//! written here. No trait speaks of HTTP, SQL, Docker or Redis.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use secrecy::SecretString;
use serde::Serialize;

mod attendance;
mod builders;
mod journal;
mod provider;
mod vitals;

pub use self::{
    attendance::Attended,
    builders::BuilderRow,
    journal::{Journal, JournalError},
    provider::{Droplet, HostProvider, HourlyPrice, Listing, ProviderError},
    vitals::{EngineSeen, HostVitals},
};
pub use crate::domain::scaling::DropletState;
use crate::domain::{
    Cordon, Creator, Endpoint, Flavour, HostName, IdempotencyKey, IllegalTransition, Instance, InstanceEvent,
    InstanceId, Notice, QuotaExceeded, Quotas, ServerId, SinkName, Timestamp,
    scaling::{Hold, OrderBudget},
};

// ---- Clock and ids -------------------------------------------------------------------------------------------

/// Tells the time and makes ids. Both are one port because ids sort by the time they were made.
pub trait Clock: Send + Sync {
    /// Now, in whole milliseconds. May jump in either direction when the machine's clock is set.
    fn now(&self) -> Timestamp;

    /// An id that nobody had before.
    fn new_id(&self) -> InstanceId;
}

// ---- Store ---------------------------------------------------------------------------------------------------

/// Why the store did not do it. Nothing was changed unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or does not answer in time. A write may or may not have happened.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// There is no such row.
    #[error("there is no such row")]
    NotFound,
    /// The row is in a state in which this cannot happen.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// What was read makes no sense, or the database refused a statement that should have been right: a bug.
    #[error("the database holds or said something unexpected: {0}")]
    Corrupt(String),
}

/// A request for admission: the row as it would be written, and the caps it must fit under.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The row, in state `creating`, with its host and the server that asks.
    pub instance: Instance,
    /// The caps at this moment.
    pub quotas: Quotas,
    /// Instances that the row's host may carry.
    pub slots: u32,
}

/// What admission decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Admitted {
    /// The row is written.
    New,
    /// This creator has a live instance under this idempotency key and with the same fingerprint.
    Existing(Box<Instance>),
    /// This creator has a live instance under this idempotency key that was asked for differently.
    Conflict,
    /// A quota stands in the way.
    Refused(QuotaExceeded),
    /// The host has no room: other servers have filled it, or it is to be deleted.
    HostFull,
}

/// What became of an instance that was to be tried on another host.
#[derive(Debug, Clone, PartialEq)]
pub enum Relocated {
    /// The row names the other host now.
    Moved(Box<Instance>),
    /// The other host has no room; nothing changed.
    HostFull,
}

/// A server's sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Whose.
    pub server: ServerId,
    /// How often it gave one. A count and no time, because no two machines' clocks agree.
    pub beats: u64,
    /// What it said with the last one.
    pub report: Report,
}

/// What a server says of itself with its sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Creates that wait for room there.
    pub waiting: u32,
    /// The hosts on which start after start of that server failed, the last one not long ago.
    pub failing: BTreeSet<HostName>,
}

/// A notice on its way to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What is told.
    pub notice: Notice,
    /// To whom.
    pub sink: SinkName,
    /// When it happened.
    pub created_at: Timestamp,
    /// How often it has been taken, this time included.
    pub attempts: u32,
}

/// Numbers for the page and the feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Instances that ever became running in this deployment.
    pub started: u64,
}

/// A droplet as the database knows it. The row is written before anything is paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropletRow {
    /// Decided and persisted first, so that a lost answer can be looked up by name.
    pub name: HostName,
    /// Where it stands.
    pub state: DropletState,
    /// When the intent was written.
    pub created_at: Timestamp,
}

/// How far orders of droplets are held back, for whichever server looks after the pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderLimits {
    /// What may still be ordered.
    pub budget: OrderBudget,
    /// Why nothing is ordered for some time, if so; or was, if that is over.
    pub hold: Option<Hold>,
}

/// What the operator ordered for all servers, until it is taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Hosts that shall take no new instance.
    pub cordons: BTreeMap<HostName, Cordon>,
    /// Whether nothing shall be bought and given back.
    pub paused: bool,
}

/// The database: the only arbiter of who gets what. Every method is one transaction, and two of them that collide are
/// repeated by the store itself. Several servers may use it at once where [`is_shared`](Self::is_shared) says so.
///
/// Where it was opened with sinks, every transition that is worth a [`Notice`] writes one delivery for each of them, in
/// the same transaction.
#[async_trait]
pub trait Store: Send + Sync {
    /// Decides idempotency key, creator quota, global cap and slot, and writes the row, all in one transaction: of any
    /// number of concurrent calls, from any number of servers, exactly as many are admitted as the caps allow. The
    /// quota counts the creator's instances that are neither ending nor ended, the cap everybody's that have not ended,
    /// the slots those of the same host that have not ended. They are looked at in this order. A host whose droplet was
    /// [condemned](Self::condemn_droplet) has no slots.
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError>;

    /// Writes [`InstanceEvent::Moved`] to `host`, if that has fewer than `slots` instances that have not ended and is not
    /// condemned, in one transaction.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    async fn relocate(
        &self,
        id: &InstanceId,
        host: &HostName,
        slots: u32,
        now: Timestamp,
    ) -> Result<Relocated, StoreError>;

    /// The instance, also when it has ended.
    async fn instance(&self, id: &InstanceId) -> Result<Option<Instance>, StoreError>;

    /// The instance of this creator under this key; one that is ending has none any more.
    async fn by_key(&self, creator: &Creator, key: &IdempotencyKey) -> Result<Option<Instance>, StoreError>;

    /// Reads the row, applies [`Instance::after`] and writes the result, in one transaction; returns the new row.
    /// `Started` also counts towards [`Totals::started`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Illegal`] when the event cannot happen in the row's state.
    async fn apply(&self, id: &InstanceId, event: &InstanceEvent, now: Timestamp) -> Result<Instance, StoreError>;

    /// Up to `limit` instances that have not ended, oldest first (of one age by their ids), beginning after that place in
    /// this order. Of many calls, each going on where the one before ended, every instance that is there all the time
    /// is in exactly one; what begins or ends meanwhile may be in one or not.
    async fn live(&self, after: Option<&(Timestamp, InstanceId)>, limit: u32) -> Result<Vec<Instance>, StoreError>;

    /// How many instances that have not ended are on each of these hosts; one that has none is left out.
    async fn carried(&self, hosts: &[HostName]) -> Result<BTreeMap<HostName, u32>, StoreError>;

    /// Instances that are not ending yet although their lease ended at or before `now`, the longest overdue first.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError>;

    /// Running and unreachable instances whose owner is to be warned at or before `now`, the longest waiting first.
    async fn warnings_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError>;

    /// Deletes up to `limit` instances that ended before `ended_before`, the oldest first, and with them all that is
    /// known of their creators. Returns how many.
    async fn purge(&self, ended_before: Timestamp, limit: u32) -> Result<u32, StoreError>;

    /// Takes up to `limit` deliveries to `sink` that are due at `now`, the longest waiting first, so that nobody else
    /// takes them before `until`.
    async fn take_deliveries(
        &self,
        sink: &SinkName,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// The delivery was made, or is given up: forgets it. Fine when there is none.
    async fn close_delivery(&self, delivery: &Delivery) -> Result<(), StoreError>;

    /// The delivery failed and is due again at `until`. Fine when there is none.
    async fn postpone_delivery(&self, delivery: &Delivery, until: Timestamp) -> Result<(), StoreError>;

    /// Deliveries to `sink` that were neither made nor given up yet.
    async fn waiting_deliveries(&self, sink: &SinkName) -> Result<u64, StoreError>;

    /// Gives a sign of life of `server`, and with it its report in place of the one before, and returns the latest one of
    /// every server, its own included.
    async fn beat(&self, server: &ServerId, report: &Report) -> Result<Vec<Beat>, StoreError>;

    /// Forgets a server that is dead or ends. Fine when there is none.
    async fn retire(&self, server: &ServerId) -> Result<(), StoreError>;

    /// Writes that a server is at work at `now`, and returns the span of time that it has been: `last`, what the same
    /// server was answered last, up to now, if the database still has it exactly so; else one that begins now, because the
    /// server has only just come, or the database is not the one that it was. Forgets spans that need not be
    /// [kept](Attended::kept_since).
    async fn attend(&self, last: Option<Attended>, now: Timestamp) -> Result<Attended, StoreError>;

    /// The spans of time in which servers were at work on the database, in the order of their beginnings.
    async fn attended(&self) -> Result<Vec<Attended>, StoreError>;

    /// Which of these have a row, whether they live or have ended.
    async fn known(&self, ids: &[InstanceId]) -> Result<BTreeSet<InstanceId>, StoreError>;

    /// Whether other servers may use the database at the same time.
    fn is_shared(&self) -> bool;

    /// The numbers for the page.
    async fn totals(&self) -> Result<Totals, StoreError>;

    /// Every droplet row, by name.
    async fn droplets(&self) -> Result<Vec<DropletRow>, StoreError>;

    /// Writes the row of a droplet that shall be ordered, new or over one of that name that is still
    /// [`Creating`](DropletState::Creating), if there are fewer than `most` others that are not [`Deleted`](DropletState::Deleted),
    /// [builders](Self::builders) included that are live when the row is created: of any number of concurrent calls, this
    /// one's and [`order_builder`](Self::order_builder)'s, from any number of processes, no more succeed. With the row it
    /// writes what then is left of the `budget`, over the one before. Returns whether it was written.
    async fn order_droplet(&self, row: &DropletRow, most: u32, budget: OrderBudget) -> Result<bool, StoreError>;

    /// How far orders of droplets are held back, as it was written last.
    async fn order_limits(&self) -> Result<OrderLimits, StoreError>;

    /// Writes until when nothing shall be ordered, over what was written before; `None` when there is nothing against it
    /// any more.
    async fn hold_orders(&self, hold: Option<&Hold>) -> Result<(), StoreError>;

    /// Writes that the provider has it, if its row is still [`Creating`](DropletState::Creating); returns whether.
    async fn confirm_droplet(&self, name: &HostName) -> Result<bool, StoreError>;

    /// Writes that a droplet shall be deleted, with or without a row before, if no instance that has not ended is on that
    /// host; returns whether. From then on none is admitted or moved to it, by any server, until
    /// [`keep_droplet`](Self::keep_droplet) says that it is kept or [`remove_droplet`](Self::remove_droplet) forgets it.
    async fn condemn_droplet(&self, name: &HostName, created_at: Timestamp) -> Result<bool, StoreError>;

    /// Writes that it is not deleted after all, if it is condemned and an instance that has not ended is on that host;
    /// returns whether.
    async fn keep_droplet(&self, name: &HostName) -> Result<bool, StoreError>;

    /// Writes that the provider has accepted its deletion, if it is condemned; returns whether. It is none of the others of
    /// [`order_droplet`](Self::order_droplet) any more.
    async fn bury_droplet(&self, name: &HostName) -> Result<bool, StoreError>;

    /// Forgets the row, and what was ordered about that host, if it is in this state; returns whether.
    async fn remove_droplet(&self, name: &HostName, state: DropletState) -> Result<bool, StoreError>;

    /// Every row of a builder, by name, also those that are over.
    async fn builders(&self) -> Result<Vec<BuilderRow>, StoreError>;

    /// Writes the row of a builder that shall be ordered, new or over one of that name, if there are fewer than `most`
    /// others: other builders that are live at `now`, and droplets that are not [`Deleted`](DropletState::Deleted). The
    /// same gate as [`order_droplet`](Self::order_droplet)'s. Returns whether it was written.
    async fn order_builder(&self, row: &BuilderRow, now: Timestamp, most: u32) -> Result<bool, StoreError>;

    /// There is no such builder any more, or its time is over: forgets its row; returns whether there was one.
    async fn close_builder(&self, name: &HostName) -> Result<bool, StoreError>;

    /// The operator's orders that stand.
    async fn orders(&self) -> Result<Orders, StoreError>;

    /// Writes the cordon that the operator wants a host to have, over the one before. `None` takes the order back; fine
    /// when there is none.
    async fn order_cordon(&self, host: &HostName, cordon: Option<Cordon>) -> Result<(), StoreError>;

    /// Writes whether the operator wants the pool paused.
    async fn order_pause(&self, paused: bool) -> Result<(), StoreError>;

    /// Whether it answers and takes writes.
    async fn ping(&self) -> Result<(), StoreError>;
}

// ---- Runtime -------------------------------------------------------------------------------------------------

/// Why a container runtime did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// It cannot be reached or does not answer in time. The effect may or may not have happened.
    #[error("the container engine does not answer: {0}")]
    Unreachable(String),
    /// It answered that it cannot.
    #[error("the container engine refused: {0}")]
    Refused(String),
    /// It answers, and could neither start nor remove anything now. Only a probe tells.
    #[error("the container engine answers, and can start and remove nothing: {0}")]
    Unfit(String),
    /// The image is neither there nor to be had.
    #[error("image {image} is not on the host and cannot be pulled: {why}")]
    NoImage {
        /// The image.
        image: String,
        /// What the registry said.
        why: String,
    },
    /// The container was started and did not answer an authenticated PING in time; what the engine logged last.
    #[error("the instance did not become ready: {0}")]
    NotReady(String),
}

/// What is to be started.
#[derive(Debug, Clone)]
pub struct StartSpec {
    /// The instance; the container carries it as a label.
    pub id: InstanceId,
    /// The recipe.
    pub flavour: Flavour,
    /// The password its tenant will use. The engine is given its hash only.
    pub password: SecretString,
}

/// Whether a removal found something to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It was there and is gone now.
    Removed,
    /// It was gone already.
    AlreadyGone,
}

/// A container of this deployment on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The instance that its label names.
    pub id: InstanceId,
    /// Whether its engine runs.
    pub running: bool,
}

/// One host's container engine, bound to one deployment: it only ever sees and touches what carries the
/// deployment's label.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Creates and starts a container and waits until an authenticated PING is answered. Returns where it is
    /// reached. After an error a container of this id may be left; [`remove`](Self::remove) takes it away.
    async fn start(&self, spec: &StartSpec) -> Result<Endpoint, RuntimeError>;

    /// Removes the container. Returns only when it is confirmed gone, so it may be repeated until it says so.
    async fn remove(&self, id: &InstanceId) -> Result<Removal, RuntimeError>;

    /// Every container of this deployment, running or not.
    async fn inventory(&self) -> Result<Vec<Found>, RuntimeError>;

    /// Whether the engine answers and could start an instance; cheap enough to be asked every few seconds.
    /// [`RuntimeError::Unfit`] where it answers all that is not about a start or a removal: what runs there runs on.
    async fn probe(&self) -> Result<(), RuntimeError>;

    /// Instances whose container stopped, in the moment it does, whoever stopped it. Ends or errs when the engine
    /// goes away; events in between two streams are lost, so nobody may rely on it alone.
    fn exits(&self) -> BoxStream<'static, Result<InstanceId, RuntimeError>>;

    /// Whether tenants are isolated from each other and from the machine.
    fn isolated(&self) -> bool;
}

/// Makes the runtime of a host that has joined.
pub trait Runtimes: Send + Sync {
    /// Makes the handle. Does not connect.
    ///
    /// # Errors
    /// [`RuntimeError::Refused`] when the host's record cannot be turned into an address to connect to.
    fn open(&self, host: &HostRecord) -> Result<std::sync::Arc<dyn Runtime>, RuntimeError>;
}

// ---- Directory -----------------------------------------------------------------------------------------------

/// A host as the directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRecord {
    /// Its name.
    pub name: HostName,
    /// Where tenants reach it.
    pub public_address: IpAddr,
    /// Where its container engine is reached: `unix://…`, `tcp://…` or `https://…`; empty means the configured one.
    pub engine: String,
    /// Instances it may carry.
    pub slots: u32,
}

/// One look at the directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryReading {
    /// The hosts, in their declared order (by name where nothing declares one).
    pub hosts: Vec<HostRecord>,
    /// How they fare, where they say so. Apart from the records, for it differs with every look and a record only when
    /// the host does.
    pub vitals: BTreeMap<HostName, HostVitals>,
    /// Entries that could not be read, or are of another deployment, each with the reason. They count as not being there, unless only what they say
    /// of how the host fares makes no sense: then that is left out, and the host is among the others.
    pub malformed: Vec<(String, String)>,
    /// Which run of the directory said so, where it can be told. One that has restarted since may have lost
    /// announcements; one that has not says of a host that is missing that it did not renew its own.
    pub run: Option<String>,
}

/// Why the directory was not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be reached or does not answer in time. Says nothing about any host.
    #[error("the directory does not answer: {0}")]
    Unreachable(String),
}

/// Where hosts announce themselves.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Everything that is announced at this moment.
    async fn read(&self) -> Result<DirectoryReading, DirectoryError>;

    /// How long an announcement stays without being renewed; `None` when it stays for ever.
    fn ttl(&self) -> Option<Duration>;
}

// ---- Webhooks ------------------------------------------------------------------------------------------------

/// Why a notice was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The sink cannot be reached or does not answer in time. It may have got the notice.
    #[error("the sink does not answer: {0}")]
    Unreachable(String),
    /// It answered, but did not accept.
    #[error("the sink refused: {why}")]
    Refused {
        /// What it answered.
        why: String,
        /// How long it wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// It wants neither this nor a repetition of it.
    #[error("the sink wants no more of it")]
    Unwanted,
}

/// Where notices leave the house.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Posts the notice to its sink once, signed at `now`. Returns when the sink has accepted it.
    async fn post(&self, delivery: &Delivery, now: Timestamp) -> Result<(), WebhookError>;
}
