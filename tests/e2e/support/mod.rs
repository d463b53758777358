//! What every end-to-end test needs: the real server in a home of its own, and clients of everything it speaks.
//!
//! Owns the tidying up: whatever a test starts is ended and removed with the value that stands for it, also when the
//! test fails. Knows the product by its outside only: HTTP, websocket, command line, Redis and Docker. Mounted by the
//! tests of faults too.

// Neither of the two uses all of it.
#![allow(dead_code)]

pub mod agreement;
pub mod api;
pub mod browser;
pub mod cli;
pub mod directory;
pub mod engine;
pub mod feed;
pub mod looks;
pub mod ports;
pub mod processes;
pub mod proxy;
pub mod receiver;
pub mod secrets;
pub mod server;
pub mod tenant;
pub mod waiting;

pub(crate) use ports::free_port;
pub use waiting::{SOON, eventually};

/// `Ok` when `found` is what was expected, for [`eventually`].
pub fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
}

/// What script/test says through the environment.
pub fn given(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!(
            "{name} is not set: run script/test, which starts what the end-to-end tests need and says where it is"
        ),
    }
}

/// A text that no other test has.
pub fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}
