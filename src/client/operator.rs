//! What only the operator asks: hosts, and the pool of those that are bought.

use getaredis_actors::{autoscaler::messages::ScalingStatus, domain::HostName, scheduler::messages::HostView};
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Client, ClientError};

/// An answer, understood and as it came.
#[derive(Debug, Clone)]
pub struct Told<T> {
    /// What it says.
    pub value: T,
    /// The JSON text.
    pub json: String,
}

/// The hosts.
#[derive(Debug, Clone, Deserialize)]
pub struct Hosts {
    /// In their declared order.
    pub hosts: Vec<HostView>,
}

/// What may be done to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Let it take no new instance.
    Cordon,
    /// The same, and delete it once it is empty if it was bought.
    Drain,
    /// Let it take instances again.
    Uncordon,
}

impl Deed {
    fn word(self) -> &'static str {
        match self {
            Self::Cordon => "cordon",
            Self::Drain => "drain",
            Self::Uncordon => "uncordon",
        }
    }
}

impl Client {
    /// Asks for the hosts.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn hosts(&self, token: &SecretString) -> Result<Told<Hosts>, ClientError> {
        self.told(Method::GET, "/v1/admin/hosts", token).await
    }

    /// Does something to a host.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn cordon(
        &self,
        name: &HostName,
        deed: Deed,
        token: &SecretString,
    ) -> Result<Told<HostView>, ClientError> {
        // A name of a host needs no escaping.
        self.told(Method::POST, &format!("/v1/admin/hosts/{name}/{}", deed.word()), token).await
    }

    /// Asks how the pool is.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn scaling(&self, token: &SecretString) -> Result<Told<ScalingStatus>, ClientError> {
        self.told(Method::GET, "/v1/admin/scaling", token).await
    }

    /// Pauses the autoscaler, or lets it act again.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn pause_scaling(&self, paused: bool, token: &SecretString) -> Result<Told<ScalingStatus>, ClientError> {
        let path = if paused { "/v1/admin/scaling/pause" } else { "/v1/admin/scaling/resume" };
        self.told(Method::POST, path, token).await
    }

    async fn told<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
    ) -> Result<Told<T>, ClientError> {
        let response = self.send(self.request(method, path, Some(token))).await?;
        let json = self.text(response).await?;
        let value = serde_json::from_str(&json).map_err(|e| self.nonsense(&e.to_string()))?;
        Ok(Told { value, json })
    }
}
