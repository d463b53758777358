//! The edge of getaredis: the only crate that knows the world outside the brain.

pub mod adapters;
