//! The machine's clock and ids that sort by time.

use getaredis_actors::{
    domain::{InstanceId, Timestamp},
    ports::Clock,
};

/// The real clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        // A whole number of milliseconds of a time that exists is a time that exists.
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    fn new_id(&self) -> InstanceId {
        InstanceId::from_uuid(uuid::Uuid::now_v7())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_in_whole_milliseconds() {
        assert_eq!(SystemClock.now().as_nanosecond() % 1_000_000, 0);
    }

    #[test]
    fn ids_are_new_and_sort_by_the_time_they_were_made() {
        let ids: Vec<_> = (0..1000).map(|_| SystemClock.new_id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }
}
