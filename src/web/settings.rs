//! Everything about the edge that an operator can tune, as plain values. The wiring reads them from the configuration.

use std::time::Duration;

use getaredis_actors::domain::{Flavour, LeasePolicy, Quotas, TokenName};
use ipnet::IpNet;

/// The tunable values of the HTTP edge.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The most bytes a request's body may have.
    pub max_body_bytes: usize,
    /// How long an instance may live, as it is told to visitors; the brain applies its own.
    pub lease: LeasePolicy,
    /// The recipes, the default one first, as they are told to visitors.
    pub flavours: Vec<Flavour>,
    /// The caps, as they are told to visitors; the store applies them.
    pub quotas: Quotas,
    /// The longest the brain may take for a create; a request waits somewhat longer.
    pub create_deadline: Duration,
    /// The longest that any other question to the brain that moves a container may take.
    pub call_deadline: Duration,
    /// Who else than an address may be a creator.
    pub tokens: Vec<TokenSettings>,
    /// The SHA-256 of the operator's token; without it the operator's doors stay shut.
    pub admin_token_sha256: Option<[u8; 32]>,
    /// Origins, as in `https://console.example`, whose pages may open the operator's feed besides this server's own.
    pub allowed_origins: Vec<String>,
    /// Whether tenants are isolated from each other and from the machine.
    pub isolated: bool,
    /// Whether `/metrics` answers.
    pub metrics: bool,
    /// How the operator's feed treats its sessions.
    pub feed: FeedSettings,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// The name of the creator behind it.
    pub name: TokenName,
    /// The SHA-256 of the token.
    pub sha256: [u8; 32],
    /// The creator's cap, as it is told to its holder; the store applies it.
    pub per_creator: u32,
}

/// How the operator's feed treats its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedSettings {
    /// Sessions that may be open at once.
    pub max_sessions: usize,
    /// How often a session is asked for a sign of life.
    pub ping_every: Duration,
    /// A session that gave none for this long is over.
    pub dead_after: Duration,
    /// A session that takes no frame for this long is over.
    pub write_timeout: Duration,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            max_sessions: 32,
            // Below the 60 s after which common proxies cut a silent connection.
            ping_every: Duration::from_secs(20),
            dead_after: Duration::from_secs(50),
            write_timeout: Duration::from_secs(15),
        }
    }
}
