//! The starts of one host: a few at once, and none overtaken by the removal of the same instance.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{domain::InstanceId, ports::RuntimeError};

/// See the module's header.
pub(super) struct Starts {
    permits: std::sync::Arc<Semaphore>,
    under_way: RefCell<HashMap<InstanceId, UnderWay>>,
}

/// A start that has not come back yet.
struct UnderWay {
    /// Set when the instance is to be removed.
    called_off: watch::Sender<bool>,
    /// Closes when the start has come back.
    done: watch::Receiver<()>,
}

/// Permission to start one instance; dropping it tells that the start has come back, however it ended.
pub(super) struct Turn {
    starts: Rc<Starts>,
    id: InstanceId,
    _permit: Option<OwnedSemaphorePermit>,
    _open: watch::Sender<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.starts.under_way.borrow_mut().remove(&self.id);
    }
}

impl Starts {
    pub(super) fn new(at_once: usize) -> Self {
        Self { permits: std::sync::Arc::new(Semaphore::new(at_once.max(1))), under_way: RefCell::default() }
    }

    /// Waits until the instance may be started.
    ///
    /// # Errors
    /// [`RuntimeError::Refused`] when it was called off meanwhile, or is being started already.
    pub(super) async fn take_turn(self: &Rc<Self>, id: &InstanceId) -> Result<Turn, RuntimeError> {
        let (called_off, mut off) = watch::channel(false);
        let (open, done) = watch::channel(());
        if self.under_way.borrow().contains_key(id) {
            return Err(RuntimeError::Refused("it is being started already".into()));
        }
        self.under_way.borrow_mut().insert(id.clone(), UnderWay { called_off, done });
        let mut turn = Turn { starts: Rc::clone(self), id: id.clone(), _permit: None, _open: open };
        tokio::select! {
            biased;
            _ = off.wait_for(|off| *off) => Err(RuntimeError::Refused("it was removed before it was started".into())),
            permit = std::sync::Arc::clone(&self.permits).acquire_owned() => {
                // Nobody closes the semaphore; were it closed, starting without a permit would still be right.
                turn._permit = permit.ok();
                Ok(turn)
            }
        }
    }

    /// Calls a start off that has not begun, and waits for one that has.
    pub(super) async fn call_off(&self, id: &InstanceId) {
        let done = self.under_way.borrow().get(id).map(|start| {
            start.called_off.send_replace(true);
            start.done.clone()
        });
        if let Some(mut done) = done {
            // Errs when the start has come back, which is what is waited for.
            while done.changed().await.is_ok() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn id(n: u128) -> InstanceId {
        InstanceId::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn only_so_many_start_at_once() {
        let starts = Rc::new(Starts::new(2));
        let first = starts.take_turn(&id(1)).now_or_never().unwrap().ok().unwrap();
        let _second = starts.take_turn(&id(2)).now_or_never().unwrap().ok().unwrap();
        let (three, starts_too) = (id(3), Rc::clone(&starts));
        let mut third = Box::pin(starts_too.take_turn(&three));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn a_start_that_waits_is_called_off_and_one_that_runs_is_waited_for() {
        let starts = Rc::new(Starts::new(1));
        let running = starts.take_turn(&id(1)).now_or_never().unwrap().ok().unwrap();
        let (two, starts_too) = (id(2), Rc::clone(&starts));
        let mut waiting = Box::pin(starts_too.take_turn(&two));
        assert!(waiting.as_mut().now_or_never().is_none());

        let mut call_off = Box::pin(starts.call_off(&two));
        assert!(call_off.as_mut().now_or_never().is_none());
        assert!(waiting.now_or_never().unwrap().is_err());
        assert!(call_off.now_or_never().is_some());

        let one = id(1);
        let mut call_off = Box::pin(starts.call_off(&one));
        assert!(call_off.as_mut().now_or_never().is_none());
        drop(running);
        assert!(call_off.now_or_never().is_some());
        assert!(starts.call_off(&id(3)).now_or_never().is_some(), "nothing to wait for");
    }
}
