//! An imitated API with a provider that speaks to it.

use std::{sync::Arc, time::Duration};

use getaredis::adapters::digitalocean::{Api as Client, DigitalOcean, DigitalOceanSettings, Placement};
use getaredis_actors::domain::{DeploymentId, HostName};
use getaredis_testbed::api::{Api, Machines, Nothing, Settings};
use secrecy::SecretString;

pub(crate) const TOKEN: &str = "dop_v1_0123456789";
pub(crate) const TAG: &str = "getaredis-test";

/// What every droplet is given; never to be seen anywhere but there.
pub(crate) const SECRET: &str = "hunter2";

pub(crate) fn name(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

pub(crate) fn place(region: &str, size: &str) -> Placement {
    Placement { region: region.to_owned(), size: size.to_owned() }
}

pub(crate) fn settings(api: &Api) -> DigitalOceanSettings {
    DigitalOceanSettings {
        deployment: DeploymentId::parse("test").unwrap(),
        url: api.url().to_owned(),
        token: TOKEN.into(),
        placements: vec![place("fra1", "s-1vcpu-1gb"), place("ams3", "s-1vcpu-1gb"), place("lon1", "s-1vcpu-2gb")],
        image: "debian-13-x64".to_owned(),
        vpc: None,
        ssh_keys: Vec::new(),
        inbound: Vec::new(),
        call_timeout: Duration::from_secs(10),
        settle: Duration::from_millis(300),
        bake_deadline: Duration::from_secs(4),
    }
}

pub(crate) fn provider(settings: DigitalOceanSettings) -> DigitalOcean {
    let user_data = |name: &HostName| Ok(SecretString::from(format!("#!/bin/sh\n# {name} {SECRET}\n")));
    crypto();
    DigitalOcean::new(settings, Arc::new(user_data)).unwrap()
}

pub(crate) fn client(api: &Api) -> Client {
    crypto();
    Client::new(api.url(), TOKEN.into(), Duration::from_secs(10)).unwrap()
}

/// The program installs it at its start.
fn crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(crate) fn api() -> Api {
    api_with(Arc::new(Nothing))
}

pub(crate) fn api_with(machines: Arc<dyn Machines>) -> Api {
    Api::start(TOKEN, Settings { droplet_limit: 1000, ..Settings::default() }, machines).unwrap()
}

/// An API with a provider of plain settings.
pub(crate) fn both() -> (Api, DigitalOcean) {
    let api = api();
    let provider = provider(settings(&api));
    (api, provider)
}

/// Names of the droplets that are paid for.
pub(crate) fn droplets(api: &Api) -> Vec<String> {
    api.droplets().into_iter().map(|droplet| droplet.name).collect()
}
