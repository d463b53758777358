//! One host's engine: start, remove, list and probe.
//!
//! Owns the order of the calls, and as few of them as there can be: a click waits for each. Must not touch a container
//! that does not carry the label of the deployment.

use std::{
    collections::HashMap,
    future::ready,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bollard::{
    Docker,
    container::LogOutput,
    models::{ContainerInspectResponse, ContainerSummaryStateEnum},
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, StartContainerOptions,
    },
};
use futures_util::{StreamExt, stream::BoxStream};
use getaredis_actors::{
    domain::{Endpoint, InstanceId, secret::sha256_hex},
    ports::{Found, Removal, Runtime, RuntimeError, StartSpec},
};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};

use super::{
    DEPLOYMENT_LABEL, DockerSettings, INSTANCE_LABEL, container,
    error::{bounded, meaning, status, within},
    exits::exits,
    image::Image,
    network::Network,
    published::{PortRange, is_taken},
    transport::EngineAddress,
};
use crate::adapters::readiness;

/// How often a start is tried where the engine may choose the first port. It goes from one to the next and gives up after
/// ten that are taken, as they are where another engine on its machine did the same. So the next tries are anywhere in the
/// range; that all of them are taken is not to be expected.
const TRIES_WITH_THE_ENGINE: usize = 4;

/// How often a removal is checked that takes its time.
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);
/// Lines of a dead container's log that are told.
const LOG_LINES: &str = "10";
/// Characters of them.
const LOG_CHARACTERS: usize = 1000;

/// One Docker Engine, bound to one deployment.
pub struct DockerRuntime {
    settings: Arc<DockerSettings>,
    docker: Docker,
    public_address: IpAddr,
    reach: IpAddr,
    image: Image,
    network: Network,
    ports: PortRange,
}

impl DockerRuntime {
    pub(super) fn new(
        settings: Arc<DockerSettings>,
        address: &EngineAddress,
        public_address: IpAddr,
    ) -> Result<Self, RuntimeError> {
        let docker = address.client()?;
        Ok(Self {
            reach: readiness::reachable_at(settings.publish_address, public_address, address.is_on_this_machine()),
            image: Image::new(docker.clone(), &settings.image, settings.call_timeout),
            network: Network::new(docker.clone(), &settings),
            ports: PortRange::new(settings.ports.clone()),
            docker,
            public_address,
            settings,
        })
    }

    /// Creates and starts; returns the container's id and its published port.
    async fn launch(&self, spec: &StartSpec) -> Result<(String, u16), RuntimeError> {
        let engine_chooses = self.settings.engine_chooses;
        let tries = if engine_chooses { TRIES_WITH_THE_ENGINE } else { self.ports.len() };
        let mut refusal = RuntimeError::Refused("the range of ports is empty".into());
        for attempt in 0..tries {
            let port = (attempt > 0 || !engine_chooses).then(|| self.ports.next());
            let (mut container, mut started) = self.try_start(spec, port).await?;
            // The network is looked up now and not at creation. Another server that made one at the same time may have
            // removed this one, or a person has.
            if started.as_ref().is_err_and(|error| status(error) == Some(404)) {
                self.remove_container(&container).await?;
                self.network.forget().await;
                (container, started) = self.try_start(spec, port).await?;
            }
            match started.map_err(|error| meaning(&error)) {
                Ok(()) => {
                    let port = match port {
                        Some(port) => port,
                        None => self.published_port(&container, spec).await?,
                    };
                    return Ok((container, port));
                }
                Err(RuntimeError::Refused(why)) if is_taken(&why) => {
                    self.remove_container(&container).await?;
                    refusal = RuntimeError::Refused(format!("every port that was tried is taken: {why}"));
                }
                Err(error) => return Err(error),
            }
        }
        Err(refusal)
    }

    /// Creates the container; what is missing for it is got once.
    async fn create(&self, spec: &StartSpec, port: Option<u16>) -> Result<String, RuntimeError> {
        let mut fetched = false;
        loop {
            let network = self.network.ensure().await?;
            let name = container::name(&self.settings.deployment, &spec.id);
            let options = CreateContainerOptionsBuilder::new().name(&name).build();
            let body = container::body(&self.settings, spec, &network, port);
            let call = self.docker.create_container(Some(options), body);
            match within(self.settings.call_timeout, call).await? {
                Ok(created) => return Ok(created.id),
                // Nothing but the image can be missing here.
                Err(error) if status(&error) == Some(404) && !fetched => {
                    self.image.fetch(self.settings.start_timeout).await?;
                    fetched = true;
                }
                Err(error) => return Err(meaning(&error)),
            }
        }
    }

    /// Creates one and starts it; returns its id and what the engine said to its start.
    async fn try_start(
        &self,
        spec: &StartSpec,
        port: Option<u16>,
    ) -> Result<(String, Result<(), bollard::errors::Error>), RuntimeError> {
        let container = self.create(spec, port).await?;
        let call = self.docker.start_container(&container, None::<StartContainerOptions>);
        let started = within(self.settings.start_timeout, call).await?;
        Ok((container, started))
    }

    async fn published_port(&self, container: &str, spec: &StartSpec) -> Result<u16, RuntimeError> {
        let found = self.inspect(container).await?;
        let port = found
            .as_ref()
            .and_then(|c| c.network_settings.as_ref()?.ports.as_ref()?.get(&container::engine_port())?.as_ref())
            .and_then(|bindings| bindings.iter().find_map(|b| b.host_port.as_ref()?.parse().ok()));
        match port {
            Some(port) => Ok(port),
            None => {
                // One that has stopped already has none; then what it logged says more.
                self.vitals(container, spec).await?;
                Err(RuntimeError::NotReady("the container has no published port".into()))
            }
        }
    }

    async fn inspect(&self, name: &str) -> Result<Option<ContainerInspectResponse>, RuntimeError> {
        let call = self.docker.inspect_container(name, None::<InspectContainerOptions>);
        match within(self.settings.call_timeout, call).await? {
            Ok(found) => Ok(Some(found)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(meaning(&error)),
        }
    }

    /// Errs with what the container logged last when it has stopped.
    async fn vitals(&self, container: &str, spec: &StartSpec) -> Result<(), RuntimeError> {
        // An engine that is too busy to answer says nothing about the container.
        let Ok(found) = self.inspect(container).await else { return Ok(()) };
        let state = found.and_then(|c| c.state);
        if state.as_ref().and_then(|s| s.running) == Some(true) {
            return Ok(());
        }
        let code = state.and_then(|s| s.exit_code).unwrap_or_default();
        let log = self.last_words(container, spec).await;
        Err(RuntimeError::NotReady(format!("the container stopped with code {code}: {log}")))
    }

    /// The end of the container's log in one line, without what could open an instance.
    async fn last_words(&self, container: &str, spec: &StartSpec) -> String {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(LOG_LINES).build();
        let log = self.docker.logs(container, Some(options));
        let lines = log.filter_map(|line| ready(line.ok().as_ref().map(LogOutput::to_string))).collect::<Vec<_>>();
        let Ok(lines) = within(self.settings.call_timeout, lines).await else { return "its log cannot be read".into() };
        let text = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
        text.replace(spec.password.expose_secret(), "…")
            .replace(&sha256_hex(&spec.password), "…")
            .chars()
            .take(LOG_CHARACTERS)
            .collect()
    }

    /// Ids and states of our containers, further narrowed by `label`.
    /// Asks the engine for the versions of its parts. It asks containerd for that, without which it starts and removes
    /// nothing; all else it answers by itself, also while containerd hangs.
    async fn is_fit(&self) -> Result<(), RuntimeError> {
        // Less than a whole call, so that there is time left to say so.
        let limit = self.settings.call_timeout * 3 / 4;
        let late = |_| RuntimeError::Unfit(format!("its containerd has not answered for {limit:?}"));
        // What it answers does not matter; and whether it answers at all, the ping says better.
        tokio::time::timeout(limit, self.docker.version()).await.map(drop).map_err(late)
    }

    async fn list(&self, label: Option<String>) -> Result<Vec<Labelled>, RuntimeError> {
        let labels = [Some(format!("{DEPLOYMENT_LABEL}={}", self.settings.deployment)), label];
        let filters = HashMap::from([("label", labels.into_iter().flatten().collect::<Vec<_>>())]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let all = bounded(self.settings.call_timeout, self.docker.list_containers(Some(options))).await?;
        let ours = all.into_iter().filter_map(|container| {
            // Looked at again: what is ours is not decided by a filter of somebody else's.
            let labels = container.labels.unwrap_or_default();
            if labels.get(DEPLOYMENT_LABEL).map(String::as_str) != Some(self.settings.deployment.as_str()) {
                return None;
            }
            let container_id = container.id?;
            match labels.get(INSTANCE_LABEL).map(|text| InstanceId::parse(text)) {
                Some(Ok(instance)) => Some(Labelled { container: container_id, instance, state: container.state }),
                _ => {
                    let name = container.names.and_then(|names| names.into_iter().next());
                    tracing::warn!(container = %container_id, name, "container.malformed_label");
                    None
                }
            }
        });
        Ok(ours.collect())
    }

    /// Removes one of our containers and waits until the engine no longer knows it.
    async fn remove_container(&self, container: &str) -> Result<(), RuntimeError> {
        let deadline = Instant::now() + self.settings.call_timeout;
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let call = self.docker.remove_container(container, Some(options));
        match within(self.settings.call_timeout, call).await? {
            Ok(()) => {}
            // 404: gone already. 409: somebody's removal is under way.
            Err(error) if matches!(status(&error), Some(404 | 409)) => {}
            Err(error) => return Err(meaning(&error)),
        }
        while self.inspect(container).await?.is_some() {
            if Instant::now() >= deadline {
                return Err(RuntimeError::Unreachable("the container was told to go and is still there".into()));
            }
            sleep(REMOVAL_PAUSE).await;
        }
        Ok(())
    }
}

/// A container that carries our labels.
struct Labelled {
    container: String,
    instance: InstanceId,
    state: Option<ContainerSummaryStateEnum>,
}

#[async_trait]
impl Runtime for DockerRuntime {
    async fn start(&self, spec: &StartSpec) -> Result<Endpoint, RuntimeError> {
        let begun = Instant::now();
        let (container, port) = self.launch(spec).await?;
        let address = SocketAddr::new(self.reach, port);
        let vitals = || self.vitals(&container, spec);
        let left = self.settings.start_timeout.saturating_sub(begun.elapsed());
        readiness::wait(address, &spec.password, left, vitals).await?;
        Ok(Endpoint { address: self.public_address, port })
    }

    async fn remove(&self, id: &InstanceId) -> Result<Removal, RuntimeError> {
        // By label and not by name: a container that somebody renamed is still ours, and one that merely has the name
        // is not.
        let ours = self.list(Some(format!("{INSTANCE_LABEL}={id}"))).await?;
        if ours.is_empty() {
            let name = container::name(&self.settings.deployment, id);
            return match self.inspect(&name).await? {
                None => Ok(Removal::AlreadyGone),
                Some(_) => Err(RuntimeError::Refused(format!("container {name} does not carry our labels"))),
            };
        }
        for found in ours.iter().filter(|found| found.instance == *id) {
            self.remove_container(&found.container).await?;
        }
        Ok(Removal::Removed)
    }

    async fn inventory(&self) -> Result<Vec<Found>, RuntimeError> {
        use ContainerSummaryStateEnum::{PAUSED, RESTARTING, RUNNING};
        let found = self.list(None).await?.into_iter().map(|container| Found {
            id: container.instance,
            running: matches!(container.state, Some(RUNNING | PAUSED | RESTARTING)),
        });
        Ok(found.collect())
    }

    async fn probe(&self) -> Result<(), RuntimeError> {
        // Both at once, because nothing may take longer than one call. Where neither is answered the engine is away.
        let ping = bounded(self.settings.call_timeout, self.docker.ping());
        let (answers, is_fit) = tokio::join!(ping, self.is_fit());
        answers?;
        is_fit?;
        // What a start needs is got now, so that no start waits for it.
        self.image.check().await?;
        self.network.ensure().await?;
        Ok(())
    }

    fn exits(&self) -> BoxStream<'static, Result<InstanceId, RuntimeError>> {
        exits(&self.docker, &self.settings.deployment, self.settings.call_timeout)
    }

    fn isolated(&self) -> bool {
        true
    }
}
