//! Every bound on a tenant's container, read back from the engine; and that the engine is never told a secret.

use std::time::Duration;

use bollard::{
    models::{ContainerInspectResponse, HostConfig, RestartPolicyNameEnum},
    query_parameters::{
        EventsOptionsBuilder, InspectContainerOptions, InspectNetworkOptions, LogsOptionsBuilder, TopOptions,
    },
};
use futures_util::StreamExt;
use getaredis_actors::domain::secret::sha256_hex;
use secrecy::ExposeSecret;

use crate::{
    contract::{self, connect},
    harness::{Deployment, docker},
};

async fn inspect(name: &str) -> ContainerInspectResponse {
    docker().inspect_container(name, None::<InspectContainerOptions>).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bound_is_there_when_it_is_read_back_from_the_engine() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime();
    let spec = contract::spec();
    let endpoint = runtime.start(&spec).await.unwrap();
    let found = inspect(&deployment.container(&spec.id)).await;

    let host: HostConfig = found.host_config.unwrap();
    let bytes = i64::try_from(spec.flavour.container_bytes()).unwrap();
    assert_eq!((host.memory, host.memory_swap), (Some(bytes), Some(bytes)));
    assert_eq!((host.pids_limit, host.nano_cpus), (Some(64), Some(500_000_000)));
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert!(host.cap_add.unwrap_or_default().is_empty());
    assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
    assert_eq!((host.privileged, host.readonly_rootfs), (Some(false), Some(true)));
    assert!(!host.oom_kill_disable.unwrap_or(false));
    assert_eq!(host.oom_score_adj, Some(500));
    assert_eq!(host.ipc_mode.as_deref(), Some("none"));
    assert_eq!(host.pid_mode.unwrap_or_default(), "");
    assert_eq!(host.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::NO));
    assert!(host.binds.unwrap_or_default().is_empty() && host.devices.unwrap_or_default().is_empty());
    let tmpfs = host.tmpfs.unwrap();
    assert_eq!(tmpfs.len(), 1);
    assert!(["noexec", "nosuid", "nodev", "size=1m"].iter().all(|option| tmpfs["/data"].contains(option)));
    let log = host.log_config.unwrap();
    let bounds = log.config.unwrap();
    assert_eq!(
        (log.typ.as_deref(), bounds["max-size"].as_str(), bounds["max-file"].as_str()),
        (Some("local"), "256k", "1")
    );
    let limits: Vec<_> = host.ulimits.unwrap().into_iter().map(|u| (u.name.unwrap(), u.hard.unwrap())).collect();
    assert!(limits.contains(&("core".to_owned(), 0)) && limits.contains(&("nofile".to_owned(), 69)), "{limits:?}");
    let binding = &host.port_bindings.unwrap()["6379/tcp"].clone().unwrap()[0];
    assert_eq!(binding.host_ip.as_deref(), Some("127.0.0.1"));

    let config = found.config.unwrap();
    assert_eq!(config.user.as_deref(), Some("65534:65534"));
    assert_eq!(config.entrypoint, Some(vec!["redis-server".to_owned()]));
    assert_eq!(config.healthcheck.and_then(|h| h.test), Some(vec!["NONE".to_owned()]));
    let labels = config.labels.unwrap();
    assert_eq!(labels["getaredis.deployment"], deployment.id.as_str());
    assert_eq!(labels["getaredis.instance"], spec.id.as_str());
    assert_eq!(labels["getaredis.flavour"], "redis");
    assert!(found.mounts.unwrap_or_default().is_empty(), "a volume was made");

    let name = format!("getaredis-{}", deployment.id);
    let network = docker().inspect_network(&name, None::<InspectNetworkOptions>).await.unwrap();
    assert_eq!(host.network_mode, network.id);
    let options = network.options.unwrap();
    assert_eq!(options["com.docker.network.bridge.enable_icc"], "false");
    assert_eq!(options["com.docker.network.bridge.enable_ip_masquerade"], "false");
    assert_eq!(found.network_settings.unwrap().networks.unwrap().len(), 1);

    // What the engine inside makes of it.
    let mut connection = connect(endpoint, &spec).await.unwrap();
    let memory: String = redis::cmd("INFO").arg("memory").query_async(&mut connection).await.unwrap();
    assert!(memory.contains(&format!("maxmemory:{}", spec.flavour.maxmemory_bytes())), "{memory}");
    assert!(memory.contains("maxmemory_policy:noeviction"), "{memory}");
    runtime.remove(&spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_is_told_the_hash_and_never_the_password() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime();
    let spec = contract::spec();
    let since = jiff::Timestamp::now().as_second();
    let endpoint = runtime.start(&spec).await.unwrap();
    connect(endpoint, &spec).await.unwrap();
    contract::connect_as(endpoint, "wrong").await.err().unwrap();

    let name = deployment.container(&spec.id);
    let inspected = serde_json::to_string(&inspect(&name).await).unwrap();
    assert!(inspected.contains(&sha256_hex(&spec.password)));
    let processes = docker().top_processes(&name, None::<TopOptions>).await.unwrap();
    let logs = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
    let logs: Vec<_> = docker().logs(&name, Some(logs)).collect().await;
    runtime.remove(&spec.id).await.unwrap();
    let until = jiff::Timestamp::now().as_second() + 1;
    let events = EventsOptionsBuilder::new().since(&since.to_string()).until(&until.to_string()).build();
    let events = docker().events(Some(events)).collect::<Vec<_>>();
    let events = tokio::time::timeout(Duration::from_secs(10), events).await.unwrap();
    assert!(format!("{events:?}").contains(spec.id.as_str()));

    let everything = format!("{inspected}{processes:?}{logs:?}{events:?}");
    assert!(!everything.contains(spec.password.expose_secret()));
    assert!(!format!("{spec:?}").contains(spec.password.expose_secret()));
}
