//! A decision as it is written down: everything that the plan depended on, and the plan.

use serde::{Deserialize, Serialize};

use super::{super::Timestamp, FleetSnapshot, Plan, ScalingPolicy, plan};

/// One pass of the autoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When it was made.
    pub at: Timestamp,
    /// What was asked for.
    pub policy: ScalingPolicy,
    /// What was seen.
    pub snapshot: FleetSnapshot,
    /// What was decided.
    pub plan: Plan,
}

impl Decision {
    /// Decides, and remembers on what grounds.
    #[must_use]
    pub fn make(snapshot: FleetSnapshot, policy: &ScalingPolicy, at: Timestamp) -> Self {
        let plan = plan(&snapshot, policy, at);
        Self { at, policy: policy.clone(), snapshot, plan }
    }

    /// What would be decided now on the same grounds, if that is something else.
    #[must_use]
    pub fn differs(&self) -> Option<Plan> {
        Some(plan(&self.snapshot, &self.policy, self.at)).filter(|again| again != &self.plan)
    }
}
