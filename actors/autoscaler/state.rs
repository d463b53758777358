//! What the autoscaler remembers between passes, and how it sees the pool, as plain values.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    discovery::messages::DirectoryView,
    domain::{
        Cordon, Health, HostName, HostState, Instance, Timestamp,
        scaling::{Droplet, DropletHost, FleetSnapshot},
    },
    ports::{self, DropletRow},
    scheduler::messages::{FleetView, HostView},
};

/// Everything that one pass has read.
#[derive(Debug, Clone, Default)]
pub(super) struct Readings {
    pub(super) rows: Vec<DropletRow>,
    pub(super) listed: Vec<ports::Droplet>,
    pub(super) live: Vec<Instance>,
    pub(super) fleet: FleetView,
    pub(super) directory: DirectoryView,
}

/// What no reading says: since when things have been as they are, and why a host drains.
#[derive(Debug, Default)]
pub(super) struct Memory {
    hosts: BTreeMap<HostName, HostMemory>,
    directory_well_since: Option<Timestamp>,
    drained_by_plan: BTreeSet<HostName>,
}

#[derive(Debug)]
struct HostMemory {
    health: Health,
    since: Timestamp,
    empty_since: Option<Timestamp>,
}

impl Memory {
    /// A host began to drain because of a plan.
    pub(super) fn drained(&mut self, name: HostName) {
        self.drained_by_plan.insert(name);
    }

    /// Sees the pool in the readings.
    pub(super) fn observe(&mut self, readings: &Readings, now: Timestamp) -> FleetSnapshot {
        let well = readings.directory.read_once && readings.directory.unreachable.is_none();
        self.directory_well_since = well.then(|| self.directory_well_since.unwrap_or(now));
        self.remember(&readings.fleet.hosts, now);

        let rows: BTreeMap<_, _> = readings.rows.iter().map(|row| (&row.name, row)).collect();
        let listed: BTreeMap<_, _> = readings.listed.iter().map(|droplet| (&droplet.name, droplet)).collect();
        let is_droplet = |name: &HostName| rows.contains_key(name) || listed.contains_key(name);
        let hosts = readings.fleet.hosts.iter().map(|host| (&host.name, Some(host)));
        let known: BTreeSet<_> = readings.fleet.hosts.iter().map(|host| &host.name).collect();
        let others: BTreeSet<_> = rows.keys().chain(listed.keys()).filter(|name| !known.contains(**name)).collect();
        let names = hosts.filter(|(name, _)| is_droplet(name)).chain(others.into_iter().map(|name| (*name, None)));
        FleetSnapshot {
            droplets: names
                .map(|(name, host)| Droplet {
                    name: name.clone(),
                    row: rows.get(name).map(|row| (row.state, row.created_at)),
                    listed: listed.get(name).map(|droplet| droplet.created_at),
                    host: host.map(|host| self.host(host, now)),
                    instances: count(readings.live.iter().filter(|instance| &instance.host == name)),
                    drained_by_plan: self.drained_by_plan.contains(name),
                })
                .collect(),
            standby_elsewhere: count(readings.fleet.hosts.iter().filter(|host| {
                state(host).schedulable() && host.used == 0 && host.slots > 0 && !is_droplet(&host.name)
            })),
            directory_well_since: self.directory_well_since,
        }
    }

    fn remember(&mut self, hosts: &[HostView], now: Timestamp) {
        let mut old = std::mem::take(&mut self.hosts);
        for host in hosts {
            let before = old.remove(&host.name);
            let since = before.as_ref().filter(|before| before.health == host.state).map_or(now, |b| b.since);
            let empty_since = before.and_then(|before| before.empty_since).unwrap_or(now);
            let empty_since = (host.used == 0).then_some(empty_since);
            self.hosts.insert(host.name.clone(), HostMemory { health: host.state, since, empty_since });
            if host.cordon != Some(Cordon::Draining) {
                self.drained_by_plan.remove(&host.name);
            }
        }
        let hosts = &self.hosts;
        self.drained_by_plan.retain(|name| hosts.contains_key(name));
    }

    fn host(&self, host: &HostView, now: Timestamp) -> DropletHost {
        let memory = self.hosts.get(&host.name);
        DropletHost {
            state: state(host),
            used: host.used,
            since: memory.map_or(now, |memory| memory.since),
            empty_since: memory.and_then(|memory| memory.empty_since),
        }
    }
}

fn state(host: &HostView) -> HostState {
    HostState { health: host.state, cordon: host.cordon }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::samples::later;

    fn name(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    fn host(called: &str, used: u32, cordon: Option<Cordon>) -> HostView {
        HostView {
            name: name(called),
            address: [192, 0, 2, 1].into(),
            state: Health::Up,
            cordon,
            slots: 40,
            used,
            reason: None,
            isolated: true,
        }
    }

    /// The directory is well, and `hosts` are the fleet; those whose names begin with `d` are listed droplets.
    fn readings(hosts: Vec<HostView>) -> Readings {
        let droplet = |host: &HostView| ports::Droplet { name: host.name.clone(), created_at: later(0) };
        Readings {
            listed: hosts.iter().filter(|host| host.name.as_str().starts_with('d')).map(droplet).collect(),
            fleet: FleetView { hosts, ready: true, refusal: None },
            directory: DirectoryView { read_once: true, ..DirectoryView::default() },
            ..Readings::default()
        }
    }

    fn empty_since(snapshot: &FleetSnapshot) -> Option<Timestamp> {
        snapshot.droplets[0].host.as_ref().unwrap().empty_since
    }

    #[test]
    fn a_host_has_been_empty_since_it_was_first_seen_so_or_since_it_was_last_used() {
        let mut memory = Memory::default();
        for (used, at, expected) in [(0, 1, Some(1)), (0, 2, Some(1)), (1, 3, None), (0, 4, Some(4)), (0, 9, Some(4))] {
            let snapshot = memory.observe(&readings(vec![host("d1", used, None)]), later(at));
            assert_eq!(empty_since(&snapshot), expected.map(later), "at {at}");
        }
    }

    #[test]
    fn the_directory_has_been_well_since_its_last_outage() {
        let mut memory = Memory::default();
        let away = DirectoryView { unreachable: Some("away".into()), read_once: true, ..DirectoryView::default() };
        let away = Readings { directory: away, ..readings(vec![]) };
        let mut since = |readings: &Readings, at| memory.observe(readings, later(at)).directory_well_since;
        assert_eq!(since(&readings(vec![]), 1), Some(later(1)));
        assert_eq!(since(&readings(vec![]), 2), Some(later(1)));
        assert_eq!(since(&away, 3), None);
        assert_eq!(since(&readings(vec![]), 4), Some(later(4)));
        assert_eq!(since(&Readings::default(), 5), None, "discovery has not read it");
    }

    #[test]
    fn a_host_that_was_taken_back_or_left_does_not_drain_by_a_plan_any_more() {
        let draining = || readings(vec![host("d1", 0, Some(Cordon::Draining))]);
        let by_plan = |memory: &mut Memory| memory.observe(&draining(), later(1)).droplets[0].drained_by_plan;
        for between in [readings(vec![host("d1", 0, None)]), readings(vec![])] {
            let mut memory = Memory::default();
            memory.drained(name("d1"));
            assert!(by_plan(&mut memory));
            memory.observe(&between, later(2));
            assert!(!by_plan(&mut memory));
        }
    }

    #[test]
    fn hosts_that_are_no_droplets_count_as_standby_and_are_not_planned_for() {
        let full = HostView { slots: 0, ..host("full", 0, None) };
        let hosts = vec![host("mine", 0, None), host("busy", 1, None), full, host("d1", 0, None)];
        let snapshot = Memory::default().observe(&readings(hosts), later(1));
        assert_eq!((snapshot.standby_elsewhere, snapshot.droplets.len()), (1, 1));
    }
}
