//! The heartbeat of the actors' thread.
//!
//! A handler that never returns stops the thread and with it the watchdogs; only somebody on another thread can see
//! that, by the age of the last beat.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// Often enough to see a stall within seconds, rare enough to cost nothing.
const BEAT: Duration = Duration::from_secs(1);

/// Tells from any thread when the actors' thread last had a turn to give. Clones are the same pulse.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Beats>);

#[derive(Debug)]
struct Beats {
    origin: Instant,
    /// Milliseconds from `origin` to the last beat.
    last: AtomicU64,
}

impl Pulse {
    /// Starts to beat once a second on this thread, which must be that of an `actix::System`, until the last clone is
    /// dropped.
    pub fn start() -> Self {
        let beats = Arc::new(Beats { origin: Instant::now(), last: AtomicU64::new(0) });
        let weak = Arc::downgrade(&beats);
        actix::spawn(async move {
            while let Some(beats) = weak.upgrade() {
                beats.beat(Instant::now());
                drop(beats);
                sleep(BEAT).await;
            }
        });
        Self(beats)
    }

    /// How long ago the last beat was: up to a second on a healthy thread.
    pub fn age(&self) -> Duration {
        self.0.age(Instant::now())
    }
}

impl Beats {
    fn beat(&self, now: Instant) {
        let millis = now.duration_since(self.origin).as_millis();
        self.last.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn age(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        now.duration_since(self.origin).saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_free_thread_beats_every_second() {
        tokio::time::pause();
        let pulse = Pulse::start();
        for _ in 0..100 {
            sleep(Duration::from_millis(730)).await;
            assert!(pulse.age() <= BEAT, "{:?}", pulse.age());
        }
    }

    #[actix::test]
    async fn a_blocked_thread_is_seen_by_the_age_of_its_last_beat() {
        tokio::time::pause();
        let pulse = Pulse::start();
        sleep(Duration::from_millis(100)).await;
        // Nothing else gets a turn between here and the reading, as if a handler did not return.
        let later = Instant::now() + Duration::from_secs(42);
        assert!(pulse.0.age(later) > Duration::from_secs(41));
    }

    #[actix::test]
    async fn the_beat_ends_with_its_last_reader() {
        tokio::time::pause();
        let pulse = Pulse::start();
        let weak = Arc::downgrade(&pulse.0);
        drop(pulse.clone());
        assert!(weak.upgrade().is_some());
        drop(pulse);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_pulse_is_read_from_any_thread() {
        fn is_shared<T: Send + Sync + Clone>() {}
        is_shared::<Pulse>();
    }
}
