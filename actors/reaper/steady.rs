//! A time of day that never runs ahead of the machine.
//!
//! Rows are forgotten by the time of day that they ended at, so a clock that is set forward would make them look old.
//! This one shows what the time was when the process started plus what has passed since by the monotonic clock, or the
//! time of day where that is earlier. So a jump in either direction forgets nothing too early; after a jump forward,
//! rows are kept longer by as much until the process is started anew. A clock that is wrong at that moment is believed.

use tokio::time::Instant;

use crate::{domain::Timestamp, ports::Clock};

/// See the module's header. Copies are the same clock.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    began: Timestamp,
    at: Instant,
}

impl Steady {
    /// Begins with what `clock` shows now.
    #[must_use]
    pub fn begin(clock: &dyn Clock) -> Self {
        Self { began: clock.now(), at: Instant::now() }
    }

    /// The time of day, but not ahead of what has passed since the beginning.
    #[must_use]
    pub fn now(&self, clock: &dyn Clock) -> Timestamp {
        clock.now().min(self.began.saturating_add(self.at.elapsed()).unwrap_or(self.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::clock::SimClock;
    use std::time::Duration;

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
    }
}
