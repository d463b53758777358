//! Every refusal as `application/problem+json` (RFC 9457), and the only map from errors to statuses.
//!
//! 429 is the client's own rate or quota, 503 with `Retry-After` our capacity or a restart, 500 a bug. What a client is
//! told never carries the words of a database, an engine or a path: those stay in [`Problem::cause`], which the access
//! log writes once.

use std::{borrow::Cow, fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use getaredis_actors::domain::{EndReason, Instance, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::harden::harden;

mod map;

pub(super) use map::seconds_until;

/// The most characters of what a client sent that are repeated to it.
const MOST_ECHOED: usize = 300;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $slug:literal $status:ident $title:literal;)*) => {
        /// What kind of problem it is: a slug, a status and a title that belong together.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind { $($(#[$doc])* $name),* }

        impl Kind {
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            fn type_uri(self) -> &'static str {
                match self { $(Self::$name => concat!("/problems/", $slug)),* }
            }

            fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }

            fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }
    };
}

kinds! {
    InvalidRequest "invalid-request" BAD_REQUEST "The request is not valid";
    Unauthorized "unauthorized" UNAUTHORIZED "The token is missing or wrong";
    Forbidden "forbidden" FORBIDDEN "Not allowed";
    NotFound "not-found" NOT_FOUND "There is nothing here";
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED "This method is not allowed here";
    IdempotencyConflict "idempotency-conflict" CONFLICT "The idempotency key was used for something else";
    NotRunning "not-running" CONFLICT "The instance is not running yet";
    HostConflict "host-conflict" CONFLICT "The host cannot take this as it is";
    NoProvider "no-provider" CONFLICT "There is no pool of hosts";
    InstanceEnded "instance-ended" GONE "The instance has ended";
    PayloadTooLarge "payload-too-large" PAYLOAD_TOO_LARGE "The body is too large";
    UnsupportedMediaType "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "The body is not JSON";
    RequestTimeout "request-timeout" REQUEST_TIMEOUT "The request did not arrive in time";
    HeadTooLarge "head-too-large" REQUEST_HEADER_FIELDS_TOO_LARGE "The head of the request is too large";
    RateLimited "rate-limited" TOO_MANY_REQUESTS "Too many requests";
    QuotaExceeded "quota-exceeded" TOO_MANY_REQUESTS "You have as many instances as you may have";
    FleetFull "fleet-full" SERVICE_UNAVAILABLE "No host has room";
    Busy "busy" SERVICE_UNAVAILABLE "The server is busy";
    Restarting "restarting" SERVICE_UNAVAILABLE "A part of the server is restarting";
    StoreUnavailable "store-unavailable" SERVICE_UNAVAILABLE "The database is unavailable";
    HostFailed "host-failed" SERVICE_UNAVAILABLE "The instance could not be started";
    Internal "internal" INTERNAL_SERVER_ERROR "Something broke on our side";
}

/// A refusal. Boxed, because it is the rare half of every result.
#[derive(Debug)]
pub(super) struct Problem(Box<Members>);

/// Its members, in the order in which they are written.
#[derive(Debug, Serialize)]
struct Members {
    #[serde(rename = "type")]
    type_uri: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    #[serde(skip)]
    cause: Option<String>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem of this kind, in words that its reader can act upon.
    pub(super) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::with(kind.type_uri(), kind.status(), kind.title(), detail.into())
    }

    /// What kind of problem it is, in a word.
    pub(super) fn slug(&self) -> &'static str {
        self.0.type_uri.rsplit('/').next().unwrap_or_default()
    }

    fn with(type_uri: &'static str, status: StatusCode, title: &'static str, mut detail: Cow<'static, str>) -> Self {
        if let Some((end, _)) = detail.char_indices().nth(MOST_ECHOED) {
            detail = format!("{}…", &detail[..end]).into();
        }
        Self(Box::new(Members {
            type_uri,
            title,
            status,
            detail,
            field: None,
            allowed: None,
            reason: None,
            ended_at: None,
            limit: None,
            retry_after_s: None,
            cause: None,
        }))
    }

    /// A field of the request, or a header, is not what it should be.
    pub(super) fn invalid(field: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self::new(Kind::InvalidRequest, detail);
        problem.0.field = Some(field.chars().take(MOST_ECHOED).collect());
        problem
    }

    /// There is no such instance.
    pub(super) fn no_such_instance() -> Self {
        Self::new(Kind::NotFound, "There is no instance of this id.")
    }

    /// There is no such host.
    pub(super) fn no_such_host() -> Self {
        Self::new(Kind::NotFound, "There is no host of this name.")
    }

    /// Hosts are neither bought nor given back here.
    pub(super) fn no_provider() -> Self {
        Self::new(
            Kind::NoProvider,
            "No hosts are bought here, so there is no pool to look at or to pause. To have one, set fleet.provider.",
        )
    }

    /// The address answers to other methods only.
    pub(super) fn method_not_allowed(allowed: &'static [&'static str]) -> Self {
        Self::new(Kind::MethodNotAllowed, "This address does not know this method.").allowed(json!(allowed))
    }

    /// The body has more bytes than are read.
    pub(super) fn payload_too_large(limit: usize) -> Self {
        Self::new(Kind::PayloadTooLarge, format!("A body may have {limit} bytes at most."))
    }

    /// It has ended, or its end has begun and cannot be taken back.
    pub(super) fn ended(instance: &Instance) -> Self {
        let reason = instance.state.reason();
        let detail = match reason {
            // Nobody knows what its machine does. Should that come back, what is left there is removed.
            Some(EndReason::Lost) => {
                "This instance has ended (lost). Its machine is gone, or was away for so long that it was given up."
                    .to_owned()
            }
            Some(reason) => format!("This instance has ended ({reason}). Its data is gone."),
            None => "This instance has ended. Its data is gone.".to_owned(),
        };
        let mut problem = Self::new(Kind::InstanceEnded, detail);
        problem.0.reason = reason.map(|reason| reason.to_string());
        problem.0.ended_at = instance.ended_at;
        problem
    }

    /// A bug.
    pub(super) fn internal(cause: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, "This is a fault of the server, not yours.").because(cause)
    }

    /// What the libraries below us refuse by themselves, such as a malformed websocket handshake.
    pub(super) fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::new(Kind::InvalidRequest, "The request could not be understood."),
            StatusCode::NOT_FOUND => Self::new(Kind::NotFound, "There is no such address here."),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(Kind::MethodNotAllowed, "This address does not know this method.")
            }
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(Kind::PayloadTooLarge, "The body is too large."),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(Kind::UnsupportedMediaType, "The body must be JSON."),
            StatusCode::INTERNAL_SERVER_ERROR => Self::internal("an error of the web framework"),
            // RFC 9457 section 4.2.1: a problem that says no more than its status does.
            other => {
                let title = other.canonical_reason().unwrap_or("Refused");
                Self::with("about:blank", other, title, format!("{title}.").into())
            }
        }
    }

    /// What the HTTP/1 codec refuses before there is a request; `status` is its own.
    pub(super) fn of_codec(status: u16) -> Self {
        match StatusCode::from_u16(status) {
            Ok(StatusCode::BAD_REQUEST) => Self::new(
                Kind::InvalidRequest,
                "This is not valid HTTP/1.1: the request line, a header or the framing of the body is malformed.",
            ),
            Ok(StatusCode::REQUEST_TIMEOUT) => {
                Self::new(Kind::RequestTimeout, "The head of the request took too long to arrive.")
            }
            Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
                Self::new(Kind::HeadTooLarge, "Request line and headers are larger than this server reads.")
            }
            other => Self::from_status(other.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }

    /// What stands behind it, for the log only.
    #[must_use]
    pub(super) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// When another try makes sense, in whole seconds and never at once.
    #[must_use]
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.0.retry_after_s = Some(whole.max(1));
        self
    }

    /// What would have been right.
    #[must_use]
    fn allowed(mut self, allowed: Value) -> Self {
        self.0.allowed = Some(allowed);
        self
    }

    #[must_use]
    fn reason(mut self, reason: impl fmt::Display) -> Self {
        self.0.reason = Some(reason.to_string());
        self
    }

    #[must_use]
    fn limit(mut self, limit: u32) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// As it is written in the answer.
    #[cfg(test)]
    pub(super) fn to_json(&self) -> Value {
        json!(self.0)
    }

    /// What stands behind it, for the log only.
    pub(super) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.0.type_uri)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.status);
        if let Some(seconds) = self.0.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"getaredis\""));
        }
        if self.0.status == StatusCode::METHOD_NOT_ALLOWED
            && let Some(Value::Array(methods)) = &self.0.allowed
        {
            let methods: Vec<_> = methods.iter().filter_map(Value::as_str).collect();
            response.insert_header((header::ALLOW, methods.join(", ")));
        }
        let body = serde_json::to_string(&self.0).unwrap_or_default();
        let mut response = response.content_type("application/problem+json").body(body);
        harden(response.headers_mut());
        response
    }
}
