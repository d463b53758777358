//! What an engine's failure means in the words of the port, and the bound in time of every call.

use std::{error::Error as _, time::Duration};

use bollard::errors::Error;
use getaredis_actors::ports::RuntimeError;

/// Answers of something between us and the engine, which says nothing about the engine itself.
const GATEWAY_TROUBLE: [u16; 3] = [502, 503, 504];

/// Waits for a call to an engine, at most for `limit`. The client's own timeout ends with the response's headers;
/// this one covers the body as well.
///
/// # Errors
/// [`RuntimeError::Unreachable`] after `limit`; else what [`meaning`] makes of the engine's error.
pub(super) async fn bounded<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, RuntimeError> {
    within(limit, call).await?.map_err(|error| meaning(&error))
}

/// The same, for a caller that wants to look at the engine's error first.
pub(super) async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, RuntimeError> {
    tokio::time::timeout(limit, call)
        .await
        .map_err(|_| RuntimeError::Unreachable(format!("no answer within {limit:?}")))
}

/// The status an engine refused with.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine refused only when it said so in its own words. Everything else, an answer that makes no sense included,
/// leaves open whether the effect happened.
pub(super) fn meaning(error: &Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code, .. } if GATEWAY_TROUBLE.contains(status_code) => {
            RuntimeError::Unreachable(words(error))
        }
        Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. } => {
            RuntimeError::Refused(words(error))
        }
        _ => RuntimeError::Unreachable(words(error)),
    }
}

/// The longest piece of an engine's message that is passed on.
const LONGEST_WORDS: usize = 500;

/// What the engine said, or the whole chain of causes, bounded and in one line.
pub(super) fn words(error: &Error) -> String {
    let text = match error {
        Error::DockerResponseServerError { status_code: 401, .. } => {
            "it asks for a password and does not take this host's (status 401)".to_owned()
        }
        Error::DockerResponseServerError { message, status_code } if message.is_empty() => {
            format!("status {status_code}")
        }
        // A page of what stands before the engine; its title is all that there is to it.
        Error::DockerResponseServerError { message, status_code } if message.trim_start().starts_with('<') => {
            let title = message.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
            title.map_or_else(|| format!("status {status_code}"), |(title, _)| title.to_owned())
        }
        Error::DockerResponseServerError { message, .. } => message.clone(),
        _ => {
            let error = beneath_the_client(error);
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                let inner_text = inner.to_string();
                if !text.contains(&inner_text) {
                    text = format!("{text}: {inner_text}");
                }
                cause = inner.source();
            }
            text
        }
    };
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = line.char_indices().nth(LONGEST_WORDS) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// Why there was no answer, without the client's own names for its layers, if it says why.
fn beneath_the_client(error: &Error) -> &(dyn std::error::Error + 'static) {
    match error {
        Error::HyperLegacyError { err } => err.source().unwrap_or(err),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16) -> Error {
        Error::DockerResponseServerError { status_code, message: "no  \n way".into() }
    }

    #[test]
    fn only_the_engines_own_no_is_a_refusal() {
        assert_eq!(meaning(&answer(500)).to_string(), "the container engine refused: no way");
        assert!(matches!(meaning(&answer(409)), RuntimeError::Refused(_)));
        assert!(matches!(meaning(&answer(502)), RuntimeError::Unreachable(_)));
        assert!(matches!(meaning(&Error::RequestTimeoutError), RuntimeError::Unreachable(_)));
    }

    #[test]
    fn of_a_page_only_the_title_is_told() {
        let page = |title: &str| Error::DockerResponseServerError {
            status_code: 403,
            message: format!("<html>\r\n<head>{title}</head><body>much</body></html>"),
        };
        assert_eq!(words(&page("<title>403 Forbidden</title>")), "403 Forbidden");
        assert_eq!(words(&page("")), "status 403");
    }
}
