//! What goes wrong in a simulated port, and when.
//!
//! Owns the faults that are planned. A port asks it once a call, by the name of the operation, such as `start:h1`.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

/// One thing that goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers an error and nothing happened.
    Fail,
    /// It never answers and nothing happens.
    Hang,
    /// It works, this much later.
    Slow(Duration),
    /// It happens, but the answer is an error.
    Lie,
}

/// The faults that are planned. Clones are the same plan.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<BTreeMap<String, VecDeque<Fault>>>>);

impl Faults {
    /// Plans `fault` for the next call of `op` that has none planned yet.
    pub fn next(&self, op: &str, fault: Fault) {
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        planned.entry(op.to_owned()).or_default().push_back(fault);
    }

    /// What goes wrong with this call.
    #[must_use]
    pub fn take(&self, op: &str) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(op)?.pop_front()
    }
}

/// Does `effect`, unless something goes wrong with this call of `op`.
pub(super) async fn strike<T, E>(
    faults: &Faults,
    op: &str,
    error: impl Fn(String) -> E,
    effect: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match faults.take(op) {
        None => effect.await,
        Some(Fault::Fail) => Err(error(format!("{op} fails"))),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Slow(by)) => {
            sleep(by).await;
            effect.await
        }
        Some(Fault::Lie) => {
            effect.await?;
            Err(error(format!("{op} happened, and says it did not")))
        }
    }
}
