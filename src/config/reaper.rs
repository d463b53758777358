//! `[reaper]`: how ended leases and leftovers are cleaned up.

use std::time::Duration;

use getaredis_actors::settings::ReaperSettings;

use super::{
    kinds::{duration, whole},
    reader::{Reader, read_section},
};

/// The reaper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaper {
    /// How often ended leases are looked for.
    pub poll: Duration,
    /// How often rows and containers are compared.
    pub sweep: Duration,
    /// Instances ended at once.
    pub parallel: usize,
    /// Longest pause before another try.
    pub retry_max: Duration,
    /// How long a host may be silent before what it carried is given up.
    pub lost_after: Duration,
    /// How long the record of an instance is kept after its end.
    pub keep_ended: Duration,
}

impl Reaper {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let hour = Duration::from_secs(3600);
        Some(read_section!(reader, "reaper" => Reaper {
            // An instance is promised to end within a second of its time.
            poll: duration(Duration::from_millis(10), Duration::from_secs(1)),
            sweep: duration(Duration::from_secs(1), hour),
            parallel: whole(1..=256),
            retry_max: duration(Duration::from_secs(1), hour),
            lost_after: duration(Duration::from_secs(1), 365 * 24 * hour),
            keep_ended: duration(Duration::from_secs(1), 10 * 365 * 24 * hour),
        }))
    }

    /// As the brain is told.
    #[must_use]
    pub fn settings(&self) -> ReaperSettings {
        ReaperSettings {
            poll: self.poll,
            sweep: self.sweep,
            parallel: self.parallel,
            retry_max: self.retry_max,
            lost_after: self.lost_after,
            keep_ended: self.keep_ended,
        }
    }
}
