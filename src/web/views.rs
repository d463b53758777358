//! The shape of an instance in an answer. The only place where its secrets are written down.

use actix_web::{HttpResponse, HttpResponseBuilder};
use getaredis_actors::domain::{Instance, InstanceId, InstanceState, Label, Timestamp};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::{Web, problem::seconds_until};

/// The user of the engine's access list that tenants are.
const USERNAME: &str = "default";

/// An instance as its creator sees it. Where it is reached is said while it runs only.
#[derive(Serialize)]
pub(super) struct InstanceBody<'a> {
    id: &'a InstanceId,
    state: &'static str,
    flavour: &'a str,
    label: Option<&'a Label>,
    host: Option<String>,
    port: Option<u16>,
    username: &'static str,
    password: Option<String>,
    redis_url: Option<String>,
    created_at: Timestamp,
    expires_at: Timestamp,
    expires_in_s: u64,
    max_expires_at: Timestamp,
    /// Since when its host has been silent; the instance may well be reachable all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable_since: Option<Timestamp>,
    limits: Option<Limits>,
    isolated: bool,
    management_token: String,
    links: Links,
}

#[derive(Serialize)]
struct Limits {
    memory_bytes: u64,
    connections: u32,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    own: String,
    page: String,
}

impl<'a> InstanceBody<'a> {
    /// Writes down `instance` for whoever has shown to be its creator.
    pub(super) fn new(instance: &'a Instance, web: &Web) -> Self {
        let lives = matches!(instance.state, InstanceState::Running | InstanceState::Unreachable);
        let running = instance.endpoint.filter(|_| lives);
        let password = running.map(|_| web.master_key.password(&instance.id, instance.rotation));
        let redis_url = running.zip(password.as_ref()).map(|(at, password)| {
            // As a socket address it has the brackets that an IPv6 address needs; the password needs no escaping.
            let authority = std::net::SocketAddr::new(at.address, at.port);
            format!("redis://{USERNAME}:{}@{authority}/0", password.expose_secret())
        });
        let flavour = web.settings.flavours.iter().find(|flavour| flavour.name == instance.flavour);
        Self {
            id: &instance.id,
            state: instance.state.as_str(),
            flavour: &instance.flavour,
            label: instance.label.as_ref(),
            host: running.map(|at| at.address.to_string()),
            port: running.map(|at| at.port),
            username: USERNAME,
            password: password.map(|password| password.expose_secret().to_owned()),
            redis_url,
            created_at: instance.created_at,
            expires_at: instance.lease.expires_at,
            expires_in_s: seconds_until(instance.lease.expires_at, web.clock.now()),
            max_expires_at: instance.lease.max_expires_at,
            unreachable_since: instance.unreachable_since,
            limits: flavour.map(|f| Limits { memory_bytes: f.memory_bytes, connections: f.connections }),
            isolated: web.settings.isolated,
            management_token: web.master_key.management_token(&instance.id).expose_secret().to_owned(),
            links: Links { own: own_link(&instance.id), page: format!("/i/{}", instance.id) },
        }
    }
}

/// Where an instance is read.
pub(super) fn own_link(id: &InstanceId) -> String {
    format!("/v1/instances/{id}")
}

/// Answers with an instance; never kept by a cache, because it opens one.
pub(super) fn answer(mut response: HttpResponseBuilder, instance: &Instance, web: &Web) -> HttpResponse {
    response.insert_header(("cache-control", "no-store")).json(InstanceBody::new(instance, web))
}
