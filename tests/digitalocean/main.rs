//! The provider for DigitalOcean against an imitation of its API: every promise of the port, and what becomes of it when
//! the API is full, slow, wrong or silent.

mod api;
mod faults;
mod harness;
mod orders;
