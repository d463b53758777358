//! What implements the ports of the brain against the outside. Must not decide anything.

pub mod store;
