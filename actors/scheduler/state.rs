//! The ledger: which hosts there are, and which instance holds which slot.
//!
//! Plain and synchronous, so that looking for room and taking it happen in one turn of the loop. It is rebuilt from the
//! store and the directory on every start; nothing in here is durable.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::{
    domain::{
        Candidate, Health, HostEvent, HostName, HostState, Instance, InstanceId, NoPlace, Strategy, Timestamp,
        host::IllegalHostEvent, place,
    },
    ports::{HostRecord, HostVitals},
    scheduler::messages::HostView,
};

/// What an instance's slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Kept free for an instance that is on its way.
    Reserved,
    /// Taken by an instance that a row says is there.
    Committed,
    /// Taken by what may still be there of an instance that is tried elsewhere, or was given up.
    Leftover,
}

/// A host in the ledger.
#[derive(Debug, Clone)]
struct Entry {
    record: HostRecord,
    /// What its engine and the operator say.
    state: HostState,
    /// Since when the directory does not announce it any more, if so.
    unannounced_since: Option<Timestamp>,
    /// Why its engine is not well, if so.
    reason: Option<String>,
    isolated: bool,
    vitals: Option<Box<HostVitals>>,
}

impl Entry {
    fn announced(&self) -> bool {
        self.unannounced_since.is_none()
    }

    /// A host that is not announced any more takes nothing, whatever its engine still answers: the next thing that
    /// happens to it may be its deletion.
    fn effective(&self) -> HostState {
        match (self.announced(), self.state.health) {
            (true, _) => self.state,
            (false, Health::Up) => HostState { health: Health::Unannounced, ..self.state },
            (false, _) => HostState { health: Health::Unreachable, ..self.state },
        }
    }

    /// Everything that is wrong with it, while it is.
    fn reason(&self) -> Option<String> {
        let ran_out = (!self.announced()).then(|| "its announcement ran out".to_owned());
        let reasons: Vec<_> = ran_out.into_iter().chain(self.reason.clone()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// Hosts and slots. See the module's header.
#[derive(Debug, Default)]
pub struct Ledger {
    /// In their declared order.
    hosts: Vec<Entry>,
    /// Slots by host; also of hosts that are not announced, because a row remembers where its container is.
    slots: HashMap<HostName, BTreeMap<InstanceId, Hold>>,
    /// The way back from an instance to its host, and what its slot there is.
    placed: HashMap<InstanceId, (HostName, Hold)>,
    /// While the rows are read for a comparison: what must be known of the time before and meanwhile.
    comparing: Option<Comparing>,
}

/// See [`Ledger::begin_comparison`].
#[derive(Debug, Default)]
struct Comparing {
    /// Instances whose slot was taken or given back since the reading of the rows began.
    touched: HashSet<InstanceId>,
    /// Instances that the rows name.
    named: HashSet<InstanceId>,
    changed: Compared,
}

/// What a comparison with the rows changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Instances whose slot was given back, because no row claims it any more, with the host that it was on.
    pub ended: Vec<(InstanceId, HostName)>,
    /// Hosts of which slots were taken or given back.
    pub hosts: BTreeSet<HostName>,
}

impl Ledger {
    /// Adds a host, or changes what is known of it. One that had been lost is announced again.
    pub fn announce(&mut self, record: HostRecord, isolated: bool) {
        match self.hosts.iter_mut().find(|h| h.record.name == record.name) {
            Some(entry) => {
                entry.record = record;
                entry.isolated = isolated;
                entry.unannounced_since = None;
            }
            None => self.hosts.push(Entry {
                record,
                state: HostState::JOINING,
                unannounced_since: None,
                reason: None,
                isolated,
                vitals: None,
            }),
        }
    }

    /// A host says how it fares; one that is not known says nothing.
    pub fn fares(&mut self, name: &HostName, vitals: HostVitals) {
        if let Some(entry) = self.entry(name) {
            entry.vitals = Some(Box::new(vitals));
        }
    }

    /// The directory lost a host. It is forgotten when it holds no instance, else kept as unreachable until it does
    /// not. Tells whether it was forgotten.
    pub fn withdraw(&mut self, name: &HostName, now: Timestamp) -> bool {
        if self.claimed(name) == 0 {
            self.hosts.retain(|h| &h.record.name != name);
            return true;
        }
        if let Some(entry) = self.entry(name) {
            entry.unannounced_since.get_or_insert(now);
        }
        false
    }

    /// Hosts that are not announced any more and hold nothing any more.
    pub fn forgettable(&self) -> Vec<HostName> {
        let gone = self.hosts.iter().filter(|h| !h.announced() && self.claimed(&h.record.name) == 0);
        gone.map(|h| h.record.name.clone()).collect()
    }

    /// Moves a host's state, with the reason why it is not well, if it is not. Tells whether anything is shown
    /// differently now.
    ///
    /// # Errors
    /// [`IllegalHostEvent`] when the host cannot take the event. An unknown host takes every event and stays unknown.
    pub fn host_event(
        &mut self,
        name: &HostName,
        event: HostEvent,
        reason: Option<String>,
    ) -> Result<bool, IllegalHostEvent> {
        let Some(entry) = self.entry(name) else { return Ok(false) };
        let next = entry.state.after(event)?;
        let changed = next != entry.state || reason != entry.reason;
        entry.state = next;
        entry.reason = reason;
        Ok(changed)
    }

    /// Finds a place for `id` and takes it, in one go. `failed` are the hosts that were tried for it before.
    ///
    /// # Errors
    /// [`NoPlace`] when there is none; then nothing changed.
    pub fn reserve(&mut self, id: &InstanceId, strategy: Strategy, failed: &[HostName]) -> Result<HostName, NoPlace> {
        let host = place(&self.candidates(), strategy, failed)?.clone();
        self.hold(id, &host, Hold::Reserved);
        Ok(host)
    }

    /// The reserved slot is taken now. False when `id` holds none.
    pub fn commit(&mut self, id: &InstanceId) -> bool {
        let Some((host, _)) = self.placed.get(id).cloned() else { return false };
        self.hold(id, &host, Hold::Committed);
        true
    }

    /// A row says that `id` is on `host`: a fact, so it is taken even beyond the host's slots.
    pub fn adopt(&mut self, id: &InstanceId, host: &HostName) {
        self.hold(id, host, Hold::Committed);
    }

    /// Gives the slot of `id` back and tells whose it was. `None` when it holds none.
    pub fn release(&mut self, id: &InstanceId) -> Option<HostName> {
        // Also where it held none: rows that are being read may name it still.
        self.touch(id);
        let (host, _) = self.placed.remove(id)?;
        if let Some(slots) = self.slots.get_mut(&host) {
            slots.remove(id);
            if slots.is_empty() {
                self.slots.remove(&host);
            }
        }
        Some(host)
    }

    /// The rows are about to be read, to be compared with what the ledger holds: what other servers did is found that
    /// way. Whatever happens here until [`end_comparison`](Self::end_comparison) is newer than what is read.
    pub fn begin_comparison(&mut self) {
        self.comparing = Some(Comparing::default());
    }

    /// Takes in some of the live rows that were read since [`begin_comparison`](Self::begin_comparison): adopts what
    /// other servers created. Instances that this server is creating are left alone.
    pub fn compare(&mut self, rows: &[Instance], is_ours: impl Fn(&InstanceId) -> bool) {
        let Some(mut comparing) = self.comparing.take() else { return };
        for row in rows {
            comparing.named.insert(row.id.clone());
            let held = self.placed.get(&row.id);
            let known = held.is_some_and(|(host, hold)| *host == row.host && *hold == Hold::Committed);
            if known || comparing.touched.contains(&row.id) || is_ours(&row.id) {
                continue;
            }
            let before = held.map(|(host, _)| host.clone()).filter(|host| *host != row.host);
            comparing.changed.hosts.extend(before.into_iter().chain([row.host.clone()]));
            self.adopt(&row.id, &row.host);
        }
        self.comparing = Some(comparing);
    }

    /// All rows have been taken in: gives back what other servers ended, and tells what the comparison changed.
    pub fn end_comparison(&mut self, is_ours: impl Fn(&InstanceId) -> bool) -> Compared {
        let Comparing { touched, named, changed: mut compared } = self.comparing.take().unwrap_or_default();
        let claimed = self.placed.iter().filter(|(_, (_, hold))| *hold == Hold::Committed);
        let ended = claimed.filter(|(id, _)| !named.contains(*id) && !touched.contains(*id) && !is_ours(id));
        compared.ended = ended.map(|(id, (host, _))| (id.clone(), host.clone())).collect();
        compared.ended.sort();
        for (id, host) in &compared.ended {
            self.release(id);
            compared.hosts.insert(host.clone());
        }
        compared
    }

    /// What `id` left on `host` could not be removed, after a failed start or because the host does not answer: that
    /// takes a slot until it is gone.
    pub fn leave_behind(&mut self, id: &InstanceId, host: &HostName) {
        self.slots.entry(host.clone()).or_default().insert(id.clone(), Hold::Leftover);
    }

    /// Of what failed starts left on a host, these are gone.
    pub fn drop_leftovers(&mut self, host: &HostName, is_gone: impl Fn(&InstanceId) -> bool) {
        if let Some(slots) = self.slots.get_mut(host) {
            slots.retain(|id, hold| *hold != Hold::Leftover || !is_gone(id));
            if slots.is_empty() {
                self.slots.remove(host);
            }
        }
    }

    /// Slots that are taken or reserved on a host.
    #[must_use]
    pub fn used(&self, host: &HostName) -> u32 {
        self.slots.get(host).map_or(0, |slots| u32::try_from(slots.len()).unwrap_or(u32::MAX))
    }

    /// Slots on a host that instances claim; what was left behind there does not.
    fn claimed(&self, host: &HostName) -> u32 {
        let claims = |slots: &BTreeMap<InstanceId, Hold>| slots.values().filter(|h| **h != Hold::Leftover).count();
        self.slots.get(host).map_or(0, |slots| u32::try_from(claims(slots)).unwrap_or(u32::MAX))
    }

    /// Why a create would be refused now, if it would.
    #[must_use]
    pub fn refusal(&self, strategy: Strategy) -> Option<NoPlace> {
        place(&self.candidates(), strategy, &[]).err()
    }

    /// Every host as it is shown, in the declared order.
    #[must_use]
    pub fn views(&self) -> Vec<HostView> {
        self.hosts.iter().map(|h| self.view_of(h)).collect()
    }

    /// One host as it is shown.
    #[must_use]
    pub fn view(&self, name: &HostName) -> Option<HostView> {
        self.hosts.iter().find(|h| &h.record.name == name).map(|h| self.view_of(h))
    }

    fn view_of(&self, entry: &Entry) -> HostView {
        let state = entry.effective();
        let name = &entry.record.name;
        // Whether anything is left on a host that does not answer shows when it does.
        let used = if state.health == Health::Unreachable { self.claimed(name) } else { self.used(name) };
        HostView {
            name: name.clone(),
            address: entry.record.public_address,
            state: state.health,
            cordon: state.cordon,
            slots: entry.record.slots,
            used,
            reason: entry.reason(),
            isolated: entry.isolated,
            unannounced_since: entry.unannounced_since,
            vitals: entry.vitals.clone(),
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let candidate = |h: &Entry| Candidate {
            name: h.record.name.clone(),
            state: h.effective(),
            slots: h.record.slots,
            used: self.used(&h.record.name),
        };
        self.hosts.iter().map(candidate).collect()
    }

    fn hold(&mut self, id: &InstanceId, host: &HostName, hold: Hold) {
        if self.placed.get(id).is_some_and(|(before, _)| before != host) {
            self.release(id);
        }
        self.touch(id);
        self.placed.insert(id.clone(), (host.clone(), hold));
        self.slots.entry(host.clone()).or_default().insert(id.clone(), hold);
    }

    fn touch(&mut self, id: &InstanceId) {
        if let Some(comparing) = &mut self.comparing {
            comparing.touched.insert(id.clone());
        }
    }

    fn entry(&mut self, name: &HostName) -> Option<&mut Entry> {
        self.hosts.iter_mut().find(|h| &h.record.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{
        collection::vec,
        prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof},
        proptest,
        strategy::Strategy as Generator,
    };

    use crate::sim::samples::{later, now};

    fn name(n: u8) -> HostName {
        HostName::parse(&format!("h{n}")).unwrap()
    }

    fn id(n: u8) -> InstanceId {
        InstanceId::from_uuid(uuid::Uuid::from_u128(n.into()))
    }

    fn record(n: u8, slots: u32) -> HostRecord {
        HostRecord { name: name(n), public_address: [192, 0, 2, n].into(), engine: String::new(), slots }
    }

    fn ledger(hosts: &[(u8, u32)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (n, slots) in hosts {
            ledger.announce(record(*n, *slots), true);
            ledger.host_event(&name(*n), HostEvent::Answered, None).unwrap();
        }
        ledger
    }

    #[test]
    fn a_full_host_is_never_chosen() {
        let mut ledger = ledger(&[(1, 1), (2, 1)]);
        assert_eq!(ledger.reserve(&id(1), Strategy::Fill, &[]), Ok(name(1)));
        assert_eq!(ledger.reserve(&id(2), Strategy::Fill, &[]), Ok(name(2)));
        assert_eq!(ledger.reserve(&id(3), Strategy::Fill, &[]).unwrap_err().to_string(), "2 hosts full");
    }

    #[test]
    fn a_lost_host_keeps_its_instances_and_takes_no_new_ones() {
        let mut ledger = ledger(&[(1, 4)]);
        ledger.reserve(&id(1), Strategy::Fill, &[]).unwrap();
        assert!(!ledger.withdraw(&name(1), now()));
        assert!(!ledger.host_event(&name(1), HostEvent::Answered, None).unwrap(), "its engine's word changes nothing");
        assert_eq!(ledger.view(&name(1)).unwrap().state, Health::Unannounced);
        assert_eq!(ledger.reserve(&id(2), Strategy::Fill, &[]).unwrap_err().unannounced, 1);
        ledger.host_event(&name(1), HostEvent::StayedAway, None).unwrap();
        assert_eq!(ledger.view(&name(1)).unwrap().state, Health::Unreachable, "neither of them answers");
        ledger.release(&id(1));
        assert_eq!(ledger.forgettable(), [name(1)]);
        assert!(ledger.withdraw(&name(1), now()));
        assert_eq!(ledger.views(), []);
    }

    #[test]
    fn a_host_that_is_announced_again_is_what_its_engine_says() {
        let mut ledger = ledger(&[(1, 4)]);
        ledger.adopt(&id(1), &name(1));
        ledger.withdraw(&name(1), now());
        ledger.announce(record(1, 5), true);
        assert_eq!(ledger.view(&name(1)).map(|v| (v.state, v.slots)), Some((Health::Up, 5)));
    }

    #[test]
    fn all_that_is_wrong_with_a_host_is_told_and_nothing_once_it_is_well() {
        let mut ledger = ledger(&[(1, 4)]);
        ledger.adopt(&id(1), &name(1));
        let told = |ledger: &Ledger| ledger.view(&name(1)).unwrap().reason;
        ledger.withdraw(&name(1), now());
        assert_eq!(told(&ledger).unwrap(), "its announcement ran out");
        assert!(ledger.host_event(&name(1), HostEvent::StayedAway, Some("no answer".into())).unwrap());
        assert_eq!(told(&ledger).unwrap(), "its announcement ran out; no answer");
        ledger.announce(record(1, 4), true);
        assert_eq!(told(&ledger).unwrap(), "no answer");
        ledger.withdraw(&name(1), now());
        ledger.host_event(&name(1), HostEvent::Answered, None).unwrap();
        ledger.announce(record(1, 4), true);
        assert_eq!(told(&ledger), None);
    }

    #[test]
    fn a_host_that_lost_its_heartbeat_shows_since_when_and_how_it_last_fared() {
        let mut ledger = ledger(&[(1, 4)]);
        ledger.adopt(&id(1), &name(1));
        let vitals = HostVitals { cpus: Some(2), ..HostVitals::default() };
        ledger.fares(&name(1), vitals.clone());
        ledger.fares(&name(2), vitals.clone());
        ledger.withdraw(&name(1), later(1));
        ledger.withdraw(&name(1), later(9));
        let shown = ledger.view(&name(1)).unwrap();
        assert_eq!((shown.unannounced_since, shown.vitals), (Some(later(1)), Some(Box::new(vitals))));
        assert_eq!(ledger.view(&name(2)), None, "nobody becomes a host by a word about it");
        ledger.announce(record(1, 4), true);
        assert_eq!(ledger.view(&name(1)).unwrap().unannounced_since, None);
    }

    #[test]
    fn rows_are_adopted_before_and_beyond_their_host() {
        let mut ledger = Ledger::default();
        ledger.adopt(&id(1), &name(1));
        ledger.adopt(&id(2), &name(1));
        ledger.announce(record(1, 1), true);
        ledger.host_event(&name(1), HostEvent::Answered, None).unwrap();
        assert_eq!(ledger.view(&name(1)).map(|v| (v.used, v.slots)), Some((2, 1)));
        assert!(ledger.reserve(&id(3), Strategy::Fill, &[]).is_err());
    }

    fn row(n: u8, on: u8) -> Instance {
        Instance { id: id(n), host: name(on), ..crate::sim::samples::a_request(1).instance }
    }

    #[test]
    fn what_other_servers_created_is_adopted_and_what_they_ended_given_back() {
        let mut ledger = ledger(&[(1, 4), (2, 4)]);
        ledger.adopt(&id(1), &name(1));
        ledger.adopt(&id(2), &name(1));
        ledger.begin_comparison();
        ledger.compare(&[row(2, 2)], |_| false);
        ledger.compare(&[row(3, 2)], |_| false);
        let compared = ledger.end_comparison(|_| false);
        assert_eq!(compared.ended, [(id(1), name(1))]);
        assert_eq!(compared.hosts, BTreeSet::from([name(1), name(2)]));
        assert_eq!((ledger.used(&name(1)), ledger.used(&name(2))), (0, 2));
    }

    #[test]
    fn what_happened_here_while_the_rows_were_read_is_newer_than_they_are() {
        let mut ledger = ledger(&[(1, 9)]);
        ledger.adopt(&id(1), &name(1));
        ledger.reserve(&id(2), Strategy::Fill, &[]).unwrap();
        ledger.begin_comparison();
        ledger.release(&id(1));
        ledger.commit(&id(2));
        ledger.reserve(&id(3), Strategy::Fill, &[]).unwrap();
        // The rows are of the moment at which the comparison began.
        let ours = |ours: &InstanceId| *ours == id(3);
        ledger.compare(&[row(1, 1)], ours);
        assert_eq!(ledger.end_comparison(ours), Compared::default());
        assert_eq!(ledger.used(&name(1)), 2, "1 has ended, 2 runs, 3 is on its way");
    }

    #[test]
    fn what_was_given_up_on_a_silent_host_takes_its_slot_again_when_the_host_answers() {
        let mut ledger = ledger(&[(1, 1)]);
        ledger.adopt(&id(1), &name(1));
        ledger.host_event(&name(1), HostEvent::StayedAway, None).unwrap();
        ledger.release(&id(1));
        ledger.leave_behind(&id(1), &name(1));
        assert_eq!(ledger.view(&name(1)).unwrap().used, 0);
        ledger.host_event(&name(1), HostEvent::Answered, None).unwrap();
        assert!(ledger.reserve(&id(2), Strategy::Fill, &[]).is_err(), "its container may still be there");
        ledger.drop_leftovers(&name(1), |gone| *gone == id(1));
        assert!(ledger.reserve(&id(2), Strategy::Fill, &[]).is_ok());
    }

    #[test]
    fn what_was_given_up_keeps_no_host_that_left_and_takes_its_slot_should_it_come_back() {
        let mut ledger = ledger(&[(1, 1)]);
        ledger.adopt(&id(1), &name(1));
        assert!(!ledger.withdraw(&name(1), now()));
        ledger.release(&id(1));
        ledger.leave_behind(&id(1), &name(1));
        assert_eq!(ledger.forgettable(), [name(1)]);
        assert!(ledger.withdraw(&name(1), now()));
        ledger.announce(record(1, 1), true);
        ledger.host_event(&name(1), HostEvent::Answered, None).unwrap();
        assert_eq!(ledger.reserve(&id(2), Strategy::Fill, &[]).unwrap_err().full, 1);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Reserve(u8, Vec<u8>),
        Commit(u8),
        Release(u8),
        Answered(u8),
        StayedAway(u8),
        Withdraw(u8),
        Announce(u8),
    }

    fn any_step() -> impl Generator<Value = Step> {
        let (i, h) = (0u8..12, 1u8..4);
        prop_oneof![
            4 => (i.clone(), vec(h.clone(), 0..2)).prop_map(|(i, f)| Step::Reserve(i, f)),
            2 => i.clone().prop_map(Step::Commit),
            2 => i.prop_map(Step::Release),
            1 => h.clone().prop_map(Step::Answered),
            1 => h.clone().prop_map(Step::StayedAway),
            1 => h.clone().prop_map(Step::Withdraw),
            1 => h.prop_map(Step::Announce),
        ]
    }

    proptest! {
        #[test]
        fn slots_are_conserved_and_never_exceeded(steps in vec(any_step(), 1..120), spread in any::<bool>(), slots in Just(3u32)) {
            let strategy = if spread { Strategy::Spread } else { Strategy::Fill };
            let mut ledger = ledger(&[(1, slots), (2, slots), (3, slots)]);
            let mut model: BTreeMap<u8, HostName> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Reserve(i, _) if model.contains_key(&i) => {}
                    Step::Reserve(i, failed) => {
                        let failed: Vec<_> = failed.into_iter().map(name).collect();
                        if let Ok(host) = ledger.reserve(&id(i), strategy, &failed) {
                            prop_assert!(!failed.contains(&host));
                            prop_assert_eq!(ledger.view(&host).map(|v| v.state), Some(Health::Up));
                            model.insert(i, host);
                        }
                    }
                    Step::Commit(i) => prop_assert_eq!(ledger.commit(&id(i)), model.contains_key(&i)),
                    Step::Release(i) => prop_assert_eq!(ledger.release(&id(i)), model.remove(&i)),
                    Step::Answered(h) => { ledger.host_event(&name(h), HostEvent::Answered, None).unwrap(); }
                    Step::StayedAway(h) => { ledger.host_event(&name(h), HostEvent::StayedAway, None).unwrap(); }
                    Step::Withdraw(h) => { ledger.withdraw(&name(h), now()); }
                    Step::Announce(h) => ledger.announce(record(h, slots), true),
                }
                for h in 1..4 {
                    let held = model.values().filter(|host| **host == name(h)).count();
                    prop_assert_eq!(ledger.used(&name(h)) as usize, held);
                    prop_assert!(ledger.used(&name(h)) <= slots);
                }
            }
        }
    }
}
