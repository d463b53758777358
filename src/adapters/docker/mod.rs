//! Instances as containers of a Docker Engine.
//!
//! Owns everything that is said to an engine. It touches only what carries the label of its deployment, tells an
//! engine the hash of a password and never the password, and bounds every call in time. Must not decide which host
//! takes an instance, nor when one ends.

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use getaredis_actors::{
    domain::{DeploymentId, MasterKey},
    ports::{HostRecord, Runtime, RuntimeError, Runtimes},
};

mod container;
mod error;
mod exits;
mod image;
mod network;
mod pinned;
mod published;
mod runtime;
mod tls;
mod transport;

pub use runtime::DockerRuntime;
pub use tls::{TlsError, TlsFiles};

use pinned::Pinned;
use tls::ClientTls;
use transport::{EngineAddress, Trust};

use crate::host_setup::{ENGINE_USER, HostCertificate};

/// The label that names the deployment a container or network belongs to.
pub const DEPLOYMENT_LABEL: &str = "getaredis.deployment";
/// The label that names the instance a container is.
pub const INSTANCE_LABEL: &str = "getaredis.instance";
/// The label that names the recipe a container was made from.
pub const FLAVOUR_LABEL: &str = "getaredis.flavour";

/// Where an engine is that neither a host's record nor the configuration nor `DOCKER_HOST` names.
const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

/// How containers are made in this deployment.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// Who we are: the value of the deployment label.
    pub deployment: DeploymentId,
    /// The engine of a host whose record names none; empty means `DOCKER_HOST`, or else the local socket.
    pub endpoint: String,
    /// How to prove to a TCP engine who we are. With it `tcp://` means TLS, as it does for Docker's own client.
    pub tls: Option<TlsFiles>,
    /// The image; it must hold a `redis-server` of version 7.0 or newer.
    pub image: String,
    /// The host's address that tenants' ports are published on.
    pub publish_address: IpAddr,
    /// The ports to publish on.
    pub ports: RangeInclusive<u16>,
    /// Whether the engine may pick one of them itself at first.
    pub engine_chooses: bool,
    /// The longest that one call to an engine may take.
    pub call_timeout: Duration,
    /// The longest that starting a container and its getting ready may take together.
    pub start_timeout: Duration,
    /// The operator's network for containers; without it each deployment has its own, on which they do not reach each
    /// other.
    pub network: Option<String>,
}

/// Makes the runtimes of hosts that run a Docker Engine.
pub struct DockerRuntimes {
    settings: Arc<DockerSettings>,
    tls: Option<ClientTls>,
    /// With it every TCP engine is reached with what is derived for its host.
    master_key: Option<Arc<MasterKey>>,
    docker_host: Option<String>,
}

impl DockerRuntimes {
    /// Reads the certificates and `DOCKER_HOST`. Connects to nothing.
    ///
    /// # Errors
    /// [`TlsError`] when a certificate or key cannot be read or used.
    pub fn new(settings: DockerSettings) -> Result<Self, TlsError> {
        let tls = settings.tls.as_ref().map(ClientTls::load).transpose()?;
        let docker_host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        Ok(Self { settings: Arc::new(settings), tls, master_key: None, docker_host })
    }

    /// Reaches every TCP engine with the password and the public key that are derived for its host, as host set-up
    /// leaves them there, and in no other way.
    #[must_use]
    pub fn with_derived_auth(self, master_key: Arc<MasterKey>) -> Self {
        Self { master_key: Some(master_key), ..self }
    }

    fn trust(&self, host: &HostRecord) -> Result<Trust, RuntimeError> {
        match (&self.master_key, &self.tls) {
            (Some(master_key), _) => {
                let refused = |why: String| RuntimeError::Refused(format!("no key for {}: {why}", host.name));
                let certificate =
                    HostCertificate::derive(master_key, &host.name).map_err(|e| refused(e.to_string()))?;
                let password = master_key.engine_password(&host.name);
                Pinned::new(certificate.public_key_info(), ENGINE_USER, &password)
                    .map(Trust::Pinned)
                    .map_err(|e| refused(e.to_string()))
            }
            (None, Some(tls)) => Ok(Trust::Certificate(tls.clone())),
            (None, None) => Ok(Trust::Open),
        }
    }

    /// The same as [`Runtimes::open`], with its own type.
    ///
    /// # Errors
    /// [`RuntimeError::Refused`] when the host's record cannot be turned into an address to connect to.
    pub fn open_docker(&self, host: &HostRecord) -> Result<DockerRuntime, RuntimeError> {
        let configured = [host.engine.as_str(), self.settings.endpoint.as_str()].into_iter().find(|e| !e.is_empty());
        let endpoint = configured.or(self.docker_host.as_deref()).unwrap_or(DEFAULT_ENDPOINT);
        let address = EngineAddress::parse(endpoint, &self.trust(host)?)?;
        DockerRuntime::new(self.settings.clone(), &address, host.public_address)
    }
}

impl Runtimes for DockerRuntimes {
    fn open(&self, host: &HostRecord) -> Result<Arc<dyn Runtime>, RuntimeError> {
        Ok(Arc::new(self.open_docker(host)?))
    }
}
