//! What the autoscaler remembers between passes, and how it sees the pool, as plain values.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{boots::Boots, builders::Builders, setbacks::Setbacks};
use crate::{
    discovery::messages::DirectoryView,
    domain::{
        Cordon, Health, HostName, HostState, Timestamp,
        scaling::{Droplet, DropletHost, DropletState, Elsewhere, FleetSnapshot, OrderBudget, Outlook, ScalingPolicy},
    },
    ports::{self, DropletRow, OrderLimits},
    scheduler::messages::{FleetView, HostView},
};

/// Everything that one pass has read.
#[derive(Debug, Clone, Default)]
pub(super) struct Readings {
    /// The operator has resumed, and wants what failed to be tried again at once.
    pub(super) resumed: bool,
    pub(super) rows: Vec<DropletRow>,
    pub(super) limits: OrderLimits,
    /// What the provider lists, but builders.
    pub(super) listed: Vec<ports::Droplet>,
    pub(super) builders: Builders,
    /// Instances on each droplet according to their rows.
    pub(super) carried: BTreeMap<HostName, u32>,
    pub(super) fleet: FleetView,
    pub(super) directory: DirectoryView,
}

impl Readings {
    /// Whether there is an order that may still be being made, since no call to the cloud takes longer than `patience`.
    pub(super) fn has_young_order(&self, patience: Duration, now: Timestamp) -> bool {
        let young =
            |row: &DropletRow| Duration::try_from(now.duration_since(row.created_at)).unwrap_or_default() < patience;
        self.rows.iter().any(|row| row.state == DropletState::Creating && young(row))
    }
}

/// What no reading says: since when things have been as they are, why a host drains, and what was tried.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) setbacks: Setbacks,
    /// What could not be done in the last pass, and why.
    pub(super) complaints: BTreeSet<String>,
    boots: Boots,
    /// When the first pass was made. Droplets that were ordered before it may have been up for long.
    since: Option<Timestamp>,
    /// While this server makes orders. Before that, and while another one does, the database knows it.
    budget: Option<OrderBudget>,
    grown_at: Option<Timestamp>,
    hosts: BTreeMap<HostName, HostMemory>,
    /// Droplets that were hosts, and since when they are not.
    absent: BTreeMap<HostName, Timestamp>,
    /// Droplets with a row that the provider does not list, and since when.
    missing: BTreeMap<HostName, Timestamp>,
    /// Droplets that are listed and have no row, and since when.
    stray: BTreeMap<HostName, Timestamp>,
    /// Droplets whose rows say that they are deleted, and since when.
    deleted: BTreeMap<HostName, Timestamp>,
    directory_well_since: Option<Timestamp>,
    directory_away_since: Option<Timestamp>,
    drained_by_plan: BTreeSet<HostName>,
    /// Droplets that were seen to come up and have not been well for long enough since.
    unproven: BTreeSet<HostName>,
}

#[derive(Debug)]
struct HostMemory {
    health: Health,
    since: Timestamp,
    was_up: bool,
    empty_since: Option<Timestamp>,
}

impl Memory {
    /// A host began to drain because of a plan.
    pub(super) fn drained(&mut self, name: HostName) {
        self.drained_by_plan.insert(name);
    }

    /// The pool grows: a host that drained was taken back, or one is being ordered, whatever will come of it.
    pub(super) fn grows(&mut self, now: Timestamp) {
        self.grown_at = Some(now);
    }

    /// One more droplet is being ordered. To order one again takes nothing: there will be one of its name at most, and
    /// that was counted.
    pub(super) fn spends(&mut self, policy: &ScalingPolicy, now: Timestamp) {
        self.budget = Some(self.budget().after_an_order(policy, now));
    }

    /// What may still be ordered.
    pub(super) fn budget(&self) -> OrderBudget {
        self.budget.unwrap_or_default()
    }

    /// How long until the first droplet of this outlook is up, as far as anybody can say.
    pub(super) fn estimate(&self, outlook: &Outlook, now: Timestamp) -> Option<Duration> {
        self.boots.estimate(outlook, now)
    }

    /// Droplets that are listed and have no row.
    pub(super) fn strays(&self) -> BTreeSet<HostName> {
        self.stray.keys().cloned().collect()
    }

    /// Sees the pool in the readings.
    pub(super) fn observe(&mut self, readings: &Readings, policy: &ScalingPolicy, now: Timestamp) -> FleetSnapshot {
        let well = readings.directory.read_once && readings.directory.unreachable.is_none();
        self.directory_well_since = well.then(|| self.directory_well_since.unwrap_or(now));
        self.directory_away_since = (!well).then(|| self.directory_away_since.unwrap_or(now));
        let rows: BTreeMap<_, _> = readings.rows.iter().map(|row| (&row.name, row)).collect();
        let mut listed: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for machine in &readings.listed {
            listed.entry(&machine.name).or_default().push(machine);
        }
        // Names may be changed at the provider; what is in use is known by its address too.
        let by_address: BTreeMap<_, _> = readings.fleet.hosts.iter().map(|host| (host.address, &host.name)).collect();
        let is_it = |machine: &&ports::Droplet| machine.address.and_then(|address| by_address.get(&address).copied());
        let known: BTreeMap<_, _> = readings.fleet.hosts.iter().map(|host| (&host.name, host)).collect();
        let is_droplet = |name: &HostName| rows.contains_key(name) || listed.contains_key(name);
        self.remember(&readings.fleet, now);
        self.absent.retain(|name, _| is_droplet(name) && !known.contains_key(name));
        self.watch_boots(&rows, policy.bad_after, now);
        let missing = rows.keys().filter(|name| !listed.contains_key(*name));
        let since = |name: &HostName| self.missing.get(name).copied().unwrap_or(now);
        self.missing = missing.map(|name| ((*name).clone(), since(name))).collect();
        let stray = listed.keys().filter(|name| !rows.contains_key(*name));
        let since = |name: &HostName| self.stray.get(name).copied().unwrap_or(now);
        self.stray = stray.map(|name| ((*name).clone(), since(name))).collect();
        let deleted = rows.values().filter(|row| row.state == DropletState::Deleted);
        let since = |name: &HostName| self.deleted.get(name).copied().unwrap_or(now);
        self.deleted = deleted.map(|row| (row.name.clone(), since(&row.name))).collect();
        // What another server orders, or did before this one, is known from the database; what was ordered here, better.
        let leads = readings.fleet.leads;
        if self.budget.is_none() || !leads {
            self.setbacks.learn(readings.limits.hold.as_ref(), now);
        } else if readings.resumed || self.setbacks.was_ended_elsewhere(readings.limits.hold.as_ref(), now) {
            self.setbacks.forgive();
        }
        let budget = self.budget.unwrap_or(readings.limits.budget).bounded(policy, now);
        self.budget = leads.then_some(budget);

        let hosts = readings.fleet.hosts.iter().map(|host| (&host.name, Some(host)));
        let others: BTreeSet<_> = rows.keys().chain(listed.keys()).filter(|name| !known.contains_key(**name)).collect();
        let names = hosts.filter(|(name, _)| is_droplet(name)).chain(others.into_iter().map(|name| (*name, None)));
        FleetSnapshot {
            droplets: names
                .map(|(name, host)| Droplet {
                    name: name.clone(),
                    row: rows.get(name).map(|row| (row.state, row.created_at)),
                    listed: listed.get(name).and_then(|made| made.iter().map(|machine| machine.created_at).min()),
                    twins: listed.get(name).map_or(0, |made| u32::try_from(made.len() - 1).unwrap_or(u32::MAX)),
                    is_off: listed.get(name).is_some_and(|made| made.iter().all(|machine| machine.is_off)),
                    stray_since: self.stray.get(name).copied(),
                    alias_of: listed
                        .get(name)
                        .filter(|_| !rows.contains_key(name))
                        .and_then(|made| made.iter().find_map(is_it))
                        .filter(|host| *host != name)
                        .cloned(),
                    missing_since: self.missing.get(name).copied(),
                    deleted_since: self.deleted.get(name).copied(),
                    host: host.map(|host| self.host(host, now)),
                    absent_since: self.absent.get(name).copied(),
                    instances: readings.carried.get(name).copied().unwrap_or_default(),
                    drained_by_plan: self.drained_by_plan.contains(name),
                })
                .collect(),
            builders: readings.builders.machines(),
            elsewhere: elsewhere(readings.fleet.hosts.iter().filter(|host| !is_droplet(&host.name))),
            waiting: readings.fleet.waiting.saturating_add(readings.fleet.waiting_elsewhere),
            directory_well_since: self.directory_well_since,
            directory_away_since: self.directory_away_since,
            grown_at: self.grown_at,
            budget,
            hold: self.setbacks.hold(now),
        }
    }

    fn remember(&mut self, fleet: &FleetView, now: Timestamp) {
        let mut old = std::mem::take(&mut self.hosts);
        for host in &fleet.hosts {
            let before = old.remove(&host.name);
            let since = before.as_ref().filter(|before| before.health == host.state).map_or(now, |b| b.since);
            let was_up = host.state == Health::Up || before.as_ref().is_some_and(|before| before.was_up);
            let empty_since = before.and_then(|before| before.empty_since).unwrap_or(now);
            let empty_since = (host.used == 0).then_some(empty_since);
            self.hosts.insert(host.name.clone(), HostMemory { health: host.state, since, was_up, empty_since });
            // What the operator drains is not the plan's any more, whoever began.
            if host.cordon != Some(Cordon::Draining) || fleet.ordered.contains(&host.name) {
                self.drained_by_plan.remove(&host.name);
            }
        }
        self.absent.extend(old.into_keys().map(|name| (name, now)));
        let hosts = &self.hosts;
        self.drained_by_plan.retain(|name| hosts.contains_key(name));
    }

    /// Learns how long droplets take to boot, of those whose order it has seen.
    /// One that has been well for as long as another may be bad ends the row of failures.
    fn watch_boots(&mut self, rows: &BTreeMap<&HostName, &DropletRow>, well_after: Duration, now: Timestamp) {
        let since = *self.since.get_or_insert(now);
        self.boots.keep(|name| rows.contains_key(name));
        self.unproven.retain(|name| rows.contains_key(name));
        for row in rows.values().filter(|row| !row.state.is_condemned() && row.created_at >= since) {
            match self.hosts.get(&row.name) {
                Some(host) if host.health == Health::Up => {
                    if self.boots.came_up(&row.name, now) {
                        self.unproven.insert(row.name.clone());
                    }
                    // One that comes up and starts nothing is as bad as one that does not come up.
                    let well_for = Duration::try_from(now.duration_since(host.since)).unwrap_or_default();
                    if well_for >= well_after && self.unproven.remove(&row.name) {
                        self.setbacks.came_up();
                    }
                }
                // One that was up before tells nothing of a boot.
                Some(host) if host.was_up => {}
                None if self.absent.contains_key(&row.name) => {}
                _ => self.boots.await_it(&row.name, row.created_at),
            }
        }
    }

    fn host(&self, host: &HostView, now: Timestamp) -> DropletHost {
        let memory = self.hosts.get(&host.name);
        DropletHost {
            state: state(host),
            slots: host.slots,
            used: host.used,
            since: memory.map_or(now, |memory| memory.since),
            was_up: memory.is_some_and(|memory| memory.was_up),
            empty_since: memory.and_then(|memory| memory.empty_since),
        }
    }
}

fn elsewhere<'a>(hosts: impl Iterator<Item = &'a HostView>) -> Elsewhere {
    // One that joins is asked within a call: nothing is to be bought in its place meanwhile.
    let counts =
        |host: &&HostView| state(host).schedulable() || (host.state == Health::Joining && host.cordon.is_none());
    hosts.filter(counts).fold(Elsewhere::default(), |sum, host| Elsewhere {
        empty: sum.empty + u32::from(host.used == 0 && host.slots > 0),
        free: sum.free + host.slots.saturating_sub(host.used),
        used: sum.used + host.used,
    })
}

fn state(host: &HostView) -> HostState {
    HostState { health: host.state, cordon: host.cordon }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::scaling::Hold,
        ports,
        sim::samples::{later, scaling_policy as policy},
    };

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
            unannounced_since: None,
            vitals: None,
        }
    }

    /// The directory is well, and `hosts` are the fleet; those whose names begin with `d` are listed droplets.
    fn readings(hosts: Vec<HostView>) -> Readings {
        let droplet = |host: &HostView| ports::Droplet {
            name: host.name.clone(),
            created_at: later(0),
            address: None,
            is_off: false,
        };
        Readings {
            listed: hosts.iter().filter(|host| host.name.as_str().starts_with('d')).map(droplet).collect(),
            fleet: FleetView { hosts, ready: true, ..FleetView::default() },
            directory: DirectoryView { read_once: true, ..DirectoryView::default() },
            ..Readings::default()
        }
    }

    /// The same, as the server sees it that looks after the pool.
    fn leading(hosts: Vec<HostView>) -> Readings {
        let readings = readings(hosts);
        Readings { fleet: FleetView { leads: true, ..readings.fleet.clone() }, ..readings }
    }

    fn empty_since(snapshot: &FleetSnapshot) -> Option<Timestamp> {
        snapshot.droplets[0].host.as_ref().unwrap().empty_since
    }

    #[test]
    fn a_host_has_been_empty_since_it_was_first_seen_so_or_since_it_was_last_used() {
        let mut memory = Memory::default();
        for (used, at, expected) in [(0, 1, Some(1)), (0, 2, Some(1)), (1, 3, None), (0, 4, Some(4)), (0, 9, Some(4))] {
            let snapshot = memory.observe(&readings(vec![host("d1", used, None)]), &policy(), later(at));
            assert_eq!(empty_since(&snapshot), expected.map(later), "at {at}");
        }
    }

    #[test]
    fn the_directory_has_been_well_since_its_last_outage() {
        let mut memory = Memory::default();
        let away = DirectoryView { unreachable: Some("away".into()), read_once: true, ..DirectoryView::default() };
        let away = Readings { directory: away, ..readings(vec![]) };
        let mut since = |readings: &Readings, at| memory.observe(readings, &policy(), later(at)).directory_well_since;
        assert_eq!(since(&readings(vec![]), 1), Some(later(1)));
        assert_eq!(since(&readings(vec![]), 2), Some(later(1)));
        assert_eq!(since(&away, 3), None);
        assert_eq!(since(&readings(vec![]), 4), Some(later(4)));
        assert_eq!(since(&Readings::default(), 5), None, "discovery has not read it");
    }

    #[test]
    fn a_host_that_was_taken_back_or_left_or_is_the_operators_does_not_drain_by_a_plan_any_more() {
        let draining = || readings(vec![host("d1", 0, Some(Cordon::Draining))]);
        let by_plan =
            |memory: &mut Memory| memory.observe(&draining(), &policy(), later(1)).droplets[0].drained_by_plan;
        let mut ordered = draining();
        ordered.fleet.ordered.insert(name("d1"));
        for between in [readings(vec![host("d1", 0, None)]), readings(vec![]), ordered] {
            let mut memory = Memory::default();
            memory.drained(name("d1"));
            assert!(by_plan(&mut memory));
            memory.observe(&between, &policy(), later(2));
            assert!(!by_plan(&mut memory));
        }
    }

    #[test]
    fn hosts_that_are_no_droplets_count_as_standby_and_are_not_planned_for() {
        let full = HostView { slots: 0, ..host("full", 0, None) };
        let hosts = vec![host("mine", 0, None), host("busy", 1, None), full, host("d1", 0, None)];
        let snapshot = Memory::default().observe(&readings(hosts), &policy(), later(1));
        assert_eq!(snapshot.elsewhere, Elsewhere { empty: 1, free: 79, used: 1 });
        assert_eq!(snapshot.droplets.len(), 1);
    }

    #[test]
    fn a_droplet_that_was_a_host_is_absent_since_it_was_missed_first() {
        let mut memory = Memory::default();
        let with = readings(vec![host("d1", 0, None)]);
        let without = Readings { fleet: FleetView { ready: true, ..FleetView::default() }, ..with.clone() };
        let mut absent =
            |readings: &Readings, at| memory.observe(readings, &policy(), later(at)).droplets[0].absent_since;
        assert_eq!(absent(&without, 1), None, "it may be booting");
        assert_eq!(absent(&with, 2), None);
        assert_eq!(absent(&without, 3), Some(later(3)));
        assert_eq!(absent(&without, 9), Some(later(3)));
        assert_eq!(absent(&with, 10), None);
    }

    /// What the database says after orders that leave the bucket full again at that second.
    fn with_limits(leads: bool, full_at: u64, held_until: Option<u64>) -> Readings {
        let hold = held_until.map(|until| Hold { until: later(until), why: "sold out".to_owned() });
        Readings {
            limits: OrderLimits { budget: OrderBudget::of(Some(later(full_at))), hold },
            ..if leads { leading(vec![]) } else { readings(vec![]) }
        }
    }

    /// Three orders at once, one more every minute.
    fn counted() -> ScalingPolicy {
        ScalingPolicy { create_burst: 3, creates_per_hour: 60, ..policy() }
    }

    #[test]
    fn orders_of_an_earlier_process_and_of_the_server_that_leads_count_against_the_budget() {
        let mut memory = Memory::default();
        let left = |snapshot: &FleetSnapshot, at| snapshot.budget.left(&counted(), later(at));
        let mut seen = |readings: &Readings, at| left(&memory.observe(readings, &counted(), later(at)), at);
        assert_eq!(seen(&with_limits(false, 0, None), 1), 3);
        assert_eq!(seen(&with_limits(false, 121, None), 1), 1, "another one ordered");
        assert_eq!(seen(&with_limits(true, 121, None), 1), 1, "it takes over");
        assert_eq!(seen(&with_limits(true, 0, None), 1), 1, "what it knows is newer than what it read");
        memory.spends(&counted(), later(1));
        assert_eq!(left(&memory.observe(&with_limits(true, 0, None), &counted(), later(1)), 1), 0);
    }

    #[test]
    fn a_clock_that_was_ahead_holds_nothing_back_for_longer_than_a_bucket_takes() {
        let year = 365 * 24 * 3600;
        let mut memory = Memory::default();
        let mut left = |at| memory.observe(&with_limits(true, year, Some(year)), &counted(), later(at));
        assert_eq!(left(1).budget.left(&counted(), later(1)), 0);
        assert_eq!(left(181).budget.left(&counted(), later(181)), 3);
        assert!(left(3600).hold.is_some() && left(3601).hold.is_none());
    }

    #[test]
    fn what_stands_in_the_way_of_the_server_that_leads_stands_in_the_way_of_whoever_takes_over() {
        let mut memory = Memory::default();
        let mut held = |leads, until, at| memory.observe(&with_limits(leads, 0, until), &policy(), later(at)).hold;
        assert_eq!(held(false, None, 1), None);
        assert_eq!(held(false, Some(100), 2).unwrap().why, "sold out");
        assert_eq!(held(false, None, 3), None, "it was sold something");
        assert_eq!(held(false, Some(100), 4).unwrap().until, later(100));
        assert_eq!(held(true, Some(100), 5).unwrap().until, later(100));
        assert_eq!(held(true, None, 6).unwrap().until, later(100), "what it knows is newer than what it read");
        assert_eq!(held(true, None, 101), None);
    }

    #[test]
    fn a_droplet_is_missing_since_the_first_list_without_it_and_not_any_more_once_it_is_listed() {
        let row = DropletRow { name: name("d1"), state: DropletState::Created, created_at: later(0) };
        let with = Readings { rows: vec![row], ..readings(vec![host("d1", 0, None)]) };
        let without = Readings { listed: Vec::new(), ..with.clone() };
        let mut memory = Memory::default();
        let mut missing =
            |readings: &Readings, at| memory.observe(readings, &policy(), later(at)).droplets[0].missing_since;
        assert_eq!(missing(&with, 1), None);
        assert_eq!(missing(&without, 2), Some(later(2)));
        assert_eq!(missing(&without, 9), Some(later(2)));
        assert_eq!(missing(&with, 10), None);
        assert_eq!(missing(&without, 11), Some(later(11)));
    }

    #[test]
    fn a_droplet_without_a_row_is_a_stray_since_it_was_first_seen_and_known_by_its_address() {
        let with = readings(vec![host("own", 1, None)]);
        let machine = ports::Droplet {
            name: name("x"),
            created_at: later(0),
            address: Some([192, 0, 2, 1].into()),
            is_off: false,
        };
        let stray = Readings { listed: vec![machine], ..with.clone() };
        let mut memory = Memory::default();
        assert_eq!(memory.observe(&with, &policy(), later(1)).droplets, []);
        for at in [5000, 5001] {
            let seen = memory.observe(&stray, &policy(), later(at)).droplets.remove(0);
            assert_eq!((seen.stray_since, seen.alias_of), (Some(later(5000)), Some(name("own"))));
        }
    }

    #[test]
    fn a_host_of_the_operators_that_was_not_asked_yet_counts() {
        let joins = HostView { state: Health::Joining, ..host("own", 38, None) };
        let seen = Memory::default().observe(&readings(vec![joins]), &policy(), later(1));
        assert_eq!(seen.elsewhere, Elsewhere { empty: 0, free: 2, used: 38 });
    }

    #[test]
    fn boots_of_droplets_whose_order_was_seen_are_what_an_estimate_is_made_of() {
        let row = |state| DropletRow { name: name("d1"), state, created_at: later(10) };
        let booting = Readings { rows: vec![row(DropletState::Created)], ..readings(vec![]) };
        let up = Readings { rows: booting.rows.clone(), ..readings(vec![host("d1", 0, None)]) };
        let outlook = Outlook { coming: 1, first_ordered: Some(later(100)), may_grow: false, ..Outlook::default() };
        let mut memory = Memory::default();
        memory.observe(&booting, &policy(), later(5000));
        memory.observe(&up, &policy(), later(5001));
        let usual = Some(Duration::from_secs(60));
        assert_eq!(memory.estimate(&outlook, later(100)), usual, "it was up before this process was");
        let mut memory = Memory::default();
        memory.observe(&readings(vec![]), &policy(), later(9));
        memory.observe(&booting, &policy(), later(11));
        memory.observe(&up, &policy(), later(80));
        assert_eq!(memory.estimate(&outlook, later(100)), Some(Duration::from_secs(70)));
    }
}
