//! `[fleet]`: this installation, what runs its instances and how hosts are filled.

use std::{net::IpAddr, path::PathBuf};

use getaredis_actors::domain::{DeploymentId, Strategy};

use super::{
    directory::slots,
    kinds::{parsed, reachable, some_text, word},
    reader::{Reader, read_section},
};

/// What runs instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// Containers of a Docker Engine.
    Docker,
    /// Plain `redis-server` children of the server, without isolation of tenants.
    Process,
}

/// Where further hosts are bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Nowhere.
    None,
    /// At DigitalOcean.
    DigitalOcean,
}

/// The hosts as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// Names this installation in every label, tag and key.
    pub deployment: DeploymentId,
    /// What runs instances.
    pub runtime: RuntimeKind,
    /// Where the process runtime keeps its children's directories.
    pub process_dir: PathBuf,
    /// How hosts are filled.
    pub strategy: Strategy,
    /// Instances a host carries unless it says otherwise.
    pub slots: u32,
    /// Where tenants reach hosts that declare no address.
    pub address: IpAddr,
    /// Where further hosts are bought.
    pub provider: Provider,
}

impl Fleet {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let fleet = read_section!(reader, "fleet" => Fleet {
            deployment: parsed(DeploymentId::parse),
            runtime: word(&[("docker", RuntimeKind::Docker), ("process", RuntimeKind::Process)]),
            process_dir: |value: &toml::Value| some_text(value).map(PathBuf::from),
            strategy: word(&[("fill", Strategy::Fill), ("spread", Strategy::Spread)]),
            slots: slots,
            address: reachable,
            provider: word(&[("none", Provider::None), ("digitalocean", Provider::DigitalOcean)]),
        });
        Some(fleet)
    }
}
