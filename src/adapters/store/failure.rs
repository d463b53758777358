//! What can go wrong inside a query, and what the port calls it.
//!
//! Owns the lines between "try again at once", "try again later" and "a bug". The words a database says the first two
//! with are its dialect's: see [`Trouble`].

use std::fmt::Display;

use bb8::RunError;
use diesel::result::{DatabaseErrorKind, Error};
use getaredis_actors::ports::StoreError;

/// An error on its way out of a query. Exists because diesel's transactions must be able to add their own.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database said so.
    Database(Error),
    /// The query decided so.
    Store(StoreError),
    /// A locked read came back without the row that is there: its wait was cut short by another transaction.
    CutShort,
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

/// What a message of a database speaks of, where that is neither the data nor the statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Two transactions stood in each other's way and this one was rolled back: it may be repeated at once.
    Collision,
    /// Something that passes, or that an operator can mend without touching the data; in words for people.
    Passing(String),
}

/// A dialect's reading of a message.
pub(super) type ReadTrouble = fn(&str) -> Option<Trouble>;

impl Failure {
    /// Whether the transaction was rolled back because of another one.
    pub(super) fn is_collision(&self, read: ReadTrouble) -> bool {
        match self {
            Self::Store(_) => false,
            Self::CutShort => true,
            Self::Database(Error::RollbackErrorOnCommit { commit_error, .. }) => collided(commit_error, read),
            Self::Database(error) => collided(error, read),
        }
    }

    /// The port's error.
    pub(super) fn into_store_error(self, read: ReadTrouble) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::CutShort => StoreError::Unavailable("too many at once: a row stayed locked".to_owned()),
            Self::Database(error) => classify(error, read),
        }
    }
}

fn collided(error: &Error, read: ReadTrouble) -> bool {
    match error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => true,
        Error::DatabaseError(_, info) => read(info.message()) == Some(Trouble::Collision),
        _ => false,
    }
}

fn classify(error: Error, read: ReadTrouble) -> StoreError {
    use DatabaseErrorKind::{ClosedConnection, ReadOnlyTransaction, SerializationFailure, UnableToSendCommand};
    match error {
        Error::RollbackErrorOnCommit { commit_error, .. } => classify(*commit_error, read),
        Error::BrokenTransactionManager => StoreError::Unavailable(error.to_string()),
        // A database that takes no writes for now: a standby, or one that protects itself.
        Error::DatabaseError(
            ClosedConnection | ReadOnlyTransaction | SerializationFailure | UnableToSendCommand,
            _,
        ) => StoreError::Unavailable(error.to_string()),
        Error::DatabaseError(_, ref info) => match read(info.message()) {
            Some(Trouble::Collision) => StoreError::Unavailable(format!("too many at once: {error}")),
            Some(Trouble::Passing(why)) => StoreError::Unavailable(why),
            None => StoreError::Corrupt(error.to_string()),
        },
        other => StoreError::Corrupt(other.to_string()),
    }
}

/// What a caller is told who waited for too long.
pub(super) const NO_CONNECTION: &str = "no connection became free in time";

/// What the pool says when it has no connection to give.
pub(super) fn no_connection<E: Display>(error: RunError<E>) -> StoreError {
    StoreError::Unavailable(match error {
        RunError::TimedOut => NO_CONNECTION.to_owned(),
        RunError::User(error) => error.to_string(),
    })
}
