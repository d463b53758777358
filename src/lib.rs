//! The edge of getaredis: the only crate that knows the outside.

pub mod adapters;
