//! When servers were at work on a database, and so, what it must know of.

use std::time::Duration;

use crate::domain::Timestamp;

/// A span of time in which a server was at work on the database: what was created then has a row, or had one. Of what was
/// created at any other time the database knows nothing; it was another one then, or is an older copy of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attended {
    /// When the server began to say so.
    pub begins_at: Timestamp,
    /// When it said so last.
    pub ends_at: Timestamp,
}

impl Attended {
    /// How long a span is kept after its end: for longer than any instance may live.
    const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

    /// Whether this moment is in it.
    #[must_use]
    pub fn covers(&self, moment: Timestamp) -> bool {
        (self.begins_at..=self.ends_at).contains(&moment)
    }

    /// Spans that ended before this are forgotten.
    #[must_use]
    pub fn kept_since(now: Timestamp) -> Timestamp {
        now.checked_sub(Self::KEPT).unwrap_or(Timestamp::MIN)
    }
}
