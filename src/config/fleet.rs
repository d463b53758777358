//! `[fleet]`: this installation, what runs its instances and how hosts are filled.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use getaredis_actors::domain::{DeploymentId, Strategy, scaling::ScalingPolicy};

use super::{
    directory::slots,
    kinds::{duration, parsed, reachable, some_text, whole, word},
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
    /// Empty hosts that are kept ready or on the way.
    pub standby: u32,
    /// Bought hosts that are kept even if nobody needs them.
    pub min_hosts: u32,
    /// Bought hosts that there may be, whatever state they are in.
    pub max_hosts: u32,
    /// How long a bought host must have been empty before it is given back.
    pub idle: Duration,
    /// How old it must be.
    pub min_age: Duration,
    /// How long it may take to come up.
    pub boot_deadline: Duration,
    /// How long the provider's list may take to agree with what was ordered.
    pub list_grace: Duration,
    /// How often the pool is looked at.
    pub pass_every: Duration,
}

/// Hosts that one installation could have.
const MOST_HOSTS: i64 = 10_000;

impl Fleet {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        let fleet = read_section!(reader, "fleet" => Fleet {
            deployment: parsed(DeploymentId::parse),
            runtime: word(&[("docker", RuntimeKind::Docker), ("process", RuntimeKind::Process)]),
            process_dir: |value: &toml::Value| some_text(value).map(PathBuf::from),
            strategy: word(&[("fill", Strategy::Fill), ("spread", Strategy::Spread)]),
            slots: slots,
            address: reachable,
            provider: word(&[("none", Provider::None), ("digitalocean", Provider::DigitalOcean)]),
            standby: whole(0..=MOST_HOSTS),
            min_hosts: whole(0..=MOST_HOSTS),
            max_hosts: whole(0..=MOST_HOSTS),
            idle: duration(Duration::ZERO, 30 * day),
            min_age: duration(Duration::ZERO, 30 * day),
            boot_deadline: duration(second, day),
            list_grace: duration(second, day),
            pass_every: duration(second / 10, Duration::from_secs(3600)),
        });
        fleet.rules(reader);
        Some(fleet)
    }

    fn rules(&self, reader: &mut Reader<'_>) {
        reader.rule(
            self.min_hosts <= self.max_hosts,
            &["fleet.min_hosts", "fleet.max_hosts"],
            "more hosts are to be kept than there may be",
        );
        reader.rule(
            self.standby <= self.max_hosts,
            &["fleet.standby", "fleet.max_hosts"],
            "more hosts are to stand by than there may be",
        );
    }

    /// How the pool of bought hosts grows and shrinks; nothing where none are bought.
    #[must_use]
    pub fn scaling(&self) -> Option<ScalingPolicy> {
        (self.provider != Provider::None).then_some(ScalingPolicy {
            standby: self.standby,
            min_hosts: self.min_hosts,
            max_hosts: self.max_hosts,
            idle: self.idle,
            min_age: self.min_age,
            boot_deadline: self.boot_deadline,
            list_grace: self.list_grace,
        })
    }
}
