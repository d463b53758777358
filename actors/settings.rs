//! Everything about the brain that an operator can tune, as plain values. The edge reads them from the configuration;
//! tests and simulations write them down.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;

use crate::domain::{Creator, Flavour, LeasePolicy, Quotas, SinkName, Strategy, TokenName};

/// The tunable numbers of all rooms.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How hosts are filled.
    pub strategy: Strategy,
    /// How many instances one creator, and everybody, may have.
    pub quotas: Quotas,
    /// How many instances the creator behind a token may have, for tokens with a cap of their own; 0 means no cap.
    pub token_caps: BTreeMap<TokenName, u32>,
    /// How long an instance may live.
    pub lease: LeasePolicy,
    /// The recipes; the first one is the default.
    pub flavours: Vec<Flavour>,
    /// The longest a create may take, all hosts that are tried included. A row that is still `creating` after this
    /// was left by a crash.
    pub create_deadline: Duration,
    /// Creates that may be worked on at once; more are answered with `Busy`.
    pub max_in_flight: usize,
    /// How creates wait that find the fleet full.
    pub queue: QueueSettings,
    /// The request rate per creator.
    pub rate: Rate,
    /// The rate of wrong tokens per address.
    pub wrong_tokens: Rate,
    /// Creators inside these networks are not let in.
    pub banned: Vec<IpNet>,
    /// What every host is treated like.
    pub host: HostSettings,
    /// How often the directory is read.
    pub directory_poll: Duration,
    /// How the reaper works.
    pub reaper: ReaperSettings,
    /// How the pool of droplets grows and shrinks; `None` when no cloud is configured.
    pub scaling: Option<crate::domain::scaling::ScalingPolicy>,
    /// How often the autoscaler makes a pass.
    pub scaling_every: Duration,
    /// Whom notices are posted to.
    pub webhooks: WebhookSettings,
    /// How often every actor is asked whether it still takes messages.
    pub watch_every: Duration,
}

/// Whom notices are posted to, and with how much patience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The sinks, each with a name of its own. The store must have been opened with the same.
    pub sinks: Vec<SinkName>,
    /// The longest that one post may take.
    pub timeout: Duration,
    /// How long after it happened something is still told to a sink that does not accept it.
    pub give_up_after: Duration,
}

impl Settings {
    /// The caps that apply to this creator.
    #[must_use]
    pub fn quotas_of(&self, creator: &Creator) -> Quotas {
        let own = match creator {
            Creator::Token(name) => self.token_caps.get(name).copied(),
            Creator::V4(_) | Creator::V6Net(_) => None,
        };
        Quotas { per_creator: own.unwrap_or(self.quotas.per_creator), ..self.quotas }
    }
}

impl Settings {
    /// The longest that a create may take before it is answered, the wait for room included.
    #[must_use]
    pub fn longest_create(&self) -> Duration {
        let wait = if self.scaling.is_some() { self.queue.wait } else { Duration::ZERO };
        self.create_deadline + wait
    }
}

/// How creates wait that find the fleet full while more hosts are on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSettings {
    /// The longest that one waits for room, before the time of the create itself begins; zero for not at all.
    pub wait: Duration,
    /// As many wait at once; more are refused.
    pub most: usize,
}

/// A request rate: a bucket of `burst` requests that is refilled with `per_minute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per minute in the long run, at least 1.
    pub per_minute: u32,
    /// Requests at once, at least 1.
    pub burst: u32,
}

/// How hosts are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostSettings {
    /// Containers that are started on one host at once; more wait their turn. An engine starts a few at once fastest.
    pub parallel_starts: usize,
    /// The longest that one call to an engine may take, other than a start.
    pub call_timeout: Duration,
    /// The longest that a start may take, readiness included.
    pub start_timeout: Duration,
    /// How often an engine is asked whether it is well.
    pub probe_every: Duration,
}

impl HostSettings {
    /// The longest that a start may take before it is cut off: a moment longer than the runtime gives itself, so that
    /// it is the runtime that says why.
    #[must_use]
    pub fn longest_start(&self) -> Duration {
        self.start_timeout + Duration::from_secs(1)
    }

    /// The longest that any question to a host may take: a removal waits for a start of the same instance that is under way.
    #[must_use]
    pub fn longest_call(&self) -> Duration {
        self.longest_start() + 2 * self.call_timeout
    }
}

/// How the reaper works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaperSettings {
    /// How often it looks for leases that have ended.
    pub poll: Duration,
    /// How often it compares rows and containers of all hosts.
    pub sweep: Duration,
    /// Instances that it ends at once on one host; another host's do not wait for them.
    pub parallel: usize,
    /// The longest it waits before it tries to remove a container again.
    pub retry_max: Duration,
    /// How long a host may be silent before what it carried is given up as lost.
    pub lost_after: Duration,
    /// How long the row of an instance is kept after its end, and with it the address of its creator.
    pub keep_ended: Duration,
}
