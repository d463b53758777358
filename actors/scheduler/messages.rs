//! What the scheduler is asked and told.

use std::{collections::BTreeSet, time::Duration};

use actix::Message;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        Cordon, Creator, EndReason, Health, HostName, IdempotencyKey, Instance, InstanceId, Label, LeaseRefused,
        NoPlace, QuotaExceeded, Timestamp,
    },
    ports::{Found, HostVitals, Removal, RuntimeError, StoreError},
};

/// One instance, please. Sent by the web handlers and the tests. If the reply is lost the instance lives on for its
/// lease; repeated with the same idempotency key it is answered with the same instance.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Created, CreateError>")]
pub struct CreateInstance {
    /// Who asks.
    pub creator: Creator,
    /// How long it shall live; the operator's default when not said.
    pub ttl: Option<Duration>,
    /// Which recipe; the default one when not said.
    pub flavour: Option<String>,
    /// The creator's note.
    pub label: Option<Label>,
    /// Makes a repeated request harmless.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A running instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// Its row; `endpoint` is set.
    pub instance: Instance,
    /// Whether it was made for an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Why there is no instance. Nothing is left behind, or what is left is known to the reaper.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateError {
    /// The wished lease is not to be had.
    #[error(transparent)]
    Lease(LeaseRefused),
    /// There is no such recipe.
    #[error("there is no flavour {name:?}; there is: {known}")]
    UnknownFlavour {
        /// What was asked for.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// A quota stands in the way.
    #[error(transparent)]
    Quota(QuotaExceeded),
    /// The idempotency key belongs to a request that asked for something else.
    #[error("this idempotency key was used for a request that asked for something else")]
    KeyConflict,
    /// The first request with this idempotency key is still being worked on.
    #[error("the first request with this idempotency key is still being worked on")]
    KeyInUse,
    /// No host has room.
    #[error("no host has room: {0}")]
    NoPlace(NoPlace),
    /// As many requests as may be worked on at once are.
    #[error("{in_flight} requests are being worked on, which is the most at once")]
    Busy {
        /// How many.
        in_flight: usize,
    },
    /// The scheduler has just started and does not know its hosts and instances yet.
    #[error("the scheduler is starting")]
    Starting,
    /// The server is about to stop, and nobody waits for room in it any more.
    #[error("the server stops")]
    Stopping,
    /// The database did not do its part.
    #[error(transparent)]
    Store(StoreError),
    /// Every host that was tried failed; the last one's words.
    #[error("no host could start it: {0}")]
    Host(String),
    /// It was ended while it was being made, or took longer than the deadline.
    #[error("it was given up: {0}")]
    GivenUp(String),
}

/// End this instance. Sent by the web handlers (`Deleted`) and the reaper (any reason); may be repeated until it
/// answers [`Ending::Gone`]. If it is lost, the reaper finishes what was begun.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Ending, EndError>")]
pub struct DeleteInstance {
    /// Which.
    pub id: InstanceId,
    /// Why. An instance that is ending already keeps its first reason.
    pub reason: EndReason,
}

/// How far an ending came.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// Its container is confirmed gone and its slot is free.
    Gone(Box<Instance>),
    /// The intent is written; its host could not confirm yet. The reaper goes on until it does.
    Pending {
        /// The row, in state `stopping`.
        instance: Box<Instance>,
        /// What the host said.
        why: String,
    },
}

/// Why nothing was ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EndError {
    /// There is no such instance.
    #[error("there is no such instance")]
    NotFound,
    /// It has ended before.
    #[error("it has ended already")]
    AlreadyEnded(Box<Instance>),
    /// It is not time for that, whatever the asker believed: its lease has not run out, or its host answers.
    #[error("it is not time for that")]
    NotDue,
    /// The database did not do its part.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for EndError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            error => Self::Store(error),
        }
    }
}

/// A host has begun to answer. Told to the reaper, whom it wakes for a sweep of that host. If it is lost, the next
/// periodic sweep does the same.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct HostReady {
    /// Which.
    pub host: HostName,
}

/// A host has fallen silent. Told to the reaper, whom it wakes to look at the instances there. If it is lost, the next
/// sweep does the same.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct HostSilent {
    /// Which.
    pub host: HostName,
}

/// An instance is to end and its host has not confirmed that its container is gone. Told to the reaper, whom it wakes to
/// look at the row and to go on trying. If it is lost, the next sweep does the same.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct EndingUnconfirmed {
    /// Which.
    pub id: InstanceId,
}

/// Expect nothing any more of this instance, whose host has been silent for too long. Sent by the reaper. The scheduler
/// refuses when it knows the host to be well.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Instance, EndError>")]
pub struct GiveUpInstance {
    /// Which.
    pub id: InstanceId,
}

/// This server is about to stop: what is being started is finished, and nobody is kept waiting for anything else. Sent when
/// no new request comes in any more. If it is lost, the stop takes longer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct LetNobodyWait;

/// This server stops in good order: take no new create and let the others on the same database know. Sent when nothing
/// is under way any more. If it is lost, the others find out by themselves within seconds.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Retire;

/// How the fleet stands for whoever plans the pool: a host on which another server's starts fail is `failing`, though this
/// server may go on using it, and those who wait elsewhere are as they are known now: whoever got a row that was read
/// before is not among them any more. Sent by the autoscaler, which would buy for them twice.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<FleetView, StoreError>")]
pub struct SurveyFleet;

/// How the fleet stands. Sent by the web handlers and the feed. Reads only.
#[derive(Debug, Clone, Message)]
#[rtype(result = "FleetView")]
pub struct DescribeFleet;

/// The fleet at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetView {
    /// The hosts in their declared order.
    pub hosts: Vec<HostView>,
    /// Whether the scheduler knows its hosts and instances (false right after a start).
    pub ready: bool,
    /// Why a create would find no room now, if it would.
    pub refusal: Option<String>,
    /// Whether a create that finds no room would wait for some that is on the way, or would be ordered for it.
    pub growing: bool,
    /// Whether this server is the one of those on the database that looks after what they share.
    pub leads: bool,
    /// Creates that wait for room here.
    pub waiting: u32,
    /// Creates that wait for room at the other servers on the database.
    pub waiting_elsewhere: u32,
    /// Creates that had to wait for room and do so no more, since the scheduler started.
    pub waited: u64,
    /// How long those have waited, all together.
    pub waited_for: Duration,
    /// Hosts whose cordon the operator ordered.
    pub ordered: BTreeSet<HostName>,
}

/// A host as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// Its name.
    pub name: HostName,
    /// Where tenants reach it.
    pub address: std::net::IpAddr,
    /// Whether it answers.
    pub state: Health,
    /// Whether it is kept from taking new instances.
    pub cordon: Option<Cordon>,
    /// Instances it may carry.
    pub slots: u32,
    /// Slots taken or reserved.
    pub used: u32,
    /// Why it does not answer.
    pub reason: Option<String>,
    /// Whether its tenants are isolated from each other.
    pub isolated: bool,
    /// Since when its heartbeat has stayed away, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unannounced_since: Option<Timestamp>,
    /// How it fares, by its last heartbeat; nothing of a host that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals: Option<Box<HostVitals>>,
}

/// Cordon, drain or uncordon a host until it is taken back, for all servers on the database and over restarts. Sent by the
/// operator. The reply comes when it is written; repeating it changes nothing.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<HostView, CordonError>")]
pub struct OrderCordon {
    /// Which.
    pub name: HostName,
    /// The cordon it shall have; `None` takes it away.
    pub cordon: Option<Cordon>,
}

/// Cordon, drain or uncordon a host for as long as this server runs. Sent by the autoscaler. What the operator ordered is
/// not taken back, which the reply shows. Repeating it changes nothing.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<HostView, CordonError>")]
pub struct CordonHost {
    /// Which.
    pub name: HostName,
    /// The cordon it shall have; `None` takes it away.
    pub cordon: Option<Cordon>,
}

/// Why a cordon was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CordonError {
    /// There is no such host.
    #[error("there is no host of that name")]
    NoSuchHost,
    /// The host cannot take it in its state.
    #[error(transparent)]
    Illegal(#[from] crate::domain::host::IllegalHostEvent),
    /// The order could not be written, or nobody knows whether it was.
    #[error(transparent)]
    Store(StoreError),
}

/// What is on this host? Sent by the reaper's sweep, forwarded to the host.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<Found>, HostError>")]
pub struct HostInventory {
    /// Which host.
    pub host: HostName,
}

/// Remove a container that no row claims on this host. Sent by the reaper's sweep only, after it has read the rows.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Removal, HostError>")]
pub struct RemoveOrphan {
    /// Which host.
    pub host: HostName,
    /// Which container.
    pub id: InstanceId,
}

/// These containers on a host, and no others, have no row and are not removed, because they may be somebody's. Told by the
/// reaper after each sweep that found some, which repeats what was lost; and once when there can be none any more: if that
/// is lost, their slots stay taken until the scheduler starts anew.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct OrphansKept {
    /// Where.
    pub host: HostName,
    /// Which. They take slots until they are gone, and keep their host from being forgotten or given back.
    pub ids: Vec<InstanceId>,
}

/// Why a host did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HostError {
    /// There is no such host (any more).
    #[error("its host is not known here")]
    NoSuchHost,
    /// The host's actor is restarting, overloaded or gone.
    #[error("the host's actor did not answer: {0}")]
    Actor(#[from] crate::supervision::AskError),
    /// The host's engine did not do it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}
