//! A provider whose machines can announce themselves: each has a user of the directory for as long as it is there.
//!
//! Owns when a user is made and taken away: before a machine is ordered, after it is deleted or turned out not to
//! exist, and again with every list for those that the directory has lost. Buys nothing itself.

use std::sync::Arc;

use async_trait::async_trait;
use getaredis_actors::{
    domain::HostName,
    ports::{Droplet, HostProvider, HourlyPrice, ProviderError},
};

use super::HostUsers;

/// See the module's header.
pub struct EnrollingProvider {
    provider: Arc<dyn HostProvider>,
    users: Arc<HostUsers>,
}

impl EnrollingProvider {
    /// Puts the users of the directory before `provider`.
    #[must_use]
    pub fn new(provider: Arc<dyn HostProvider>, users: Arc<HostUsers>) -> Self {
        Self { provider, users }
    }

    async fn revoke(&self, name: &HostName) -> Result<(), ProviderError> {
        let revoked = self.users.revoke(name).await;
        revoked.map_err(|error| ProviderError::Unknown(format!("the user of {name} is left in the directory: {error}")))
    }
}

#[async_trait]
impl HostProvider for EnrollingProvider {
    async fn list(&self) -> Result<Vec<Droplet>, ProviderError> {
        let machines = self.provider.list().await?;
        // Without its user a machine stays silent; that the directory is away is no reason not to see what is paid for.
        if let Err(error) = self.users.ensure(machines.iter().map(|machine| &machine.name)).await {
            tracing::warn!(%error, "directory.users_not_renewed");
        }
        Ok(machines)
    }

    async fn create(&self, name: &HostName) -> Result<(), ProviderError> {
        // Nothing is bought that could not announce itself.
        let granted = self.users.grant(name).await;
        granted
            .map_err(|error| ProviderError::Refused(format!("{name} would have no user in the directory: {error}")))?;
        let ordered = self.provider.create(name).await;
        if ordered.as_ref().is_err_and(ProviderError::without_effect)
            && let Err(error) = self.revoke(name).await
        {
            // The refusal is what matters; a user without a machine opens nothing but its own key.
            tracing::warn!(%error, "directory.user_left");
        }
        ordered
    }

    async fn delete(&self, name: &HostName) -> Result<(), ProviderError> {
        self.provider.delete(name).await?;
        // Not done until the user is gone too; deleting again what is gone costs nothing.
        self.revoke(name).await
    }

    async fn forget(&self, name: &HostName) -> Result<(), ProviderError> {
        self.provider.forget(name).await?;
        self.revoke(name).await
    }

    async fn price(&self) -> Result<HourlyPrice, ProviderError> {
        self.provider.price().await
    }
}
