//! What the tests of getaredis run against instead of a cloud.
//!
//! Owns imitations that are faithful enough for other people's clients: DigitalOcean's [API](api) on loopback, and what
//! can stand [behind it](api::machines). Must not be used by anything but tests and people who try things out.

pub mod api;
