//! placeholder until the room of the autoscaler lands
/// placeholder
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalingPolicy {}
