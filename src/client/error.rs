//! Why a server did not do it, in words for people.

use std::{fmt, time::Duration};

use getaredis_actors::domain::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// How long to wait before another try when the server does not say.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer came back. The request may or may not have had its effect.
    #[error("{server} does not answer: {why}")]
    Unreachable {
        /// Who was asked.
        server: String,
        /// What went wrong, down to the system's own words.
        why: String,
    },
    /// The server answered that it will not.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The answer is not one that a getaredis server gives.
    #[error("{server} does not answer as a getaredis server does: {why}")]
    Nonsense {
        /// Who was asked.
        server: String,
        /// What came instead.
        why: String,
    },
}

/// Whether another try makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would end the same.
    Never,
    /// The answer was lost on the way.
    Lost,
    /// The server expects to be able to do it after this long.
    After(Duration),
}

impl ClientError {
    /// Whether another try makes sense.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } => Retry::Lost,
            Self::Refused(problem) if matches!(problem.status, 429 | 502..=504) => {
                Retry::After(problem.retry_after_s.map_or(DEFAULT_PAUSE, Duration::from_secs))
            }
            Self::Refused(_) | Self::Nonsense { .. } => Retry::Never,
        }
    }

    /// The status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            _ => None,
        }
    }
}

/// An `application/problem+json` answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What kind of problem it is.
    #[serde(default)]
    pub title: String,
    /// What is wrong this time.
    #[serde(default)]
    pub detail: String,
    /// When another try makes sense.
    pub retry_after_s: Option<u64>,
    /// The member of the request that is wrong.
    pub field: Option<String>,
    /// What would have been allowed there.
    pub allowed: Option<Value>,
    /// When the instance ended.
    pub ended_at: Option<Timestamp>,
    /// Why there is no capacity, or why the instance ended.
    pub reason: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.detail.is_empty() { &self.title } else { &self.detail };
        write!(f, "{}", what.trim_end_matches('.'))?;
        let unsaid = |text: &&String| !what.contains(text.as_str());
        if let Some(field) = self.field.as_ref().filter(unsaid) {
            write!(f, " (in {field})")?;
        }
        if let Some(reason) = self.reason.as_ref().filter(unsaid) {
            write!(f, " ({reason})")?;
        }
        if let Some(allowed) = self.allowed.as_ref().and_then(in_words).filter(|words| !what.contains(words.as_str())) {
            write!(f, "; allowed: {allowed}")?;
        }
        if let Some(ended_at) = self.ended_at {
            write!(f, "; it ended at {ended_at}")?;
        }
        if let Some(seconds) = self.retry_after_s {
            write!(f, "; try again in {}", humantime::format_duration(Duration::from_secs(seconds)))?;
        }
        Ok(())
    }
}

/// What would have been allowed, as a person says it: a list, or bounds. Times stand beside the seconds until then, which
/// say the same in a shorter way. Nothing where a newer server says it in a way that is not known here.
fn in_words(allowed: &Value) -> Option<String> {
    let item = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match allowed {
        Value::Null => None,
        Value::Array(items) => Some(items.iter().map(item).collect::<Vec<_>>().join(", ")),
        Value::Object(bounds) => {
            let span = |name| bounds.get(name)?.as_u64().map(Duration::from_secs).map(humantime::format_duration);
            match (span("min_s"), span("max_s")) {
                (Some(least), Some(most)) => Some(format!("{least} to {most}")),
                (Some(least), None) => Some(format!("at least {least}")),
                (None, Some(most)) => Some(format!("at most {most}")),
                (None, None) => None,
            }
        }
        single => Some(item(single)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_a_sentence_with_when_to_try_again() {
        let problem = Problem {
            status: 503,
            title: "Fleet full".into(),
            detail: "every host is full.".into(),
            reason: Some("2 hosts full".into()),
            retry_after_s: Some(90),
            ..Problem::default()
        };
        assert_eq!(problem.to_string(), "every host is full (2 hosts full); try again in 1m 30s");
    }

    #[test]
    fn what_is_allowed_is_said_in_words() {
        use serde_json::json;
        for (allowed, said) in [
            (json!(["redis", "valkey"]), "no; allowed: redis, valkey"),
            (json!("redis"), "no; allowed: redis"),
            (json!({"min_s": 60, "max_s": 86_400}), "no; allowed: 1m to 1day"),
            (json!({"max_s": 5400, "max_expires_at": "2026-03-01T12:00:00Z"}), "no; allowed: at most 1h 30m"),
            (json!({"min_s": 7, "min_expires_at": "2026-03-01T12:00:00Z"}), "no; allowed: at least 7s"),
            (json!(7), "no; allowed: 7"),
            (json!({"unheard": "of"}), "no"),
            (json!(null), "no"),
        ] {
            let problem = Problem { detail: "no.".into(), allowed: Some(allowed), ..Problem::default() };
            assert_eq!(problem.to_string(), said);
        }
        let said_already =
            Problem { detail: "There is: redis.".into(), allowed: Some(json!(["redis"])), ..Problem::default() };
        assert_eq!(said_already.to_string(), "There is: redis");
    }

    #[test]
    fn what_the_detail_says_already_is_not_said_twice() {
        let problem = Problem {
            status: 400,
            detail: "The ttl must be from 1m to 1day.".into(),
            field: Some("ttl".into()),
            allowed: Some(serde_json::json!({"min_s": 60, "max_s": 86_400})),
            ..Problem::default()
        };
        assert_eq!(problem.to_string(), "The ttl must be from 1m to 1day");
    }
}
