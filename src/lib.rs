//! The edge of getaredis: the only crate that knows the outside.

pub mod adapters;
pub mod config;
pub mod telemetry;
