//! Simulated ports: the outside world in memory, deterministic, on tokio's time, with faults on demand.
//!
//! Owns what the real outside would: containers, machines, announcements. All of it is shared by its clones and outlives
//! the actors, so that a crash of all actors can be simulated by dropping them. Must not decide anything.

pub mod clock;
pub mod cloud;
pub mod directory;
pub mod faults;
pub mod runtime;
