//! The provider for DigitalOcean against an imitation of its API: every promise of the port, and what becomes of it when
//! the API is full, slow, wrong or silent.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
mod baking;
mod beside;
mod booking;
mod faults;
mod fleet;
mod harness;
mod image_command;
mod orders;
#[path = "../e2e/support/ports.rs"]
mod ports;
mod redis_server;
mod serve;
mod telling;
