//! How long the rooms wait for the store.
//!
//! A store bounds its own waiting too; this is the brain's own word, so that a store that hangs against its contract
//! cannot hold an actor's work for ever.

use std::time::Duration;

use tokio::time::timeout;

use crate::ports::StoreError;

/// Longer than a store takes to give up waiting for a connection, shorter than a person waits for an answer.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// Awaits a call to the store, bounded.
///
/// # Errors
/// The call's own, or [`StoreError::Unavailable`] when it took too long.
pub(crate) async fn store<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(STORE_PATIENCE, call)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {} s", STORE_PATIENCE.as_secs()))))
}
