//! The port through which machines are bought.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use serde::Serialize;

use crate::domain::{HostName, Timestamp};

/// Why the provider did not do it. Only [`Unknown`](Self::Unknown) leaves open whether there was an effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It does not answer, or not clearly. The effect may or may not have happened: look it up by name.
    #[error("the provider's answer is unknown: {0}")]
    Unknown(String),
    /// Too many requests; none is counted before this long.
    #[error("the provider wants {0:?} of rest")]
    RateLimited(Duration),
    /// It does not accept our credentials, or they do not allow this.
    #[error("the provider does not accept our credentials: {0}")]
    Unauthorized(String),
    /// The account may not have more machines.
    #[error("the account has as many machines as it may have: {0}")]
    LimitReached(String),
    /// None of the configured places has a machine to sell at this time; each with what was said about it.
    #[error("no configured place has a machine to sell: {0}")]
    SoldOut(String),
    /// What a machine needs beside the provider is away; it was not even asked.
    #[error("nothing was ordered: {0}")]
    NotYet(String),
    /// It said no, and would say no again until somebody changes something.
    #[error("the provider refused: {0}")]
    Refused(String),
}

impl ProviderError {
    /// How long to wait before the same request makes sense again. Nothing for an unknown outcome: looking it up costs
    /// nothing.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        const MINUTE: Duration = Duration::from_secs(60);
        match self {
            Self::Unknown(_) | Self::NotYet(_) => Duration::ZERO,
            Self::RateLimited(rest) => *rest,
            // Machines of others come back to the shelf within minutes.
            Self::SoldOut(_) => 2 * MINUTE,
            // These wait for a person; soon enough that nobody restarts the server for impatience.
            Self::Unauthorized(_) | Self::LimitReached(_) | Self::Refused(_) => 5 * MINUTE,
        }
    }

    /// Whether it is certain that nothing was made or changed.
    #[must_use]
    pub fn without_effect(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}

/// A machine at the provider that carries our deployment's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Droplet {
    /// Its name, which is its host's name.
    pub name: HostName,
    /// When the provider made it.
    pub created_at: Timestamp,
    /// Its public address, once it has one.
    pub address: Option<IpAddr>,
    /// Whether it is switched off, which is paid for all the same.
    pub is_off: bool,
}

/// What the provider has of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Hosts, and whatever else carries the tag, such as a builder that was left behind.
    pub droplets: Vec<Droplet>,
    /// Machines on which an image is being baked, by their names: paid for, and nobody's hosts. Two of one name are there
    /// twice.
    pub builders: Vec<HostName>,
}

/// What a machine costs, in millionths of a US dollar per hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HourlyPrice(pub u64);

impl std::fmt::Display for HourlyPrice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "${}.{:05} per hour", self.0 / 1_000_000, self.0 % 1_000_000 / 10)
    }
}

/// Buys and gives back machines, bound to one deployment's tag: it sees and touches nothing else at the provider.
///
/// A name is decided and persisted by the caller before anything is ordered; it is all that an order is known by. A
/// machine is ordered one by one, because each has secrets of its own in what it is booted with. Every call ends within
/// a time that the provider knows; the caller may cut it off earlier, which leaves its outcome unknown.
#[async_trait]
pub trait HostProvider: Send + Sync {
    /// Every machine with the tag, each once and all of them or an error; one that was ordered a moment ago may be missing.
    /// Two of one name are two machines.
    async fn list(&self) -> Result<Listing, ProviderError>;

    /// Orders a machine of this name, unless there is one. It boots later and announces itself in the directory. May be
    /// repeated: an order whose answer was lost is found by its name, so that there are never two machines of one name. One
    /// that another process made may not be found for some time, which the caller lets pass.
    async fn create(&self, name: &HostName) -> Result<(), ProviderError>;

    /// Deletes every machine of this name; fine when there is none.
    async fn delete(&self, name: &HostName) -> Result<(), ProviderError>;

    /// There is no machine of this name any more, or never was: lets go of what was kept for it. Fine when that is
    /// nothing. Fails where there is one all the same, listed or not: its row must not go.
    async fn forget(&self, name: &HostName) -> Result<(), ProviderError>;

    /// What a machine costs at the place that is asked first.
    async fn price(&self) -> Result<HourlyPrice, ProviderError>;
}
