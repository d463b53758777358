//! A simulated cloud provider, for tests only.
//!
//! `droplet` owns machines that boot a real init on this machine. Nothing here may be used by the program itself, and
//! nothing here reaches a network outside this machine.

pub mod droplet;
