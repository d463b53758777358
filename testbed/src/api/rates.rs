//! How many requests a token may make: DigitalOcean's two windows. Plain values; the time is an argument.

use std::{collections::VecDeque, time::Duration};

/// The long window.
const HOUR: Duration = Duration::from_secs(3600);

/// The short window.
const MINUTE: Duration = Duration::from_secs(60);

/// Requests that are served within each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// In any hour.
    pub per_hour: usize,
    /// In any minute.
    pub per_minute: usize,
}

impl Default for RateLimits {
    /// What DigitalOcean grants.
    fn default() -> Self {
        Self { per_hour: 5000, per_minute: 250 }
    }
}

/// What is said about the limits with every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Requests an hour.
    pub(super) limit: usize,
    /// How many of them are left.
    pub(super) remaining: usize,
    /// In how long the oldest request of the hour is forgotten.
    pub(super) reset: Duration,
    /// Not served; in how long one would be.
    pub(super) wait: Option<Duration>,
}

/// The requests of the last hour, by the time that has passed since the server began.
#[derive(Debug)]
pub(super) struct Rates {
    limits: RateLimits,
    served: VecDeque<Duration>,
}

impl Rates {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self { limits, served: VecDeque::new() }
    }

    pub(super) fn limit(&mut self, limits: RateLimits) {
        self.limits = limits;
    }

    /// A request comes in; it counts if it is served.
    pub(super) fn ask(&mut self, now: Duration) -> Standing {
        while self.served.front().is_some_and(|at| *at + HOUR <= now) {
            self.served.pop_front();
        }
        let wait = [(self.limits.per_hour, HOUR), (self.limits.per_minute, MINUTE)]
            .into_iter()
            .filter_map(|(limit, window)| {
                let blocking = self.served.len().checked_sub(limit)?;
                // With a limit of none nothing is ever served, so nothing would ever be forgotten.
                let free_at = self.served.get(blocking).map_or(now + window, |at| *at + window);
                free_at.checked_sub(now).filter(|wait| !wait.is_zero())
            })
            .max();
        if wait.is_none() {
            self.served.push_back(now);
        }
        Standing {
            limit: self.limits.per_hour,
            remaining: self.limits.per_hour.saturating_sub(self.served.len()),
            reset: self.served.front().map_or(HOUR, |at| (*at + HOUR).saturating_sub(now)),
            wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_is_refused_until_the_minute_has_passed() {
        let mut rates = Rates::new(RateLimits { per_hour: 100, per_minute: 2 });
        assert_eq!((rates.ask(at(0)).wait, rates.ask(at(10)).wait), (None, None));
        assert_eq!(rates.ask(at(20)).wait, Some(at(40)));
        assert_eq!(rates.ask(at(60)).wait, None);
        assert_eq!(rates.ask(at(61)).wait, Some(at(9)));
    }

    #[test]
    fn an_hour_has_its_own_limit_and_says_when_it_is_over() {
        let mut rates = Rates::new(RateLimits { per_hour: 2, per_minute: 100 });
        assert_eq!(rates.ask(at(0)), Standing { limit: 2, remaining: 1, reset: HOUR, wait: None });
        assert_eq!(rates.ask(at(100)).remaining, 0);
        let refused = rates.ask(at(200));
        assert_eq!((refused.wait, refused.reset), (Some(at(3400)), at(3400)));
        assert_eq!(rates.ask(at(3600)).wait, None);
    }
}
