//! Why a request is refused, in the shape that DigitalOcean gives its errors.

use serde_json::{Value, json};
use uuid::Uuid;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Refusal {
    pub(in crate::api) status: u16,
    message: String,
}

impl Refusal {
    pub(in crate::api) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(super) fn not_found() -> Self {
        Self::of(404)
    }

    pub(super) fn bad_request(message: &str) -> Self {
        Self::new(400, message)
    }

    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, message)
    }

    /// With the message that is usual for the status.
    pub(in crate::api) fn of(status: u16) -> Self {
        let message = match status {
            401 => "Unable to authenticate you",
            404 => "The resource you were accessing could not be found.",
            429 => "API Rate limit exceeded.",
            503 => "Service Unavailable",
            _ => "Server was unable to give you a response.",
        };
        Self::new(status, message)
    }

    pub(in crate::api) fn body(&self) -> Value {
        let id = match self.status {
            400 => "bad_request",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            422 => "unprocessable_entity",
            429 => "too_many_requests",
            503 => "service_unavailable",
            _ => "server_error",
        };
        json!({ "id": id, "message": self.message, "request_id": Uuid::new_v4() })
    }
}
