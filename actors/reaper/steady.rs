//! A time of day that never runs ahead of the machine.
//!
//! Rows are forgotten by the time of day that they ended at, so a clock that is set forward would make them look old.
//! This one shows what the time was when the process started plus what has passed since by the monotonic clock, less the
//! furthest that the time of day was ever seen behind that: what ended while the clock was behind carries its time. So no
//! jump, in either direction or there and back, forgets anything too early; after one, rows are kept longer by as much
//! until the process is started anew. A clock that is wrong at that moment is believed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{domain::Timestamp, ports::Clock};

/// See the module's header. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct Steady {
    began: Timestamp,
    at: Instant,
    /// In milliseconds.
    furthest_behind: Arc<AtomicU64>,
}

impl Steady {
    /// Begins with what `clock` shows now.
    #[must_use]
    pub fn begin(clock: &dyn Clock) -> Self {
        Self { began: clock.now(), at: Instant::now(), furthest_behind: Arc::default() }
    }

    /// The time of day, never ahead of what has passed since the beginning. Whoever wants it to know of a jump that does
    /// not last asks it often enough to see it.
    pub fn now(&self, clock: &dyn Clock) -> Timestamp {
        let passed = self.began.saturating_add(self.at.elapsed()).unwrap_or(self.began);
        let behind = passed.duration_since(clock.now()).as_millis();
        let behind = u64::try_from(behind).unwrap_or(0);
        let furthest = self.furthest_behind.fetch_max(behind, Ordering::Relaxed).max(behind);
        passed.saturating_sub(Duration::from_millis(furthest)).unwrap_or(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::clock::SimClock;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn it_follows_the_clock_and_no_jump_forward() {
        let clock = SimClock::new();
        let (began, steady) = (clock.now(), Steady::begin(&clock));
        tokio::time::advance(HOUR).await;
        assert_eq!(steady.now(&clock), began + HOUR);
        clock.jump_forward(48 * HOUR);
        assert_eq!(steady.now(&clock), began + HOUR);
        clock.jump_back(49 * HOUR);
        assert_eq!(steady.now(&clock), began);
        clock.jump_forward(HOUR);
        tokio::time::advance(HOUR).await;
        assert_eq!(steady.now(&clock), began + HOUR, "what ended in between would look an hour too old");
    }
}
