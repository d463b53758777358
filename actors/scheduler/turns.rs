//! One at a time for each key: who comes later waits until the one before is done.
//!
//! Owns who is at work on what, and nothing of the work. Must not hold a borrow over an `.await`.

use std::{cell::RefCell, collections::HashMap, hash::Hash, rc::Rc};

use tokio::sync::watch;

/// The channel of each key closes when its holder is done.
type Held<K> = Rc<RefCell<HashMap<K, watch::Receiver<()>>>>;

/// See the module's header.
pub(super) struct Turns<K>(Held<K>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

/// The turn of one key, given up when it is dropped.
pub(super) struct Turn<K: Eq + Hash> {
    key: K,
    held: Held<K>,
    _open: watch::Sender<()>,
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        self.held.borrow_mut().remove(&self.key);
    }
}

/// Somebody else has the turn.
pub(super) struct Taken(watch::Receiver<()>);

impl Taken {
    /// Waits until the other one is done.
    pub(super) async fn done(mut self) {
        // Errs when the holder drops the sender, which is all it ever does with it.
        while self.0.changed().await.is_ok() {}
    }
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Takes the turn, if nobody has it.
    pub(super) fn try_take(&self, key: K) -> Result<Turn<K>, Taken> {
        if let Some(done) = self.0.borrow().get(&key) {
            return Err(Taken(done.clone()));
        }
        let (open, done) = watch::channel(());
        self.0.borrow_mut().insert(key.clone(), done);
        Ok(Turn { key, held: Rc::clone(&self.0), _open: open })
    }

    /// Waits for the turn.
    pub(super) async fn take(&self, key: K) -> Turn<K> {
        loop {
            match self.try_take(key.clone()) {
                Ok(turn) => return turn,
                Err(taken) => taken.done().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_second_waits_for_the_first_and_others_for_nobody() {
        let turns = Turns::default();
        let first = turns.try_take("a").ok().unwrap();
        assert!(turns.try_take("b").is_ok());
        let mut second = Box::pin(turns.take("a"));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.now_or_never().is_some());
        assert!(turns.try_take("a").is_ok());
    }
}
