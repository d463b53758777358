//! The Docker Engine as it really is, asked behind the server's back.

use std::collections::HashMap;

use bollard::{
    API_DEFAULT_VERSION, Docker,
    query_parameters::{
        KillContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
    },
};

use super::given;

const DEPLOYMENT_LABEL: &str = "getaredis.deployment";
const INSTANCE_LABEL: &str = "getaredis.instance";
/// In seconds, for one call.
const PATIENCE: u64 = 30;

/// The engine that the tests were given.
pub struct Engine(Docker);

/// A container of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Of the instance that it says to be.
    pub instance: String,
    /// The engine's own id.
    pub id: String,
    pub running: bool,
}

/// Where that engine is, as the server is told.
pub fn endpoint() -> String {
    given("GETAREDIS_TEST_DOCKER")
}

impl Engine {
    pub fn given() -> Self {
        let endpoint = endpoint();
        let docker = match endpoint.strip_prefix("unix://") {
            Some(path) => Docker::connect_with_unix(path, PATIENCE, API_DEFAULT_VERSION),
            None => Docker::connect_with_http(&endpoint, PATIENCE, API_DEFAULT_VERSION),
        };
        Self(docker.unwrap())
    }

    /// Every container of the deployment, running or not, in the order of their instances.
    pub async fn containers(&self, deployment: &str) -> Vec<Container> {
        let all = ListContainersOptionsBuilder::new().all(true).filters(&of(deployment)).build();
        let mut containers: Vec<_> = self
            .0
            .list_containers(Some(all))
            .await
            .unwrap()
            .into_iter()
            .map(|found| Container {
                instance: found.labels.unwrap_or_default().remove(INSTANCE_LABEL).unwrap_or_default(),
                id: found.id.unwrap(),
                running: found.state.is_some_and(|state| state.to_string() == "running"),
            })
            .collect();
        containers.sort();
        containers
    }

    /// The one container of an instance.
    pub async fn container(&self, deployment: &str, instance: &str) -> Container {
        let mut all = self.containers(deployment).await;
        all.retain(|container| container.instance == instance);
        assert_eq!(all.len(), 1, "containers of one instance: {all:?}");
        all.remove(0)
    }

    /// `docker kill`
    pub async fn kill(&self, container: &Container) {
        self.0.kill_container(&container.id, None::<KillContainerOptions>).await.unwrap();
    }

    /// `docker rm --force`
    pub async fn remove(&self, container: &Container) {
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        // Somebody else may be removing it at this moment, or have removed it.
        let _ = self.0.remove_container(&container.id, Some(force)).await;
    }

    /// Removes every trace of a deployment. For `Drop`: blocks, on a thread of its own.
    pub fn forget(deployment: String) {
        let forgetting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let engine = Self::given();
                for container in engine.containers(&deployment).await {
                    engine.remove(&container).await;
                }
                let networks = ListNetworksOptionsBuilder::new().filters(&of(&deployment)).build();
                for network in engine.0.list_networks(Some(networks)).await.unwrap() {
                    // It has been in use until a moment ago; an unused network harms nobody.
                    let _ = engine.0.remove_network(&network.id.unwrap()).await;
                }
            });
        });
        if forgetting.join().is_err() {
            eprintln!("the deployment's containers could not be removed");
        }
    }
}

fn of(deployment: &str) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("label", vec![format!("{DEPLOYMENT_LABEL}={deployment}")])])
}
