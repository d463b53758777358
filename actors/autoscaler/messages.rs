//! What the autoscaler is asked.

use std::time::Duration;

use actix::Message;
use serde::{Deserialize, Serialize};

use crate::domain::{Standstill, scaling::DropletView};

/// Make a pass now and answer when it is done. Sent by tests and the operator; wakes the autoscaler, and tells it
/// nothing.
#[derive(Debug, Clone, Message)]
#[rtype(result = "ScalingStatus")]
pub struct ScaleNow;

/// How did the last pass go? Sent by the operator's pages, the feed and the metrics. Answered from memory.
#[derive(Debug, Clone, Message)]
#[rtype(result = "ScalingStatus")]
pub struct DescribeScaling;

/// Something has changed that may need more droplets or fewer: a create found no room, a host joined or left, an
/// instance took a slot that was counted on. Sent by the scheduler; makes a pass soon, at most one a second, however
/// many are sent, and none where another server looks after the pool. If it is lost, the next timer does the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct PressureChanged;

/// Change nothing from now on: go on looking and explaining. Sent by the operator; holds here from the moment at which it is
/// received, for every server on the database with their next pass, and over restarts, until [`ResumeScaling`]. The reply
/// comes after a pass, so whoever waits for it knows that what was under way is over and the pause is written, or among
/// the errors of that pass that it is not yet. Repeating it changes nothing.
#[derive(Debug, Clone, Message)]
#[rtype(result = "ScalingStatus")]
pub struct PauseScaling;

/// Act again. Sent by the operator; the reply comes after a pass. Repeating it changes nothing.
#[derive(Debug, Clone, Message)]
#[rtype(result = "ScalingStatus")]
pub struct ResumeScaling;

/// What a create that finds no room may hope for. Told to the scheduler after every pass; whoever misses one is told
/// again by the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct GrowthForeseen {
    /// Droplets that boot.
    pub booting: u32,
    /// Of those, the ones that are hosts already, whose engine has not answered yet.
    pub announced: u32,
    /// Droplets that boot or may be up, and cannot announce themselves.
    pub unheard: u32,
    /// Why no droplet is bought, where it is no matter of numbers.
    pub standstill: Option<Standstill>,
    /// Whether more would be ordered if they were needed.
    pub may_grow: bool,
    /// How long until the first of them, or of those that would be ordered, has room; nothing when nobody knows.
    pub ready_in: Option<Duration>,
    /// In how long the next one may be ordered, where something stands in the way of it for a time.
    pub next_order_in: Option<Duration>,
    /// Nothing could be seen in this pass. What was foreseen before still holds; where nothing was, there is nothing to
    /// hope for.
    pub blind: bool,
}

/// What the last pass saw, decided and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScalingStatus {
    /// Whether there is a provider to buy from; without one there is no pool, and no pass is ever made.
    pub enabled: bool,
    /// Passes since the start.
    pub passes: u64,
    /// Whether the operator has paused it: then nothing that is explained is done.
    pub paused: bool,
    /// Each decision in words, with its reason.
    pub explanation: Vec<String>,
    /// Droplets ordered in the last pass.
    pub created: usize,
    /// Droplets deleted in the last pass.
    pub deleted: usize,
    /// What went wrong in the last pass.
    pub errors: Vec<String>,
    /// The droplets, as the last pass that could see them left them.
    pub droplets: Vec<DropletView>,
    /// Droplets that there may be.
    pub max_hosts: u32,
    /// How long it takes until the first of those that boot is up, in seconds, as far as earlier ones tell.
    pub ready_in_s: Option<u64>,
    /// What was done since the start.
    pub totals: ScalingTotals,
}

impl ScalingStatus {
    /// Whether no pass has seen the droplets yet, because something could not be read: there may be any number of them.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.explanation.is_empty() && !self.errors.is_empty()
    }
}

/// What the autoscaler did since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScalingTotals {
    /// Droplets that were ordered.
    pub ordered: u64,
    /// Droplets that were deleted.
    pub deleted: u64,
    /// Readings, orders and other steps that failed.
    pub failures: u64,
}
