//! Owns the metadata service at 169.254.169.254: what a droplet may know about itself, by the address that asks.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, PoisonError, RwLock},
};

use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web};
use serde_json::{Value, json};

use super::cloud::{PRIVATE_GATEWAY, PUBLIC_GATEWAY};

/// What the metadata service says to one droplet.
pub(super) struct Facts {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) user_data: String,
    pub(super) region: String,
    pub(super) tags: Vec<String>,
    pub(super) public: Ipv4Addr,
    pub(super) private: Ipv4Addr,
    /// The address that cloud-init asks with before it has configured the others.
    pub(super) link_local: Ipv4Addr,
    pub(super) macs: [String; 2],
}

/// The droplets of a cloud by every address they have; clones share it.
#[derive(Clone, Default)]
pub(super) struct Metadata(Arc<RwLock<HashMap<Ipv4Addr, Arc<Facts>>>>);

impl Metadata {
    pub(super) fn insert(&self, facts: Facts) {
        let facts = Arc::new(facts);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for address in [facts.public, facts.private, facts.link_local] {
            known.insert(address, facts.clone());
        }
    }

    pub(super) fn remove(&self, droplet: u64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, facts| facts.id != droplet);
    }

    fn of(&self, request: &HttpRequest) -> Option<Arc<Facts>> {
        let IpAddr::V4(peer) = request.peer_addr()?.ip() else { return None };
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned()
    }
}

/// The routes below `/metadata`.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/metadata/v1.json", web::get().to(document));
    config.route("/metadata/v1{path:.*}", web::get().to(entry));
}

async fn document(metadata: web::Data<Metadata>, request: HttpRequest) -> HttpResponse {
    match metadata.of(&request) {
        Some(facts) => HttpResponse::Ok().json(facts.document()),
        None => nothing(),
    }
}

async fn entry(metadata: web::Data<Metadata>, request: HttpRequest, path: web::Path<String>) -> HttpResponse {
    let Some(facts) = metadata.of(&request) else { return nothing() };
    let mut node = &facts.tree();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match node.get(part) {
            Some(below) => node = below,
            None => return nothing(),
        }
    }
    HttpResponse::Ok().content_type(ContentType::plaintext()).body(listing(node))
}

fn nothing() -> HttpResponse {
    HttpResponse::NotFound().content_type(ContentType::plaintext()).body("not found\n")
}

/// A leaf as it is, a folder as the names in it.
fn listing(node: &Value) -> String {
    match node {
        Value::Object(below) => {
            let name = |(name, node): (&String, &Value)| {
                if node.is_object() { format!("{name}/") } else { name.clone() }
            };
            below.iter().map(name).collect::<Vec<_>>().join("\n")
        }
        Value::String(leaf) => leaf.clone(),
        other => other.to_string(),
    }
}

impl Facts {
    fn document(&self) -> Value {
        let interface = |address: Ipv4Addr, mask: &str, gateway: Ipv4Addr, mac: &str, kind: &str| json!([{"ipv4": {"ip_address": address, "netmask": mask, "gateway": gateway}, "mac": mac, "type": kind}]);
        json!({
            "droplet_id": self.id,
            "hostname": self.name,
            "user_data": self.user_data,
            "vendor_data": "",
            "public_keys": [],
            "region": self.region,
            "auth_key": "",
            "tags": self.tags,
            "interfaces": {
                "public": interface(self.public, "255.255.255.0", PUBLIC_GATEWAY, &self.macs[0], "public"),
                "private": interface(self.private, "255.255.240.0", PRIVATE_GATEWAY, &self.macs[1], "private"),
            },
            "floating_ip": {"ipv4": {"active": false}},
            "reserved_ip": {"ipv4": {"active": false}},
            "dns": {"nameservers": [PUBLIC_GATEWAY]},
            "features": {"dhcp_enabled": false},
        })
    }

    fn tree(&self) -> Value {
        let interface = |address: Ipv4Addr, mask: &str, gateway: Ipv4Addr, mac: &str, kind: &str| json!({"0": {"ipv4": {"address": address, "netmask": mask, "gateway": gateway}, "mac": mac, "type": kind}});
        json!({
            "id": self.id.to_string(),
            "hostname": self.name,
            "user-data": self.user_data,
            "vendor-data": "",
            "public-keys": "",
            "region": self.region,
            "tags": self.tags.join("\n"),
            "interfaces": {
                "public": interface(self.public, "255.255.255.0", PUBLIC_GATEWAY, &self.macs[0], "public"),
                "private": interface(self.private, "255.255.240.0", PRIVATE_GATEWAY, &self.macs[1], "private"),
            },
            "floating_ip": {"ipv4": {"active": "false"}},
            "reserved_ip": {"ipv4": {"active": "false"}},
            "dns": {"nameservers": PUBLIC_GATEWAY},
        })
    }
}
