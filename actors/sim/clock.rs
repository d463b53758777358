//! A clock for tests and simulations: it follows tokio's time, paused or not, and can be set like a machine's clock.
//!
//! Owns the distance between tokio's time and the time of day. Must not wait, and must give different ids always.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{InstanceId, Timestamp},
    ports::Clock,
};

/// The time of day when a simulated clock is made: a date that is easily recognised in a log.
const BASE_MS: i64 = 1_800_000_000_000; // 2027-01-15T08:00:00Z

/// A clock that starts at a fixed date and then follows tokio's time. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct SimClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Instant,
    jumped_ms: AtomicI64,
    ids: AtomicU64,
}

impl SimClock {
    /// A clock that shows 2027-01-15T08:00:00Z now.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner { origin: Instant::now(), jumped_ms: AtomicI64::new(0), ids: AtomicU64::new(0) }))
    }

    /// Sets the clock forward, as an operator or NTP would. Timers do not notice.
    pub fn jump_forward(&self, by: Duration) {
        self.0.jumped_ms.fetch_add(millis(by), Ordering::Relaxed);
    }

    /// Sets the clock back. Timers do not notice.
    pub fn jump_back(&self, by: Duration) {
        self.0.jumped_ms.fetch_sub(millis(by), Ordering::Relaxed);
    }

    fn now_ms(&self) -> i64 {
        BASE_MS + millis(self.0.origin.elapsed()) + self.0.jumped_ms.load(Ordering::Relaxed)
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now_ms()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// A UUID v7 whose random part is a counter, so that a run can be repeated exactly.
    fn new_id(&self) -> InstanceId {
        let counter = self.0.ids.fetch_add(1, Ordering::Relaxed);
        let at = u64::try_from(self.now_ms()).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(at, &[0; 10]).into_uuid();
        InstanceId::from_uuid(uuid::Uuid::from_u128(id.as_u128() | u128::from(counter)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_follows_paused_time_and_its_own_jumps() {
        let clock = SimClock::new();
        let start = clock.now();
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.now(), start + Duration::from_millis(1500));
        clock.jump_back(Duration::from_secs(60));
        clock.clone().jump_forward(Duration::from_secs(3660));
        assert_eq!(clock.now(), start + Duration::from_millis(1500) + Duration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn ids_differ_and_sort_by_the_time_they_were_made() {
        let clock = SimClock::new();
        let mut ids = vec![clock.new_id(), clock.new_id()];
        tokio::time::advance(Duration::from_millis(1)).await;
        ids.push(clock.new_id());
        assert!(ids.is_sorted() && ids[0] != ids[1]);
    }
}
