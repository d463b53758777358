//! Scenarios that drive the actors through their messages, on simulated ports and paused time.

mod crashing;
mod creating;
mod ending;
mod week;

use getaredis_actors::domain::HostName;

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}
