//! How a command can fail, and the exit codes that a script can rely on.

use std::{io, process::ExitCode};

use getaredis_actors::ports::{ProviderError, StoreError};

use crate::{
    client::{ClientError, state::StateError},
    config::Problems,
    images::ImageError,
};

/// The end of `--help`.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something unexpected
  2  the arguments, the configuration or the request are not valid
  3  refused for now: a quota or a rate (HTTP 429)
  4  no capacity, or the server cannot do it now (HTTP 503)
  5  there is no such instance or image, or it has ended (HTTP 404, 410)
  6  the server cannot be reached, or not the provider
  7  not allowed: no token or a wrong one (HTTP 401, 403)";

/// What [`EXIT_CODES`] lists. Changing a number breaks scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Unexpected = 1,
    Invalid = 2,
    Refused = 3,
    Unavailable = 4,
    Gone = 5,
    Unreachable = 6,
    NotAllowed = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It was told something that cannot be done.
    #[error("{0}")]
    Usage(String),
    /// It was not given the token that this takes.
    #[error("{0}")]
    NoToken(String),
    /// An instance that nobody here knows.
    #[error("{0}")]
    Unknown(String),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The server, or the way there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The provider's images, or the way there.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What is remembered here.
    #[error(transparent)]
    State(#[from] StateError),
    /// Writing the result, or the machine itself.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Anything else.
    #[error(transparent)]
    Unexpected(#[from] anyhow::Error),
    /// Everything was said already.
    #[error("")]
    Said(Exit),
}

impl Failure {
    /// What to tell the person, if anything.
    pub(super) fn words(&self) -> Option<String> {
        match self {
            Self::Said(_) => None,
            // Whoever read our output has seen enough.
            Self::Io(e) if e.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Unexpected(e) => Some(format!("{e:#}")),
            other => Some(other.to_string()),
        }
    }

    /// What to tell the script.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Config(_) => Exit::Invalid,
            Self::NoToken(_) => Exit::NotAllowed,
            Self::Unknown(_) => Exit::Gone,
            Self::Client(ClientError::Unreachable { .. }) => Exit::Unreachable,
            Self::Client(error) => match error.status() {
                Some(400 | 409 | 413 | 415 | 422) => Exit::Invalid,
                Some(401 | 403) => Exit::NotAllowed,
                Some(404 | 410) => Exit::Gone,
                Some(429) => Exit::Refused,
                Some(502..=504) => Exit::Unavailable,
                _ => Exit::Unexpected,
            },
            Self::Image(error) => of_image(error),
            Self::State(_) | Self::Io(_) | Self::Unexpected(_) => Exit::Unexpected,
            Self::Said(exit) => *exit,
        }
    }
}

fn of_image(error: &ImageError) -> Exit {
    match error {
        ImageError::Provider(error) => match error {
            ProviderError::Unknown(_) => Exit::Unreachable,
            ProviderError::RateLimited(_) => Exit::Refused,
            ProviderError::Unauthorized(_) => Exit::NotAllowed,
            ProviderError::LimitReached(_) | ProviderError::SoldOut(_) | ProviderError::NotYet(_) => Exit::Unavailable,
            ProviderError::Refused(_) => Exit::Invalid,
        },
        ImageError::NoRoom { .. } | ImageError::Database(StoreError::Unavailable(_)) => Exit::Unavailable,
        ImageError::Invalid(_) => Exit::Invalid,
        ImageError::NoSuchImage(_) => Exit::Gone,
        ImageError::Database(_)
        | ImageError::Interrupted
        | ImageError::TooLate { .. }
        | ImageError::BuilderGone
        | ImageError::NotMade => Exit::Unexpected,
    }
}
