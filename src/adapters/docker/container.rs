//! What a tenant's container is allowed: the whole hardening in one place, as data.
//!
//! Must not talk to an engine; a test reads every field back from a real one.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, PortBinding, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use getaredis_actors::{
    domain::{DeploymentId, InstanceId, secret::sha256_hex},
    ports::StartSpec,
};

use super::{DEPLOYMENT_LABEL, DockerSettings, FLAVOUR_LABEL, INSTANCE_LABEL};
use crate::adapters::engine::{self, ENGINE_PORT};

/// The engine's port as Docker writes it.
pub(super) fn engine_port() -> String {
    format!("{ENGINE_PORT}/tcp")
}

/// `nobody` of every distribution: owns nothing in the image and on the host.
const USER: &str = "65534:65534";
/// The working directory: a small memory file system, at the place where the official image declares a volume, so
/// that no volume is made for it. The engine writes nothing.
const DIRECTORY: &str = "/data";
const DIRECTORY_OPTIONS: &str = "rw,noexec,nosuid,nodev,size=1m,mode=1777";
/// When the host runs out of memory a tenant goes before the engine that serves all of them.
const OOM_SCORE_ADJ: i64 = 500;
/// File descriptors beside the clients': Redis keeps 32 for itself, and the rest are its listeners and pipes.
const SPARE_FILES: i64 = 64;

/// The name of an instance's container.
pub(super) fn name(deployment: &DeploymentId, id: &InstanceId) -> String {
    format!("getaredis-{deployment}-{id}")
}

/// The container of `spec`, published on `port` of the host (`None`: the engine picks one).
pub(super) fn body(
    settings: &DockerSettings,
    spec: &StartSpec,
    network: &str,
    port: Option<u16>,
) -> ContainerCreateBody {
    let flavour = &spec.flavour;
    let bytes = i64::try_from(flavour.container_bytes()).unwrap_or(i64::MAX);
    let files = i64::from(flavour.connections) + SPARE_FILES;
    let limit =
        |name: &str, value| ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) };
    ContainerCreateBody {
        image: Some(settings.image.clone()),
        // Replaces the image's own entrypoint, which would change owners and users first.
        entrypoint: Some(vec!["redis-server".into()]),
        cmd: Some(engine::arguments(engine::directives(flavour, &sha256_hex(&spec.password)))),
        user: Some(USER.into()),
        working_dir: Some(DIRECTORY.into()),
        exposed_ports: Some(vec![engine_port()]),
        labels: Some(HashMap::from([
            (DEPLOYMENT_LABEL.into(), settings.deployment.to_string()),
            (INSTANCE_LABEL.into(), spec.id.to_string()),
            (FLAVOUR_LABEL.into(), flavour.name.clone()),
        ])),
        // An image's own health check would run a command in the container every few seconds.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
        host_config: Some(HostConfig {
            memory: Some(bytes),
            memory_swap: Some(bytes),
            pids_limit: Some(flavour.pids),
            nano_cpus: Some((flavour.cpus * 1e9) as i64),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            privileged: Some(false),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([(DIRECTORY.into(), DIRECTORY_OPTIONS.into())])),
            // No shared memory at all, with nobody.
            ipc_mode: Some("none".into()),
            oom_score_adj: Some(OOM_SCORE_ADJ),
            ulimits: Some(vec![limit("nofile", files), limit("core", 0)]),
            log_config: Some(HostConfigLogConfig {
                typ: Some("local".into()),
                config: Some(HashMap::from([
                    ("max-size".into(), "256k".into()),
                    ("max-file".into(), "1".into()),
                    ("compress".into(), "false".into()),
                ])),
            }),
            // An engine that stopped has lost its data: starting it again would only hide that.
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), ..RestartPolicy::default() }),
            network_mode: Some(network.to_owned()),
            port_bindings: Some(HashMap::from([(
                engine_port(),
                Some(vec![PortBinding {
                    host_ip: Some(settings.publish_address.to_string()),
                    host_port: Some(port.map(|p| p.to_string()).unwrap_or_default()),
                }]),
            )])),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}
