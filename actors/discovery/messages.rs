//! What discovery tells and is asked.

use std::collections::BTreeMap;

use actix::Message;

use crate::{
    domain::HostName,
    ports::{HostRecord, HostVitals},
};

/// A host has announced itself. Told to the scheduler; repeated for every known host when discovery restarts, so it
/// must be harmless for one that is known.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct HostJoined(pub HostRecord);

/// A known host announces something else than before: another address or another number of slots.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct HostChanged(pub HostRecord);

/// A host's announcement ran out, while the directory itself was well. What runs on it may still run.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct HostLost {
    /// Which.
    pub name: HostName,
}

/// How a host fares, as it says itself. Told to the scheduler when somebody who looks would see a difference, and for one
/// host not again within seconds; if it is lost, the next difference puts it right.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct VitalsSeen {
    /// Which.
    pub name: HostName,
    /// How it fares.
    pub vitals: HostVitals,
}

/// What does the directory say? Sent by the scheduler when it starts and by `/readyz`.
#[derive(Debug, Clone, Message)]
#[rtype(result = "DirectoryView")]
pub struct DescribeDirectory;

/// What discovery knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryView {
    /// The hosts that are announced, in their declared order.
    pub hosts: Vec<HostRecord>,
    /// Whether the directory was read at least once.
    pub read_once: bool,
    /// Why the last reading failed, if it did.
    pub unreachable: Option<String>,
    /// How they fare, where they say so.
    pub vitals: BTreeMap<HostName, HostVitals>,
    /// Entries that are left out, wholly or in part, with the reason.
    pub malformed: Vec<(String, String)>,
}
