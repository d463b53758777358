//! Whether there is room for a builder: what DigitalOcean lists, beside what the database counts.
//!
//! Owns that nothing is counted twice and nothing not at all: a row is one machine, however many there are of its name the
//! others come on top. Must not change anything.

use std::collections::{BTreeMap, BTreeSet};

use getaredis_actors::{
    domain::{HostName, Timestamp},
    ports::{BuilderRow, DropletRow, DropletState},
};

use super::{Droplet, builders::is_builder};
use crate::images::ImageError;

/// What takes places in the pool.
pub(super) struct Room {
    /// How many builders of each name are listed.
    builders: BTreeMap<HostName, usize>,
    /// How many other machines.
    others: BTreeMap<HostName, usize>,
    /// Droplets whose rows the database counts.
    rows: BTreeSet<HostName>,
    /// The same of builders, and until when.
    kept: BTreeMap<HostName, Timestamp>,
}

impl Room {
    /// Of what was listed, with the tag, and of the rows, which were read afterwards: what is ordered in between has one.
    pub(super) fn of(
        tag: &str,
        listed: &[Droplet],
        rows: Vec<DropletRow>,
        builders: Vec<BuilderRow>,
        now: Timestamp,
    ) -> Self {
        let counted = rows.into_iter().filter(|row| row.state != DropletState::Deleted);
        let live = builders.into_iter().filter(|row| row.is_live(now));
        let mut room = Self {
            builders: BTreeMap::new(),
            others: BTreeMap::new(),
            rows: counted.map(|row| row.name).collect(),
            kept: live.map(|row| (row.name, row.ends_at)).collect(),
        };
        for droplet in listed {
            let Some(name) = droplet.host_name() else { continue };
            let kind = if is_builder(tag, &droplet.name) { &mut room.builders } else { &mut room.others };
            *kind.entry(name).or_default() += 1;
        }
        room
    }

    /// Whether there are builders to be taken away.
    pub(super) fn has_builders(&self) -> bool {
        !self.builders.is_empty()
    }

    /// The rows that there may be, the new builder's among them: what has none is paid for too.
    pub(super) fn most(&self, max_hosts: usize) -> u32 {
        u32::try_from(max_hosts.saturating_sub(self.uncounted())).unwrap_or(u32::MAX)
    }

    /// Sees that there will be a place once all builders that are listed are taken away. A row without one holds its
    /// place: whoever wrote it may order at any moment.
    ///
    /// # Errors
    /// [`ImageError::NoRoom`]
    pub(super) fn check(&self, max_hosts: usize) -> Result<(), ImageError> {
        let unlisted = self.kept.iter().filter(|(name, _)| !self.builders.contains_key(*name));
        let (count, until) = (unlisted.clone().count(), unlisted.map(|(_, ends_at)| *ends_at).max());
        let there = self.rows.len() + without_rows(&self.others, |name| self.rows.contains(name)) + count;
        match there < max_hosts {
            true => Ok(()),
            false => Err(ImageError::NoRoom { there, allowed: max_hosts, kept_until: until }),
        }
    }

    /// What to say when the database found no place.
    pub(super) fn none(&self, max_hosts: usize) -> ImageError {
        let there = self.rows.len() + self.kept.len() + self.uncounted();
        // What was given back meanwhile is not there any more, but it was.
        ImageError::NoRoom {
            there: there.max(max_hosts),
            allowed: max_hosts,
            kept_until: self.kept.values().max().copied(),
        }
    }

    /// Machines that the database does not count.
    fn uncounted(&self) -> usize {
        without_rows(&self.others, |name| self.rows.contains(name))
            + without_rows(&self.builders, |name| self.kept.contains_key(name))
    }
}

fn without_rows(machines: &BTreeMap<HostName, usize>, has_row: impl Fn(&HostName) -> bool) -> usize {
    machines.iter().map(|(name, count)| count - usize::from(has_row(name))).sum()
}

#[cfg(test)]
mod tests {
    use getaredis_actors::sim::samples::{builder, droplet, later, now};
    use serde_json::json;

    use super::*;

    const TAG: &str = "getaredis-test";
    const B1: &str = "getaredis-test-builder-00000001";
    const B2: &str = "getaredis-test-builder-00000002";

    fn machine(name: &&str) -> Droplet {
        let droplet = json!({ "id": 7, "name": name, "status": "active", "created_at": now(), "tags": [TAG] });
        serde_json::from_value(droplet).unwrap()
    }

    fn room(listed: &[&str], rows: &[(&str, DropletState)], builders: &[(&str, u64)]) -> Room {
        let listed: Vec<_> = listed.iter().map(machine).collect();
        let rows = rows.iter().map(|(name, state)| DropletRow { state: *state, ..droplet(name) }).collect();
        let builders = builders.iter().map(|(name, ends)| builder(name, *ends)).collect();
        Room::of(TAG, &listed, rows, builders, later(10))
    }

    #[test]
    fn what_has_no_row_that_counts_leaves_less_room_for_rows() {
        use DropletState::{Created, Deleted};
        for (listed, rows, builders, most) in [
            (&[][..], &[][..], &[][..], 5),
            (&["d1", "d2"], &[("d1", Created)], &[], 4),
            (&["d1"], &[("d1", Deleted)], &[], 4),
            (&["d1", "d1"], &[("d1", Created)], &[], 4),
            (&[], &[("d1", Created), ("d2", Created)], &[(B1, 11)], 5),
            (&[B1], &[], &[(B1, 11)], 5),
            (&[B1, B2], &[], &[(B1, 10)], 3),
            (&["strange name!"], &[], &[], 4),
            (&["a", "b", "c", "d", "e", "f"], &[], &[], 0),
        ] {
            assert_eq!(room(listed, rows, builders).most(5), most, "{listed:?} {rows:?} {builders:?}");
        }
    }

    #[test]
    fn a_builder_that_can_be_taken_away_is_in_nobodys_way_and_a_row_without_one_is() {
        let check = |listed: &[&str], builders: &[(&str, u64)]| room(listed, &[], builders).check(2);
        assert_eq!(check(&["d1", B1, B2], &[(B1, 11), (B2, 11)]), Ok(()));
        assert_eq!(check(&["d1"], &[(B1, 10)]), Ok(()));
        let refused = ImageError::NoRoom { there: 2, allowed: 2, kept_until: Some(later(11)) };
        assert_eq!(check(&["d1", B2], &[(B1, 11), (B2, 12)]), Err(refused.clone()));
        assert!(refused.to_string().contains("its place is kept until 2026-"), "{refused}");
        assert_eq!(check(&["d1", "d2"], &[]), Err(ImageError::NoRoom { there: 2, allowed: 2, kept_until: None }));
    }
}
