//! What implements the brain's ports: one module for each thing outside.
//!
//! Owns the translation between a port and the outside, with every failure as the port's own error. Must not decide
//! anything that the brain decides, and nothing but `wiring` may name what is in here.

mod engine;
mod readiness;

pub mod clock;
#[cfg(feature = "crash-points")]
pub mod crash_points;
pub mod digitalocean;
pub mod directory;
pub mod docker;
pub mod journal;
pub mod master_key;
pub mod process;
pub mod store;
pub mod webhook;
