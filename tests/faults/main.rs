//! What storage survives: real server processes on real databases and a real Docker Engine, and a fault in between.
//!
//! After each fault the same is asked: does everything agree? (`tests/e2e/support/agreement.rs`.) What the tests need is
//! started by script/test and named in the environment; without it they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, unreachable_pub)]
// The databases bring the processes with them, because the crate's own tests mount them without the other support.
#![allow(clippy::duplicate_mod)]

#[path = "../databases/mod.rs"]
mod databases;
#[path = "../e2e/support/mod.rs"]
mod support;

mod backend;
mod clock;
mod containers;
mod database;
mod disk;
mod liar;
mod neighbours;

#[cfg(feature = "crash-points")]
mod buying;
#[cfg(feature = "crash-points")]
mod crashing;
