//! Why DigitalOcean did not do it, from status, headers and message to what the brain understands.

use std::{error::Error, time::Duration};

use getaredis_actors::{domain::Timestamp, ports::ProviderError};
use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;

/// How long to rest when a refusal for too many requests does not say.
const DEFAULT_REST: Duration = Duration::from_secs(60);

/// The longest that a rest is believed: the limits are per hour.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// Characters of a message that are worth repeating.
const LONGEST_MESSAGE: usize = 300;

/// Why the API did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No answer, or none that is clear. The effect may or may not have happened.
    #[error("DigitalOcean does not answer: {0}")]
    Unknown(String),
    /// Too many requests; the next one is served after this long.
    #[error("DigitalOcean wants {0:?} of rest")]
    RateLimited(Duration),
    /// The token is not accepted, or not for this.
    #[error("DigitalOcean does not accept the token (digitalocean.token, digitalocean.token_file): {0}")]
    Unauthorized(String),
    /// There is no such thing.
    #[error("DigitalOcean has no such thing")]
    NotFound,
    /// It will not do it.
    #[error("DigitalOcean refused: {message}")]
    Refused {
        /// The status of the refusal.
        status: u16,
        /// What it said.
        message: String,
    },
}

/// What a refused order means for the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not here; perhaps elsewhere.
    Elsewhere,
    /// The account has as many as it may have.
    Limit,
    /// Nowhere.
    Never,
}

impl ApiError {
    /// From a refusal and its body.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        struct Said {
            #[serde(default)]
            message: String,
        }
        // A proxy in front answers with a page of its own.
        let said: Said = serde_json::from_slice(body).unwrap_or_default();
        let message = if said.message.is_empty() { status.to_string() } else { tidy(&said.message) };
        match status.as_u16() {
            401 | 403 => Self::Unauthorized(message),
            404 => Self::NotFound,
            429 => Self::RateLimited(rest(headers, Timestamp::now())),
            408 | 500.. => Self::Unknown(message),
            status => Self::Refused { status, message },
        }
    }

    /// From a request that got no answer, or none that can be read.
    pub(super) fn lost(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Unknown("no answer in time".to_owned());
        }
        // The innermost cause is the one that says something, such as "connection refused".
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Self::Unknown(cause.to_string())
    }

    /// What it means for an order of a droplet.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let Self::Refused { status: 422, message } = self else { return None };
        let message = message.to_lowercase();
        let gone =
            ["not available", "unavailable", "sold out", "out of capacity", "insufficient capacity", "restricted"];
        let place = ["region", "size", "datacenter"];
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        Some(match () {
            () if message.contains("droplet limit") => Refusal::Limit,
            () if says(&gone) && says(&place) => Refusal::Elsewhere,
            () => Refusal::Never,
        })
    }
}

impl From<ApiError> for ProviderError {
    fn from(error: ApiError) -> Self {
        let refusal = error.refusal();
        let words = error.to_string();
        match (error, refusal) {
            (ApiError::Unknown(_), _) => Self::Unknown(words),
            (ApiError::RateLimited(rest), _) => Self::RateLimited(rest),
            (ApiError::Unauthorized(_), _) => Self::Unauthorized(words),
            (ApiError::Refused { message, .. }, Some(Refusal::Limit)) => Self::LimitReached(message),
            (ApiError::Refused { message, .. }, Some(Refusal::Elsewhere)) => Self::SoldOut(message),
            (ApiError::NotFound | ApiError::Refused { .. }, _) => Self::Refused(words),
        }
    }
}

/// How long a refusal for too many requests wants us to rest: `retry-after` in seconds, else until `ratelimit-reset`,
/// the time at which the oldest counted request is forgotten.
fn rest(headers: &HeaderMap, now: Timestamp) -> Duration {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let seconds = number(RETRY_AFTER.as_str()).or_else(|| Some(number("ratelimit-reset")? - now.as_second()));
    let rest = seconds.map_or(DEFAULT_REST, |seconds| Duration::from_secs(seconds.max(1).unsigned_abs()));
    rest.min(LONGEST_REST)
}

/// A message of somebody else's, in one line of bounded length.
fn tidy(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> ApiError {
        let body = serde_json::json!({ "id": "unprocessable_entity", "message": message });
        ApiError::of(StatusCode::UNPROCESSABLE_ENTITY, &HeaderMap::new(), body.to_string().as_bytes())
    }

    #[test]
    fn what_a_refused_order_means_is_read_from_its_message() {
        for (message, meaning) in [
            ("creating this/these droplet(s) will exceed your droplet limit", Refusal::Limit),
            ("Region is not available", Refusal::Elsewhere),
            ("Size is not available in this region.", Refusal::Elsewhere),
            ("The selected size is currently unavailable in nyc1", Refusal::Elsewhere),
            ("You specified an invalid size for Droplet creation.", Refusal::Never),
            ("Name can't be blank", Refusal::Never),
        ] {
            assert_eq!(refused(message).refusal(), Some(meaning), "{message}");
        }
    }

    #[test]
    fn the_rest_is_what_retry_after_says_else_what_is_left_until_the_reset() {
        let now = Timestamp::constant(1_800_000_000, 0);
        for (headers, expected) in [
            (&[("retry-after", "17"), ("ratelimit-reset", "1800000500")][..], 17),
            (&[("ratelimit-reset", "1800000500")], 500),
            (&[("ratelimit-reset", "1700000000")], 1),
            (&[("ratelimit-reset", "9999999999999")], 3600),
            (&[("retry-after", "soon")], 60),
            (&[], 60),
        ] {
            let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            assert_eq!(rest(&HeaderMap::from_iter(pairs), now), Duration::from_secs(expected), "{headers:?}");
        }
    }

    #[test]
    fn only_a_clear_answer_is_one_without_effect() {
        let of = |status: u16| ApiError::of(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), b"<html>");
        for status in [500, 502, 503, 504, 520, 408] {
            assert!(!ProviderError::from(of(status)).without_effect(), "{status}");
        }
        for status in [400, 401, 403, 404, 409, 422, 429] {
            assert!(ProviderError::from(of(status)).without_effect(), "{status}");
        }
    }

    #[test]
    fn a_message_is_repeated_in_one_bounded_line() {
        let ApiError::Refused { message, .. } = refused(&format!("two\nlines{}", "x".repeat(1000))) else { panic!() };
        assert!(message.starts_with("two lines") && message.len() == LONGEST_MESSAGE);
    }
}
