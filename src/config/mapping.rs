//! What the brain is told: the configuration in its words. The adapters' part is in `wiring`, which knows them.

use std::time::Duration;

use getaredis_actors::{
    domain::{HostName, scaling::ScalingPolicy},
    ports::HostRecord,
    settings::{HostSettings, Settings},
};

use super::{Config, Provider};

/// How often an engine is asked whether it is well: often enough that a dead host is noticed before a second visitor
/// is sent there, rarely enough to be nothing beside the engine's own work.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// How often an actor is asked whether it still takes messages. One that does not is found within this and half a
/// minute more, which is soon enough for a bug.
const WATCH_EVERY: Duration = Duration::from_secs(10);

/// The host that exists when none is declared.
const LOCAL_HOST: &str = "local";

impl Config {
    /// The tunable numbers of all rooms.
    #[must_use]
    pub fn brain_settings(&self) -> Settings {
        Settings {
            strategy: self.fleet.strategy,
            quotas: self.limits.quotas(),
            token_caps: self.limits.token_caps(),
            lease: self.instances.lease(),
            flavours: vec![self.instances.flavour()],
            create_deadline: self.instances.create_deadline,
            max_in_flight: self.limits.max_in_flight,
            queue: self.scaling.queue(),
            rate: self.limits.rate(),
            wrong_tokens: self.limits.wrong_tokens(),
            banned: self.limits.banned.clone(),
            host: HostSettings {
                parallel_starts: self.docker.parallel_starts,
                call_timeout: self.docker.call_timeout,
                start_timeout: self.docker.start_timeout,
                probe_every: PROBE_EVERY,
            },
            directory_poll: self.directory.poll,
            reaper: self.reaper.settings(),
            scaling: (self.fleet.provider != Provider::None).then(|| self.scaling_policy()),
            scaling_every: self.scaling.pass_every,
            webhooks: self.webhooks.settings(),
            watch_every: WATCH_EVERY,
        }
    }

    /// How far the pool may go.
    #[must_use]
    pub fn scaling_policy(&self) -> ScalingPolicy {
        // A server that cannot tell whether the directory was restarted believes in a key for its whole time to live, and
        // may have read a moment before it went.
        let propagation = self.directory.ttl + 2 * self.directory.poll;
        self.scaling.policy(self.fleet.slots, propagation)
    }

    /// The hosts of a static directory in their declared order: those of `directory.hosts`, else this machine.
    #[must_use]
    pub fn static_hosts(&self) -> Vec<HostRecord> {
        let record = |name, endpoint: Option<&String>, address: Option<_>, slots: Option<_>| HostRecord {
            name,
            public_address: address.unwrap_or(self.fleet.address),
            engine: endpoint.cloned().unwrap_or_default(),
            slots: slots.unwrap_or(self.fleet.slots),
        };
        let declared = &self.directory.hosts;
        if declared.is_empty() {
            HostName::parse(LOCAL_HOST).into_iter().map(|name| record(name, None, None, None)).collect()
        } else {
            declared.iter().map(|h| record(h.name.clone(), h.endpoint.as_ref(), h.address, h.slots)).collect()
        }
    }
}
