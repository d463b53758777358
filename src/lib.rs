//! The edge of getaredis: the only crate that knows the outside.

pub mod adapters;
pub mod cli;
pub mod client;
pub mod config;
pub mod host_setup;
pub mod images;
mod loopback;
pub mod shutdown;
pub mod telemetry;
pub mod web;
pub mod wiring;
