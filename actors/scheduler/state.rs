//! The ledger: which hosts there are, and which instance holds which slot.
//!
//! Plain and synchronous, so that looking for room and taking it happen in one turn of the loop. It is rebuilt from the
//! store and the directory on every start; nothing in here is durable.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::{
    domain::{
        Candidate, Cordon, Health, HostEvent, HostName, HostState, Instance, InstanceId, NoPlace, Strategy, Timestamp,
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
    /// Taken by what may be somebody's, although no row knows it.
    Stranger,
}

/// A host in the ledger.
#[derive(Debug, Clone)]
struct Entry {
    record: HostRecord,
    /// What its engine and the operator say.
    state: HostState,
    /// Since when the directory does not announce it any more, if so.
    unannounced_since: Option<Timestamp>,
    /// Why its engine is not well, if so. One that answers all the same could start nothing.
    reason: Option<String>,
    /// Why no start succeeds there, if so.
    failing: Option<String>,
    isolated: bool,
    vitals: Option<Box<HostVitals>>,
    /// Whether a server is deleting it.
    condemned: bool,
}

impl Entry {
    fn announced(&self) -> bool {
        self.unannounced_since.is_none()
    }

    /// A host that is not announced any more takes nothing, whatever its engine still answers: the next thing that
    /// happens to it may be its deletion.
    fn effective(&self) -> HostState {
        let health = match (self.announced(), self.state.health) {
            (true, Health::Up) if self.failing.is_some() || self.reason.is_some() => Health::Failing,
            (true, health) => health,
            (false, Health::Up) => Health::Unannounced,
            (false, _) => Health::Unreachable,
        };
        let cordon = if self.condemned { Some(Cordon::Draining) } else { self.state.cordon };
        HostState { health, cordon }
    }

    /// Everything that is wrong with it, while it is.
    fn reason(&self) -> Option<String> {
        let ran_out = (!self.announced()).then(|| "its announcement ran out".to_owned());
        let reasons: Vec<_> = ran_out.into_iter().chain(self.reason.clone()).chain(self.failing.clone()).collect();
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
                failing: None,
                isolated,
                vitals: None,
                condemned: false,
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

    /// Moves a host's state by what its engine says, with the reason why that is not well, if it is not. Tells whether
    /// anything is shown differently now.
    ///
    /// # Errors
    /// [`IllegalHostEvent`] when the host cannot take the event. An unknown host takes every event and stays unknown.
    pub fn engine_event(
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

    /// Moves a host's state by an order about it, which says nothing of its engine.
    ///
    /// # Errors
    /// As those of [`engine_event`](Self::engine_event).
    pub fn order_event(&mut self, name: &HostName, event: HostEvent) -> Result<(), IllegalHostEvent> {
        if let Some(entry) = self.entry(name) {
            entry.state = entry.state.after(event)?;
        }
        Ok(())
    }

    /// No start succeeds on a host, for this reason; or one did.
    pub fn starts_fail(&mut self, name: &HostName, why: Option<String>) {
        if let Some(entry) = self.entry(name) {
            entry.failing = why;
        }
    }

    /// These are the hosts that are being deleted, by whichever server. Tells which it did not know of, or no more.
    pub fn condemn(&mut self, condemned: &BTreeSet<HostName>) -> Vec<HostName> {
        let mut changed = Vec::new();
        for entry in &mut self.hosts {
            let is = condemned.contains(&entry.record.name);
            if std::mem::replace(&mut entry.condemned, is) != is {
                changed.push(entry.record.name.clone());
            }
        }
        changed
    }

    /// Takes a slot for `id` on a host on which no start succeeds, to try it. False when there is none.
    pub fn reserve_on_trial(&mut self, id: &InstanceId, host: &HostName) -> bool {
        let may = self.may_be_tried(host);
        if may {
            self.hold(id, host, Hold::Reserved);
        }
        may
    }

    /// Whether a host on which no start succeeds has a slot to try it with. One that says itself that it could start
    /// nothing is not tried.
    #[must_use]
    pub fn may_be_tried(&self, host: &HostName) -> bool {
        let entry = self.hosts.iter().find(|h| &h.record.name == host);
        let on_trial = HostState { health: Health::Failing, cordon: None };
        entry.is_some_and(|h| h.effective() == on_trial && h.reason.is_none() && self.used(host) < h.record.slots)
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

    /// What nobody here ever heard of is on `host`, exactly these, and stays there for a while: each takes a slot, and
    /// keeps the host from being forgotten as an instance does.
    pub fn leave_strangers(&mut self, ids: &[InstanceId], host: &HostName) {
        let slots = self.slots.entry(host.clone()).or_default();
        slots.retain(|id, hold| *hold != Hold::Stranger || ids.contains(id));
        for id in ids {
            slots.entry(id.clone()).or_insert(Hold::Stranger);
        }
        if slots.is_empty() {
            self.slots.remove(host);
        }
    }

    /// Of what was left on a host, these are gone.
    pub fn drop_leftovers(&mut self, host: &HostName, is_gone: impl Fn(&InstanceId) -> bool) {
        if let Some(slots) = self.slots.get_mut(host) {
            slots.retain(|id, hold| !matches!(hold, Hold::Leftover | Hold::Stranger) || !is_gone(id));
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

    /// Slots on a host that are somebody's, or may be; what was left behind there is nobody's.
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
        // Whether anything is left on a host that does not answer shows when it does; and on one that takes nothing it is
        // in nobody's way.
        let is_in_the_way = matches!(state.health, Health::Up | Health::Joining);
        let used = if is_in_the_way { self.used(name) } else { self.claimed(name) };
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
mod tests;
