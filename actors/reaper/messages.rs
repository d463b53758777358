//! What the reaper is asked.

use std::time::Duration;

use actix::Message;
use serde::Serialize;

use crate::{
    domain::{Instance, InstanceId, LeaseRefused},
    ports::StoreError,
};

/// Let this instance live until `ttl` from now. Sent by the web handlers. Repeating it moves the end a little further.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Instance, ExtendError>")]
pub struct ExtendLease {
    /// Which.
    pub id: InstanceId,
    /// How long from now.
    pub ttl: Duration,
}

/// Why a lease was not extended. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExtendError {
    /// There is no such instance.
    #[error("there is no such instance")]
    NotFound,
    /// Its owner does not have it in hand: it is still on its way, or ending, or ended.
    #[error("an instance that is {} cannot be extended", .0.state.as_str())]
    NotRunning(Box<Instance>),
    /// The wished time is not to be had.
    #[error(transparent)]
    Lease(LeaseRefused),
    /// The database did not do its part.
    #[error(transparent)]
    Store(StoreError),
}

/// How did the last passes go? Sent by the operator's pages and by tests.
#[derive(Debug, Clone, Message)]
#[rtype(result = "ReaperStatus")]
pub struct DescribeReaper;

/// What the reaper's passes found and did since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReaperStatus {
    /// Sweeps over all hosts that were finished.
    pub sweeps: u64,
    /// Instances ended, of whatever reason.
    pub ended: u64,
    /// Containers without a row that were removed.
    pub orphans_removed: u64,
    /// Instances whose end is written and not confirmed yet.
    pub pending: u64,
    /// For how many seconds the longest overdue ending has been due; 0 when none is.
    pub reap_lag_s: u64,
    /// What the last sweep found on one side only and nobody has settled yet.
    pub orphans: Orphans,
    /// Tries to end an instance, or to remove an orphan, that failed.
    pub failures: u64,
    /// Instances that were given up with their host.
    pub lost: u64,
    /// Owners that were warned of the end of their lease.
    pub warned: u64,
    /// Rows of ended instances that were forgotten after the time that they are kept.
    pub purged: u64,
    /// Whether there are more such rows, so that the next batch follows soon.
    pub purging: bool,
    /// What went wrong last, if the last pass went wrong.
    pub last_error: Option<String>,
}

/// Orphans by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Orphans {
    /// Containers that no row claims.
    pub container: u64,
    /// Containers that no row claims and that are left alone, because they were made at a time that this database knows
    /// nothing of: it was another one then, or is an older copy of itself.
    pub unknown: u64,
    /// Rows whose container is gone.
    pub row: u64,
}

/// Make a sweep over all hosts now and answer when it is done. Sent by tests and the operator; wakes the reaper, and
/// tells it nothing.
#[derive(Debug, Clone, Message)]
#[rtype(result = "ReaperStatus")]
pub struct SweepNow;
