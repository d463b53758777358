//! What the tests of getaredis run against instead of a cloud.
//!
//! Owns imitations that are faithful enough for other people's clients: DigitalOcean's [API](api) on loopback, what can
//! stand [behind it](api::machines), and [machines](droplet) that boot a real init on this machine. Must not be used by
//! anything but tests and people who try things out, and reaches no network outside this machine.

pub mod api;
pub mod droplet;
