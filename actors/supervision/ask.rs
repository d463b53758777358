//! The one way to put a question to an actor: with a time limit, and an error that says what to do.

use std::time::Duration;

use actix::{MailboxError, Message, Recipient};
use thiserror::Error;

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// It died while it had the question, and is started again. Whether it did what was asked is not known.
    #[error("it failed while it had the request, and is being restarted")]
    Restarting,
    /// It was given up, or its parent dropped it. Nothing was done, unless it died of this very question.
    #[error("it is out of service")]
    Down,
    /// No answer in time. If its turn had not come, it never will: the question is withdrawn. Otherwise it may still be
    /// carried out.
    #[error("it did not answer in time")]
    Timeout,
    /// It has as much to do as it takes on. Nothing was done.
    ///
    /// [`ask`] itself never says so, because an actix mailbox takes everything, however long its queue is: an actor
    /// with a limit counts what it has in flight and refuses in its own answer, and whoever maps that answer uses
    /// this word.
    #[error("it has too much to do")]
    Busy,
}

/// Sends `message` and waits for the answer, `within` at most.
///
/// A question to an actor that is backing off waits in its queue and is answered by the fresh one if that is in time.
///
/// # Errors
/// See [`AskError`]; a refusal of the actor itself is part of `M::Result`.
pub async fn ask<M>(to: &Recipient<M>, message: M, within: Duration) -> Result<M::Result, AskError>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    match to.send(message).timeout(within).await {
        Ok(answer) => Ok(answer),
        Err(MailboxError::Timeout) => Err(AskError::Timeout),
        Err(MailboxError::Closed) if to.connected() => Err(AskError::Restarting),
        Err(MailboxError::Closed) => Err(AskError::Down),
    }
}
