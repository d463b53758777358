//! Putting a question to an actor with a time limit.

use std::time::Duration;

use actix::{Message, Recipient};
use getaredis_actors::supervision::AskError;

/// Sends `message` and waits for the answer, `within` at most.
pub(super) async fn ask<M>(to: &Recipient<M>, message: M, within: Duration) -> Result<M::Result, AskError>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    // A clone, because actix lets every address put one message into a full mailbox, parks a second one and forgets
    // to wake it; and not actix's own `timeout`, which such a parked message ignores.
    let request = to.clone().send(message);
    match tokio::time::timeout(within, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) if to.connected() => Err(AskError::Restarting),
        Ok(Err(_)) => Err(AskError::Down),
        Err(_) => Err(AskError::Timeout),
    }
}
