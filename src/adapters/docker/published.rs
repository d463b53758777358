//! Which port of a range the next container is published on.
//!
//! Owns a cursor only. What is really free the engine knows: a clash is answered by trying the next one.

use std::{ops::RangeInclusive, sync::Mutex};

/// Goes round a range.
pub(super) struct PortRange {
    range: RangeInclusive<u16>,
    next: Mutex<u16>,
}

impl PortRange {
    /// Begins anywhere in the range, so that a restarted server does not walk over the ports it gave out before.
    pub(super) fn new(range: RangeInclusive<u16>) -> Self {
        let next = if range.is_empty() { *range.start() } else { rand::random_range(range.clone()) };
        Self { range, next: Mutex::new(next) }
    }

    /// The next port to try.
    pub(super) fn next(&self) -> u16 {
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let port = *next;
        *next = if port >= *self.range.end() { *self.range.start() } else { port + 1 };
        port
    }

    /// How many ports there are.
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }
}

/// Whether an engine's refusal means that the port is somebody else's.
pub(super) fn is_taken(refusal: &str) -> bool {
    refusal.contains("port is already allocated") || refusal.contains("address already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_the_range_is_tried_once_before_any_is_tried_again() {
        let ports = PortRange::new(65_530..=65_535);
        let mut round: Vec<u16> = (0..ports.len()).map(|_| ports.next()).collect();
        round.sort_unstable();
        assert_eq!(round, (65_530..=65_535).collect::<Vec<_>>());
    }
}
