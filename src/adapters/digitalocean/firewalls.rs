//! The firewall in front of our droplets, by their tag: nothing comes in but what was configured.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Api, ApiError};

/// TCP that may come in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InboundRule {
    /// A port, or the first and last of a range such as `20000-29999`.
    pub ports: String,
    /// Addresses or networks that it may come from.
    pub sources: BTreeSet<String>,
}

/// A firewall.
#[derive(Debug, Clone, Deserialize)]
pub struct Firewall {
    /// Its id.
    pub id: String,
    /// Its name, which no other has.
    pub name: String,
    /// Tags of the droplets behind it.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    #[serde(default)]
    inbound_rules: Option<Vec<Rule>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rule {
    protocol: String,
    #[serde(default)]
    ports: String,
    #[serde(default)]
    sources: Sources,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sources {
    #[serde(default)]
    addresses: BTreeSet<String>,
    /// Tags, load balancers and the like; we write none.
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

impl From<&InboundRule> for Rule {
    fn from(rule: &InboundRule) -> Self {
        let sources = Sources { addresses: rule.sources.clone(), ..Sources::default() };
        Self { protocol: "tcp".to_owned(), ports: rule.ports.clone(), sources }
    }
}

impl Firewall {
    /// Whether it lets in these, nothing else, and stands in front of the tag.
    fn is(&self, tag: &str, inbound: &[InboundRule]) -> bool {
        let rules = self.inbound_rules.as_deref().unwrap_or_default();
        let plain = |rule: &Rule| rule.protocol == "tcp" && rule.sources.others.is_empty();
        let read = |rule: &Rule| InboundRule { ports: rule.ports.clone(), sources: rule.sources.addresses.clone() };
        let found: BTreeSet<InboundRule> = rules.iter().map(read).collect();
        let tagged = self.tags.as_ref().is_some_and(|tags| tags.iter().any(|t| t == tag));
        tagged && rules.iter().all(plain) && found == inbound.iter().cloned().collect()
    }
}

#[derive(Deserialize)]
struct One {
    firewall: Firewall,
}

impl Api {
    /// Makes sure that a firewall of this name stands in front of the droplets with the tag `name` and lets in nothing
    /// but `inbound`. What goes out is decided on the droplets themselves.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn ensure_firewall(&self, name: &str, inbound: &[InboundRule]) -> Result<Firewall, ApiError> {
        let all: Vec<Firewall> = self.list("/v2/firewalls", &[], "firewalls").await?;
        let found = all.into_iter().find(|firewall| firewall.name == name);
        if let Some(firewall) = found.as_ref().filter(|firewall| firewall.is(name, inbound)) {
            return Ok(firewall.clone());
        }
        self.ensure_tag(name).await?;
        let everywhere = json!({ "addresses": ["0.0.0.0/0", "::/0"] });
        let out = |protocol: &str| json!({ "protocol": protocol, "ports": "all", "destinations": everywhere });
        let wanted = json!({
            "name": name, "tags": [name],
            "inbound_rules": inbound.iter().map(Rule::from).collect::<Vec<_>>(),
            "outbound_rules": [out("tcp"), out("udp"), { "protocol": "icmp", "destinations": everywhere }],
        });
        let one: One = match found {
            Some(old) => self.put(&format!("/v2/firewalls/{}", old.id), &wanted).await?,
            None => self.post("/v2/firewalls", &wanted).await?,
        };
        tracing::info!(firewall = name, "firewall.written");
        Ok(one.firewall)
    }

    /// A firewall can name only a tag that exists, and ours does not before the first droplet.
    async fn ensure_tag(&self, tag: &str) -> Result<(), ApiError> {
        match self.get::<Value>(&format!("/v2/tags/{tag}")).await {
            Err(ApiError::NotFound) => self.post::<Value>("/v2/tags", &json!({ "name": tag })).await.map(|_| ()),
            other => other.map(|_| ()),
        }
    }
}
