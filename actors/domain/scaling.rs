//! How the pool of droplets grows and shrinks: a plan over a snapshot, with a reason for each decision.
//!
//! Speaks of *droplets*, the machines that were bought: those that the database has a row of, and those that the
//! provider lists under our tag. Other hosts (configured by hand, or brought along) count as capacity and are left alone.
//!
//! What it promises, each a property test in `scaling/promises.rs`:
//! - no plan leads to more than [`ScalingPolicy::max_hosts`] droplets, whatever state they are in;
//! - no droplet is deleted that carries an instance, nor a host that the scheduler could still place one on;
//! - with constant load the plan settles: nothing is bought and given back in turns;
//! - more load never means fewer hosts;
//! - no more is ordered than the budget has, and nothing while a hold lasts;
//! - nothing is ordered again but what was ordered long ago and never seen;
//! - no row is closed of what is listed, or was until lately, or carries an instance;
//! - the same inputs give the same plan, also when they were written down and read back.

mod decision;
mod fate;
mod fleet;
mod policy;
#[cfg(test)]
mod promises;
mod stage;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use self::fate::{Fate, GONE, UNCONFIRMED, UNLISTED};
pub use self::{
    decision::Decision,
    fleet::{Droplet, DropletHost, DropletState, Elsewhere, FleetSnapshot, Hold},
    policy::{Billing, LONGEST_WAIT, OrderBudget, ScalingPolicy},
    stage::{DropletView, Stage},
};
use super::{Timestamp, ids::HostName};

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Order one more droplet.
    Create,
    /// Order it again, by its name: nobody knows what became of its order.
    Reorder(HostName),
    /// The provider has what was ordered: write that down.
    Confirm(HostName),
    /// The provider does not have it: forget its row.
    Close(HostName),
    /// It shall not be deleted after all: write that down.
    Keep(HostName),
    /// Let it take instances again.
    Uncordon(HostName),
    /// Cordon it, to be deleted once it is empty.
    Drain(HostName),
    /// Delete it, once its own inventory confirms that it is empty.
    Delete(HostName),
    /// Delete it; it has no engine that could be asked, and neither a row nor the ledger knows of anything on it.
    Discard(HostName),
}

impl fmt::Display for Action {
    /// As an operator reads it, for example `delete fleet-1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create => f.write_str("order one more"),
            Self::Reorder(name) => write!(f, "order {name} again"),
            Self::Confirm(name) => write!(f, "confirm {name}"),
            Self::Close(name) => write!(f, "close the row of {name}"),
            Self::Keep(name) => write!(f, "keep {name}"),
            Self::Uncordon(name) => write!(f, "uncordon {name}"),
            Self::Drain(name) => write!(f, "drain {name}"),
            Self::Delete(name) | Self::Discard(name) => write!(f, "delete {name}"),
        }
    }
}

/// What to do, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// One sentence a decision, also for decisions to do nothing.
    pub explanation: Vec<String>,
    /// Droplets that never came up, or broke.
    pub failed: Vec<HostName>,
    /// Droplets that the provider does not have any more and that are believed to carry instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<HostName>,
    /// Whether growth is on the way when the plan is carried out.
    pub outlook: Outlook,
}

/// Whether a create that finds no room has something to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// Droplets that boot, those that are ordered now included.
    pub coming: u32,
    /// Of those, the ones that are hosts already, whose engine has not answered yet.
    #[serde(default)]
    pub announced: u32,
    /// When the first of them was ordered.
    pub first_ordered: Option<Timestamp>,
    /// Whether more could be ordered if they were needed.
    pub may_grow: bool,
    /// Droplets that boot or may be up, and cannot announce themselves.
    #[serde(default)]
    pub unheard: u32,
    /// Whether nobody can, and could not for some time: the directory is away.
    #[serde(default)]
    pub directory_away: bool,
    /// In how long the next one may be ordered, where only a hold or the budget stands in the way of it.
    #[serde(default)]
    pub next_order_in: Option<Duration>,
}

/// The pool counted, each droplet once.
#[derive(Default)]
struct Tally<'a> {
    serving: u32,
    standby: Vec<(&'a Droplet, Duration)>,
    drained: Vec<&'a Droplet>,
    coming: u32,
    announced: u32,
    first_ordered: Option<Timestamp>,
    /// Ordered lately, and not confirmed: each may be on the way, so none is ordered in its place, and none is promised.
    unsure: u32,
    /// Ordered long ago, and not confirmed.
    lost: Vec<&'a Droplet>,
    /// Deleted, and still listed.
    leaving: u32,
    free: u32,
    used: u32,
}

/// Decides what to do about the pool.
#[must_use]
pub fn plan(snapshot: &FleetSnapshot, policy: &ScalingPolicy, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let tally = plan.judge_each(snapshot, policy, now);
    let need = Need::of(&tally, snapshot, policy);
    plan.explanation.insert(0, need.describe(&tally, snapshot, policy));
    if snapshot.directory_well_since.is_none() {
        plan.explanation
            .insert(1, "the directory is away, or was not read yet: no host is late, and nothing is bought".to_owned());
    }
    plan.grow(&tally, &need, snapshot, policy, now);
    plan.shrink(&tally, &need, snapshot, policy, now);
    plan.outlook.may_grow |= !snapshot.is_deaf(policy, now) && plan.makes_room(&tally, snapshot, policy);
    plan
}

/// What the pool should have, and has.
struct Need {
    /// Empty hosts that are ready.
    ready: u32,
    /// Droplets that are up and take instances.
    up: u32,
    /// Empty hosts that there should be, those that waiting creates will fill included.
    empty: u32,
    /// Free slots that are ready.
    free: u32,
    /// Free slots that there should be, those that waiting creates will take included.
    spare: u32,
    /// Hosts that are missing.
    missing: u32,
}

impl Need {
    fn of(tally: &Tally<'_>, snapshot: &FleetSnapshot, policy: &ScalingPolicy) -> Self {
        let slots = policy.slots.max(1);
        let (ready, up) =
            (count(tally.standby.len()) + snapshot.elsewhere.empty, tally.serving + count(tally.standby.len()));
        let free = tally.free + snapshot.elsewhere.free;
        let used = tally.used + snapshot.elsewhere.used + snapshot.waiting;
        let percent = (u64::from(used) * u64::from(policy.standby_percent)).div_ceil(100);
        let spare =
            policy.standby_slots.max(u32::try_from(percent).unwrap_or(u32::MAX)).saturating_add(snapshot.waiting);
        let empty = policy.standby + snapshot.waiting.div_ceil(slots);
        let coming = tally.coming + tally.unsure;
        let expected = free.saturating_add(coming.saturating_mul(slots));
        let missing = empty
            .saturating_sub(ready + coming)
            .max(spare.saturating_sub(expected).div_ceil(slots))
            .max(policy.min_hosts.saturating_sub(up + coming));
        Self { ready, up, empty, free, spare, missing }
    }

    fn describe(&self, tally: &Tally<'_>, snapshot: &FleetSnapshot, policy: &ScalingPolicy) -> String {
        let strays = count(snapshot.droplets.iter().filter(|droplet| droplet.row.is_none()).count());
        let twins = snapshot.twins();
        let mut text = format!(
            "{} of at most {} droplets; empty hosts: {} ready, {} on the way, {} wanted; {} slots free, {} wanted",
            count(snapshot.paid_for().count()) - strays,
            policy.max_hosts,
            self.ready,
            tally.coming,
            self.empty,
            self.free,
            self.spare,
        );
        if strays > 0 {
            text.push_str(&format!("; {strays} more without a row"));
        }
        if twins > 0 {
            text.push_str(&format!("; {twins} more that have the name of another one"));
        }
        if snapshot.builders > 0 {
            text.push_str(&format!("; {} more bake an image", snapshot.builders));
        }
        if snapshot.waiting > 0 {
            text.push_str(&format!("; {} creates wait", snapshot.waiting));
        }
        text
    }
}

impl Plan {
    /// What is explained of this droplet, its name in front.
    #[must_use]
    pub fn why(&self, name: &HostName) -> String {
        let about = format!("{name}: ");
        self.explanation.iter().find(|line| line.starts_with(&about)).cloned().unwrap_or(about)
    }

    fn act(&mut self, action: Action, why: String) {
        self.actions.push(action);
        self.explanation.push(why);
    }

    /// Does what each droplet needs whatever the others are, and counts them.
    fn judge_each<'a>(&mut self, snapshot: &'a FleetSnapshot, policy: &ScalingPolicy, now: Timestamp) -> Tally<'a> {
        let mut tally = Tally::default();
        for droplet in &snapshot.droplets {
            if droplet.listed.is_some() && matches!(droplet.row, Some((DropletState::Creating, _))) {
                self.actions.push(Action::Confirm(droplet.name.clone()));
            }
            tally.used += droplet.used();
            if droplet.is_up_and_missed(policy, now) {
                self.explanation.push(format!("{}: it is up, {UNLISTED}", droplet.name));
            }
            match droplet.fate(policy, snapshot.directory_well_since, now) {
                Fate::Serving => {
                    tally.serving += 1;
                    tally.free += droplet.host.as_ref().map_or(0, DropletHost::free);
                }
                Fate::Standby { idle } => {
                    tally.standby.push((droplet, idle));
                    tally.free += droplet.host.as_ref().map_or(0, DropletHost::free);
                }
                Fate::Coming => {
                    tally.coming += 1;
                    tally.announced += u32::from(droplet.host.is_some());
                    tally.first_ordered = tally.first_ordered.into_iter().chain(droplet.born()).min();
                }
                Fate::Unconfirmed { settled: true } => tally.lost.push(droplet),
                Fate::Unconfirmed { settled: false } => {
                    tally.unsure += 1;
                    self.explanation.push(format!("{}: {UNCONFIRMED}", droplet.name));
                }
                Fate::Drained => tally.drained.push(droplet),
                Fate::Deleted(why) => {
                    tally.leaving += u32::from(droplet.listed.is_some());
                    self.explanation.push(format!("{}: {why}", droplet.name));
                }
                Fate::Act(action, why) => self.act(action, format!("{}: {why}", droplet.name)),
                Fate::Failed(action, why) => {
                    self.failed.push(droplet.name.clone());
                    self.actions.extend(action);
                    self.explanation.push(format!("{}: {why}", droplet.name));
                }
                Fate::Gone(why) => {
                    self.gone.push(droplet.name.clone());
                    self.explanation.push(format!("{}: {why}", droplet.name));
                }
                Fate::Leave(why) => self.explanation.push(format!("{}: {why}", droplet.name)),
            }
        }
        tally
    }

    /// First takes back what drains and was not meant to go, then orders again what was ordered, then more.
    fn grow(
        &mut self,
        tally: &Tally<'_>,
        need: &Need,
        snapshot: &FleetSnapshot,
        policy: &ScalingPolicy,
        now: Timestamp,
    ) {
        let mut wanted = need.missing;
        let hosts = snapshot.machines();
        let total = hosts.saturating_add(snapshot.builders);
        for droplet in &tally.drained {
            if wanted > 0 && hosts <= policy.max_hosts && droplet.drained_by_plan && droplet.is_wanted() {
                wanted -= 1;
                self.act(Action::Uncordon(droplet.name.clone()), format!("{}: needed again", droplet.name));
            } else if droplet.listed.is_some() {
                self.act(Action::Delete(droplet.name.clone()), format!("{}: drained and empty", droplet.name));
            } else {
                self.explanation.push(format!("{}: drained and empty, {UNLISTED}", droplet.name));
            }
        }
        let hold = snapshot.hold.as_ref().filter(|hold| hold.until > now);
        // What is bought now could not announce itself.
        let away = snapshot.directory_well_since.is_none();
        let mut reordered = 0;
        for droplet in tally.lost.iter().filter(|_| hold.is_none() && !away) {
            let name = &droplet.name;
            if wanted > 0 && total <= policy.max_hosts {
                (wanted, reordered) = (wanted - 1, reordered + 1);
                self.act(Action::Reorder(name.clone()), format!("{name}: ordered again, {GONE}"));
            } else if droplet.is_gone(policy, now) {
                self.act(Action::Close(name.clone()), format!("{name}: {GONE}"));
            } else {
                self.explanation.push(format!("{name}: {UNCONFIRMED}"));
            }
        }
        let room = policy.max_hosts.saturating_sub(total);
        let budget = snapshot.budget.left(policy, now);
        let ordered = if hold.is_some() || away { 0 } else { wanted.min(room).min(budget) };
        for _ in 0..ordered {
            self.act(Action::Create, "one more droplet: too little is free or on the way".to_owned());
        }
        if wanted > ordered {
            let why = match hold {
                _ if room == ordered => "max_hosts allows no more".to_owned(),
                _ if away => "it could not announce itself: the directory is away".to_owned(),
                Some(hold) => format!("nothing is bought for {} s: {}", passed(now, hold.until).as_secs(), hold.why),
                None => {
                    let next = snapshot.budget.next_in(policy, now).as_secs();
                    format!("creates_per_hour allows the next one in {next} s")
                }
            };
            self.explanation.push(format!("{} more wanted, but {why}", wanted - ordered));
        }
        let next_order_in = match hold {
            Some(hold) => Some(passed(now, hold.until)),
            None => (budget <= ordered).then(|| snapshot.budget.next_in(policy, now)),
        };
        let deaf = snapshot.is_deaf(policy, now);
        let unheard = if deaf { tally.coming - tally.announced } else { 0 };
        self.outlook = Outlook {
            coming: tally.coming + reordered + ordered - unheard,
            announced: tally.announced,
            first_ordered: tally.first_ordered.or((reordered + ordered > 0).then_some(now)),
            may_grow: hold.is_none() && !deaf && tally.unsure == 0 && room > ordered && budget > ordered,
            unheard,
            directory_away: deaf,
            next_order_in: next_order_in.filter(|_| room > ordered),
        };
    }

    /// Whether what leaves by this plan is room for more: it is taken back if it is needed, or replaced once it is gone.
    fn makes_room(&self, tally: &Tally<'_>, snapshot: &FleetSnapshot, policy: &ScalingPolicy) -> bool {
        let those = |which: fn(&Action) -> bool| count(self.actions.iter().filter(|action| which(action)).count());
        let ordered = those(|action| *action == Action::Create);
        let leave =
            tally.leaving + those(|action| matches!(action, Action::Drain(_) | Action::Delete(_) | Action::Discard(_)));
        let stay = snapshot.machines().saturating_add(snapshot.builders).saturating_add(ordered);
        leave > 0 && stay < policy.max_hosts + leave
    }

    /// Gives back the last in the order that placement fills first.
    fn shrink(
        &mut self,
        tally: &Tally<'_>,
        need: &Need,
        snapshot: &FleetSnapshot,
        policy: &ScalingPolicy,
        now: Timestamp,
    ) {
        let (mut ready, mut up, mut free) = (need.ready, need.up, need.free);
        // Those that drain go already.
        let mut too_many = (need.up + tally.coming).saturating_sub(policy.max_hosts);
        let cooling = snapshot.grown_at.is_some_and(|grown| passed(grown, now) < policy.cooldown);
        let mut kept = false;
        for (droplet, idle) in tally.standby.iter().rev() {
            let slots = droplet.host.as_ref().map_or(0, DropletHost::free);
            let dispensable = ready > need.empty && free.saturating_sub(slots) >= need.spare && up > policy.min_hosts;
            if !dispensable && too_many == 0 {
                continue;
            }
            let age = droplet.age(now);
            if cooling || *idle < policy.idle || age < policy.min_age || !policy.billing.allows(age) {
                kept = true;
                continue;
            }
            (ready, up, free) = (ready.saturating_sub(1), up.saturating_sub(1), free.saturating_sub(slots));
            too_many = too_many.saturating_sub(1);
            let why = format!("{}: empty for {} s and not needed", droplet.name, idle.as_secs());
            self.act(Action::Drain(droplet.name.clone()), why);
        }
        if kept {
            let why = if cooling { "the pool has just grown" } else { "idle, min_age or the paid hour is not over" };
            self.explanation.push(format!("more is there than needed, and some of it kept: {why}"));
        }
    }
}

/// How long `now` is after `then`; nothing if it is not, as when a clock was set back meanwhile.
fn passed(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
