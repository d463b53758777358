//! The configuration: gathered in layers, understood section by section, refused with everything that is wrong.
//!
//! Owns every tunable number of the program. The rest of the program gets the typed sections and what
//! `mapping` makes of them; nobody else reads environment variables or the file.
//!
//! `config.toml` at the root of the repository says what each key means; it is built in as the lowest [layer](layers).
//! A new key is a line there and a field in its section; a test holds the two together.

mod admin;
mod database;
mod digitalocean;
mod directory;
mod docker;
mod fields;
mod files;
mod fleet;
mod hosts;
mod http;
mod instances;
mod kinds;
pub mod layers;
mod limits;
mod mapping;
mod problem;
mod reader;
mod reaper;
mod scaling;
mod show;
mod telemetry;
#[cfg(test)]
mod tests;
mod webhooks;

pub use admin::Admin;
pub use database::Database;
pub use digitalocean::{DigitalOcean, Inbound, Placement};
pub use directory::{DeclaredHost, Directory, DirectoryKind, RedisPlace};
pub use docker::{Docker, HostAuth};
pub use fleet::{Fleet, Provider, RuntimeKind};
pub use http::Http;
pub use instances::Instances;
pub use layers::{Inputs, Layers};
pub use limits::{ApiToken, Limits};
pub use problem::{Place, Problem, Problems, Source};
pub use reaper::Reaper;
pub use scaling::Scaling;
pub use show::show;
pub use telemetry::{LogFormat, Telemetry};
pub use webhooks::{Sink, SinkSecret, SinkUrl, Webhooks, signing_key};

use reader::Reader;

/// The whole configuration. Every value in it is valid, and all of them together are too.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[http]`
    pub http: Http,
    /// `[database]`
    pub database: Database,
    /// `[docker]`
    pub docker: Docker,
    /// `[directory]`
    pub directory: Directory,
    /// `[fleet]`
    pub fleet: Fleet,
    /// `[fleet]`, how it grows and shrinks
    pub scaling: Scaling,
    /// `[digitalocean]`
    pub digitalocean: DigitalOcean,
    /// `[instances]`
    pub instances: Instances,
    /// `[limits]`
    pub limits: Limits,
    /// `[reaper]`
    pub reaper: Reaper,
    /// `[webhooks]`
    pub webhooks: Webhooks,
    /// `[admin]`
    pub admin: Admin,
    /// `[telemetry]`
    pub telemetry: Telemetry,
}

impl Config {
    /// Gathers and understands the inputs.
    ///
    /// # Errors
    /// Everything that is wrong in any layer.
    pub fn load(inputs: &Inputs) -> Result<Self, Problems> {
        Self::from_layers(&Layers::gather(inputs))
    }

    /// Understands layers that were gathered.
    ///
    /// # Errors
    /// Everything that is wrong in any layer.
    pub fn from_layers(layers: &Layers) -> Result<Self, Problems> {
        Self::understand(layers, |_, _| {})
    }

    /// The same on the machine that it is for, where the files that it names must be.
    ///
    /// # Errors
    /// Everything that is wrong in any layer, or with a file.
    pub fn with_files(layers: &Layers) -> Result<Self, Problems> {
        Self::understand(layers, files::rules)
    }

    fn understand(layers: &Layers, further: impl FnOnce(&Self, &mut Reader<'_>)) -> Result<Self, Problems> {
        let mut reader = Reader::new(layers);
        let config = Self::read(&mut reader);
        if let Some(config) = &config {
            further(config, &mut reader);
        }
        match config {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(Problems(reader.problems)),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let http = Http::read(reader);
        let database = Database::read(reader);
        let docker = Docker::read(reader);
        let directory = Directory::read(reader);
        let fleet = Fleet::read(reader);
        let scaling = Scaling::read(reader);
        let digitalocean = DigitalOcean::read(reader);
        let instances = Instances::read(reader);
        let limits = Limits::read(reader);
        let reaper = Reaper::read(reader);
        let webhooks = Webhooks::read(reader);
        let admin = Admin::read(reader);
        let telemetry = Telemetry::read(reader);
        let config = Self {
            http: http?,
            database: database?,
            docker: docker?,
            directory: directory?,
            fleet: fleet?,
            scaling: scaling?,
            digitalocean: digitalocean?,
            instances: instances?,
            limits: limits?,
            reaper: reaper?,
            webhooks: webhooks?,
            admin: admin?,
            telemetry: telemetry?,
        };
        config.rules(reader);
        Some(config)
    }

    /// What sections must agree upon.
    fn rules(&self, reader: &mut Reader<'_>) {
        reader.rule(
            self.docker.start_timeout <= self.instances.create_deadline,
            &["instances.create_deadline", "docker.start_timeout"],
            "a create must be given at least the time that one start may take",
        );
        let is_static = self.directory.kind == DirectoryKind::Static;
        reader.rule(
            self.fleet.runtime == RuntimeKind::Docker || (is_static && self.directory.hosts.len() <= 1),
            &["fleet.runtime", "directory.kind", "directory.hosts"],
            "the process runtime runs on this machine only: the directory must be static and have one host at most",
        );
        reader.rule(
            self.fleet.runtime == RuntimeKind::Docker || !self.database.is_networked(),
            &["fleet.runtime", "database.url"],
            "the process runtime is for one server: another one on the same database would take its instances for lost; \
             use sqlite://",
        );
        let hosts = self.static_hosts();
        reader.rule(
            !is_static
                || !self.docker.publish_address.is_loopback()
                || hosts.iter().all(|host| host.public_address.is_loopback()),
            &["docker.publish_address", "fleet.address", "directory.hosts", "directory.kind"],
            "instances would be published on loopback, where nobody reaches them at the address that tenants are told; \
             publish on 0.0.0.0 or on the host's own address",
        );
        let mut engines: Vec<_> = hosts.iter().map(|host| host.engine.as_str()).collect();
        engines.push(self.docker.local_engine());
        if !is_static {
            engines = vec![&self.directory.endpoint];
        }
        reader.rule(
            self.docker.host_auth == HostAuth::Certificate
                || engines.iter().all(|engine| !engine.starts_with("tcp://")),
            &["docker.host_auth", "directory.endpoint", "directory.hosts", "docker.endpoint"],
            "the password that opens a host is sent to https:// only",
        );
        let most_slots = hosts.iter().map(|host| host.slots).max().unwrap_or(self.fleet.slots);
        reader.rule(
            self.docker.ports.as_ref().is_none_or(|ports| ports.len() >= most_slots as usize),
            &["docker.ports", "fleet.slots", "directory.hosts"],
            "there are fewer ports than a host has slots",
        );
        if self.fleet.provider == Provider::DigitalOcean {
            self.rules_of_bought_hosts(reader);
        }
    }

    /// What hosts need that are bought.
    fn rules_of_bought_hosts(&self, reader: &mut Reader<'_>) {
        let bought = &self.digitalocean;
        reader.rule(
            self.directory.kind == DirectoryKind::Redis,
            &["directory.kind", "fleet.provider"],
            "hosts that are bought announce themselves in a Redis",
        );
        reader.rule(
            bought.token.is_some() || bought.token_file.is_some(),
            &["digitalocean.token_file", "digitalocean.token", "fleet.provider"],
            "nothing can be bought without the token of an account",
        );
        reader.rule(
            !bought.placements.is_empty(),
            &["digitalocean.placements", "fleet.provider"],
            "nothing can be bought without a region and a size",
        );
        reader.rule(
            bought.user_data_file.is_some() || self.docker.host_auth == HostAuth::Derived,
            &["docker.host_auth", "digitalocean.user_data_file", "fleet.provider"],
            "a machine that is bought has to be told how to become a host: set docker.host_auth = \"derived\", or a file of your own",
        );
        reader.rule(
            !self.docker.publish_address.is_loopback(),
            &["docker.publish_address", "fleet.provider"],
            "instances on hosts that are bought would be published where nobody reaches them; publish on 0.0.0.0",
        );
        // The operator's own user data may know another way.
        let sets_up = self.docker.host_auth == HostAuth::Derived && bought.user_data_file.is_none();
        if let (DirectoryKind::Redis, true, Err(why)) = (self.directory.kind, sets_up, self.directory.as_announced()) {
            let keys = ["directory.announce", "directory.url", "docker.host_auth", "digitalocean.user_data_file"];
            reader.rule(false, &[keys.as_slice(), &["fleet.provider"]].concat(), why);
        }
        let ports = self.docker.reached_ports();
        let (first, last) = (ports.start(), ports.end());
        reader.rule(
            bought.lets_in(&ports),
            &["digitalocean.inbound", "docker.ports", "fleet.provider"],
            &format!(
                "instances are published on ports {first}-{last}, and the firewall does not let tenants in at all of \
                 them; add {{ ports = \"{first}-{last}\", from = [\"0.0.0.0/0\", \"::/0\"] }}, set docker.ports to what it \
                 lets in, or leave inbound empty to look after the firewall yourself"
            ),
        );
        if let Some(port) = self.directory.engine_port() {
            reader.rule(
                bought.lets_in(&(port..=port)),
                &["digitalocean.inbound", "directory.endpoint", "fleet.provider"],
                &format!(
                    "the server asks engines at port {port}, and the firewall lets nobody in there; add {{ ports = \
                     \"{port}\", from = [\"10.0.0.2/32\"] }} with the address that the server comes from"
                ),
            );
        }
        reader.rule(
            self.scaling.list_grace >= 2 * bought.call_timeout,
            &["fleet.list_grace", "digitalocean.call_timeout"],
            "an order could be made again while it is still being made: it must be at least twice as long as one call",
        );
    }
}
