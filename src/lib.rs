//! The edge of getaredis: everything that knows the outside.

pub mod web;
