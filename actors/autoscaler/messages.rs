//! What the autoscaler is asked.

use actix::Message;
use serde::Serialize;

/// Make a pass now and answer when it is done. Sent by tests and the operator; wakes the autoscaler, and tells it
/// nothing.
#[derive(Debug, Clone, Message)]
#[rtype(result = "ScalingStatus")]
pub struct ScaleNow;

/// How did the last pass go? Sent by the operator's pages.
#[derive(Debug, Clone, Message)]
#[rtype(result = "ScalingStatus")]
pub struct DescribeScaling;

/// What the last pass saw, decided and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ScalingStatus {
    /// Passes since the start.
    pub passes: u64,
    /// Each decision in words, with its reason.
    pub explanation: Vec<String>,
    /// Droplets ordered in the last pass.
    pub created: usize,
    /// Droplets deleted in the last pass.
    pub deleted: usize,
    /// What went wrong in the last pass.
    pub errors: Vec<String>,
}
