//! Why a child ended, and where it says so itself.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Serialize, Serializer};

/// Why a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It panicked, with this message.
    Panicked(String),
    /// It stopped after saying what went wrong, see [`ExitSlot::fail`].
    Failed(String),
    /// It stopped without a complaint.
    Stopped,
    /// It did not answer its probe in time and was cut off.
    Hung,
}

impl Exit {
    pub(super) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panicked(text.unwrap_or_else(|| "no message".to_owned()))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Stopped => f.write_str("stopped"),
            Self::Hung => f.write_str("stopped answering"),
        }
    }
}

impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a child says why it is about to stop: `slot.fail(why)`, then `ctx.stop()`.
///
/// Each incarnation gets one of its own, so a straggler of a dead one cannot speak for the living.
#[derive(Clone, Debug, Default)]
pub struct ExitSlot(Arc<Slot>);

#[derive(Debug, Default)]
struct Slot {
    why: Mutex<Option<String>>,
    progress: AtomicU64,
}

impl ExitSlot {
    /// Says why the child is about to stop. The first reason counts, what follows is usually its consequence.
    pub fn fail(&self, why: impl fmt::Display) {
        self.0.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_string());
    }

    /// Says that the child is at work although its mailbox stands still, for a handler that holds it on purpose
    /// (`AtomicResponse`, `ctx.wait`) for longer than a probe may wait. The watchdog's patience begins anew.
    pub fn still_working(&self) {
        self.0.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn progress(&self) -> u64 {
        self.0.progress.load(Ordering::Relaxed)
    }

    /// What a child that stopped died of.
    pub(super) fn cause(&self) -> Exit {
        match self.0.why.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(why) => Exit::Failed(why),
            None => Exit::Stopped,
        }
    }
}
