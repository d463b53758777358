//! What a host is set up with: rendered for one host, from `deploy/host` and what is derived for it.
//!
//! Owns the files of a host and the two ways they travel: as cloud-init's user-data and as a script. Nothing in them
//! opens anything but this very host, and of the password that opens its engine they hold a hash. Must not talk to
//! anybody, and must not know who asks for it.

mod certificate;
mod files;
mod passwords;
mod render;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Duration};

use getaredis_actors::domain::{DeploymentId, HostName, MasterKey};
use ipnet::IpNet;
use secrecy::SecretString;

pub use certificate::HostCertificate;
pub use passwords::ENGINE_USER;

/// The largest user-data that DigitalOcean takes, in bytes.
pub const MOST_USER_DATA_BYTES: usize = 64 * 1024;

/// What all hosts of an installation have in common.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// The image that instances run in.
    pub image: String,
    /// The port on the private address that the engine is reached at.
    pub engine_port: u16,
    /// Networks that may reach it; empty means every one that can, with the password.
    pub engine_clients: Vec<IpNet>,
    /// Where hosts announce themselves; nothing where the directory is static.
    pub directory: Option<HostDirectory>,
}

/// The directory as hosts reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDirectory {
    /// Whose hosts they are, which each says in its heartbeat.
    pub deployment: DeploymentId,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Who signed its certificate (PEM); nothing means the authorities that the host knows.
    pub ca: Option<String>,
    /// What the hosts' keys begin with.
    pub prefix: String,
    /// How long a key lives without being renewed.
    pub ttl: Duration,
}

impl HostDirectory {
    /// The key that a host renews.
    #[must_use]
    pub fn key(&self, host: &HostName) -> String {
        directory_key(&self.prefix, host)
    }

    /// The user that may write it.
    #[must_use]
    pub fn user(&self, host: &HostName) -> String {
        directory_user(&self.prefix, host)
    }

    /// How often it is renewed: four seconds for a life of ten, so that two lost beats lose no host.
    #[must_use]
    pub fn every(&self) -> Duration {
        self.ttl * 2 / 5
    }
}

/// The key of the directory that a host renews.
#[must_use]
pub fn directory_key(prefix: &str, host: &HostName) -> String {
    format!("{prefix}server:{host}")
}

/// The user of the directory that may write a host's key and do nothing else.
#[must_use]
pub fn directory_user(prefix: &str, host: &HostName) -> String {
    format!("{prefix}host-{host}")
}

/// What one host may be told beside its name. Nothing means: found out by the host itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// Where tenants reach it.
    pub public_address: Option<IpAddr>,
    /// Where the control plane reaches its engine.
    pub private_address: Option<IpAddr>,
    /// Instances it carries; nothing leaves it to `fleet.slots`.
    pub slots: Option<u32>,
}

/// Why nothing was rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostSetupError {
    /// A value could not be written down without meaning something else there.
    #[error("{what} cannot be part of a host's set-up: {value:?}")]
    Unsafe {
        /// What it is.
        what: &'static str,
        /// The value; never a secret.
        value: String,
    },
    /// A key, certificate or hash could not be made.
    #[error("the host's {what} cannot be made: {why}")]
    Secret {
        /// What it is.
        what: &'static str,
        /// What the library said.
        why: String,
    },
    /// More than a provider takes.
    #[error("the user-data has {0} bytes, and at most {MOST_USER_DATA_BYTES} are taken; shorten directory.tls_ca")]
    TooLong(usize),
}

/// Renders what hosts are set up with.
#[derive(Clone)]
pub struct HostSetup {
    settings: HostSettings,
    master_key: Arc<MasterKey>,
}

impl HostSetup {
    /// Takes what hosts have in common and what their secrets are derived from.
    #[must_use]
    pub fn new(settings: HostSettings, master_key: Arc<MasterKey>) -> Self {
        Self { settings, master_key }
    }

    /// The user-data of a host that is bought: a `#cloud-config` that works on stock images of Debian 12 and 13 and
    /// Ubuntu 24.04 (on 22.04 it is untested), and on an image of a [builder](builder_user_data), where nothing has to
    /// be installed any more.
    ///
    /// # Errors
    /// [`HostSetupError`] when a value of the configuration cannot be written down safely, or it gets too long.
    pub fn user_data(&self, host: &HostName, options: HostOptions) -> Result<SecretString, HostSetupError> {
        let mut files = files::common(&self.settings)?;
        files.extend(files::of_host(&self.settings, &self.master_key, host, options)?);
        bounded(render::cloud_config(&files, false)?)
    }

    /// The same set-up as a script for root, for a machine that the operator brings.
    ///
    /// # Errors
    /// As [`user_data`](Self::user_data).
    pub fn script(&self, host: &HostName, options: HostOptions) -> Result<SecretString, HostSetupError> {
        let mut files = files::common(&self.settings)?;
        files.extend(files::of_host(&self.settings, &self.master_key, host, options)?);
        render::script(&files).map(Into::into)
    }
}

/// The user-data of a builder, a machine that is to become an image: everything is installed, the image of instances is
/// there, nothing in it is secret or belongs to a host. When it is done, and only then, it is sealed and powers itself off.
///
/// # Errors
/// As [`HostSetup::user_data`].
pub fn builder_user_data(settings: &HostSettings) -> Result<SecretString, HostSetupError> {
    let mut files = files::common(settings)?;
    files.extend(files::of_builder());
    bounded(render::cloud_config(&files, true)?)
}

fn bounded(user_data: String) -> Result<SecretString, HostSetupError> {
    if user_data.len() > MOST_USER_DATA_BYTES {
        return Err(HostSetupError::TooLong(user_data.len()));
    }
    Ok(user_data.into())
}
