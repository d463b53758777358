//! Private networks: one by default in each region.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Refusal, Reply, Request, World, now, page::page};

/// A private network.
#[derive(Debug, Clone)]
pub(super) struct Vpc {
    pub(super) id: Uuid,
    pub(super) region: String,
    name: String,
    description: String,
    ip_range: String,
    default: bool,
    created_at: Timestamp,
}

impl Vpc {
    /// The one that every region has.
    pub(super) fn default_of(region: &str) -> Self {
        Self {
            id: Uuid::new_v4(),
            region: region.to_owned(),
            name: format!("default-{region}"),
            description: String::new(),
            ip_range: "10.118.0.0/20".to_owned(),
            default: true,
            created_at: now(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id, "urn": format!("do:vpc:{}", self.id), "name": self.name, "description": self.description,
            "region": self.region, "ip_range": self.ip_range, "default": self.default, "created_at": self.created_at,
        })
    }
}

impl World {
    pub(super) fn list_vpcs(&self, request: &Request<'_>) -> Reply {
        page(request, "vpcs", self.vpcs.iter().map(Vpc::json).collect())
    }

    pub(super) fn create_vpc(&mut self, request: &Request<'_>) -> Result<Reply, Refusal> {
        #[derive(Deserialize)]
        struct New {
            name: String,
            region: String,
            ip_range: Option<String>,
            #[serde(default)]
            description: String,
        }
        let new: New = request.json()?;
        if !self.catalogue.regions().any(|region| region == new.region) {
            return Err(Refusal::unprocessable("region is invalid"));
        }
        let vpc = Vpc {
            name: new.name,
            ip_range: new.ip_range.unwrap_or_else(|| "10.119.0.0/20".to_owned()),
            description: new.description,
            default: false,
            ..Vpc::default_of(&new.region)
        };
        let reply = Reply::new(201, json!({ "vpc": vpc.json() }));
        self.vpcs.push(vpc);
        Ok(reply)
    }

    pub(super) fn show_vpc(&self, id: &str) -> Result<Reply, Refusal> {
        let vpc = self.vpcs.iter().find(|vpc| vpc.id.to_string() == id).ok_or_else(Refusal::not_found)?;
        Ok(Reply::ok(json!({ "vpc": vpc.json() })))
    }

    /// The network that a droplet goes to.
    pub(super) fn vpc_for(&self, region: &str, wanted: Option<&str>) -> Result<Uuid, Refusal> {
        let fits = |vpc: &&Vpc| match wanted {
            Some(id) => vpc.id.to_string() == id && vpc.region == region,
            None => vpc.default && vpc.region == region,
        };
        let missing = || Refusal::unprocessable("Failed to resolve VPC");
        self.vpcs.iter().find(fits).map(|vpc| vpc.id).ok_or_else(missing)
    }
}
