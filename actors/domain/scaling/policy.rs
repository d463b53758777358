//! How far the pool of droplets may go, as the operator says it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::Timestamp;

/// How long before the end of a paid hour a droplet is given back, where hours are paid: long enough for a pass, its
/// handshake and a repetition of both.
const END_OF_AN_HOUR: Duration = Duration::from_secs(5 * 60);

/// The longest that nothing is ordered after failures: an operator who has mended the cause does not want to restart the
/// server for it.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);

const HOUR: Duration = Duration::from_secs(3600);

/// How far the pool may go. Of the three sizes of the reserve the largest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingPolicy {
    /// Empty hosts that are kept ready or on the way, so that growth does not wait for a droplet to boot.
    pub standby: u32,
    /// Free slots that are kept ready or on the way, wherever they are.
    pub standby_slots: u32,
    /// The same, in percent of the slots that are used.
    pub standby_percent: u32,
    /// Droplets that are kept even if nobody needs them.
    pub min_hosts: u32,
    /// Droplets that there may be, whatever state they are in.
    pub max_hosts: u32,
    /// Slots of a droplet that is not up yet, at least 1.
    pub slots: u32,
    /// How long a droplet must have been empty before it is given back.
    pub idle: Duration,
    /// How old a droplet must be before it is given back.
    pub min_age: Duration,
    /// How long nothing is given back after the pool has grown.
    pub cooldown: Duration,
    /// How long a droplet may take from its order to its first announcement and its engine's first answer.
    pub boot_deadline: Duration,
    /// How long a droplet that was up may be silent before it counts as broken.
    pub bad_after: Duration,
    /// How long the provider's list may take to agree with what was ordered, before what it says is acted upon.
    pub list_grace: Duration,
    /// How long other servers may take to notice that a host has left; so long, at least, nothing may forget that one was
    /// deleted.
    #[serde(default)]
    pub propagation: Duration,
    /// How long nothing is ordered after the first failure; it doubles up to [`LONGEST_WAIT`].
    pub retry_after: Duration,
    /// Droplets that may be ordered at once.
    pub create_burst: u32,
    /// Droplets that may be ordered in an hour, in the long run; 0 for as many as are needed.
    pub creates_per_hour: u32,
    /// What a droplet is paid by.
    pub billing: Billing,
}

/// What a droplet is paid by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Billing {
    /// By the second: what is not needed is given back at once.
    #[default]
    Second,
    /// By the hour that was begun: what is not needed is kept until shortly before the next hour begins.
    Hour,
}

impl Billing {
    /// Whether a droplet of this age may be given back now without giving away what was paid for.
    pub(super) fn allows(self, age: Duration) -> bool {
        match self {
            Self::Second => true,
            Self::Hour => age.as_secs() % HOUR.as_secs() >= (HOUR - END_OF_AN_HOUR).as_secs(),
        }
    }
}

/// How many droplets may still be ordered: a bucket of [`create_burst`](ScalingPolicy::create_burst) orders that is
/// refilled with [`creates_per_hour`](ScalingPolicy::creates_per_hour).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderBudget {
    /// When the bucket will be full again, unless something is ordered. Nothing was ordered if there is none.
    full_at: Option<Timestamp>,
}

impl OrderBudget {
    /// The budget that is whole at this time, unless something is ordered; what [`full_at`](Self::full_at) gave.
    #[must_use]
    pub const fn of(full_at: Option<Timestamp>) -> Self {
        Self { full_at }
    }

    /// When the bucket will be full again, unless something is ordered; nothing if nothing was ever ordered.
    #[must_use]
    pub fn full_at(self) -> Option<Timestamp> {
        self.full_at
    }

    /// The same, but no emptier than an empty bucket: what was ordered by a clock that was ahead, or under another
    /// policy, holds nothing back for longer.
    #[must_use]
    pub fn bounded(self, policy: &ScalingPolicy, now: Timestamp) -> Self {
        let Some(refill) = refill(policy) else { return self };
        Self { full_at: self.full_at.map(|full| full.min(now + refill.saturating_mul(policy.create_burst))) }
    }

    /// The budget after one more order.
    #[must_use]
    pub fn after_an_order(self, policy: &ScalingPolicy, now: Timestamp) -> Self {
        let Some(refill) = refill(policy) else { return self };
        Self { full_at: Some(self.full_at.map_or(now, |full| full.max(now)) + refill) }
    }

    /// Orders that may be made now.
    #[must_use]
    pub fn left(self, policy: &ScalingPolicy, now: Timestamp) -> u32 {
        let Some(refill) = refill(policy) else { return u32::MAX };
        let owed = self.full_at.map_or(Duration::ZERO, |full| super::passed(now, full));
        let missing = owed.as_millis().div_ceil(refill.as_millis().max(1));
        policy.create_burst.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
    }

    /// How long until one order may be made; nothing when it may be made now.
    #[must_use]
    pub fn next_in(self, policy: &ScalingPolicy, now: Timestamp) -> Duration {
        let Some(refill) = refill(policy) else { return Duration::ZERO };
        let owed = self.full_at.map_or(Duration::ZERO, |full| super::passed(now, full));
        owed.saturating_sub(refill * policy.create_burst.saturating_sub(1))
    }
}

/// How long one order takes to be refilled; nothing where orders are not counted.
fn refill(policy: &ScalingPolicy) -> Option<Duration> {
    (policy.creates_per_hour > 0).then(|| HOUR / policy.creates_per_hour)
}
