//! The pool as a plan sees it: every droplet that anybody knows, and the hosts that are no droplets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    super::{Timestamp, host::HostState, ids::HostName},
    OrderBudget, ScalingPolicy, passed,
};

/// The intent that a droplet's row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropletState {
    /// It shall be created; whether it was is not known yet.
    Creating,
    /// The provider confirmed it.
    Created,
    /// It shall be deleted; whether it was is not known yet.
    Deleting,
    /// The provider has accepted its deletion. Its row is a tombstone: it keeps every server from placing anything there
    /// until none of them can believe in that host any more.
    Deleted,
}

impl DropletState {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }

    /// Whether nothing may be placed there any more.
    #[must_use]
    pub const fn is_condemned(self) -> bool {
        matches!(self, Self::Deleting | Self::Deleted)
    }

    /// Reads back what [`as_str`](Self::as_str) gave.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Creating, Self::Created, Self::Deleting, Self::Deleted].into_iter().find(|s| s.as_str() == word)
    }
}

/// The pool at one moment: everything that a plan depends on but the policy and the time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetSnapshot {
    /// The droplets, those that are hosts in the hosts' declared order.
    pub droplets: Vec<Droplet>,
    /// Machines on which an image is being baked: paid for, and no hosts.
    #[serde(default)]
    pub builders: u32,
    /// Schedulable hosts that are no droplets.
    pub elsewhere: Elsewhere,
    /// Creates that wait for a slot, at all servers.
    pub waiting: u32,
    /// Since when hosts have been able to announce themselves; `None` while they are not.
    pub directory_well_since: Option<Timestamp>,
    /// Since when they have not been.
    #[serde(default)]
    pub directory_away_since: Option<Timestamp>,
    /// When the pool last grew, as far as is remembered.
    pub grown_at: Option<Timestamp>,
    /// What may still be ordered.
    pub budget: OrderBudget,
    /// Why nothing is bought for some time, if so.
    pub hold: Option<Hold>,
}

impl FleetSnapshot {
    /// Whether nobody can say when what boots will be heard of: the directory has been away for longer than it takes to
    /// notice anything.
    pub(super) fn is_deaf(&self, policy: &ScalingPolicy, now: Timestamp) -> bool {
        self.directory_away_since.is_some_and(|since| passed(since, now) >= policy.propagation)
    }

    /// The droplets that are paid for, or may be.
    pub(super) fn paid_for(&self) -> impl Iterator<Item = &Droplet> {
        self.droplets.iter().filter(|droplet| !droplet.is_tombstone())
    }

    /// How many machines that is.
    pub(super) fn machines(&self) -> u32 {
        super::count(self.paid_for().count()).saturating_add(self.twins())
    }

    /// Of those, the ones that the database does not count.
    #[must_use]
    pub fn uncounted(&self) -> u32 {
        let uncounted = |droplet: &&Droplet| matches!(droplet.row, None | Some((DropletState::Deleted, _)));
        super::count(self.paid_for().filter(uncounted).count()).saturating_add(self.twins())
    }

    /// How many machines there are too many, because they have the name of another one.
    pub(super) fn twins(&self) -> u32 {
        self.droplets.iter().map(|droplet| droplet.twins).sum()
    }
}

/// Schedulable hosts that are no droplets, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Those that are empty and have slots.
    pub empty: u32,
    /// Their free slots.
    pub free: u32,
    /// Their slots that are taken or reserved.
    pub used: u32,
}

/// A time in which nothing is bought, because the last attempts failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its end.
    pub until: Timestamp,
    /// What failed, as a sentence goes on.
    pub why: String,
}

/// A droplet: all that is known of it, from whoever knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Droplet {
    /// Its name, which is its host's name.
    pub name: HostName,
    /// What the database says, and when it was ordered (last).
    pub row: Option<(DropletState, Timestamp)>,
    /// When the provider says it was made, if it lists it.
    pub listed: Option<Timestamp>,
    /// How many more machines of the same name the provider lists: nobody can tell which of them is the host.
    #[serde(default)]
    pub twins: u32,
    /// Whether the provider says that it is switched off.
    #[serde(default)]
    pub is_off: bool,
    /// Since when it has been listed without a row, if it is, as far as this server knows.
    #[serde(default)]
    pub stray_since: Option<Timestamp>,
    /// The host that it is by its address, if it has no row and that host has another name.
    #[serde(default)]
    pub alias_of: Option<HostName>,
    /// Since when the provider's list has been without it, if the database has a row of it.
    pub missing_since: Option<Timestamp>,
    /// Since when its row has said that it is deleted, as far as this server knows.
    #[serde(default)]
    pub deleted_since: Option<Timestamp>,
    /// Its host, if the scheduler knows it.
    pub host: Option<DropletHost>,
    /// Since when it has been no host, if it was one before.
    pub absent_since: Option<Timestamp>,
    /// Instances that live on it according to their rows.
    pub instances: u32,
    /// Whether it drains because of an earlier plan, and not because the operator wants it gone.
    pub drained_by_plan: bool,
}

/// A droplet as a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropletHost {
    /// Where it stands.
    pub state: HostState,
    /// Instances it may carry.
    pub slots: u32,
    /// Slots that are taken or reserved.
    pub used: u32,
    /// Since when its health has been what it is.
    pub since: Timestamp,
    /// Whether it has ever been seen up.
    pub was_up: bool,
    /// Since when it has been empty, if it is.
    pub empty_since: Option<Timestamp>,
}

impl DropletHost {
    /// Whether its deletion, due when it was bad for as long as is `allowed`, has waited for an empty inventory for so long
    /// that that has no say any more: what no row claims could have been removed by then.
    pub(super) fn is_stuck(
        &self,
        bad_since: Timestamp,
        allowed: Duration,
        policy: &ScalingPolicy,
        now: Timestamp,
    ) -> bool {
        let empty_since = self.empty_since.unwrap_or(now);
        passed(bad_since.max(empty_since), now) >= allowed + policy.bad_after
    }

    pub(super) fn free(&self) -> u32 {
        self.slots.saturating_sub(self.used)
    }
}

impl Droplet {
    /// Slots in use, by whoever counts more.
    pub(super) fn used(&self) -> u32 {
        self.host.as_ref().map_or(0, |host| host.used).max(self.instances)
    }

    pub(super) fn born(&self) -> Option<Timestamp> {
        self.row.map(|(_, since)| since).or(self.listed)
    }

    pub(super) fn age(&self, now: Timestamp) -> Duration {
        self.born().map_or(Duration::ZERO, |born| passed(born, now))
    }

    /// Whether the database wants it to be there.
    pub(super) fn is_wanted(&self) -> bool {
        self.row.is_some_and(|(state, _)| !state.is_condemned())
    }

    /// Whether nothing of it is left but its row.
    fn is_tombstone(&self) -> bool {
        self.listed.is_none() && matches!(self.row, Some((DropletState::Deleted, _)))
    }
}
