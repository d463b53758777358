//! getaredis as its users meet it: the real binary, real containers, a real browser.
//!
//! One binary, so that it is linked once. Each test has a server, a deployment and a home of its own and can run beside
//! any other. What they need is started by script/test and named in the environment; without it they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod support;

mod browsing;
mod console;
mod crashing;
mod creating;
mod crowds;
mod ending;
mod fleet;
mod outage;
mod proxies;
mod refusals;
mod shell;
mod starting;
mod tokens;
mod unisolated;
mod watching;
mod webhooks;
