//! The brain of getaredis: supervised actors that place, watch, end and count instances.
//!
//! Owns every decision and every piece of running state. Must not know HTTP, SQL, Docker, Redis or a cloud's API:
//! it reaches outside through the traits in [`ports`] only, and everything in here runs on simulated ones as well.

pub mod domain;
mod patience;
pub mod ports;

pub mod autoscaler;
pub mod brain;
pub mod discovery;
pub mod feed;
pub mod host;
pub mod rate_limit;
pub mod reaper;
pub mod scheduler;
pub mod settings;
pub mod sim;
pub mod supervision;
pub mod webhooks;
