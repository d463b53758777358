//! The operator's pause: a switch that holds at once, and an order in the database that outlives this server and holds
//! for every other one.
//!
//! Owns both. What was pressed here is written by the next pass, before it does anything; until then, however long the
//! database stays away, what was pressed is believed and not what is read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    patience,
    ports::{Store, StoreError},
};

/// Clones are the same switch; it outlives the actor.
#[derive(Debug, Clone, Default)]
pub struct Pause(Arc<Mutex<Switch>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Switch {
    paused: bool,
    /// Whether it was pressed since it was written or read last.
    pressed: bool,
}

impl Pause {
    /// The operator presses it.
    pub(super) fn press(&self, paused: bool) {
        *self.switch() = Switch { paused, pressed: true };
    }

    pub(super) fn is_set(&self) -> bool {
        self.switch().paused
    }

    /// Writes what was pressed here, or learns what was pressed elsewhere. Whoever resumes wants it to be tried at once: the
    /// wait after what went wrong is over then, for every server; tells whether that was pressed here.
    pub(super) async fn settle(&self, store: &dyn Store) -> Result<bool, StoreError> {
        let mut resumed = false;
        loop {
            let before = *self.switch();
            let paused = if before.pressed {
                patience::store(store.order_pause(before.paused)).await?;
                if !before.paused {
                    patience::store(store.hold_orders(None)).await?;
                }
                resumed = !before.paused;
                before.paused
            } else {
                patience::store(store.orders()).await?.paused
            };
            let mut switch = self.switch();
            // Who pressed it meanwhile comes next.
            if *switch == before {
                *switch = Switch { paused, pressed: false };
                return Ok(resumed);
            }
        }
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
