//! A deployment of its own for each test, on the engine that `GETAREDIS_TEST_DOCKER` names, and its end.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder},
};
use getaredis::adapters::docker::{DEPLOYMENT_LABEL, DockerRuntimes, DockerSettings};
use getaredis_actors::{
    domain::{DeploymentId, HostName, InstanceId},
    ports::{HostRecord, Runtime, Runtimes},
};

/// The engine that tests use.
pub(crate) fn engine() -> String {
    std::env::var("GETAREDIS_TEST_DOCKER")
        .expect("GETAREDIS_TEST_DOCKER names no Docker Engine with the image redis:7; run script/test")
}

/// The path of its socket.
pub(crate) fn engine_socket() -> String {
    let engine = engine();
    engine.strip_prefix("unix://").expect("GETAREDIS_TEST_DOCKER must be unix://…; run script/test").to_owned()
}

/// A client of the tests' own, that the adapter has no part in.
pub(crate) fn docker() -> Docker {
    Docker::connect_with_unix(&engine_socket(), 30, API_DEFAULT_VERSION).unwrap()
}

/// The image that the engine has.
pub(crate) const IMAGE: &str = "redis:7";

/// Settings that suit a test.
pub(crate) fn settings(deployment: &DeploymentId) -> DockerSettings {
    DockerSettings {
        deployment: deployment.clone(),
        endpoint: engine(),
        tls: None,
        image: IMAGE.into(),
        publish_address: IpAddr::from([127, 0, 0, 1]),
        ports: 32_768..=60_999,
        engine_chooses: true,
        call_timeout: Duration::from_secs(20),
        start_timeout: Duration::from_secs(30),
        network: None,
    }
}

/// A host whose engine is `engine`; empty means the configured one.
pub(crate) fn host(engine: &str) -> HostRecord {
    HostRecord {
        name: HostName::parse("local").unwrap(),
        public_address: IpAddr::from([127, 0, 0, 1]),
        engine: engine.to_owned(),
        slots: 40,
    }
}

/// A deployment that leaves nothing behind, also when its test panics.
pub(crate) struct Deployment {
    pub(crate) id: DeploymentId,
}

impl Deployment {
    pub(crate) fn new() -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self { id: DeploymentId::parse(&format!("test-{}", &random[..12])).unwrap() }
    }

    pub(crate) fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime_with(|_| {})
    }

    pub(crate) fn runtime_with(&self, change: impl FnOnce(&mut DockerSettings)) -> Arc<dyn Runtime> {
        let mut settings = settings(&self.id);
        change(&mut settings);
        DockerRuntimes::new(settings).unwrap().open(&host("")).unwrap()
    }

    pub(crate) fn container(&self, id: &InstanceId) -> String {
        format!("getaredis-{}-{id}", self.id)
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let label = format!("{DEPLOYMENT_LABEL}={}", self.id);
        let clean = async move {
            let docker = docker();
            let filters = HashMap::from([("label", vec![label])]);
            let all = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
            let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            for container in docker.list_containers(Some(all)).await.unwrap_or_default() {
                let _ = docker.remove_container(&container.id.unwrap_or_default(), Some(force.clone())).await;
            }
            let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
            for network in docker.list_networks(Some(networks)).await.unwrap_or_default() {
                let _ = docker.remove_network(&network.id.unwrap_or_default()).await;
            }
        };
        // A thread of its own: a test that panicked may have taken its runtime with it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _ = std::thread::spawn(move || runtime.map(|runtime| runtime.block_on(clean))).join();
    }
}
