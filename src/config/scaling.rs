//! The keys of `[fleet]` that say how the pool of droplets grows and shrinks, and how creates wait for it.

use std::{path::PathBuf, time::Duration};

use getaredis_actors::{
    domain::scaling::{Billing, LONGEST_WAIT, ScalingPolicy},
    settings::QueueSettings,
};

use super::{
    kinds::{duration, optional_path, whole, word},
    reader::{Reader, read_section},
};

/// Hosts that one installation could have.
const MOST_HOSTS: i64 = 10_000;

/// No provider boots a machine sooner. With less, every host would be given up as it comes, and paid for.
const SHORTEST_BOOT: Duration = Duration::from_secs(30);

/// How the pool grows and shrinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaling {
    /// Empty hosts that are kept.
    pub standby: u32,
    /// Free slots that are kept.
    pub standby_slots: u32,
    /// Free slots that are kept, in percent of the used ones.
    pub standby_percent: u32,
    /// Droplets that are always kept.
    pub min_hosts: u32,
    /// Droplets that there may be.
    pub max_hosts: u32,
    /// How long a droplet is kept after it became empty.
    pub idle: Duration,
    /// How long a droplet is kept at least.
    pub min_age: Duration,
    /// How long nothing is given back after growth.
    pub cooldown: Duration,
    /// How long a droplet may take to boot.
    pub boot_deadline: Duration,
    /// How long a droplet may be silent.
    pub bad_after: Duration,
    /// How long the provider's list may disagree with the rows.
    pub list_grace: Duration,
    /// How long nothing is ordered after the first failure.
    pub retry_after: Duration,
    /// Droplets that may be ordered at once.
    pub create_burst: u32,
    /// Droplets that may be ordered in an hour.
    pub creates_per_hour: u32,
    /// What a droplet is paid by.
    pub billing: Billing,
    /// How often the pool is looked at, beside every change that matters to it.
    pub pass_every: Duration,
    /// How long a create waits for room.
    pub queue_for: Duration,
    /// Creates that wait at once.
    pub queue_length: usize,
    /// Where decisions are written down.
    pub scaling_log: Option<PathBuf>,
}

impl Scaling {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        let scaling = read_section!(reader, "fleet" => Scaling {
            standby: whole(0..=MOST_HOSTS),
            standby_slots: whole(0..=1_000_000),
            standby_percent: whole(0..=1000),
            min_hosts: whole(0..=MOST_HOSTS),
            max_hosts: whole(0..=MOST_HOSTS),
            idle: duration(Duration::ZERO, 30 * day),
            min_age: duration(Duration::ZERO, 30 * day),
            cooldown: duration(Duration::ZERO, day),
            boot_deadline: duration(SHORTEST_BOOT, day),
            bad_after: duration(second, day),
            list_grace: duration(second, day),
            retry_after: duration(second / 10, LONGEST_WAIT),
            create_burst: whole(1..=1000),
            creates_per_hour: whole(0..=10_000),
            billing: word(&[("second", Billing::Second), ("hour", Billing::Hour)]),
            pass_every: duration(second / 10, Duration::from_secs(3600)),
            queue_for: duration(Duration::ZERO, Duration::from_secs(600)),
            queue_length: whole(0..=100_000),
            scaling_log: optional_path,
        });
        scaling.rules(reader);
        Some(scaling)
    }

    fn rules(&self, reader: &mut Reader<'_>) {
        reader.rule(
            self.min_hosts <= self.max_hosts,
            &["fleet.min_hosts", "fleet.max_hosts"],
            "more hosts are to be kept than there may be",
        );
        reader.rule(
            self.standby <= self.max_hosts,
            &["fleet.standby", "fleet.max_hosts"],
            "more hosts are to stand by than there may be",
        );
    }

    /// As the brain is told. `slots` is what a droplet carries; `propagation`, how long servers may take to notice that a
    /// host has left.
    #[must_use]
    pub fn policy(&self, slots: u32, propagation: Duration) -> ScalingPolicy {
        ScalingPolicy {
            standby: self.standby,
            standby_slots: self.standby_slots,
            standby_percent: self.standby_percent,
            min_hosts: self.min_hosts,
            max_hosts: self.max_hosts,
            slots,
            idle: self.idle,
            min_age: self.min_age,
            cooldown: self.cooldown,
            boot_deadline: self.boot_deadline,
            bad_after: self.bad_after,
            list_grace: self.list_grace,
            propagation,
            retry_after: self.retry_after,
            create_burst: self.create_burst,
            creates_per_hour: self.creates_per_hour,
            billing: self.billing,
        }
    }

    /// As the brain is told.
    #[must_use]
    pub fn queue(&self) -> QueueSettings {
        QueueSettings { wait: self.queue_for, most: self.queue_length }
    }
}
