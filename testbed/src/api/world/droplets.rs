//! Droplets: ordered at once, active later, deleted at once.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Effect, Refusal, Reply, Request, World, now, page::page};
use crate::api::machines::{Addresses, Boot};

/// Bytes of user data at most.
const LONGEST_USER_DATA: usize = 64 * 1024;

/// Droplets that one order may be for.
const MOST_AT_ONCE: usize = 10;

/// A droplet in the books.
#[derive(Debug)]
pub(super) struct Droplet {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) region: String,
    size: String,
    pub(super) disk: u32,
    image: String,
    /// As it was when the droplet was made; it may be deleted since.
    image_then: Value,
    pub(super) tags: Vec<String>,
    status: &'static str,
    addresses: Option<Addresses>,
    vpc: Uuid,
    created_at: Timestamp,
    user_data: Option<String>,
}

impl Droplet {
    pub(super) fn is_locked(&self) -> bool {
        self.status == "new"
    }
}

/// A droplet as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropletView {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub region: String,
    /// What it is.
    pub size: String,
    /// What it was booted from.
    pub image: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// `new`, `active` or `off`.
    pub status: &'static str,
    /// What it was given to set itself up with.
    pub user_data: Option<String>,
}

/// An order: one `name`, or several `names`.
#[derive(Deserialize)]
struct Order {
    name: Option<String>,
    names: Option<Vec<String>>,
    region: String,
    size: String,
    image: Value,
    #[serde(default)]
    ssh_keys: Vec<Value>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    user_data: Option<String>,
    vpc_uuid: Option<String>,
}

impl World {
    pub(in crate::api) fn droplet_views(&self) -> Vec<DropletView> {
        let view = |droplet: &Droplet| DropletView {
            id: droplet.id,
            name: droplet.name.clone(),
            region: droplet.region.clone(),
            size: droplet.size.clone(),
            image: droplet.image.clone(),
            tags: droplet.tags.clone(),
            status: droplet.status,
            user_data: droplet.user_data.clone(),
        };
        self.droplets.values().map(view).collect()
    }

    /// The most droplets that there ever were at once.
    pub(in crate::api) fn most_droplets(&self) -> usize {
        self.most_droplets
    }

    pub(super) fn list_droplets(&self, request: &Request<'_>) -> Result<Reply, Refusal> {
        let (tag, name) = (request.query("tag_name"), request.query("name"));
        if tag.is_some() && (name.is_some() || request.query("type").is_some()) {
            return Err(Refusal::bad_request("tag_name cannot be combined with name or type"));
        }
        let wanted = |droplet: &&Droplet| {
            tag.is_none_or(|tag| droplet.tags.iter().any(|t| t == tag))
                && name.is_none_or(|name| droplet.name.eq_ignore_ascii_case(name))
        };
        Ok(page(request, "droplets", self.droplets.values().filter(wanted).map(|d| self.droplet_json(d)).collect()))
    }

    pub(super) fn show_droplet(&self, id: u64) -> Result<Reply, Refusal> {
        Ok(Reply::ok(json!({ "droplet": self.droplet_json(self.droplet(id)?) })))
    }

    pub(super) fn create_droplets(&mut self, request: &Request<'_>) -> Result<Reply, Refusal> {
        let order: Order = request.json()?;
        let (names, several) = match (&order.name, &order.names) {
            (Some(name), None) => (vec![name.clone()], false),
            (None, Some(names)) if (1..=MOST_AT_ONCE).contains(&names.len()) => (names.clone(), true),
            (None, Some(_)) => {
                return Err(Refusal::unprocessable(format!("names must have 1 to {MOST_AT_ONCE} items")));
            }
            _ => return Err(Refusal::unprocessable("Name can't be blank")),
        };
        let size = self.check(&order, &names)?;
        let image = self.bootable(&order.image.to_string().replace('"', ""), &order.region)?.reference();
        let vpc = self.vpc_for(&order.region, order.vpc_uuid.as_deref())?;
        let ssh_keys = self.public_keys(&order.ssh_keys)?;
        let tags = order.tags.clone().unwrap_or_default();
        tags.iter().try_for_each(|tag| self.learn_tag(tag))?;

        let (mut droplets, mut links) = (Vec::new(), Vec::new());
        for name in names {
            let droplet = Droplet {
                id: self.id(),
                name,
                region: order.region.clone(),
                size: order.size.clone(),
                disk: size,
                image_then: self.image_json(&image),
                image: image.clone(),
                tags: tags.clone(),
                status: "new",
                addresses: None,
                vpc,
                created_at: now(),
                user_data: order.user_data.clone(),
            };
            let action = self.begin("create", droplet.id, &droplet.region, None);
            links.push(
                json!({ "id": action, "rel": "create", "href": format!("{}/v2/actions/{action}", request.base) }),
            );
            droplets.push(self.droplet_json(&droplet));
            self.effects.push(Effect::Boot { action, order: boot(&droplet, ssh_keys.clone()) });
            self.droplets.insert(droplet.id, droplet);
        }
        self.most_droplets = self.most_droplets.max(self.droplets.len());
        let links = json!({ "actions": links });
        Ok(Reply::new(
            202,
            if several {
                json!({ "droplets": droplets, "links": links })
            } else {
                json!({ "droplet": droplets.pop(), "links": links })
            },
        ))
    }

    /// Everything that can be wrong with an order by itself; the size of its disk if nothing is.
    fn check(&self, order: &Order, names: &[String]) -> Result<u32, Refusal> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        let proper = |name: &String| {
            name.len() <= 255
                && name.bytes().all(plain)
                && name.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric())
        };
        if !names.iter().all(proper) {
            return Err(Refusal::unprocessable("Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"));
        }
        if order.user_data.as_ref().is_some_and(|data| data.len() > LONGEST_USER_DATA) {
            return Err(Refusal::unprocessable("User data is too long (maximum is 64 KiB)"));
        }
        let size = self.catalogue.buy(&order.region, &order.size)?;
        if self.droplets.len() + names.len() > self.settings.droplet_limit {
            return Err(Refusal::unprocessable("creating this/these droplet(s) will exceed your droplet limit"));
        }
        Ok(size.disk)
    }

    fn public_keys(&self, wanted: &[Value]) -> Result<Vec<String>, Refusal> {
        let key = |key: &Value| {
            let key = key.to_string().replace('"', "");
            let invalid = || Refusal::unprocessable(format!("{key} are invalid key identifiers for Droplet creation."));
            self.key(&key).map(|key| key.public_key.clone()).ok_or_else(invalid)
        };
        wanted.iter().map(key).collect()
    }

    pub(super) fn delete_droplet(&mut self, id: u64) -> Result<Reply, Refusal> {
        self.droplets.remove(&id).ok_or_else(Refusal::not_found)?;
        self.effects.push(Effect::Destroy { droplet: id });
        Ok(Reply::no_content())
    }

    pub(super) fn delete_droplets_by_tag(&mut self, request: &Request<'_>) -> Result<Reply, Refusal> {
        let Some(tag) = request.query("tag_name") else {
            return Err(Refusal::bad_request("tag_name is required"));
        };
        for id in self.tagged(tag) {
            self.delete_droplet(id)?;
        }
        Ok(Reply::no_content())
    }

    /// A droplet that nobody ordered through the API and nothing stands behind, for tests.
    pub(in crate::api) fn plant(&mut self, name: &str, tags: &[&str]) -> u64 {
        let id = self.id();
        let image = self.settings.images.first().cloned().unwrap_or_default();
        let droplet = Droplet {
            id,
            name: name.to_owned(),
            region: "fra1".to_owned(),
            size: "s-1vcpu-1gb".to_owned(),
            disk: 25,
            image_then: self.image_json(&image),
            image,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            status: "active",
            addresses: Some(Addresses::invented(id)),
            vpc: self.vpc_for("fra1", None).unwrap_or_default(),
            created_at: now(),
            user_data: None,
        };
        self.tags.extend(droplet.tags.iter().cloned());
        self.droplets.insert(id, droplet);
        self.most_droplets = self.most_droplets.max(self.droplets.len());
        id
    }

    /// A machine has booted, or could not. Says whether its droplet is still there.
    pub(in crate::api) fn booted(&mut self, action: u64, droplet: u64, addresses: Option<Addresses>) -> bool {
        self.done(action, addresses.is_some());
        let Some(droplet) = self.droplets.get_mut(&droplet) else { return false };
        if addresses.is_some() {
            (droplet.status, droplet.addresses) = ("active", addresses);
        }
        true
    }

    /// A machine has powered itself off.
    pub(in crate::api) fn powered_itself_off(&mut self, droplet: u64) {
        self.set_running(droplet, false);
    }

    pub(super) fn set_running(&mut self, droplet: u64, running: bool) {
        if let Some(droplet) = self.droplets.get_mut(&droplet) {
            droplet.status = if running { "active" } else { "off" };
        }
    }

    pub(super) fn droplet(&self, id: u64) -> Result<&Droplet, Refusal> {
        self.droplets.get(&id).ok_or_else(Refusal::not_found)
    }

    pub(super) fn tagged(&self, tag: &str) -> Vec<u64> {
        let carries = |droplet: &&Droplet| droplet.tags.iter().any(|t| t == tag);
        self.droplets.values().filter(carries).map(|droplet| droplet.id).collect()
    }

    fn droplet_json(&self, droplet: &Droplet) -> Value {
        let size = self.catalogue.size(&droplet.size);
        let network = |address: std::net::Ipv4Addr, kind: &str| {
            let [a, b, ..] = address.octets();
            json!({ "ip_address": address, "netmask": "255.255.0.0", "gateway": format!("{a}.{b}.0.1"), "type": kind })
        };
        let v4: Vec<Value> = droplet
            .addresses
            .iter()
            .flat_map(|at| [network(at.private, "private"), network(at.public, "public")])
            .collect();
        json!({
            "id": droplet.id, "name": droplet.name, "memory": size["memory"], "vcpus": size["vcpus"],
            "disk": size["disk"], "disk_info": size["disk_info"], "locked": droplet.is_locked(),
            "status": droplet.status, "kernel": null, "created_at": droplet.created_at,
            "features": ["private_networking"], "backup_ids": [], "next_backup_window": null,
            "snapshot_ids": self.snapshots_of(droplet.id), "image": droplet.image_then, "volume_ids": [],
            "size": size, "size_slug": droplet.size, "networks": { "v4": v4, "v6": [] },
            "region": self.catalogue.region(&droplet.region), "tags": droplet.tags, "vpc_uuid": droplet.vpc,
        })
    }
}

fn boot(droplet: &Droplet, ssh_keys: Vec<String>) -> Boot {
    Boot {
        id: droplet.id,
        name: droplet.name.clone(),
        image: droplet.image.clone(),
        size: droplet.size.clone(),
        region: droplet.region.clone(),
        user_data: droplet.user_data.clone(),
        ssh_keys,
        tags: droplet.tags.clone(),
    }
}
