//! The facts that operators watch, and how one subscribes to them.

use std::{collections::BTreeMap, sync::Arc};

use actix::Message;
use serde::{Serialize, Serializer};
use tokio::sync::mpsc;

use crate::{
    autoscaler::messages::ScalingStatus,
    domain::{Creator, EndReason, HostName, Instance, InstanceId, Label, Timestamp},
    ports::Totals,
    reaper::messages::ReaperStatus,
    scheduler::messages::HostView,
    supervision::{ChildReport, Status},
};

/// Something happened. Told by the other actors, in the order in which it happened to each of them. If it is lost, the
/// next snapshot puts it right.
#[derive(Debug, Clone, PartialEq, Message)]
#[rtype(result = "()")]
pub struct Publish(pub Fact);

/// What happened, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// A host joined or is not what it was.
    HostChanged {
        /// What it is now.
        host: HostView,
    },
    /// A host left.
    HostRemoved {
        /// Which.
        name: HostName,
    },
    /// An instance was admitted or is not what it was.
    InstanceChanged {
        /// What it is now.
        instance: InstanceView,
    },
    /// An instance's container is confirmed gone, or given up with its host.
    InstanceEnded {
        /// Which.
        id: InstanceId,
        /// Why.
        reason: EndReason,
    },
    /// An instance's owner was warned: its lease ends soon.
    InstanceExpiring {
        /// Which.
        id: InstanceId,
        /// When it ends, unless it is extended.
        expires_at: Timestamp,
    },
    /// The reaper's passes found or did something.
    ReaperChanged {
        /// How it is now.
        reaper: ReaperStatus,
    },
    /// The autoscaler made a pass, or was paused or resumed.
    ScalingChanged {
        /// How it is now.
        scaling: ScalingStatus,
    },
    /// A supervised actor went down, is backing off or is up again.
    ActorChanged {
        /// How it is now.
        actor: ActorView,
    },
    /// A supervised actor left with what it was for, as a host's does.
    ActorRemoved {
        /// Its name.
        name: String,
    },
    /// The total was counted on.
    TotalsChanged {
        /// The numbers.
        totals: Totals,
    },
}

/// An instance as operators see it: everything but its secrets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstanceView {
    /// Its id.
    pub id: InstanceId,
    /// Its host.
    pub host: HostName,
    /// Its recipe.
    pub flavour: String,
    /// Where it stands.
    pub state: &'static str,
    /// Who asked for it.
    pub creator: String,
    /// Its creator's note.
    pub label: Option<Label>,
    /// When it was admitted.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Its published port.
    pub port: Option<u16>,
    /// Since when its host has been silent, if it is.
    pub unreachable_since: Option<Timestamp>,
}

impl From<&Instance> for InstanceView {
    fn from(instance: &Instance) -> Self {
        let creator: &Creator = &instance.creator;
        Self {
            id: instance.id.clone(),
            host: instance.host.clone(),
            flavour: instance.flavour.clone(),
            state: instance.state.as_str(),
            creator: creator.to_string(),
            label: instance.label.clone(),
            created_at: instance.created_at,
            expires_at: instance.lease.expires_at,
            port: instance.endpoint.map(|e| e.port),
            unreachable_since: instance.unreachable_since,
        }
    }
}

/// A supervised actor as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActorView {
    /// Its name.
    pub name: String,
    /// How it is.
    pub status: Status,
    /// How often it was restarted.
    pub restarts: usize,
    /// Since when it is so.
    pub since: Timestamp,
    /// Why it last went down.
    pub last_cause: Option<String>,
}

impl From<ChildReport> for ActorView {
    fn from(report: ChildReport) -> Self {
        Self {
            name: report.name,
            status: report.status,
            restarts: report.restarts,
            since: report.since,
            last_cause: report.last_cause.map(|cause| cause.to_string()),
        }
    }
}

/// Let me watch. The reply is where things stand and everything after it, without a gap. A subscriber that does not
/// keep up is dropped: its channel ends, and it subscribes again for a new snapshot.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Subscription")]
pub struct Subscribe;

/// How many instances are in which state, and how many have ended? Sent by the metrics. Answered from memory.
#[derive(Debug, Clone, Message)]
#[rtype(result = "InstanceCounts")]
pub struct CountInstances;

/// Instances in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceCounts {
    /// Those that have not ended, by state; nothing while the feed is taking stock.
    pub live: Option<BTreeMap<&'static str, u64>>,
    /// Those that ended since the feed started, by reason.
    pub ended: BTreeMap<&'static str, u64>,
}

/// A view of the feed.
#[derive(Debug)]
pub struct Subscription {
    /// Where things stand.
    pub snapshot: Snapshot,
    /// What happens from then on; the first one's `seq` is the snapshot's plus one. Ends when the subscriber was too
    /// slow or the feed restarted.
    pub deltas: mpsc::Receiver<Arc<Delta>>,
}

/// Where things stand after `seq` facts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// How many facts it includes.
    pub seq: u64,
    /// When it was taken.
    pub at: Timestamp,
    /// The hosts in their declared order.
    pub hosts: Vec<HostView>,
    /// The instances that have not ended, oldest first.
    #[serde(serialize_with = "each")]
    pub instances: Vec<Arc<InstanceView>>,
    /// The supervised actors by name.
    pub actors: Vec<ActorView>,
    /// The numbers.
    pub totals: Totals,
    /// How the reaper is.
    pub reaper: ReaperStatus,
    /// How the pool of droplets is; nothing while nobody knows.
    pub scaling: Option<ScalingStatus>,
}

fn each<S: Serializer>(views: &[Arc<InstanceView>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(views.iter().map(AsRef::as_ref))
}

/// One fact in its place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delta {
    /// One more than the one before.
    pub seq: u64,
    /// When the feed heard of it.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
}
