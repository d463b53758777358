//! The row of a builder: a machine that is bought for some minutes, so that an image of it can be baked.

use crate::domain::{HostName, Timestamp};

/// A builder as the database knows it. The row is written before anything is paid for, and closed when the builder is
/// confirmed gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderRow {
    /// Decided and persisted first; no host's.
    pub name: HostName,
    /// Until when a bake may be at work with it, or its order take effect. From then on the row says nothing: what there
    /// still is of the builder the provider lists.
    pub ends_at: Timestamp,
}

impl BuilderRow {
    /// Whether it takes a place in the pool.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ends_at > now
    }
}
