//! The HTTP contract, route by route, against actors that answer what the test tells them to.

#![allow(clippy::unwrap_used)]

mod capacity_and_health;
mod create;
mod every_answer;
mod feed;
mod kit;
mod manage;
mod metrics;
mod operator;
mod pages;
mod pool;
mod problems;
mod refusals;
mod sockets;
mod tokens;
