//! The world outside, simulated: every port in memory, with faults on demand.
//!
//! Owns the twins of the adapters, used by tests and by `getaredis simulate`. They keep the ports' contracts to the
//! letter, survive a "crash" of the actors (they are shared, the actors are not), and have no randomness of their own:
//! the same calls in the same order give the same answers.

pub mod clock;
pub mod cloud;
mod defaults;
pub mod directory;
pub mod faults;
pub mod harness;
pub mod journal;
pub mod runtime;
pub mod samples;
pub mod simulation;
pub mod store;
pub mod store_conformance;
pub mod webhooks;
