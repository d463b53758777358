//! `[directory]`: how hosts are found.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, time::Duration};

use getaredis_actors::domain::HostName;
use secrecy::{ExposeSecret, SecretString};
use toml::Value;

use super::{
    fields::table,
    kinds::{Read, duration, engine, list, optional_engine, optional_path, parsed, reachable, text, whole, word},
    reader::{Reader, read_section},
};
use crate::loopback::is_loopback_host;

/// Where hosts announce themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryKind {
    /// In the configuration.
    Static,
    /// In a Redis, each renewing its own key.
    Redis,
}

/// A host that the configuration declares. What it leaves out is taken from `[docker]` and `[fleet]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredHost {
    /// Its name.
    pub name: HostName,
    /// Its engine; nothing means `docker.endpoint`.
    pub endpoint: Option<String>,
    /// Where tenants reach it; nothing means `fleet.address`.
    pub address: Option<IpAddr>,
    /// Instances it carries; nothing means `fleet.slots`.
    pub slots: Option<u32>,
}

/// The directory of hosts.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Which one.
    pub kind: DirectoryKind,
    /// Static hosts.
    pub hosts: Vec<DeclaredHost>,
    /// The Redis, with its password.
    pub url: SecretString,
    /// The Redis as hosts reach it, if that differs.
    pub announce: Option<RedisPlace>,
    /// The authority that signed its certificate (PEM).
    pub tls_ca: Option<PathBuf>,
    /// What the hosts' keys begin with.
    pub prefix: String,
    /// How often it is read.
    pub poll: Duration,
    /// How long a key lives without being renewed.
    pub ttl: Duration,
    /// Template of a found host's engine.
    pub endpoint: String,
}

impl Directory {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let directory = read_section!(reader, "directory" => Directory {
            kind: word(&[("static", DirectoryKind::Static), ("redis", DirectoryKind::Redis)]),
            hosts: list(host),
            url: parsed(redis_url),
            announce: announce,
            tls_ca: optional_path,
            prefix: parsed(prefix),
            poll: duration(Duration::from_millis(100), Duration::from_secs(60)),
            ttl: duration(Duration::from_secs(1), Duration::from_secs(3600)),
            endpoint: template,
        });
        directory.rules(reader);
        Some(directory)
    }

    /// Where hosts that getaredis sets up announce themselves.
    ///
    /// # Errors
    /// When they would look for it at their own loopback, or the server for them where they do not write.
    pub fn as_announced(&self) -> Result<RedisPlace, &'static str> {
        let ours = RedisPlace::of(self.url.expose_secret()).ok_or("directory.url leads nowhere")?;
        if ours.database != 0 {
            return Err("hosts announce themselves in database 0 of the directory: name no other in directory.url");
        }
        self.announce
            .clone()
            .or_else(|| Some(ours).filter(|place| !is_loopback_host(&place.host)))
            .ok_or("hosts do not reach the directory at loopback: set directory.announce to the address they use, such as redis://10.0.0.2:6379")
    }

    /// The port at which the engines of hosts in Redis are asked.
    pub(super) fn engine_port(&self) -> Option<u16> {
        port_of(&self.endpoint)
    }

    fn rules(&self, reader: &mut Reader<'_>) {
        reader.rule(
            self.poll <= self.ttl,
            &["directory.poll", "directory.ttl"],
            "the directory must be read at least once in the life of a key",
        );
        reader.rule(
            self.kind == DirectoryKind::Static || self.hosts.is_empty(),
            &["directory.hosts", "directory.kind"],
            "hosts can be declared only when the directory is static",
        );
        let names: BTreeSet<_> = self.hosts.iter().map(|host| &host.name).collect();
        reader.rule(names.len() == self.hosts.len(), &["directory.hosts"], "every host needs a name of its own");
        let engines: BTreeSet<_> = self.hosts.iter().map(|host| &host.endpoint).collect();
        reader.rule(
            engines.len() == self.hosts.len(),
            &["directory.hosts"],
            "every host needs an engine of its own, or its containers would be counted twice",
        );
    }
}

/// Where a Redis is, without what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisPlace {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The number of its database.
    pub database: i64,
}

impl RedisPlace {
    /// Where an address leads to that was found valid; nothing for any other.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        let client = redis::Client::open(url).ok()?;
        let info = client.get_connection_info();
        let (host, port, tls) = match info.addr() {
            redis::ConnectionAddr::Tcp(host, port) => (host, port, false),
            redis::ConnectionAddr::TcpTls { host, port, .. } => (host, port, true),
            _ => return None,
        };
        Some(Self { host: host.clone(), port: *port, tls, database: info.redis_settings().db() })
    }
}

fn host(value: &Value) -> Read<DeclaredHost> {
    table(value, "name and perhaps endpoint, address and slots", |fields| {
        let name = fields.must("name", parsed(HostName::parse));
        let endpoint = fields.may("endpoint", optional_engine);
        let address = fields.may("address", reachable);
        let slots = fields.may("slots", slots);
        Some(DeclaredHost { name: name?, endpoint: endpoint?.flatten(), address: address?, slots: slots? })
    })
}

/// Instances a host may carry; a host has far fewer ports than the upper bound.
pub(super) fn slots(value: &Value) -> Read<u32> {
    whole(1..=10_000)(value)
}

/// Checks the address without ever repeating it: it may hold a password.
fn redis_url(url: &str) -> Result<SecretString, &'static str> {
    match redis::Client::open(url) {
        Ok(_) if is_redis(url) => Ok(url.to_owned().into()),
        _ => Err("must be an address such as redis://user:password@host:6379/0"),
    }
}

fn is_redis(url: &str) -> bool {
    ["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme))
}

/// A user of Redis's access list is called by it, and such a name has no blanks.
fn prefix(text: &str) -> Result<String, &'static str> {
    let sound = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    sound.then(|| text.to_owned()).ok_or("must have no blanks and no control characters")
}

/// The directory as hosts reach it: each brings a user and password of its own.
fn announce(value: &Value) -> Read<Option<RedisPlace>> {
    let url = text(value)?;
    if url.is_empty() {
        return Ok(None);
    }
    Some(&url)
        .filter(|url| is_redis(url) && !url.contains('@'))
        .and_then(|url| RedisPlace::of(url))
        .filter(|place| place.database == 0 && !is_loopback_host(&place.host))
        .map(Some)
        .ok_or_else(|| {
            "must be empty or an address that hosts reach, such as redis://10.0.0.2:6379, without user, password or database"
                .to_owned()
        })
}

/// The port in an engine's address, if it has one and no path.
pub(super) fn port_of(engine: &str) -> Option<u16> {
    let (_, place) = engine.split_once("://")?;
    place.trim_end_matches('/').rsplit_once(':')?.1.parse().ok().filter(|port| *port != 0)
}

/// The words a template may have in braces.
const PLACEHOLDERS: [&str; 3] = ["{private_address}", "{public_address}", "{name}"];

fn template(value: &Value) -> Read<String> {
    let template = engine(value)?;
    let rest = PLACEHOLDERS.iter().fold(template.clone(), |text, word| text.replace(word, ""));
    if rest.contains(['{', '}']) || rest == template {
        return Err(format!("must contain one of {} and nothing else in braces", PLACEHOLDERS.join(", ")));
    }
    Ok(template)
}
