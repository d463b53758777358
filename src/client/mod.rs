//! The other side of the HTTP interface: what the commands that speak to a server share.
//!
//! Owns requests, answers, failures and what is remembered between two commands. Must not print, and must never show
//! a token or a password in an error.

mod answer;
mod error;
mod http;
mod operator;
pub mod state;

pub use answer::{Answer, Instance};
pub use error::{ClientError, Problem, Retry};
pub use http::{Client, NewInstance, Removed, Server};
pub use operator::{Deed, Hosts, Told};
