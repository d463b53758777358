//! Scenarios that drive the actors through their messages, on simulated ports and paused time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod autoscaler;
mod crashing;
mod creating;
mod discovery;
mod ending;
mod feed;
mod harness;
mod keeping;
mod neighbours;
mod ordering;
mod orphans;
mod promises;
mod rate_limit;
mod silence;
mod simulating;
mod support;
mod waiting;
mod webhooks;
mod week;

use getaredis_actors::domain::HostName;

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}
