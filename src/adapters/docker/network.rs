//! The network that containers are on: the deployment's own, on which they do not reach each other, or the operator's.
//!
//! Owns the deployment's network on each engine, made when it is first needed and never removed. Its addresses are not
//! translated on the way out, so that a container has no way to the world where the host's network does not route it;
//! the host's own egress rules are not ours to write, and neither is the operator's network.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bollard::{
    Docker,
    models::{self, NetworkCreateRequest},
    query_parameters::ListNetworksOptionsBuilder,
};
use getaredis_actors::{domain::DeploymentId, ports::RuntimeError};
use tokio::sync::Mutex;

use super::{
    DEPLOYMENT_LABEL, DockerSettings,
    error::{bounded, meaning, status, within},
};

/// Keeps the id of the network. The id, because an engine may hold two networks of one name.
pub(super) struct Network {
    docker: Docker,
    deployment: DeploymentId,
    call_timeout: Duration,
    /// The operator's network; it is taken as it is.
    given: Option<Arc<str>>,
    id: Mutex<Option<Arc<str>>>,
}

impl Network {
    pub(super) fn new(docker: Docker, settings: &DockerSettings) -> Self {
        let given = settings.network.as_deref().map(Into::into);
        let deployment = settings.deployment.clone();
        Self { docker, deployment, call_timeout: settings.call_timeout, given, id: Mutex::new(None) }
    }

    /// The network's id or name; whoever comes first makes it, the others wait for that one.
    pub(super) async fn ensure(&self) -> Result<Arc<str>, RuntimeError> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let mut known = self.id.lock().await;
        if let Some(id) = &*known {
            return Ok(id.clone());
        }
        let name = format!("getaredis-{}", self.deployment);
        let id: Arc<str> = match self.find(&name).await? {
            Some(id) => id.into(),
            None => {
                let made = self.create(&name).await?;
                // Another server may have made one meanwhile.
                let vanished = || RuntimeError::Refused(format!("network {name} is there and not there"));
                self.find(&name).await?.or(made).ok_or_else(vanished)?.into()
            }
        };
        *known = Some(id.clone());
        Ok(id)
    }

    /// Somebody removed the network: the next caller makes it anew.
    pub(super) async fn forget(&self) {
        *self.id.lock().await = None;
    }

    /// The network of this name, if there is one. Servers that met a new engine at the same time may each have made one:
    /// older engines do not mind, and then start no container on any, because the name is ambiguous. So what nobody uses
    /// of them is removed, the youngest first, which leaves every server the same.
    async fn find(&self, name: &str) -> Result<Option<String>, RuntimeError> {
        let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let mut found = bounded(self.call_timeout, self.docker.list_networks(Some(options))).await?;
        // The filter takes parts of names, too.
        found.retain(|network| network.name.as_deref() == Some(name));
        let is_ours = |network: &models::Network| {
            let owner = network.labels.as_ref().and_then(|labels| labels.get(DEPLOYMENT_LABEL));
            owner.map(String::as_str) == Some(self.deployment.as_str())
        };
        if !found.iter().all(is_ours) {
            return Err(RuntimeError::Refused(format!("network {name} exists and is not ours")));
        }
        found.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        let mut oldest_first: Vec<_> = found.into_iter().filter_map(|network| network.id).collect();
        for at in (0..oldest_first.len()).rev() {
            if oldest_first.len() > 1 && self.remove_unused(&oldest_first[at]).await? {
                oldest_first.remove(at);
            }
        }
        if oldest_first.len() > 1 {
            let why = format!(
                "several networks {name} are in use on this engine; end what is on all but one and remove them"
            );
            return Err(RuntimeError::Refused(why));
        }
        Ok(oldest_first.pop())
    }

    /// Whether it is gone; it stays when a container is on it.
    async fn remove_unused(&self, id: &str) -> Result<bool, RuntimeError> {
        match within(self.call_timeout, self.docker.remove_network(id)).await? {
            Ok(()) => Ok(true),
            Err(error) => match status(&error) {
                Some(404) => Ok(true),
                Some(403 | 409) => Ok(false),
                _ => Err(meaning(&error)),
            },
        }
    }

    /// Makes it, unless the engine has one of this name already and minds.
    async fn create(&self, name: &str) -> Result<Option<String>, RuntimeError> {
        let option = |key: &str| (format!("com.docker.network.bridge.{key}"), "false".to_owned());
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".into()),
            attachable: Some(false),
            options: Some(HashMap::from([option("enable_icc"), option("enable_ip_masquerade")])),
            labels: Some(HashMap::from([(DEPLOYMENT_LABEL.to_owned(), self.deployment.to_string())])),
            ..NetworkCreateRequest::default()
        };
        match within(self.call_timeout, self.docker.create_network(request)).await? {
            Ok(network) => Ok(Some(network.id)),
            Err(error) if status(&error) == Some(409) => Ok(None),
            Err(error) => Err(meaning(&error)),
        }
    }
}
