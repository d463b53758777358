//! What a host is asked, and what it tells its scheduler and the reaper.

use actix::Message;

use crate::{
    domain::{Endpoint, Flavour, HostName, InstanceId},
    ports::{Found, Removal, RuntimeError},
};

/// Start this instance and wait until it is ready. Sent by the scheduler after the row is written. After an error, or
/// no answer, a container may be left: the scheduler sends [`RemoveInstance`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Endpoint, RuntimeError>")]
pub struct StartInstance {
    /// Which.
    pub id: InstanceId,
    /// The recipe.
    pub flavour: Flavour,
    /// Which password it gets: the number of rotations before.
    pub rotation: u32,
}

/// Remove this container and confirm that it is gone. May be repeated.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Removal, RuntimeError>")]
pub struct RemoveInstance {
    /// Which.
    pub id: InstanceId,
}

/// What is on the host now?
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<Found>, RuntimeError>")]
pub struct Inventory;

/// A container stopped, by itself or by hand. Told to the reaper, which checks the row before it believes it. If lost,
/// the next sweep finds it.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct InstanceExited {
    /// Where.
    pub host: HostName,
    /// Which.
    pub id: InstanceId,
}

/// The host's engine answered. Told to the scheduler with every probe.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct HostWell {
    /// Which.
    pub host: HostName,
    /// Why it could start nothing all the same, if so.
    pub unfit: Option<String>,
}

/// The host's engine stays away. Told to the scheduler, repeated with every probe.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct HostUnwell {
    /// Which.
    pub host: HostName,
    /// What it said, if anything.
    pub why: String,
}
