//! `[instances]`: what an instance is and how long it lives.

use std::{path::PathBuf, time::Duration};

use getaredis_actors::domain::{Flavour, LeasePolicy};

use super::{
    kinds::{duration, number, some_text, whole},
    reader::{Reader, read_section},
};

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Every instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Instances {
    /// Lease of an instance whose creator does not choose one.
    pub default_ttl: Duration,
    /// Shortest lease.
    pub min_ttl: Duration,
    /// Longest lease at once.
    pub max_ttl: Duration,
    /// Longest life, all extensions included.
    pub max_lifetime: Duration,
    /// How long before its end an owner is warned; zero for never.
    pub warn_before: Duration,
    /// Data a tenant may keep.
    pub memory_bytes: u64,
    /// Clients at once.
    pub connections: u32,
    /// Longest time a create may take.
    pub create_deadline: Duration,
    /// The key that secrets are derived from.
    pub master_key_file: PathBuf,
    /// Share of a CPU.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: i64,
}

impl Instances {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let instances = read_section!(reader, "instances" => Instances {
            default_ttl: duration(SECOND, YEAR),
            min_ttl: duration(SECOND, YEAR),
            max_ttl: duration(SECOND, YEAR),
            max_lifetime: duration(SECOND, YEAR),
            warn_before: duration(Duration::ZERO, YEAR),
            memory_bytes: whole(64 * 1024..=1 << 40),
            connections: whole(1..=10_000),
            create_deadline: duration(SECOND, Duration::from_secs(600)),
            master_key_file: |value: &toml::Value| some_text(value).map(PathBuf::from),
            cpus: number(0.0, 1024.0),
            // Redis runs its main thread, three background ones and a forked child to save.
            pids: whole(8..=32_768),
        });
        instances.rules(reader);
        Some(instances)
    }

    fn rules(&self, reader: &mut Reader<'_>) {
        let order = [
            ("instances.min_ttl", self.min_ttl),
            ("instances.default_ttl", self.default_ttl),
            ("instances.max_ttl", self.max_ttl),
            ("instances.max_lifetime", self.max_lifetime),
        ];
        // What is not known is left out, so that its neighbours are compared with each other.
        let known: Vec<_> = order.into_iter().filter(|(key, _)| reader.knows(key)).collect();
        for pair in known.windows(2) {
            if let [(shorter, least), (longer, most)] = pair {
                reader.rule(least <= most, &[shorter, longer], "the first must not be longer than the second");
            }
        }
    }

    /// How long instances may live.
    #[must_use]
    pub fn lease(&self) -> LeasePolicy {
        LeasePolicy {
            default_ttl: self.default_ttl,
            min_ttl: self.min_ttl,
            max_ttl: self.max_ttl,
            max_lifetime: self.max_lifetime,
            warn_before: self.warn_before,
        }
    }

    /// The only recipe so far.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        Flavour {
            name: Flavour::DEFAULT.to_owned(),
            memory_bytes: self.memory_bytes,
            connections: self.connections,
            cpus: self.cpus,
            pids: self.pids,
        }
    }
}
