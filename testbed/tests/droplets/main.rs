//! Simulated droplets, each with a real init, engine and proxy: how they boot, what their faults look like from
//! outside, and that nothing of them stays.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod booting;
mod ending;
mod host;
mod networks;
mod programs;
