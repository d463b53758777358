//! Machines of DigitalOcean: its API with typed requests, and the [`HostProvider`] and the images of hosts
//! ([`Bakery`]) that are made of them.
//!
//! Owns the translation in both directions and the knowledge of which refusal means what. Keeps nothing but
//! what the API said last of its limits: whatever else it needs to know it asks. Must not show the token or a droplet's user data to anybody but DigitalOcean, nor touch a
//! droplet without the deployment's tag.

mod account;
mod actions;
mod allowance;
mod api;
mod bake;
mod bakery;
mod builders;
mod buying;
mod droplets;
mod error;
mod firewalls;
mod images;
mod preflight;
mod provider;
mod room;
mod vpcs;
mod waiting;

pub use self::{
    account::{Account, Region, Size, SshKey},
    actions::{Action, ActionStatus},
    api::Api,
    bakery::{Bakery, BakerySettings, Books, BuilderData, OpenBooks},
    droplets::{Address, Droplet, NewDroplets},
    error::ApiError,
    firewalls::{Firewall, InboundRule},
    images::Image,
    preflight::Preflight,
    provider::{DigitalOcean, UserData},
    vpcs::Vpc,
};

use std::{fmt, time::Duration};

use getaredis_actors::domain::DeploymentId;
use secrecy::SecretString;

/// Where a droplet can be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The slug of a region.
    pub region: String,
    /// The slug of a size.
    pub size: String,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.size, self.region)
    }
}

/// What is bought, and with which account.
#[derive(Debug, Clone)]
pub struct DigitalOceanSettings {
    /// Names the tag of our droplets.
    pub deployment: DeploymentId,
    /// Where the API is, such as `https://api.digitalocean.com`.
    pub url: String,
    /// What opens it.
    pub token: SecretString,
    /// Where droplets are bought, the best place first.
    pub placements: Vec<Placement>,
    /// The slug of a public image or the id of a snapshot.
    pub image: String,
    /// The private network; none is the default one of the region.
    pub vpc: Option<String>,
    /// Ids or fingerprints of keys that may log in as root.
    pub ssh_keys: Vec<String>,
    /// What may come in from outside; with no rule, no firewall is looked after.
    pub inbound: Vec<InboundRule>,
    /// The longest that one call may take.
    pub call_timeout: Duration,
    /// How long an order without a clear answer may still take effect; until then its name is not ordered again, by this
    /// process: others go by the order's row.
    pub settle: Duration,
    /// The longest that a bake takes; a builder that is older was left behind.
    pub bake_deadline: Duration,
}

impl DigitalOceanSettings {
    /// How long it takes at most from an order to a list that shows what was ordered.
    fn listed_after(&self) -> Duration {
        2 * self.settle
    }

    /// The tag that makes a droplet ours; the firewall has the same name.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("getaredis-{}", self.deployment)
    }
}
