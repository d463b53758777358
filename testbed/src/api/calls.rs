//! What was asked of the API, in order, for tests to read.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// One request and how it ended. Holds neither headers nor bodies, so no secret either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The status that was answered; none when the answer was dropped.
    pub status: Option<u16>,
}

/// The calls so far.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Vec<Call>>);

impl Calls {
    pub(super) fn add(&self, call: Call) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    pub(super) fn all(&self) -> Vec<Call> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
