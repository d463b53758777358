//! What went wrong lately, and how long nothing is bought because of it, as a plain value.
//!
//! Two things can go wrong: the provider does not sell, or what it sold is no good. Each waits longer with every time
//! that it goes wrong again, and starts anew when it went well once.

use std::{collections::BTreeSet, time::Duration};

use crate::domain::{
    HostName, Timestamp,
    scaling::{Hold, LONGEST_WAIT},
};

/// The longest that providers of machines want to be left alone: their allowances are by the hour.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Setbacks {
    refusals: u32,
    refused_until: Option<Hold>,
    failures: u32,
    failed_until: Option<Hold>,
    /// Droplets that were counted.
    counted: BTreeSet<HostName>,
    /// What every server was told of a wait, last.
    told: Option<Hold>,
}

impl Setbacks {
    /// The provider did not sell. `first` is the wait after the first such time, and `again` how long to wait at least
    /// before it is asked again.
    pub(super) fn refused(&mut self, why: &str, first: Duration, again: Duration, now: Timestamp) {
        self.refusals += 1;
        let wait = doubled(first, self.refusals).max(again);
        self.refused_until = Some(Hold { until: now + wait, why: why.to_owned() });
    }

    /// The provider wants to be left alone, for so long and no longer. That says nothing of what it would sell then.
    pub(super) fn rests(&mut self, why: &str, rest: Duration, now: Timestamp) {
        self.refused_until = Some(Hold { until: now + rest, why: why.to_owned() });
    }

    /// What the server that looks after the pool, or did before, wrote down of what stands in the way. Not believed for
    /// longer than a rest that a provider may want: its clock may be wrong.
    pub(super) fn learn(&mut self, hold: Option<&Hold>, now: Timestamp) {
        self.refusals = 0;
        self.refused_until = hold.map(|hold| Hold { until: hold.until.min(now + LONGEST_REST), why: hold.why.clone() });
    }

    /// Every server was told of this wait, or that there is none.
    pub(super) fn told(&mut self, hold: Option<Hold>) {
        self.told = hold;
    }

    /// Whether a wait that every server was told of, and that is not over, is `known` no more: the operator has ended it
    /// at another one.
    pub(super) fn was_ended_elsewhere(&self, known: Option<&Hold>, now: Timestamp) -> bool {
        known.is_none() && self.told.as_ref().is_some_and(|told| told.until > now)
    }

    /// The operator says that what went wrong is mended.
    pub(super) fn forgive(&mut self) {
        *self = Self { counted: std::mem::take(&mut self.counted), ..Self::default() };
    }

    /// The provider sold.
    pub(super) fn sold(&mut self) {
        (self.refusals, self.refused_until) = (0, None);
    }

    /// These droplets are no good. The first one is replaced at once; those that fail after it, ever later, beginning
    /// with `first`. Tells which of them were not known to be.
    pub(super) fn failed(&mut self, names: &[HostName], first: Duration, now: Timestamp) -> Vec<HostName> {
        let before = std::mem::replace(&mut self.counted, names.iter().cloned().collect());
        let news: Vec<_> = self.counted.difference(&before).cloned().collect();
        if !news.is_empty() {
            self.failures += 1;
            self.failed_until = (self.failures > 1).then(|| Hold {
                until: now + doubled(first, self.failures - 1),
                why: format!("droplets failed {} times in a row", self.failures),
            });
        }
        news
    }

    /// A droplet came up.
    pub(super) fn came_up(&mut self) {
        (self.failures, self.failed_until) = (0, None);
    }

    /// Until when nothing is bought, and why: whichever lasts longer.
    pub(super) fn hold(&self, now: Timestamp) -> Option<Hold> {
        let holds = self.refused_until.iter().chain(&self.failed_until);
        holds.filter(|hold| hold.until > now).max_by_key(|hold| hold.until).cloned()
    }
}

/// The wait after the `n`-th time, `n` being 1 at least.
fn doubled(first: Duration, n: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(n - 1)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::samples::{later, now};

    const FIRST: Duration = Duration::from_secs(30);

    fn names(names: &[&str]) -> Vec<HostName> {
        names.iter().map(|name| HostName::parse(name).unwrap()).collect()
    }

    fn held(setbacks: &Setbacks, at: u64) -> Option<u64> {
        setbacks.hold(later(at)).map(|hold| u64::try_from(hold.until.duration_since(now()).as_secs()).unwrap())
    }

    #[test]
    fn a_rest_lasts_as_long_as_the_provider_wants_and_makes_the_next_refusal_no_longer() {
        let mut setbacks = Setbacks::default();
        for _ in 0..5 {
            setbacks.rests("too many requests", Duration::from_secs(2), later(0));
            assert_eq!((held(&setbacks, 1), held(&setbacks, 2)), (Some(2), None));
        }
        setbacks.refused("sold out", FIRST, Duration::ZERO, later(0));
        assert_eq!(held(&setbacks, 0), Some(30));
    }

    #[test]
    fn each_refusal_waits_twice_as_long_and_a_sale_ends_it() {
        let mut setbacks = Setbacks::default();
        setbacks.refused("sold out", FIRST, Duration::ZERO, later(0));
        assert_eq!(held(&setbacks, 0), Some(30));
        assert_eq!(held(&setbacks, 30), None);
        setbacks.refused("sold out", FIRST, Duration::ZERO, later(100));
        assert_eq!(held(&setbacks, 100), Some(160));
        setbacks.refused("too many requests", FIRST, Duration::from_secs(600), later(200));
        assert_eq!(held(&setbacks, 200), Some(800), "the provider knows best");
        setbacks.sold();
        assert_eq!(held(&setbacks, 200), None);
        for _ in 0..40 {
            setbacks.refused("sold out", FIRST, Duration::ZERO, later(0));
        }
        assert_eq!(held(&setbacks, 0), Some(1800));
    }

    #[test]
    fn what_the_operator_has_mended_is_tried_at_once_and_waits_short_again() {
        let mut setbacks = Setbacks::default();
        for _ in 0..3 {
            setbacks.refused("sold out", FIRST, Duration::ZERO, later(0));
        }
        setbacks.told(setbacks.hold(later(0)));
        let known = setbacks.hold(later(0));
        assert!(!setbacks.was_ended_elsewhere(known.as_ref(), later(1)));
        assert!(setbacks.was_ended_elsewhere(None, later(1)));
        assert!(!setbacks.was_ended_elsewhere(None, later(3600)), "it was over anyway");
        setbacks.forgive();
        assert_eq!((held(&setbacks, 1), setbacks.was_ended_elsewhere(None, later(1))), (None, false));
        setbacks.refused("sold out", FIRST, Duration::ZERO, later(1));
        assert_eq!(held(&setbacks, 1), Some(31));
    }

    #[test]
    fn the_first_bad_droplet_is_replaced_at_once_and_the_next_ones_ever_later() {
        let mut setbacks = Setbacks::default();
        assert_eq!(setbacks.failed(&names(&["a"]), FIRST, later(0)), names(&["a"]));
        assert_eq!(setbacks.failed(&names(&["a"]), FIRST, later(1)), [], "it is known");
        assert_eq!(held(&setbacks, 1), None);
        assert_eq!(setbacks.failed(&names(&["a", "b"]), FIRST, later(10)), names(&["b"]));
        assert_eq!(held(&setbacks, 10), Some(40));
        assert_eq!(setbacks.failed(&names(&["c"]), FIRST, later(20)), names(&["c"]));
        assert_eq!(held(&setbacks, 20), Some(80));
        setbacks.came_up();
        assert_eq!(held(&setbacks, 20), None);
        setbacks.failed(&names(&["d"]), FIRST, later(30));
        assert_eq!(held(&setbacks, 30), None, "it starts anew");
    }
}
