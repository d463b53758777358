//! What is not ours stays as it is.

use std::{collections::HashMap, pin::pin, time::Duration};

use bollard::{
    models::{ContainerCreateBody, HostConfig, NetworkConnectRequest, NetworkCreateRequest},
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder, RenameContainerOptions,
        StartContainerOptions,
    },
};
use futures_util::{StreamExt, future::join_all};
use getaredis_actors::ports::{Removal, RuntimeError};

use crate::{
    contract::{self, new_id},
    harness::{Deployment, IMAGE, docker},
};

/// A container that a test made itself, and its end.
struct Foreign(String);

impl Foreign {
    async fn start(name: &str, labels: &[(&str, &str)]) -> Self {
        Self::start_on("none", name, labels).await
    }

    async fn start_on(network: &str, name: &str, labels: &[(&str, &str)]) -> Self {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let body = ContainerCreateBody {
            image: Some(IMAGE.into()),
            cmd: Some(vec!["redis-server".into(), "--save".into(), String::new()]),
            labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<HashMap<_, _>>()),
            host_config: Some(HostConfig { network_mode: Some(network.into()), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let id = docker().create_container(Some(options), body).await.unwrap().id;
        let foreign = Self(id);
        docker().start_container(&foreign.0, None::<StartContainerOptions>).await.unwrap();
        foreign
    }

    async fn runs(&self) -> bool {
        let found = docker().inspect_container(&self.0, None::<InspectContainerOptions>).await.unwrap();
        found.state.unwrap().running.unwrap()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let id = self.0.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let remove = async move { docker().remove_container(&id, Some(force)).await };
        let _ = std::thread::spawn(move || runtime.map(|runtime| runtime.block_on(remove))).join();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_only_has_our_name_is_never_touched() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime();
    let id = new_id();
    // The name of our instance, and the label of another deployment.
    let labels = [("getaredis.deployment", "somebody-else"), ("getaredis.instance", id.as_str())];
    let foreign = Foreign::start(&deployment.container(&id), &labels).await;

    assert_eq!(runtime.inventory().await.unwrap(), []);
    let refused = runtime.remove(&id).await.unwrap_err();
    assert!(matches!(&refused, RuntimeError::Refused(why) if why.contains("our labels")), "{refused}");
    assert!(foreign.runs().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_ours_without_a_readable_instance_is_passed_over() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime();
    let name = format!("getaredis-{}-odd", deployment.id);
    let labels = [("getaredis.deployment", deployment.id.as_str()), ("getaredis.instance", "not an id")];
    let foreign = Foreign::start(&name, &labels).await;
    assert_eq!(runtime.inventory().await.unwrap(), []);
    assert!(foreign.runs().await);

    let mut exits = pin!(runtime.exits());
    let (told, _) = tokio::join!(tokio::time::timeout(Duration::from_millis(500), exits.next()), async {
        drop(foreign);
    });
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_ours_is_removed_under_any_name() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime();
    let spec = contract::spec();
    runtime.start(&spec).await.unwrap();
    let renamed = RenameContainerOptions { name: format!("renamed-{}", spec.id) };
    docker().rename_container(&deployment.container(&spec.id), renamed).await.unwrap();
    assert!(contract::is_running(&*runtime, &spec.id).await);
    assert_eq!(runtime.remove(&spec.id).await.unwrap(), Removal::Removed);
    assert_eq!(runtime.inventory().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_only_has_our_name_is_not_used() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime();
    let name = format!("getaredis-{}", deployment.id);
    let request = NetworkCreateRequest { name: name.clone(), ..NetworkCreateRequest::default() };
    let network = docker().create_network(request).await.unwrap().id;
    let refused = runtime.start(&contract::spec()).await;
    docker().remove_network(&network).await.unwrap();
    assert!(matches!(&refused, Err(RuntimeError::Refused(why)) if why.contains("not ours")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_was_taken_away_is_made_again() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime();
    runtime.probe().await.unwrap();
    docker().remove_network(&format!("getaredis-{}", deployment.id)).await.unwrap();
    let spec = contract::spec();
    runtime.start(&spec).await.unwrap();
    runtime.remove(&spec.id).await.unwrap();
}

/// The networks that bear this deployment's name.
async fn networks_of(deployment: &Deployment) -> Vec<String> {
    let all = docker().list_networks(None).await.unwrap();
    let name = format!("getaredis-{}", deployment.id);
    all.into_iter().filter(|network| network.name.as_ref() == Some(&name)).filter_map(|network| network.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_meet_a_new_engine_at_once_end_up_with_one_network() {
    let deployment = Deployment::new();
    let runtimes: Vec<_> = (0..8).map(|_| deployment.runtime()).collect();
    for probed in join_all(runtimes.iter().map(|runtime| runtime.probe())).await {
        probed.unwrap();
    }
    assert_eq!(networks_of(&deployment).await.len(), 1);
    for runtime in &runtimes[..3] {
        let spec = contract::spec();
        runtime.start(&spec).await.unwrap();
        assert_eq!(runtime.remove(&spec.id).await.unwrap(), Removal::Removed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_networks_of_ours_the_one_in_use_is_kept_and_the_rest_is_removed() {
    let deployment = Deployment::new();
    let labels = HashMap::from([("getaredis.deployment".to_owned(), deployment.id.to_string())]);
    let name = format!("getaredis-{}", deployment.id);
    let request = NetworkCreateRequest { name, labels: Some(labels), ..NetworkCreateRequest::default() };
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(docker().create_network(request.clone()).await.unwrap().id);
    }
    // Somebody lives on the second; it was there before the name was ambiguous.
    let resident = Foreign::start_on("bridge", &deployment.container(&new_id()), &[]).await;
    let there = NetworkConnectRequest { container: resident.0.clone(), ..NetworkConnectRequest::default() };
    docker().connect_network(&made[1], there).await.unwrap();

    deployment.runtime().probe().await.unwrap();
    assert_eq!(networks_of(&deployment).await, [made[1].clone()]);
}
