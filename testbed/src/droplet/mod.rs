//! Simulated droplets: machines with a disk, two networks and a real init, in namespaces of this machine.
//!
//! A [`Cloud`] has process, mount and network namespaces of its own, with what a provider offers inside: a public and a
//! private network, the metadata service, name servers, a registry, an archive of packages and the directory's Redis. A
//! [`Droplet`] in it has namespaces and a disk of its own, and boots systemd. Nothing can leave the cloud: it has no way
//! out. Nothing stays of it either: whoever holds it may drop it, panic or be killed, and a script outside of its namespaces ends and
//! removes all that carries its mark ([`leaks`] looks whether that is so).
//!
//! Everything here blocks, and belongs on a thread that may: a test's own, or `spawn_blocking`.

mod archive;
mod cable;
mod cloud;
mod dns;
mod entering;
mod faults;
mod handle;
mod images;
pub mod leaks;
mod machine;
mod metadata;
mod network;
mod registry;
mod run;
mod services;
mod slots;

use std::{
    io,
    time::{Duration, Instant},
};

pub use cloud::{Cloud, Spec, why_impossible};
pub use entering::command_in;
pub use faults::Side;
pub use handle::{Droplet, Tier};
pub use images::is_built;
pub use network::Network;

/// Why the testbed could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine or this user cannot have simulated droplets at all; the reason is a sentence.
    #[error("there can be no simulated droplets here: {0}")]
    Impossible(String),
    /// A program failed, or did not start.
    #[error("{program}: {said}")]
    Failed {
        /// The program's name.
        program: String,
        /// Its last words, and how it ended.
        said: String,
    },
    /// No cloud can be entered, or it is not said which; the reason is part of a sentence.
    #[error("there is no cloud to enter: {0}")]
    NoCloud(String),
    /// There is no image of that name.
    #[error("there is no image {0}")]
    NoImage(String),
    /// The droplet is off, or gone.
    #[error("droplet {0} is not running")]
    NotRunning(String),
    /// A condition did not come true in time.
    #[error("waited {waited:?} in vain until {what}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
    },
    /// The droplet's user-data ran and failed; the end of its console follows.
    #[error("the user-data failed: {0}")]
    UserData(String),
    /// The operating system refused something.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// Something of a cloud that has ended is still there.
    #[error("left behind: {0:?}")]
    Leaked(Vec<String>),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io(what, error)
    }
}

/// Waits until the condition is true and says how long that took.
///
/// # Errors
/// [`Error::Deadline`] when it is still false at the deadline.
pub fn wait_for(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) -> Result<Duration, Error> {
    let start = Instant::now();
    loop {
        if condition() {
            return Ok(start.elapsed());
        }
        if start.elapsed() > deadline {
            return Err(Error::Deadline { what: what.to_owned(), waited: start.elapsed() });
        }
        pause(Duration::from_millis(20));
    }
}

/// Lets time pass on this thread: what is waited for happens in other machines, which tell nobody.
#[allow(clippy::disallowed_methods, reason = "no actor runs on these threads")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
