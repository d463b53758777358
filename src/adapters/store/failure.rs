//! What can go wrong inside a query, and what the port calls it.
//!
//! Owns the line between "try again" and "a bug". The words a database says the first with are its dialect's.

use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::pooled_connection::bb8::RunError;
use getaredis_actors::ports::StoreError;

/// An error on its way out of a query. Exists because diesel's transactions must be able to add their own.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database said so.
    Database(Error),
    /// The query decided so.
    Store(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// The port's error. `passing` is the dialect's: given a message that speaks of something that passes, or that an
    /// operator can mend without touching the data (a lock, a full disk), it says so in words for people.
    pub(super) fn into_store_error(self, passing: fn(&str) -> Option<String>) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Database(error) => classify(error, passing),
        }
    }
}

fn classify(error: Error, passing: fn(&str) -> Option<String>) -> StoreError {
    use DatabaseErrorKind::{ClosedConnection, SerializationFailure, UnableToSendCommand};
    match error {
        Error::RollbackErrorOnCommit { commit_error, .. } => classify(*commit_error, passing),
        Error::BrokenTransactionManager => StoreError::Unavailable(error.to_string()),
        Error::DatabaseError(ClosedConnection | SerializationFailure | UnableToSendCommand, _) => {
            StoreError::Unavailable(error.to_string())
        }
        Error::DatabaseError(_, ref info) => match passing(info.message()) {
            Some(why) => StoreError::Unavailable(why),
            None => StoreError::Corrupt(error.to_string()),
        },
        other => StoreError::Corrupt(other.to_string()),
    }
}

/// What the pool says when it has no connection to give.
pub(super) fn no_connection(error: RunError) -> StoreError {
    StoreError::Unavailable(match error {
        RunError::TimedOut => "no connection became free in time".to_owned(),
        RunError::User(error) => error.to_string(),
    })
}
