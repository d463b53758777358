//! One step of a plan, carried out: each paid effect has its intent in the database before it and its confirmation after.
//!
//! Owns the order of intent, act and confirmation, and the handshake with ledger and inventory before a host is deleted.
//! Decides nothing: what is to be done is the plan's.

use std::time::Duration;

use super::{messages::ScalingStatus, pass::Tools};
use crate::{
    domain::{
        Cordon, HostName, Timestamp, counted,
        scaling::{Action, DropletState, DropletView, FleetSnapshot, OrderBudget, Stage},
    },
    patience,
    ports::{DropletRow, ProviderError},
    scheduler::messages::{CordonError, CordonHost, HostInventory, HostView},
    supervision::ask,
};

/// How long another actor may take to answer from memory.
pub(super) const PEER_PATIENCE: Duration = Duration::from_secs(2);

/// Characters of an id that make a name of a droplet: from its random end, 32 bits of it.
const SHORT_ID: usize = 8;

/// Why a step was not done; what is to be said about it.
pub(super) enum Stop {
    /// Not now, and nothing is wrong.
    NotNow(String),
    /// It failed, or nobody knows; the same makes no sense before this long.
    Failed(String, Duration),
    /// What it needs first is away, which says nothing of the cloud.
    NotYet(String),
    /// The cloud wants rest.
    Rest(Duration),
}

impl From<ProviderError> for Stop {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::RateLimited(rest) => Self::Rest(rest),
            ProviderError::NotYet(_) => Self::NotYet(error.to_string()),
            error => Self::Failed(error.to_string(), error.retry_after()),
        }
    }
}

/// What an order goes by.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// When it is made.
    pub(super) at: Timestamp,
    /// The rows that there may be: what the database knows nothing of is paid for too.
    pub(super) most: u32,
    /// What is left of it after this order.
    pub(super) budget: OrderBudget,
}

pub(super) fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::Failed(error.to_string(), Duration::ZERO)
}

impl Tools {
    /// Does it, or says why not.
    pub(super) async fn carry_out(
        &self,
        action: &Action,
        snapshot: &FleetSnapshot,
        order: Order,
        status: &mut ScalingStatus,
    ) -> Result<(), Stop> {
        let seen = |name: &HostName| snapshot.droplets.iter().find(|droplet| &droplet.name == name);
        let born = |name: &HostName| {
            let born = seen(name).and_then(|droplet| droplet.row.map(|(_, since)| since).or(droplet.listed));
            born.unwrap_or_else(|| self.clock.now())
        };
        match action {
            Action::Create => {
                let id = self.clock.new_id();
                let short = &id.as_str()[id.as_str().len() - SHORT_ID..];
                let name = HostName::parse(&format!("{}-{short}", self.deployment)).map_err(failed)?;
                self.order(&name, order, status).await
            }
            Action::Reorder(name) => self.order(name, order, status).await,
            Action::Confirm(name) => self.confirm(name).await,
            Action::Keep(name) => match patience::store(self.store.keep_droplet(name)).await.map_err(failed)? {
                true => Ok(()),
                false => Err(Stop::NotNow(format!("{name}: not kept, nothing lives on it any more"))),
            },
            Action::Close(name) => {
                self.cloud(self.cloud.forget(name)).await?;
                tracing::info!(droplet = %name, "droplet.row_closed");
                match seen(name).and_then(|droplet| droplet.row) {
                    Some((state, _)) => self.forget(name, state).await,
                    None => Ok(()),
                }
            }
            Action::Uncordon(name) => match self.cordon(name, None).await? {
                Some(host) if host.cordon.is_some() => {
                    Err(Stop::NotNow(format!("{name}: not taken back, the operator wants it drained")))
                }
                _ => Ok(()),
            },
            Action::Drain(name) => self.cordon(name, Some(Cordon::Draining)).await.map(|_| ()),
            Action::Delete(name) => {
                self.check_drained(name).await?;
                let inventory = HostInventory { host: name.clone() };
                let answer = ask(&self.peers.inventory, inventory, self.inventory_patience).await.map_err(failed)?;
                match answer.map_err(failed)?.len() {
                    0 => {
                        self.condemn(name, born(name)).await?;
                        self.delete(name, status).await
                    }
                    left => Err(Stop::NotNow(format!("{name}: not deleted, containers still on it: {left}"))),
                }
            }
            Action::Discard(name) => {
                // Were it to join in this very moment, the intent must be found by the next pass.
                self.condemn(name, born(name)).await?;
                self.check_drained(name).await?;
                self.delete(name, status).await
            }
        }
    }

    /// Persist the intent and what is left of the budget, act, confirm; for the first time or again.
    async fn order(&self, name: &HostName, order: Order, status: &mut ScalingStatus) -> Result<(), Stop> {
        let Order { at, most, budget } = order;
        let row = DropletRow { name: name.clone(), state: DropletState::Creating, created_at: at };
        if !patience::store(self.store.order_droplet(&row, most, budget)).await.map_err(failed)? {
            // Another server was faster.
            return Err(Stop::NotNow("not ordered: max_hosts allows no more, or it was confirmed".to_owned()));
        }
        match self.cloud(self.cloud.create(name)).await {
            Ok(()) => {}
            // Nothing was made, so there is nothing to look up.
            Err(error) if error.without_effect() => {
                self.forget(name, DropletState::Creating).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
        status.created += 1;
        status.droplets.retain(|droplet| &droplet.name != name);
        status.droplets.push(DropletView { name: name.clone(), stage: Stage::Booting, since: Some(at) });
        tracing::info!(droplet = %name, "droplet.ordered");
        self.confirm(name).await
    }

    async fn confirm(&self, name: &HostName) -> Result<(), Stop> {
        match patience::store(self.store.confirm_droplet(name)).await.map_err(failed)? {
            true => Ok(()),
            false => Err(Stop::NotNow(format!("{name}: not confirmed, another server was faster"))),
        }
    }

    /// Forgets the row, unless another server has written something else meanwhile.
    async fn forget(&self, name: &HostName, state: DropletState) -> Result<(), Stop> {
        if !patience::store(self.store.remove_droplet(name, state)).await.map_err(failed)? {
            tracing::info!(droplet = %name, "droplet.row_changed_meanwhile");
        }
        Ok(())
    }

    /// From here on nothing is placed on it by any server, if nothing lives on it now.
    async fn condemn(&self, name: &HostName, born: Timestamp) -> Result<(), Stop> {
        match patience::store(self.store.condemn_droplet(name, born)).await.map_err(failed)? {
            true => Ok(()),
            false => Err(Stop::NotNow(format!("{name}: not deleted, instances are on it according to their rows"))),
        }
    }

    /// Deletes what is condemned.
    async fn delete(&self, name: &HostName, status: &mut ScalingStatus) -> Result<(), Stop> {
        self.cloud(self.cloud.delete(name)).await?;
        status.deleted += 1;
        status.droplets.retain(|droplet| &droplet.name != name);
        tracing::info!(droplet = %name, "droplet.deleted");
        if !patience::store(self.store.bury_droplet(name)).await.map_err(failed)? {
            tracing::info!(droplet = %name, "droplet.row_changed_meanwhile");
        }
        Ok(())
    }

    /// Makes sure, in one turn of the scheduler, that the host is empty and that this server keeps it so; fine if it has
    /// no such host.
    async fn check_drained(&self, name: &HostName) -> Result<(), Stop> {
        match self.cordon(name, Some(Cordon::Draining)).await? {
            Some(host) if host.used > 0 => {
                Err(Stop::NotNow(format!("{name}: not deleted, it carries {}", counted(host.used))))
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
}
