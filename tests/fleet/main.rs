//! The fleet end to end: the real server buys its hosts at the imitated API, simulated droplets boot its user-data, and
//! tenants reach their Redis on them.
//!
//! Each test has a cloud of its own; where there can be none, it is skipped and says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod baking;
mod booting;
mod bringing;
mod directory;
mod growing;
mod interleaving;
mod isolating;
mod losing;
mod networks;
mod operator;
mod outages;
mod programs;
mod resuming;
mod scene;
mod serving;
mod world;

// What the end-to-end tests see a server with; not all of it is needed here.
#[allow(dead_code)]
#[path = "../e2e/support/api.rs"]
mod api;
#[allow(dead_code)]
#[path = "../e2e/support/feed.rs"]
mod feed;
#[allow(dead_code)]
#[path = "../e2e/support/secrets.rs"]
mod secrets;
#[allow(dead_code)]
#[path = "../e2e/support/tenant.rs"]
mod tenant;
#[path = "../e2e/support/waiting.rs"]
mod waiting;

use waiting::{SOON, eventually};
