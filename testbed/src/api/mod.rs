//! DigitalOcean's API on loopback, over HTTP or HTTPS.
//!
//! Owns one account with its droplets, images, tags, firewalls, networks and keys; limits and faults as the real one has
//! them, and more on demand. [`world`] is the account as a plain value, [`machines`] is what stands behind a droplet,
//! [`faults`] is what goes wrong, and [`server`] puts them behind a socket. Where the real one and its published
//! description differ, the description is followed.
//!
//! Must not: listen on anything but loopback, or write a token anywhere; only what stands behind it knows what a droplet does.

pub mod calls;
pub mod droplets;
pub mod faults;
mod gate;
pub mod heartbeats;
pub mod machines;
mod rates;
pub mod server;
pub mod world;

pub use self::{
    calls::Call,
    faults::{Fault, When},
    machines::{Addresses, Boot, Machines, Nothing, Power},
    rates::RateLimits,
    server::{Api, Scheme},
    world::{DropletView, Settings},
};
