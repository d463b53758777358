//! The feed's read model: where things stand after the facts so far, as a plain value.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::messages::{ActorView, Delta, Fact, InstanceView, Snapshot};
use crate::{
    autoscaler::messages::ScalingStatus,
    domain::{InstanceId, InstanceState, Timestamp},
    ports::Totals,
    reaper::messages::ReaperStatus,
    scheduler::messages::HostView,
};

/// Ends that are remembered, so that a late word of another actor does not bring an ended instance back. Late means
/// milliseconds; this is more than all that can end meanwhile.
const ENDS_KEPT: usize = 1024;

/// Where things stand.
#[derive(Debug, Default)]
pub(super) struct Model {
    seq: u64,
    hosts: Vec<HostView>,
    /// By id, which is by age. Shared with the snapshots, which are of all of them.
    instances: BTreeMap<InstanceId, Arc<InstanceView>>,
    actors: BTreeMap<String, ActorView>,
    totals: Totals,
    /// It tells how it is again and again, so a feed that has just begun need not ask.
    reaper: ReaperStatus,
    scaling: Option<ScalingStatus>,
    /// Which end each instance's owner was last warned of.
    warned: BTreeMap<InstanceId, Timestamp>,
    ended: BTreeSet<InstanceId>,
    ended_in_order: VecDeque<InstanceId>,
}

impl Model {
    /// The model of a feed that has just read all this and told nothing yet.
    pub(super) fn new(
        hosts: Vec<HostView>,
        instances: impl IntoIterator<Item = InstanceView>,
        actors: impl IntoIterator<Item = ActorView>,
        totals: Totals,
    ) -> Self {
        Self {
            hosts,
            instances: instances.into_iter().map(|instance| (instance.id.clone(), Arc::new(instance))).collect(),
            actors: actors.into_iter().map(|actor| (actor.name.clone(), actor)).collect(),
            totals,
            ..Self::default()
        }
    }

    /// The same, and how the pool is, if anybody knows.
    pub(super) fn with_scaling(self, scaling: Option<ScalingStatus>) -> Self {
        Self { scaling, ..self }
    }

    /// Takes in a fact. `None` when it is no news.
    pub(super) fn apply(&mut self, fact: Fact, at: Timestamp) -> Option<Delta> {
        if !self.take_in(&fact) {
            return None;
        }
        self.seq += 1;
        Some(Delta { seq: self.seq, at, fact })
    }

    pub(super) fn snapshot(&self, at: Timestamp) -> Snapshot {
        Snapshot {
            seq: self.seq,
            at,
            hosts: self.hosts.clone(),
            instances: self.instances.values().cloned().collect(),
            actors: self.actors.values().cloned().collect(),
            totals: self.totals,
            reaper: self.reaper.clone(),
            scaling: self.scaling.clone(),
        }
    }

    /// How many instances are in each state.
    pub(super) fn live(&self) -> BTreeMap<&'static str, u64> {
        self.instances.values().fold(BTreeMap::new(), |mut counts, instance| {
            *counts.entry(instance.state).or_default() += 1;
            counts
        })
    }

    /// Whether the fact changed anything.
    fn take_in(&mut self, fact: &Fact) -> bool {
        match fact {
            Fact::HostChanged { host } => match self.hosts.iter_mut().find(|known| known.name == host.name) {
                Some(known) if known == host => false,
                Some(known) => {
                    *known = host.clone();
                    true
                }
                None => {
                    self.hosts.push(host.clone());
                    true
                }
            },
            Fact::HostRemoved { name } => {
                let before = self.hosts.len();
                self.hosts.retain(|host| &host.name != name);
                self.hosts.len() < before
            }
            Fact::InstanceChanged { instance } => {
                let stale = match self.instances.get(&instance.id) {
                    Some(known) => **known == *instance || stage(known) > stage(instance),
                    None => self.ended.contains(&instance.id),
                };
                if !stale {
                    self.instances.insert(instance.id.clone(), Arc::new(instance.clone()));
                }
                !stale
            }
            Fact::InstanceExpiring { id, expires_at } => {
                let lives = self.instances.contains_key(id);
                lives && self.warned.insert(id.clone(), *expires_at) != Some(*expires_at)
            }
            Fact::ReaperChanged { reaper } => {
                let news = &self.reaper != reaper;
                self.reaper = reaper.clone();
                news
            }
            Fact::ScalingChanged { scaling } => self.scaling.replace(scaling.clone()).as_ref() != Some(scaling),
            Fact::InstanceEnded { id, .. } => {
                self.remember_end(id);
                self.warned.remove(id);
                self.instances.remove(id).is_some()
            }
            Fact::ActorChanged { actor } => {
                self.actors.insert(actor.name.clone(), actor.clone()).as_ref() != Some(actor)
            }
            Fact::ActorRemoved { name } => self.actors.remove(name).is_some(),
            // The total never falls, so a smaller one is an older one.
            Fact::TotalsChanged { totals } => {
                let news = totals.started > self.totals.started;
                if news {
                    self.totals = *totals;
                }
                news
            }
        }
    }

    fn remember_end(&mut self, id: &InstanceId) {
        if self.ended.insert(id.clone()) {
            self.ended_in_order.push_back(id.clone());
        }
        if self.ended_in_order.len() > ENDS_KEPT
            && let Some(oldest) = self.ended_in_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

/// How far an instance is in its life, which only goes forward: what two actors say of one instance may arrive in the
/// wrong order. Whether its host answers may change at any time.
fn stage(instance: &InstanceView) -> u8 {
    let is = |state: InstanceState| instance.state == state.as_str();
    if is(InstanceState::Creating) {
        0
    } else if is(InstanceState::Running) || is(InstanceState::Unreachable) {
        1
    } else {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{EndReason, Health, HostName},
        supervision::Status,
    };
    use proptest::{
        prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof},
        proptest,
    };

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn host_name(n: u8) -> HostName {
        HostName::parse(&format!("h{n}")).unwrap()
    }

    fn host(n: u8, used: u32) -> Fact {
        Fact::HostChanged {
            host: HostView {
                name: host_name(n),
                address: [192, 0, 2, n].into(),
                state: Health::Up,
                cordon: None,
                slots: 40,
                used,
                reason: None,
                isolated: true,
                unannounced_since: None,
                vitals: None,
            },
        }
    }

    fn id(n: u8) -> InstanceId {
        InstanceId::from_uuid(uuid::Uuid::from_u128(n.into()))
    }

    fn instance(n: u8, state: &'static str) -> Fact {
        Fact::InstanceChanged {
            instance: InstanceView {
                id: id(n),
                host: host_name(0),
                flavour: "redis".into(),
                state,
                creator: "192.0.2.1".into(),
                label: None,
                created_at: NOW,
                expires_at: NOW,
                port: None,
                unreachable_since: None,
            },
        }
    }

    fn ended(n: u8) -> Fact {
        Fact::InstanceEnded { id: id(n), reason: EndReason::Expired }
    }

    fn actor(n: u8, restarts: usize) -> Fact {
        let name = format!("actor{n}");
        Fact::ActorChanged { actor: ActorView { name, status: Status::Up, restarts, since: NOW, last_cause: None } }
    }

    fn seqs(model: &mut Model, facts: impl IntoIterator<Item = Fact>) -> Vec<u64> {
        facts.into_iter().filter_map(|fact| model.apply(fact, NOW)).map(|delta| delta.seq).collect()
    }

    #[test]
    fn facts_are_numbered_without_a_gap_and_what_is_no_news_has_no_number() {
        let mut model = Model::default();
        let facts = [host(1, 0), host(1, 0), host(1, 1), ended(9), instance(1, "creating"), ended(1), ended(1)];
        assert_eq!(seqs(&mut model, facts), [1, 2, 3, 4]);
        assert_eq!(model.snapshot(NOW).seq, 4);
    }

    #[test]
    fn a_late_word_does_not_bring_back_what_is_over() {
        let mut model = Model::default();
        seqs(&mut model, [instance(1, "running"), instance(1, "stopping")]);
        assert_eq!(model.apply(instance(1, "running"), NOW), None);
        seqs(&mut model, [ended(1)]);
        assert_eq!(model.apply(instance(1, "stopping"), NOW), None);
        assert!(model.snapshot(NOW).instances.is_empty());
    }

    #[test]
    fn the_memory_of_ends_is_bounded() {
        let mut model = Model::default();
        for n in 0..u128::try_from(2 * ENDS_KEPT).unwrap() {
            let id = InstanceId::from_uuid(uuid::Uuid::from_u128(n));
            model.apply(Fact::InstanceEnded { id, reason: EndReason::Expired }, NOW);
        }
        assert_eq!((model.ended.len(), model.ended_in_order.len()), (ENDS_KEPT, ENDS_KEPT));
    }

    #[test]
    fn hosts_keep_their_declared_order() {
        let mut model = Model::default();
        seqs(&mut model, [host(2, 0), host(1, 0), host(2, 5)]);
        let names: Vec<_> = model.snapshot(NOW).hosts.into_iter().map(|host| host.name).collect();
        assert_eq!(names, [host_name(2), host_name(1)]);
    }

    #[test]
    fn a_total_never_falls() {
        let mut model = Model::default();
        let total = |started| Fact::TotalsChanged { totals: Totals { started } };
        assert_eq!(seqs(&mut model, [total(2), total(1), total(2), total(3)]), [1, 2]);
        assert_eq!(model.snapshot(NOW).totals, Totals { started: 3 });
    }

    #[test]
    fn an_owner_is_shown_as_warned_once_for_every_end() {
        let mut model = Model::default();
        let expiring = |at: i64| Fact::InstanceExpiring { id: id(1), expires_at: Timestamp::from_second(at).unwrap() };
        let facts = [expiring(1), instance(1, "running"), expiring(1), expiring(1), expiring(2), ended(1), expiring(2)];
        assert_eq!(seqs(&mut model, facts).len(), 4);
    }

    #[test]
    fn an_instance_may_fall_silent_and_come_back_and_not_more() {
        let mut model = Model::default();
        let there_and_back = ["running", "unreachable", "running", "unreachable"].map(|state| instance(1, state));
        assert_eq!(seqs(&mut model, there_and_back).len(), 4);
        assert_eq!(seqs(&mut model, [instance(1, "creating")]).len(), 0);
        assert_eq!(seqs(&mut model, [instance(1, "stopping"), instance(1, "unreachable")]).len(), 1);
    }

    fn any_fact() -> impl Strategy<Value = Fact> {
        let state = prop_oneof![Just("creating"), Just("running"), Just("stopping")];
        prop_oneof![
            (0..4u8, 0..3u32).prop_map(|(n, used)| host(n, used)),
            (0..4u8).prop_map(|n| Fact::HostRemoved { name: host_name(n) }),
            (0..6u8, state).prop_map(|(n, state)| instance(n, state)),
            (0..6u8).prop_map(ended),
            (0..3u8, 0..3usize).prop_map(|(n, restarts)| actor(n, restarts)),
            (0..3u8).prop_map(|n| Fact::ActorRemoved { name: format!("actor{n}") }),
            (0..9u64).prop_map(|started| Fact::TotalsChanged { totals: Totals { started } }),
            (0..6u8).prop_map(|n| Fact::InstanceExpiring { id: id(n), expires_at: NOW }),
            (0..9u64)
                .prop_map(|sweeps| Fact::ReaperChanged { reaper: ReaperStatus { sweeps, ..ReaperStatus::default() } }),
            (0..3u64).prop_map(|passes| Fact::ScalingChanged {
                scaling: ScalingStatus { passes, ..ScalingStatus::default() }
            }),
        ]
    }

    /// The same facts, as one actor would tell them: no instance goes back, and none comes back.
    fn in_order(facts: Vec<Fact>) -> Vec<Fact> {
        let mut stages = BTreeMap::new();
        let mut step = |id: &InstanceId, ends: bool| {
            let stage = stages.entry(id.clone()).or_insert(0);
            let now = *stage;
            *stage = if ends { 3 } else { now + 1 };
            now
        };
        let legal = |fact| match fact {
            Fact::InstanceChanged { mut instance } => {
                let state = *["creating", "running", "stopping"].get(step(&instance.id, false))?;
                instance.state = state;
                Some(Fact::InstanceChanged { instance })
            }
            Fact::InstanceEnded { ref id, .. } => (step(id, true) < 3).then_some(fact),
            fact => Some(fact),
        };
        facts.into_iter().filter_map(legal).collect()
    }

    /// A viewer: it knows nothing but to put what is there in the place of what was.
    fn view(snapshot: &mut Snapshot, delta: Delta) {
        assert_eq!(delta.seq, snapshot.seq + 1);
        snapshot.seq = delta.seq;
        match delta.fact {
            Fact::HostChanged { host } => match snapshot.hosts.iter_mut().find(|known| known.name == host.name) {
                Some(known) => *known = host,
                None => snapshot.hosts.push(host),
            },
            Fact::HostRemoved { name } => snapshot.hosts.retain(|host| host.name != name),
            Fact::InstanceChanged { instance } => {
                snapshot.instances.retain(|known| known.id != instance.id);
                snapshot.instances.push(Arc::new(instance));
                snapshot.instances.sort_by(|a, b| a.id.cmp(&b.id));
            }
            Fact::InstanceEnded { id, .. } => snapshot.instances.retain(|instance| instance.id != id),
            Fact::ActorChanged { actor } => {
                snapshot.actors.retain(|known| known.name != actor.name);
                snapshot.actors.push(actor);
                snapshot.actors.sort_by(|a, b| a.name.cmp(&b.name));
            }
            Fact::ActorRemoved { name } => snapshot.actors.retain(|actor| actor.name != name),
            Fact::TotalsChanged { totals } => snapshot.totals = totals,
            Fact::ReaperChanged { reaper } => snapshot.reaper = reaper,
            Fact::ScalingChanged { scaling } => snapshot.scaling = Some(scaling),
            Fact::InstanceExpiring { .. } => {}
        }
    }

    proptest! {
        #[test]
        fn a_snapshot_and_the_deltas_after_it_are_the_later_snapshot(
            before in prop::collection::vec(any_fact(), 0..40),
            after in prop::collection::vec(any_fact(), 0..40),
            doubled: bool,
        ) {
            let mut model = Model::default();
            seqs(&mut model, before);
            let mut seen = model.snapshot(NOW);
            for fact in after {
                if let Some(delta) = model.apply(fact.clone(), NOW) {
                    view(&mut seen, delta);
                }
                if doubled {
                    prop_assert_eq!(model.apply(fact, NOW), None, "a fact that is repeated is no news");
                }
            }
            prop_assert_eq!(seen, model.snapshot(NOW));
        }

        #[test]
        fn facts_that_a_reading_includes_already_change_nothing_when_they_are_replayed(
            facts in prop::collection::vec(any_fact(), 0..40),
            from in any::<prop::sample::Index>(),
        ) {
            let facts = in_order(facts);
            let mut model = Model::default();
            seqs(&mut model, facts.clone());
            let read = model.snapshot(NOW);
            let instances = read.instances.into_iter().map(Arc::unwrap_or_clone);
            let mut rebuilt = Model::new(read.hosts, instances, read.actors, read.totals).with_scaling(read.scaling);
            let late = from.index(facts.len() + 1);
            seqs(&mut rebuilt, facts[late..].to_vec());
            let (mut old, mut new) = (model.snapshot(NOW), rebuilt.snapshot(NOW));
            // The numbers begin anew; and a host that left and came back may have another place, which harms nobody.
            (old.seq, new.seq) = (0, 0);
            // The reaper tells how it is again and again.
            new.reaper = old.reaper.clone();
            old.hosts.sort_by(|a, b| a.name.cmp(&b.name));
            new.hosts.sort_by(|a, b| a.name.cmp(&b.name));
            prop_assert_eq!(old, new);
        }
    }
}
