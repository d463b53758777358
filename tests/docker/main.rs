//! The Docker runtime against a real engine, and against things that only look like one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../runtime_contract/mod.rs"]
mod contract;
mod door;
mod foreign;
mod hardening;
mod harness;
mod images;
mod liar;
#[path = "../e2e/support/ports.rs"]
mod ports;
mod tls;

use std::time::Duration;

use bollard::query_parameters::KillContainerOptions;
use getaredis_actors::ports::RuntimeError;
use harness::{Deployment, docker};

contract::keeps_the_contract!(Deployment::new());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exit_is_told_within_a_second() {
    let deployment = Deployment::new();
    let kill = async |id| {
        docker().kill_container(&deployment.container(&id), None::<KillContainerOptions>).await.unwrap();
    };
    contract::an_exit_is_told_within_a_second(deployment.runtime(), kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_deployments_do_not_see_each_other() {
    let (ours, theirs) = (Deployment::new(), Deployment::new());
    contract::two_deployments_do_not_see_each_other(ours.runtime(), theirs.runtime()).await;
}

#[tokio::test]
async fn an_engine_with_the_image_can_start_instances_and_isolates_them() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime();
    runtime.probe().await.unwrap();
    assert!(runtime.isolated());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_meets_one_taken_port_after_the_other_publishes_elsewhere() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime();
    let (first, second) = (contract::spec(), contract::spec());
    let port = runtime.start(&first).await.unwrap().port;
    // As where another engine of this machine went through the same ports.
    let taken: Vec<_> = (1..=60).filter_map(|n| std::net::TcpListener::bind(("127.0.0.1", port + n)).ok()).collect();
    assert!(taken.len() > 30, "only {} ports", taken.len());
    let elsewhere = runtime.start(&second).await.unwrap().port;
    assert!(taken.iter().all(|taken| taken.local_addr().unwrap().port() != elsewhere), "{elsewhere}");
    for spec in [first, second] {
        runtime.remove(&spec.id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configured_range_of_ports_is_used_up_and_no_further() {
    let deployment = Deployment::new();
    // Found free now, so a neighbour may take one before us; then there is one fewer.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port().min(65_000);
    let range = free..=free + 1;
    let runtime =
        deployment.runtime_with(|settings| (settings.ports, settings.engine_chooses) = (range.clone(), false));
    let mut ports = Vec::new();
    let refused = loop {
        match runtime.start(&contract::spec()).await {
            Ok(endpoint) => ports.push(endpoint.port),
            Err(error) => break error,
        }
    };
    assert!(!ports.is_empty() && ports.iter().all(|port| range.contains(port)), "{ports:?}");
    assert!(matches!(&refused, RuntimeError::Refused(why) if why.contains("every port")), "{refused}");
}

#[tokio::test]
async fn an_engine_that_exits_at_once_is_not_ready_and_says_why() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime_with(|settings| settings.start_timeout = Duration::from_secs(20));
    let mut spec = contract::spec();
    // More than the directive takes: the engine refuses its configuration and ends.
    spec.flavour.connections = 0;
    let error = runtime.start(&spec).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::NotReady(why) if why.contains("maxclients")), "{error}");
    let password: &str = secrecy::ExposeSecret::expose_secret(&spec.password);
    assert!(!error.to_string().contains(password));
    runtime.remove(&spec.id).await.unwrap();
}

/// Runs itself again with the variable set: setting it in this process would race with its other threads.
#[test]
fn docker_host_is_honoured_when_nothing_else_names_an_engine() {
    const INNER: &str = "GETAREDIS_TEST_INNER";
    if std::env::var_os(INNER).is_some() {
        let deployment = Deployment::new();
        let runtime = deployment.runtime_with(|settings| settings.endpoint = String::new());
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return tokio.block_on(runtime.probe()).unwrap();
    }
    let itself = std::env::current_exe().unwrap();
    let run = |docker_host: &str| {
        std::process::Command::new(&itself)
            .args(["--exact", "docker_host_is_honoured_when_nothing_else_names_an_engine"])
            .env(INNER, "1")
            .env("DOCKER_HOST", docker_host)
            .output()
            .unwrap()
    };
    let (good, bad) = (run(&harness::engine()), run("unix:///nonexistent/docker.sock"));
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stdout));
    assert!(String::from_utf8_lossy(&bad.stdout).contains("/nonexistent/docker.sock"), "{bad:?}");
}
