//! Builders of images as a pass sees them: those that the provider lists, and those that have a row.
//!
//! Owns that each is counted once: the database counts the rows that are live, a pass everything else that is paid for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{HostName, Timestamp},
    ports::{BuilderRow, Listing},
};

/// What a pass has read of builders.
#[derive(Debug, Clone, Default)]
pub(super) struct Builders {
    /// How many machines of each name the provider lists.
    listed: BTreeMap<HostName, u32>,
    /// The rows that were live when they were read, and when they end.
    live: BTreeMap<HostName, Timestamp>,
    /// The other rows.
    over: BTreeSet<HostName>,
}

impl Builders {
    /// Takes the builders out of the provider's list. What has a live row is one, also where the provider takes it for left
    /// behind: whoever bakes has told the database until when.
    pub(super) fn take_from(listed: &mut Listing, rows: Vec<BuilderRow>, now: Timestamp) -> Self {
        let (live, over): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_live(now));
        let live: BTreeMap<_, _> = live.into_iter().map(|row| (row.name, row.ends_at)).collect();
        let names = listed.builders.drain(..);
        let kept = listed.droplets.extract_if(.., |droplet| live.contains_key(&droplet.name));
        let mut machines = BTreeMap::new();
        for name in names.chain(kept.map(|droplet| droplet.name)) {
            *machines.entry(name).or_default() += 1;
        }
        Self { listed: machines, live, over: over.into_iter().map(|row| row.name).collect() }
    }

    /// How many machines are paid for, or may be.
    pub(super) fn machines(&self) -> u32 {
        self.each().sum()
    }

    /// Of those, the ones that the database does not count at `now`. A row that has ended since it was read may be one of
    /// a builder that the list did not show yet.
    pub(super) fn uncounted(&self, now: Timestamp) -> u32 {
        let counted = self.live.values().filter(|ends_at| **ends_at > now).count();
        self.machines().saturating_sub(u32::try_from(counted).unwrap_or(u32::MAX))
    }

    /// Those whose rows say nothing any more.
    pub(super) fn over(&self) -> impl Iterator<Item = &HostName> {
        self.over.iter()
    }

    /// The machines of each name.
    fn each(&self) -> impl Iterator<Item = u32> {
        let unlisted = self.live.keys().filter(|name| !self.listed.contains_key(name)).map(|_| 1);
        self.listed.values().copied().chain(unlisted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ports::Droplet,
        sim::samples::{builder, later, now},
    };

    fn name(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    /// What is listed as droplets and as builders, and rows with the seconds at which they end.
    fn seen(droplets: &[&str], builders: &[&str], rows: &[(&str, u64)]) -> (Listing, Builders) {
        let droplet = |called: &&str| Droplet { name: name(called), created_at: now(), address: None, is_off: false };
        let mut listed = Listing {
            droplets: droplets.iter().map(droplet).collect(),
            builders: builders.iter().map(|called| name(called)).collect(),
        };
        let rows = rows.iter().map(|(called, ends)| builder(called, *ends)).collect();
        let builders = Builders::take_from(&mut listed, rows, later(10));
        (listed, builders)
    }

    #[test]
    fn a_builder_is_counted_once_whoever_knows_it_and_by_the_database_while_its_row_is_live() {
        for (droplets, builders, rows, machines, uncounted) in [
            (&[][..], &[][..], &[][..], 0, 0),
            (&[], &["b1"], &[("b1", 11)], 1, 0),
            (&[], &[], &[("b1", 11)], 1, 0),
            (&[], &["b1"], &[], 1, 1),
            (&[], &["b1"], &[("b1", 10)], 1, 1),
            (&[], &[], &[("b1", 10)], 0, 0),
            (&["b1"], &[], &[("b1", 11)], 1, 0),
            (&[], &["b1", "b1"], &[("b1", 11)], 2, 1),
            (&["d1"], &["b1", "b2"], &[("b2", 11), ("b3", 12)], 3, 1),
        ] {
            let (_, seen) = seen(droplets, builders, rows);
            let counts = (seen.machines(), seen.uncounted(later(10)));
            assert_eq!(counts, (machines, uncounted), "{droplets:?} {builders:?} {rows:?}");
        }
    }

    #[test]
    fn what_has_a_live_row_is_no_stray_and_what_has_one_that_is_over_is() {
        let (listed, seen) = seen(&["d1", "b1", "b2"], &[], &[("b1", 11), ("b2", 10)]);
        let left: Vec<_> = listed.droplets.iter().map(|droplet| droplet.name.as_str()).collect();
        assert_eq!((left, listed.builders), (vec!["d1", "b2"], vec![]));
        assert_eq!(seen.over().collect::<Vec<_>>(), [&name("b2")]);
    }

    #[test]
    fn a_row_that_ends_after_it_was_read_keeps_its_place_for_the_rest_of_the_pass() {
        let (_, seen) = seen(&[], &[], &[("b1", 12)]);
        assert_eq!([11, 12, 99].map(|at| seen.uncounted(later(at))), [0, 1, 1]);
        assert_eq!(seen.over().count(), 0);
    }
}
