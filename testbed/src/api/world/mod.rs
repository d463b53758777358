//! The account as a plain value: what is in it, and what every request does to it.
//!
//! Owns the books and the answers. Pure but for ids and the wall clock: a request goes in, an answer and what is to be
//! done with machines come out. Knows nothing of sockets, tokens, limits of requests or faults.

mod account;
mod actions;
mod catalogue;
mod droplets;
mod firewalls;
mod images;
mod page;
mod refusal;
mod tags;
mod vpcs;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, Unit};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::droplets::DropletView;
pub(super) use self::refusal::Refusal;
use super::machines::{Boot, Power};

/// What the account is like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Droplets that there may be at once.
    pub droplet_limit: usize,
    /// Slugs of the public images.
    pub images: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        // The last three are no slugs of the real one: they have nothing baked in, as all of the real one's.
        let images = [
            "debian-12-x64",
            "debian-13-x64",
            "ubuntu-22-04-x64",
            "ubuntu-24-04-x64",
            "debian-12-stock",
            "debian-13-stock",
            "ubuntu-24-04-stock",
        ];
        Self { droplet_limit: 25, images: images.map(str::to_owned).to_vec() }
    }
}

/// A request, as far as the account is concerned.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: BTreeMap<String, String>,
    pub(super) body: &'a [u8],
    /// What links in answers begin with.
    pub(super) base: &'a str,
}

impl Request<'_> {
    /// The body as JSON of this shape.
    fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(self.body).map_err(|_| Refusal::bad_request("error parsing request body"))
    }

    fn query(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }
}

/// An answer: its status, and its body if it has one.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
}

impl Reply {
    fn new(status: u16, body: Value) -> Self {
        Self { status, body: Some(body) }
    }

    fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    fn no_content() -> Self {
        Self { status: 204, body: None }
    }
}

/// What is to be done with a machine, after the answer.
#[derive(Debug)]
pub(super) enum Effect {
    /// Then [`World::booted`] for this action.
    Boot {
        action: u64,
        order: Boot,
    },
    Destroy {
        droplet: u64,
    },
    /// Then [`World::done`] for this action.
    Power {
        action: u64,
        droplet: u64,
        power: Power,
    },
    /// Then [`World::done`] for this action.
    Snapshot {
        action: u64,
        droplet: u64,
        image: u64,
    },
}

/// The account. See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) settings: Settings,
    catalogue: catalogue::Catalogue,
    droplets: BTreeMap<u64, droplets::Droplet>,
    most_droplets: usize,
    actions: BTreeMap<u64, actions::Action>,
    images: BTreeMap<u64, images::Image>,
    tags: BTreeSet<String>,
    firewalls: BTreeMap<String, Value>,
    vpcs: Vec<vpcs::Vpc>,
    keys: BTreeMap<u64, account::Key>,
    next_id: u64,
    effects: Vec<Effect>,
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        let mut world = Self {
            catalogue: catalogue::Catalogue::new(),
            droplets: BTreeMap::new(),
            most_droplets: 0,
            actions: BTreeMap::new(),
            images: BTreeMap::new(),
            tags: BTreeSet::new(),
            firewalls: BTreeMap::new(),
            vpcs: Vec::new(),
            keys: BTreeMap::new(),
            // Ids of the real one have about this many digits.
            next_id: 480_000_000,
            effects: Vec::new(),
            settings,
        };
        for slug in world.settings.images.clone() {
            let id = world.id();
            world.images.insert(id, images::Image::public(id, slug));
        }
        world.vpcs = world.catalogue.regions().map(vpcs::Vpc::default_of).collect();
        world
    }

    /// Serves a request: the answer, and what is to be done with machines.
    pub(super) fn serve(&mut self, request: &Request<'_>) -> (Reply, Vec<Effect>) {
        let reply = self.route(request).unwrap_or_else(|refusal| Reply::new(refusal.status, refusal.body()));
        (reply, std::mem::take(&mut self.effects))
    }

    fn route(&mut self, r: &Request<'_>) -> Result<Reply, Refusal> {
        let path: Vec<&str> = r.path.trim_matches('/').split('/').collect();
        let ["v2", path @ ..] = path.as_slice() else { return Err(Refusal::not_found()) };
        match (r.method, path) {
            ("GET", ["account"]) => Ok(self.account()),
            ("GET", ["account", "keys"]) => Ok(self.list_keys(r)),
            ("POST", ["account", "keys"]) => self.add_key(r),
            ("GET", ["account", "keys", key]) => self.show_key(key),
            ("DELETE", ["account", "keys", key]) => self.remove_key(key),
            ("GET", ["sizes"]) => Ok(self.list_sizes(r)),
            ("GET", ["regions"]) => Ok(self.list_regions(r)),
            ("GET", ["droplets"]) => self.list_droplets(r),
            ("POST", ["droplets"]) => self.create_droplets(r),
            ("DELETE", ["droplets"]) => self.delete_droplets_by_tag(r),
            ("POST", ["droplets", "actions"]) => self.act_by_tag(r),
            ("GET", ["droplets", id]) => self.show_droplet(number(id)?),
            ("DELETE", ["droplets", id]) => self.delete_droplet(number(id)?),
            ("GET", ["droplets", id, "actions"]) => self.list_actions(r, Some(number(id)?)),
            ("POST", ["droplets", id, "actions"]) => self.act(r, number(id)?),
            ("GET", ["droplets", id, "actions", action]) => self.show_action(number(action)?, Some(number(id)?)),
            ("GET", ["droplets", id, "snapshots"]) => self.list_snapshots_of(r, number(id)?),
            ("GET", ["actions"]) => self.list_actions(r, None),
            ("GET", ["actions", id]) => self.show_action(number(id)?, None),
            ("GET", ["images"]) => Ok(self.list_images(r)),
            ("GET", ["images", id]) => self.show_image(id),
            ("PUT", ["images", id]) => self.rename_image(r, number(id)?),
            ("DELETE", ["images", id]) => self.delete_image(number(id)?),
            ("GET", ["snapshots"]) => Ok(self.list_snapshots(r)),
            ("GET", ["snapshots", id]) => self.show_snapshot(number(id)?),
            ("DELETE", ["snapshots", id]) => self.delete_image(number(id)?),
            ("GET", ["tags"]) => Ok(self.list_tags(r)),
            ("POST", ["tags"]) => self.create_tag(r),
            ("GET", ["tags", tag]) => self.show_tag(tag),
            ("DELETE", ["tags", tag]) => self.delete_tag(tag),
            ("POST", ["tags", tag, "resources"]) => self.tag_resources(r, tag, true),
            ("DELETE", ["tags", tag, "resources"]) => self.tag_resources(r, tag, false),
            ("GET", ["firewalls"]) => Ok(self.list_firewalls(r)),
            ("POST", ["firewalls"]) => self.create_firewall(r),
            ("GET", ["firewalls", id]) => self.show_firewall(id),
            ("PUT", ["firewalls", id]) => self.update_firewall(r, id),
            ("DELETE", ["firewalls", id]) => self.delete_firewall(id),
            ("GET", ["vpcs"]) => Ok(self.list_vpcs(r)),
            ("POST", ["vpcs"]) => self.create_vpc(r),
            ("GET", ["vpcs", id]) => self.show_vpc(id),
            _ => Err(Refusal::not_found()),
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// An id in a path.
fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::not_found())
}

/// Now, as the API writes times: whole seconds.
fn now() -> Timestamp {
    Timestamp::now().round(Unit::Second).unwrap_or(Timestamp::UNIX_EPOCH)
}
