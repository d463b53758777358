//! Firewalls. They are kept as they were written; nothing stands behind them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Refusal, Reply, Request, World, now, page::page};

impl World {
    /// The firewalls as they are now.
    pub(in crate::api) fn firewalls(&self) -> Vec<Value> {
        self.firewalls.values().cloned().collect()
    }

    pub(super) fn list_firewalls(&self, request: &Request<'_>) -> Reply {
        page(request, "firewalls", self.firewalls())
    }

    pub(super) fn create_firewall(&mut self, request: &Request<'_>) -> Result<Reply, Refusal> {
        let id = Uuid::new_v4().to_string();
        let firewall = self.checked(request, &id)?;
        let name = &firewall["name"];
        if self.firewalls.values().any(|other| &other["name"] == name) {
            return Err(Refusal::new(409, "duplicate name"));
        }
        self.firewalls.insert(id, firewall.clone());
        Ok(Reply::new(202, json!({ "firewall": firewall })))
    }

    pub(super) fn show_firewall(&self, id: &str) -> Result<Reply, Refusal> {
        let firewall = self.firewalls.get(id).ok_or_else(Refusal::not_found)?;
        Ok(Reply::ok(json!({ "firewall": firewall })))
    }

    pub(super) fn update_firewall(&mut self, request: &Request<'_>, id: &str) -> Result<Reply, Refusal> {
        let before = self.firewalls.get(id).ok_or_else(Refusal::not_found)?["created_at"].clone();
        let mut firewall = self.checked(request, id)?;
        firewall["created_at"] = before;
        self.firewalls.insert(id.to_owned(), firewall.clone());
        Ok(Reply::ok(json!({ "firewall": firewall })))
    }

    pub(super) fn delete_firewall(&mut self, id: &str) -> Result<Reply, Refusal> {
        self.firewalls.remove(id).map(|_| Reply::no_content()).ok_or_else(Refusal::not_found)
    }

    fn checked(&self, request: &Request<'_>, id: &str) -> Result<Value, Refusal> {
        let written: Value = request.json()?;
        let list = |key: &str| written[key].as_array().cloned().unwrap_or_default();
        let Some(name) = written["name"].as_str().filter(|name| !name.is_empty()) else {
            return Err(Refusal::bad_request("name is required"));
        };
        let (inbound, outbound) = (list("inbound_rules"), list("outbound_rules"));
        if inbound.is_empty() && outbound.is_empty() {
            return Err(Refusal::bad_request("at least one rule is required"));
        }
        for rule in inbound.iter().chain(&outbound) {
            let protocol = rule["protocol"].as_str().unwrap_or_default();
            if !matches!(protocol, "tcp" | "udp" | "icmp") || (protocol != "icmp" && !rule["ports"].is_string()) {
                return Err(Refusal::bad_request("a rule needs a protocol and ports"));
            }
        }
        if let Some(tag) = list("tags").iter().find(|tag| !tag.as_str().is_some_and(|tag| self.tags.contains(tag))) {
            return Err(Refusal::unprocessable(format!("tag {tag} does not exist")));
        }
        Ok(json!({
            "id": id, "name": name, "status": "succeeded", "created_at": now(), "pending_changes": [],
            "inbound_rules": inbound, "outbound_rules": outbound, "droplet_ids": list("droplet_ids"), "tags": list("tags"),
        }))
    }
}
