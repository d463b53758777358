//! How long the rooms wait for the store.
//!
//! A store bounds its own waiting too; this is the brain's own word, so that a store that hangs against its contract
//! cannot hold an actor's work for ever. So that any number of rows can be read within it, they are read step by step.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    domain::Instance,
    ports::{Store, StoreError},
};

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

/// Rows that are read in one step, and looked at in one turn of the loop: of many thousands at once every actor would
/// wait, and a slow database would never come to the end.
const ROWS_AT_ONCE: u32 = 1000;

/// Reads all rows of instances that have not ended, oldest first, and hands them on step by step.
///
/// # Errors
/// Those of [`Store::live`], each step bounded; what was handed on by then are not all rows.
pub(crate) async fn live_rows(store: &dyn Store, mut take: impl FnMut(Vec<Instance>)) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let rows = self::store(store.live(after.as_ref(), ROWS_AT_ONCE)).await?;
        let is_last = rows.len() < ROWS_AT_ONCE as usize;
        after = rows.last().map(|row| (row.created_at, row.id.clone()));
        take(rows);
        if is_last {
            return Ok(());
        }
    }
}
