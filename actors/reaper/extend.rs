//! A lease that is moved on by its owner.

use super::{
    Tools,
    messages::{ExtendError, ExtendLease},
};
use crate::{
    domain::{EndReason, Instance, InstanceEvent, InstanceState, LeaseRefused},
    patience,
    ports::StoreError,
};

/// Moves the end of a lease within its maximum lifetime. Also of an instance whose host is silent: it may come back.
pub(super) async fn extend(tools: &Tools, request: &ExtendLease) -> Result<Instance, ExtendError> {
    let row = patience::store(tools.store.instance(&request.id)).await?.ok_or(ExtendError::NotFound)?;
    if !row.state.is_lent() {
        return Err(ExtendError::NotRunning(Box::new(row)));
    }
    let now = tools.clock.now();
    if row.lease.expires_at <= now {
        return Err(over(row));
    }
    let lease = tools.settings.lease.extend(row.lease, request.ttl, now).map_err(ExtendError::Lease)?;
    match patience::store(tools.store.apply(&request.id, &InstanceEvent::Extended { lease }, now)).await {
        // A longer extension was written between the look and the write.
        Err(StoreError::Illegal(illegal)) if illegal.from.is_lent() => {
            let row = patience::store(tools.store.instance(&request.id)).await?.ok_or(ExtendError::NotFound)?;
            Err(ExtendError::Lease(LeaseRefused::Shortens { expires_at: row.lease.expires_at }))
        }
        // It ended between the look and the write.
        Err(StoreError::Illegal(illegal)) => {
            Err(ExtendError::NotRunning(Box::new(Instance { state: illegal.from, ..row })))
        }
        other => Ok(other?),
    }
}

/// Its time has come, and nobody has written so yet.
fn over(row: Instance) -> ExtendError {
    ExtendError::NotRunning(Box::new(Instance { state: InstanceState::Stopping(EndReason::Expired), ..row }))
}

impl From<StoreError> for ExtendError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            error => Self::Store(error),
        }
    }
}
