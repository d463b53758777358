//! Owns how many droplets boot at once: a boot costs seconds of a core, so more at once only make each slower.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Places for boots; clones share them.
#[derive(Clone)]
pub(super) struct Slots(Arc<(Mutex<usize>, Condvar)>);

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new((Mutex::new(count), Condvar::new())))
    }

    /// Waits for a free place, which is free again when the guard is dropped.
    pub(super) fn take(&self) -> Slot {
        let (free, freed) = &*self.0;
        let mut count = free.lock().unwrap_or_else(PoisonError::into_inner);
        while *count == 0 {
            count = freed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        *count -= 1;
        Slot(self.clone())
    }
}

pub(super) struct Slot(Slots);

impl Drop for Slot {
    fn drop(&mut self) {
        let (free, freed) = &*self.0.0;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn the_fourth_boot_waits_until_one_of_three_has_ended() {
        let slots = Slots::new(3);
        let mut held: Vec<_> = (0..3).map(|_| slots.take()).collect();
        let (told, tell) = mpsc::channel();
        let fourth = slots.clone();
        let waiting = thread::spawn(move || {
            let slot = fourth.take();
            told.send(()).unwrap();
            drop(slot);
        });
        assert!(tell.recv_timeout(Duration::from_millis(100)).is_err());
        held.pop();
        tell.recv_timeout(Duration::from_secs(5)).unwrap();
        waiting.join().unwrap();
    }
}
