//! How long droplets took to boot, as a plain value: what an estimate is made of.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::domain::{HostName, Timestamp, scaling::Outlook};

/// So many of the last boots count: enough that one odd one does not matter, few enough that a new image soon does.
const REMEMBERED: usize = 9;

/// What is taken for usual until a droplet was seen to boot; providers speak of about a minute.
const USUAL: Duration = Duration::from_secs(60);

/// What is said of a droplet that takes longer than usual.
const ANY_MOMENT: Duration = Duration::from_secs(5);

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Boots {
    /// Droplets that were seen before they were up, with the time of their order.
    awaited: BTreeMap<HostName, Timestamp>,
    took: VecDeque<Duration>,
}

impl Boots {
    /// A droplet was seen before it was up. Of several orders of it the last one counts.
    pub(super) fn await_it(&mut self, name: &HostName, ordered: Timestamp) {
        self.awaited.insert(name.clone(), ordered);
    }

    /// A droplet is up. Tells whether it was awaited.
    pub(super) fn came_up(&mut self, name: &HostName, now: Timestamp) -> bool {
        let Some(ordered) = self.awaited.remove(name) else { return false };
        self.took.push_back(Duration::try_from(now.duration_since(ordered)).unwrap_or_default());
        if self.took.len() > REMEMBERED {
            self.took.pop_front();
        }
        true
    }

    /// Forgets those that are not there any more.
    pub(super) fn keep(&mut self, is_there: impl Fn(&HostName) -> bool) {
        self.awaited.retain(|name, _| is_there(name));
    }

    /// How long until the first droplet of this outlook is up. Nothing when it takes longer than anybody has promised.
    pub(super) fn estimate(&self, outlook: &Outlook, now: Timestamp) -> Option<Duration> {
        let ordered = outlook.first_ordered.unwrap_or(now);
        let passed = Duration::try_from(now.duration_since(ordered)).unwrap_or_default();
        let mut took: Vec<_> = self.took.iter().copied().collect();
        took.sort_unstable();
        match took.get(took.len() / 2) {
            Some(usual) => Some(usual.saturating_sub(passed).max(ANY_MOMENT)),
            None => USUAL.checked_sub(passed).filter(|left| *left >= ANY_MOMENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::samples::later;

    fn name(n: u64) -> HostName {
        HostName::parse(&format!("d{n}")).unwrap()
    }

    #[test]
    fn an_estimate_is_what_is_usual_less_what_has_passed() {
        let mut boots = Boots::default();
        let ordered_at =
            |at| Outlook { coming: 1, first_ordered: Some(later(at)), may_grow: false, ..Outlook::default() };
        let before_any = |now| boots.estimate(&ordered_at(0), later(now)).map(|time| time.as_secs());
        assert_eq!((before_any(0), before_any(20), before_any(300)), (Some(60), Some(40), None));
        for (n, took) in [(1, 50), (2, 60), (3, 300)] {
            boots.await_it(&name(n), later(0) - Duration::from_secs(500));
            boots.await_it(&name(n), later(0));
            assert!(boots.came_up(&name(n), later(took)));
            assert!(!boots.came_up(&name(n), later(took)), "it was up already");
        }
        let seconds = |at, now| boots.estimate(&ordered_at(at), later(now)).map(|time| time.as_secs());
        assert_eq!((seconds(1000, 1000), seconds(1000, 1010), seconds(1000, 2000)), (Some(60), Some(50), Some(5)));
    }
}
