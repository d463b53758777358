//! One pass of the autoscaler: read, plan, carry out. Every paid effect has its intent in the database first, so that a
//! pass that is cut off anywhere is finished or undone by the next one.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Peers,
    messages::ScalingStatus,
    state::{Memory, Readings},
};
use crate::{
    discovery::messages::DescribeDirectory,
    domain::{
        Cordon, DeploymentId, HostName, Timestamp,
        scaling::{Action, DropletState, FleetSnapshot, ScalingPolicy, plan},
    },
    patience,
    ports::{Clock, DropletRow, HostProvider, ProviderError, Store},
    scheduler::messages::{CordonError, CordonHost, DescribeFleet, HostInventory, HostView},
    supervision::ask,
};

/// The longest that one call to the cloud may take. Orders are slow; whoever is slower than this is looked up by name
/// in the next pass.
const CLOUD_PATIENCE: Duration = Duration::from_secs(30);

/// How long another actor may take to answer from memory.
const PEER_PATIENCE: Duration = Duration::from_secs(2);

/// Characters of an id that make a name of a droplet: from its random end, 32 bits of it.
const SHORT_ID: usize = 8;

/// What a pass works with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) deployment: DeploymentId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) cloud: Arc<dyn HostProvider>,
    pub(super) policy: ScalingPolicy,
    pub(super) inventory_patience: Duration,
    pub(super) peers: Peers,
}

/// What came of a pass.
pub(super) struct Passed {
    pub(super) memory: Memory,
    pub(super) status: ScalingStatus,
    /// How long the cloud wants to be left alone.
    pub(super) rest: Option<Duration>,
}

/// Why a step was not done; what is to be said about it.
enum Stop {
    /// Not now, and nothing is wrong.
    NotNow(String),
    /// It failed, or nobody knows.
    Failed(String),
    /// The cloud wants rest.
    Rest(Duration),
}

impl From<ProviderError> for Stop {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::RateLimited(rest) => Self::Rest(rest),
            error => Self::Failed(error.to_string()),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::Failed(error.to_string())
}

impl Tools {
    /// Makes a pass.
    pub(super) async fn pass(self, mut memory: Memory) -> Passed {
        let mut status = ScalingStatus::default();
        let mut rest = None;
        let readings = match self.read().await {
            Ok(readings) => readings,
            Err(why) => {
                match why {
                    Stop::NotNow(why) => status.explanation.push(why),
                    Stop::Failed(why) => status.errors.push(why),
                    Stop::Rest(time) => rest = Some(time),
                }
                return Passed { memory, status, rest };
            }
        };
        let snapshot = memory.observe(&readings, self.clock.now());
        let plan = plan(&snapshot, &self.policy, self.clock.now());
        status.explanation = plan.explanation;
        for action in plan.actions {
            match self.carry_out(&action, &snapshot, &mut status).await {
                Ok(()) => {
                    if let Action::Drain(name) = action {
                        memory.drained(name);
                    }
                }
                Err(Stop::NotNow(why)) => status.explanation.push(why),
                Err(Stop::Failed(why)) => {
                    tracing::warn!(?action, error = %why, "scaling.failed");
                    status.errors.push(format!("{action:?}: {why}"));
                }
                Err(Stop::Rest(time)) => {
                    status.errors.push(format!("{action:?}: the cloud wants {time:?} of rest"));
                    rest = Some(time);
                    break;
                }
            }
        }
        Passed { memory, status, rest }
    }

    async fn read(&self) -> Result<Readings, Stop> {
        // The cloud's list is read before the rows, so that what is ordered in between has a row; and the fleet last, so
        // that it is the newest of all.
        let listed = self.cloud(self.cloud.list()).await?;
        let rows = patience::store(self.store.droplets()).await.map_err(failed)?;
        let live = patience::store(self.store.live()).await.map_err(failed)?;
        let directory = ask(&self.peers.directory, DescribeDirectory, PEER_PATIENCE).await;
        let fleet = ask(&self.peers.fleet, DescribeFleet, PEER_PATIENCE).await;
        let fleet = fleet.map_err(|error| Stop::Failed(format!("the scheduler did not answer: {error}")))?;
        if !fleet.ready {
            return Err(Stop::NotNow("the scheduler does not know its hosts yet".to_owned()));
        }
        // Without discovery nobody can say that a droplet is late, which is what the default view means.
        Ok(Readings { rows, listed, live, fleet, directory: directory.unwrap_or_default() })
    }

    async fn carry_out(
        &self,
        action: &Action,
        snapshot: &FleetSnapshot,
        status: &mut ScalingStatus,
    ) -> Result<(), Stop> {
        let born = |name: &HostName| {
            let droplet = snapshot.droplets.iter().find(|droplet| &droplet.name == name);
            let born = droplet.and_then(|droplet| droplet.row.map(|(_, since)| since).or(droplet.listed));
            born.unwrap_or_else(|| self.clock.now())
        };
        match action {
            Action::Create => self.create(status).await,
            Action::Confirm(name) | Action::Keep(name) => self.put(name, DropletState::Created, born(name)).await,
            Action::Close(name) => {
                tracing::info!(droplet = %name, "droplet.row_closed");
                patience::store(self.store.remove_droplet(name)).await.map_err(failed)
            }
            Action::Uncordon(name) => self.cordon(name, None).await.map(|_| ()),
            Action::Drain(name) => self.cordon(name, Some(Cordon::Draining)).await.map(|_| ()),
            Action::Delete(name) => {
                self.check_drained(name).await?;
                let inventory = HostInventory { host: name.clone() };
                let answer = ask(&self.peers.inventory, inventory, self.inventory_patience).await.map_err(failed)?;
                match answer.map_err(failed)?.len() {
                    0 => self.delete(name, born(name), status).await,
                    left => Err(Stop::NotNow(format!("{name}: not deleted, {left} containers are still on it"))),
                }
            }
            Action::Discard(name) => {
                // Were it to join in this very moment, the intent must be found by the next pass.
                self.put(name, DropletState::Deleting, born(name)).await?;
                self.check_drained(name).await?;
                self.delete(name, born(name), status).await
            }
        }
    }

    /// Persist the intent, act, confirm.
    async fn create(&self, status: &mut ScalingStatus) -> Result<(), Stop> {
        let now = self.clock.now();
        let id = self.clock.new_id();
        let short = &id.as_str()[id.as_str().len() - SHORT_ID..];
        let name = HostName::parse(&format!("{}-{short}", self.deployment)).map_err(failed)?;
        self.put(&name, DropletState::Creating, now).await?;
        match self.cloud(self.cloud.create(&name)).await {
            Ok(()) => {}
            // Nothing was made, so there is nothing to look up.
            Err(error) if error.without_effect() => {
                patience::store(self.store.remove_droplet(&name)).await.map_err(failed)?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
        status.created += 1;
        tracing::info!(droplet = %name, "droplet.ordered");
        self.put(&name, DropletState::Created, now).await
    }

    async fn delete(&self, name: &HostName, born: Timestamp, status: &mut ScalingStatus) -> Result<(), Stop> {
        self.put(name, DropletState::Deleting, born).await?;
        self.cloud(self.cloud.delete(name)).await?;
        status.deleted += 1;
        tracing::info!(droplet = %name, "droplet.deleted");
        patience::store(self.store.remove_droplet(name)).await.map_err(failed)
    }

    /// Makes sure, in one turn of the scheduler, that the host is empty and will stay so; fine if it has no such host.
    async fn check_drained(&self, name: &HostName) -> Result<(), Stop> {
        match self.cordon(name, Some(Cordon::Draining)).await? {
            Some(host) if host.used > 0 => {
                Err(Stop::NotNow(format!("{name}: not deleted, it carries {} instances", host.used)))
            }
            _ => Ok(()),
        }
    }

    async fn cordon(&self, name: &HostName, cordon: Option<Cordon>) -> Result<Option<HostView>, Stop> {
        let order = CordonHost { name: name.clone(), cordon };
        match ask(&self.peers.cordon, order, PEER_PATIENCE).await.map_err(failed)? {
            Ok(host) => Ok(Some(host)),
            Err(CordonError::NoSuchHost) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn put(&self, name: &HostName, state: DropletState, created_at: Timestamp) -> Result<(), Stop> {
        let row = DropletRow { name: name.clone(), state, created_at };
        patience::store(self.store.put_droplet(&row)).await.map_err(failed)
    }

    async fn cloud<T>(&self, call: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
        let late = |_| Err(ProviderError::Unknown(format!("no answer within {} s", CLOUD_PATIENCE.as_secs())));
        timeout(CLOUD_PATIENCE, call).await.unwrap_or_else(late)
    }
}
