//! The pure part of the brain: what an instance, a host, a lease and a quota are, and every decision about them.
//!
//! Owns the words of the project and their rules. Must not be async, read a clock, touch a port or know actix:
//! `now` is always an argument, and the same arguments give the same answer.

pub mod creator;
pub mod flavour;
pub mod host;
pub mod ids;
pub mod instance;
pub mod lease;
pub mod notice;
pub mod placement;
pub mod quota;
pub mod scaling;
pub mod secret;

pub use creator::Creator;
pub use flavour::Flavour;
pub use host::{Cordon, Health, HostEvent, HostState};
pub use ids::{DeploymentId, HostName, IdempotencyKey, InstanceId, InvalidName, Label, ServerId, SinkName, TokenName};
pub use instance::{EndReason, Endpoint, IllegalTransition, Instance, InstanceEvent, InstanceState};
pub use lease::{Lease, LeasePolicy, LeaseRefused};
pub use notice::{Notice, NoticeKind};
pub use placement::{Candidate, NoPlace, Standstill, Strategy, place};
pub(crate) use quota::counted;
pub use quota::{QuotaExceeded, Quotas, Usage};
pub use secret::MasterKey;

/// A point in time, always UTC. The store keeps it in whole milliseconds.
pub use jiff::Timestamp;
