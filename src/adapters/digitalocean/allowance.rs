//! How many requests are left, as DigitalOcean says with every answer, and what that means for those that can wait.
//!
//! Plain and synchronous. Decides how far apart lists of droplets shall be, so that the last requests are left for orders
//! and deletions. Must hold back nothing else, and nothing at all where nothing was said.

use std::time::Duration;

use reqwest::header::HeaderMap;

/// Requests are few when less than one of so many is left.
const FEW: u64 = 5;

/// How far apart lists are then: a twentieth of what an account may ask in an hour, for a list of four pages.
const SPARING: Duration = Duration::from_secs(60);

/// What the API said last of its limit per hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    limit: u64,
    remaining: u64,
}

impl Allowance {
    /// From the headers of an answer; nothing where they do not say.
    pub(super) fn said(headers: &HeaderMap) -> Option<Self> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse().ok();
        Some(Self { limit: number("ratelimit-limit")?, remaining: number("ratelimit-remaining")? })
    }

    /// How long a list has to wait that comes so long after the one before; nothing when it need not.
    pub(super) fn list_waits(self, since: Duration) -> Option<Duration> {
        let few = self.remaining.saturating_mul(FEW) < self.limit;
        Some(SPARING.saturating_sub(since)).filter(|rest| few && !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(&str, &str)]) -> Option<Allowance> {
        let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Allowance::said(&HeaderMap::from_iter(pairs))
    }

    #[test]
    fn a_list_waits_for_the_one_before_only_when_few_requests_are_left() {
        let waits = |remaining, since| Allowance { limit: 5000, remaining }.list_waits(Duration::from_secs(since));
        for remaining in [5000, 1000] {
            assert_eq!(waits(remaining, 0), None, "{remaining}");
        }
        for remaining in [999, 0] {
            assert_eq!(waits(remaining, 0), Some(SPARING), "{remaining}");
            assert_eq!(waits(remaining, 59), Some(Duration::from_secs(1)), "{remaining}");
            assert_eq!((waits(remaining, 60), waits(remaining, 61)), (None, None), "{remaining}");
        }
    }

    #[test]
    fn what_is_not_said_in_numbers_is_not_said() {
        let allowance = Some(Allowance { limit: 5000, remaining: 7 });
        assert_eq!(said(&[("ratelimit-limit", "5000"), ("ratelimit-remaining", " 7 ")]), allowance);
        assert_eq!(said(&[("ratelimit-limit", "5000")]), None);
        assert_eq!(said(&[("ratelimit-limit", "many"), ("ratelimit-remaining", "7")]), None);
        assert_eq!(said(&[]), None);
    }
}
