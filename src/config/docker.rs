//! `[docker]`: the container engine and how instances are published on it.

use std::{net::IpAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use ipnet::IpNet;
use toml::Value;

use super::{
    kinds::{
        Read, duration, ip, list, network, optional_engine, optional_path, optional_text, ports, some_text, whole, word,
    },
    reader::{Reader, read_section},
};

/// Where an engine publishes when nobody says otherwise: `net.ipv4.ip_local_port_range`, as Linux has it.
const ENGINES_CHOICE: RangeInclusive<u16> = 32_768..=60_999;

/// Where an engine listens when nobody says otherwise.
const LOCAL_ENGINE: &str = "unix:///var/run/docker.sock";

/// How a TCP engine and we recognise each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAuth {
    /// By certificates that an authority signed, or not at all.
    Certificate,
    /// By what is derived from the master key for each host.
    Derived,
}

/// The container engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Docker {
    /// The engine of this machine, if it was named here or in `DOCKER_HOST`; see [`Docker::local_engine`].
    pub endpoint: Option<String>,
    /// The authority that signed the engines' certificates (PEM).
    pub tls_ca: Option<PathBuf>,
    /// Our client certificate (PEM).
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    pub tls_key: Option<PathBuf>,
    /// How a TCP engine and we recognise each other.
    pub host_auth: HostAuth,
    /// Networks that hosts let reach their engine; empty means every one that can.
    pub host_clients: Vec<IpNet>,
    /// Image of an instance.
    pub image: String,
    /// Address on each host that ports are published on.
    pub publish_address: IpAddr,
    /// Ports to publish on; nothing lets the engine choose.
    pub ports: Option<RangeInclusive<u16>>,
    /// The operator's network for containers; nothing makes one of the deployment's own.
    pub network: Option<String>,
    /// Longest wait for one answer.
    pub call_timeout: Duration,
    /// Longest wait until an instance is ready.
    pub start_timeout: Duration,
    /// Containers started on one host at once.
    pub parallel_starts: usize,
}

impl Docker {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let short = Duration::from_millis(100);
        let docker = read_section!(reader, "docker" => Docker {
            endpoint: optional_engine,
            tls_ca: optional_path,
            tls_cert: optional_path,
            tls_key: optional_path,
            host_auth: word(&[("certificate", HostAuth::Certificate), ("derived", HostAuth::Derived)]),
            host_clients: list(network),
            image: image,
            publish_address: ip,
            ports: ports,
            network: optional_text,
            call_timeout: duration(short, Duration::from_secs(300)),
            start_timeout: duration(short, Duration::from_secs(600)),
            parallel_starts: whole(1..=64),
        });
        docker.rules(reader);
        Some(docker)
    }

    fn rules(&self, reader: &mut Reader<'_>) {
        let files = [&self.tls_ca, &self.tls_cert, &self.tls_key].into_iter().flatten().count();
        reader.rule(
            files == 0 || files == 3,
            &["docker.tls_ca", "docker.tls_cert", "docker.tls_key"],
            "the engines' authority, a client certificate and its key need each other",
        );
        let derived = self.host_auth == HostAuth::Derived;
        reader.rule(
            files == 0 || !derived,
            &["docker.host_auth", "docker.tls_ca", "docker.tls_cert", "docker.tls_key"],
            "hosts are recognised by what is derived for them or by certificates, not by both",
        );
        reader.rule(
            derived || self.tls_ca.is_some() || !self.local_engine().starts_with("https://"),
            &["docker.tls_ca", "docker.endpoint"],
            "an engine on https:// needs the authority that signed its certificate",
        );
    }

    /// The ports that instances can end up at.
    #[must_use]
    pub fn reached_ports(&self) -> RangeInclusive<u16> {
        self.ports.clone().unwrap_or(ENGINES_CHOICE)
    }

    /// The engine of this machine.
    #[must_use]
    pub fn local_engine(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(LOCAL_ENGINE)
    }
}

/// The name of an image as engines take it. It is also part of what hosts are set up with, on a command line.
fn image(value: &Value) -> Read<String> {
    let name = some_text(value)?;
    let sound = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@[]".contains(c));
    let must = "must be the name of an image, such as redis:7 or registry.example.org/redis@sha256:…";
    if sound { Ok(name) } else { Err(must.to_owned()) }
}
