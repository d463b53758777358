//! The numbers that simulated worlds run with.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    domain::{Flavour, LeasePolicy, Quotas, Strategy},
    settings::{HostSettings, QueueSettings, Rate, ReaperSettings, Settings, WebhookSettings},
};

/// The defaults of the product, without caps that most tests would only be in the way of.
#[must_use]
pub fn settings() -> Settings {
    const HOUR: Duration = Duration::from_secs(3600);
    Settings {
        strategy: Strategy::Fill,
        quotas: Quotas { per_creator: 0, global: 0 },
        token_caps: BTreeMap::new(),
        lease: LeasePolicy {
            warn_before: Duration::from_secs(600),
            default_ttl: 12 * HOUR,
            min_ttl: Duration::from_secs(1),
            max_ttl: 24 * HOUR,
            max_lifetime: 72 * HOUR,
        },
        flavours: vec![Flavour {
            name: Flavour::DEFAULT.to_owned(),
            memory_bytes: 5 * 1024 * 1024,
            connections: 5,
            cpus: 0.5,
            pids: 64,
        }],
        create_deadline: Duration::from_secs(30),
        max_in_flight: 1000,
        queue: QueueSettings { wait: Duration::from_secs(90), most: 100 },
        rate: Rate { per_minute: 1000, burst: 1000 },
        wrong_tokens: Rate { per_minute: 1000, burst: 1000 },
        banned: Vec::new(),
        host: HostSettings {
            parallel_starts: 4,
            call_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(20),
            probe_every: Duration::from_secs(5),
        },
        directory_poll: Duration::from_secs(2),
        reaper: ReaperSettings {
            poll: Duration::from_millis(500),
            sweep: Duration::from_secs(30),
            parallel: 8,
            retry_max: Duration::from_secs(60),
            lost_after: Duration::from_secs(3600),
            keep_ended: Duration::from_secs(7 * 24 * 3600),
        },
        scaling: None,
        scaling_every: Duration::from_secs(30),
        webhooks: WebhookSettings { sinks: Vec::new(), timeout: Duration::from_secs(10), give_up_after: 24 * HOUR },
        watch_every: Duration::from_secs(10),
    }
}
