//! x

pub mod adapters;
