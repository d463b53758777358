//! How the pool of droplets grows and shrinks: a plan over a snapshot, with a reason for each decision.
//!
//! Speaks of *droplets*, the machines that were bought: those that the database has a row of, and those that the cloud
//! lists under our tag. Other hosts (configured by hand, or brought along) count as capacity and are left alone.
//!
//! What it promises, each a property test in `scaling/tests.rs`:
//! - no plan leads to more than [`ScalingPolicy::max_hosts`] droplets, whatever state they are in;
//! - no droplet is deleted that carries an instance, and a host that the scheduler knows only while it is draining;
//! - where nothing changes, nothing more is done.

use std::time::Duration;

use super::{
    Timestamp,
    host::{Cordon, Health, HostState},
    ids::HostName,
};

#[cfg(test)]
mod tests;

/// How far the pool may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalingPolicy {
    /// Empty hosts that are kept ready or on the way, so that growth does not wait for a droplet to boot. With none, the
    /// pool does not grow beyond `min_hosts`.
    pub standby: u32,
    /// Droplets that are kept even if nobody needs them.
    pub min_hosts: u32,
    /// Droplets that there may be, whatever state they are in.
    pub max_hosts: u32,
    /// How long a droplet must have been empty before it is given back.
    pub idle: Duration,
    /// How old a droplet must be before it is given back; what was paid for is used.
    pub min_age: Duration,
    /// How long a droplet may take from its order to its first announcement and its engine's first answer.
    pub boot_deadline: Duration,
    /// How long the cloud's list may take to agree with what was ordered, before what it says is acted upon.
    pub list_grace: Duration,
}

/// The intent that a droplet's row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropletState {
    /// It shall be created; whether it was is not known yet.
    Creating,
    /// The provider confirmed it.
    Created,
    /// It shall be deleted; whether it was is not known yet.
    Deleting,
}

impl DropletState {
    /// The word that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Deleting => "deleting",
        }
    }

    /// Reads back what [`as_str`](Self::as_str) gave.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Creating, Self::Created, Self::Deleting].into_iter().find(|s| s.as_str() == word)
    }
}

/// The pool at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetSnapshot {
    /// The droplets, those that are hosts in the hosts' declared order.
    pub droplets: Vec<Droplet>,
    /// Empty schedulable hosts that are no droplets.
    pub standby_elsewhere: u32,
    /// Since when hosts have been able to announce themselves; `None` while they are not.
    pub directory_well_since: Option<Timestamp>,
}

/// A droplet: all that is known of it, from whoever knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Droplet {
    /// Its name, which is its host's name.
    pub name: HostName,
    /// What the database says, and when that row was made.
    pub row: Option<(DropletState, Timestamp)>,
    /// When the cloud says it was made, if the cloud lists it.
    pub listed: Option<Timestamp>,
    /// Its host, if the scheduler knows it.
    pub host: Option<DropletHost>,
    /// Instances that live on it according to their rows.
    pub instances: u32,
    /// Whether it drains because of an earlier plan, and not because the operator wants it gone.
    pub drained_by_plan: bool,
}

/// A droplet as a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropletHost {
    /// Where it stands.
    pub state: HostState,
    /// Slots that are taken or reserved.
    pub used: u32,
    /// Since when its health has been what it is.
    pub since: Timestamp,
    /// Since when it has been empty, if it is.
    pub empty_since: Option<Timestamp>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Order one more droplet.
    Create,
    /// The cloud has what was ordered: write that down.
    Confirm(HostName),
    /// The cloud does not have it: forget its row.
    Close(HostName),
    /// It shall not be deleted after all: write that down.
    Keep(HostName),
    /// Let it take instances again.
    Uncordon(HostName),
    /// Cordon it, to be deleted once it is empty.
    Drain(HostName),
    /// Delete it, once its own inventory confirms that it is empty.
    Delete(HostName),
    /// Delete it; it has no engine that could be asked and never got an instance, or was confirmed empty before.
    Discard(HostName),
}

/// What to do, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// One sentence a decision, also for decisions to do nothing.
    pub explanation: Vec<String>,
}

/// What becomes of one droplet, seen for itself.
enum Fate {
    /// It carries instances and takes more.
    Serving,
    /// It is empty and takes instances.
    Standby { idle: Duration },
    /// It will be a host.
    Coming,
    /// It is empty and takes none.
    Drained,
    /// To be done at once, whatever the others are.
    Act(Action, String),
    /// Nothing can be done.
    Leave(String),
}

/// Decides what to do about the pool.
#[must_use]
pub fn plan(snapshot: &FleetSnapshot, policy: &ScalingPolicy, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let (mut serving, mut standby, mut drained, mut coming) = (0, Vec::new(), Vec::new(), 0);
    for droplet in &snapshot.droplets {
        if droplet.listed.is_some() && matches!(droplet.row, Some((DropletState::Creating, _))) {
            plan.actions.push(Action::Confirm(droplet.name.clone()));
        }
        match droplet.fate(policy, snapshot.directory_well_since, now) {
            Fate::Serving => serving += 1,
            Fate::Standby { idle } => standby.push((droplet, idle)),
            Fate::Coming => coming += 1,
            Fate::Drained => drained.push(droplet),
            Fate::Act(action, why) => plan.act(action, format!("{}: {why}", droplet.name)),
            Fate::Leave(why) => plan.explanation.push(format!("{}: {why}", droplet.name)),
        }
    }
    let total = count(snapshot.droplets.len());
    let (up, ready) = (serving + count(standby.len()), count(standby.len()) + snapshot.standby_elsewhere);
    plan.explanation.insert(
        0,
        format!(
            "{total} of at most {} droplets; {ready} hosts empty and ready, {coming} on the way, {} wanted",
            policy.max_hosts, policy.standby
        ),
    );

    // Grow: first what drains and was not meant to go, then what has to be bought.
    let mut wanted = policy.standby.saturating_sub(ready + coming).max(policy.min_hosts.saturating_sub(up + coming));
    for droplet in drained {
        if wanted > 0 && droplet.drained_by_plan && droplet.is_wanted() {
            wanted -= 1;
            plan.act(Action::Uncordon(droplet.name.clone()), format!("{}: needed again", droplet.name));
        } else if droplet.listed.is_some() {
            plan.act(Action::Delete(droplet.name.clone()), format!("{}: drained and empty", droplet.name));
        }
    }
    let room = policy.max_hosts.saturating_sub(total);
    for _ in 0..wanted.min(room) {
        plan.act(Action::Create, "one more droplet: too few empty hosts are ready or on the way".to_owned());
    }
    if wanted > room {
        plan.explanation.push(format!("{} more wanted, but max_hosts allows no more", wanted - room));
    }

    // Shrink: the last in the order that placement fills first.
    let mut surplus = ready.saturating_sub(policy.standby).min(up.saturating_sub(policy.min_hosts));
    for (droplet, idle) in standby.into_iter().rev() {
        let old = droplet.age(now) >= policy.min_age;
        if surplus > 0 && old && idle >= policy.idle {
            surplus -= 1;
            let why = format!("{}: empty for {} s and not needed", droplet.name, idle.as_secs());
            plan.act(Action::Drain(droplet.name.clone()), why);
        }
    }
    plan
}

impl Plan {
    fn act(&mut self, action: Action, why: String) {
        self.actions.push(action);
        self.explanation.push(why);
    }
}

impl Droplet {
    /// Slots in use, by whoever counts more.
    fn used(&self) -> u32 {
        self.host.as_ref().map_or(0, |host| host.used).max(self.instances)
    }

    fn born(&self) -> Option<Timestamp> {
        self.row.map(|(_, since)| since).or(self.listed)
    }

    fn age(&self, now: Timestamp) -> Duration {
        self.born().map_or(Duration::ZERO, |born| passed(born, now))
    }

    /// Whether the database wants it to be there.
    fn is_wanted(&self) -> bool {
        self.row.is_some_and(|(state, _)| state != DropletState::Deleting)
    }

    fn fate(&self, policy: &ScalingPolicy, directory_well_since: Option<Timestamp>, now: Timestamp) -> Fate {
        let up = self.host.as_ref().is_some_and(|host| host.state.health == Health::Up);
        let settled = self.age(now) >= policy.list_grace;
        if self.listed.is_none() && settled && !up {
            return Fate::Act(Action::Close(self.name.clone()), "the cloud does not have it".to_owned());
        }
        match self.row {
            None if !settled => Fate::Leave("it carries our tag and has no row; it is given time".to_owned()),
            None => self.get_rid("it carries our tag and has no row"),
            Some((DropletState::Deleting, _)) if self.used() > 0 => {
                let why = format!("it carries {} instances and is not deleted after all", self.used());
                Fate::Act(Action::Keep(self.name.clone()), why)
            }
            Some((DropletState::Deleting, _)) => self.get_rid("it is being deleted"),
            Some(_) => {
                let overdue = directory_well_since.is_some_and(|well| {
                    let joined = self.host.as_ref().map_or(well, |host| host.since);
                    passed(self.born().unwrap_or(now).max(well).max(joined), now) >= policy.boot_deadline
                });
                self.fate_of_wanted(overdue, now)
            }
        }
    }

    fn fate_of_wanted(&self, overdue: bool, now: Timestamp) -> Fate {
        let used = self.used();
        let Some(host) = &self.host else {
            return match () {
                () if used > 0 => Fate::Leave(format!("it carries {used} instances and does not announce itself")),
                () if overdue && self.listed.is_some() => {
                    Fate::Act(Action::Discard(self.name.clone()), "it did not come up in time".to_owned())
                }
                () if overdue => Fate::Leave("it did not come up in time, and the cloud does not list it".to_owned()),
                () => Fate::Coming,
            };
        };
        match (host.state.health, host.state.cordon) {
            (Health::Up, None) if used > 0 => Fate::Serving,
            (Health::Up, None) => Fate::Standby { idle: host.empty_since.map_or(Duration::ZERO, |t| passed(t, now)) },
            (Health::Up, Some(Cordon::Draining)) if used == 0 => Fate::Drained,
            (Health::Up, Some(Cordon::Draining)) if self.drained_by_plan => {
                Fate::Act(Action::Uncordon(self.name.clone()), "it was given an instance before it drained".to_owned())
            }
            (Health::Up, Some(Cordon::Draining)) => Fate::Leave(format!("it drains; {used} instances are left")),
            (_, Some(Cordon::Cordoned)) => Fate::Leave("the operator cordoned it".to_owned()),
            (Health::Joining, None) if !overdue => Fate::Coming,
            (Health::Joining | Health::Unreachable, _) => Fate::Leave(
                "its engine does not answer, so nobody can confirm that it is empty; it counts towards max_hosts"
                    .to_owned(),
            ),
        }
    }

    /// The next step to its deletion. `used` may be more than zero only for a droplet without a row: it drains.
    fn get_rid(&self, why: &str) -> Fate {
        let used = self.used();
        let draining = self.host.as_ref().map(|host| host.state.cordon == Some(Cordon::Draining));
        let act = |action: fn(HostName) -> Action| Fate::Act(action(self.name.clone()), why.to_owned());
        match (draining, self.host.as_ref().map(|host| host.state.health)) {
            (Some(false), _) => act(Action::Drain),
            _ if used > 0 => Fate::Leave(format!("{why}, but carries {used} instances")),
            _ if self.listed.is_none() => Fate::Leave(format!("{why}, and the cloud does not list it")),
            (None, _) => act(Action::Discard),
            (Some(true), Some(Health::Up)) => act(Action::Delete),
            // Its inventory was confirmed before its row said so.
            (Some(true), _) if self.row.is_some() => act(Action::Discard),
            (Some(true), _) => Fate::Leave(format!("{why}, but its engine does not answer")),
        }
    }
}

/// How long ago `then` was; nothing if a clock was set back meanwhile.
fn passed(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
