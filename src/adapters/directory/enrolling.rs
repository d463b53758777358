//! A provider whose machines can announce themselves: each has a user of the directory for as long as it is there.
//!
//! Owns when a user is made and taken away: before a machine is ordered, after it is deleted or turned out not to
//! exist, when this server sees a machine for the first time, and long after it saw it last. Buys nothing itself.
//!
//! Several servers have lists of their own, and any of them may lag behind. So a list makes a user only of a machine that
//! is new to this server, or it would bring back what another one has just taken away; and whoever was listed, is listed
//! no more and is silent loses the user in the end, whoever made it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use getaredis_actors::{
    domain::HostName,
    ports::{DirectoryError, HostProvider, HourlyPrice, Listing, ProviderError},
};
use tokio::time::Instant;

use super::{GrantError, HostUsers};

/// How long a machine is missing from the lists before its user is taken away: far longer than a list lags behind. Such
/// a user opens nothing but the key of a machine that is gone, so there is no hurry.
pub(super) const MISSING: Duration = Duration::from_secs(10 * 60);

/// See the module's header.
pub struct EnrollingProvider {
    provider: Arc<dyn HostProvider>,
    users: Arc<HostUsers>,
    /// Machines that have been listed and were given a user, and since when those are missing that are listed no more.
    enrolled: Mutex<BTreeMap<HostName, Option<Instant>>>,
}

impl EnrollingProvider {
    /// Puts the users of the directory before `provider`.
    #[must_use]
    pub fn new(provider: Arc<dyn HostProvider>, users: Arc<HostUsers>) -> Self {
        Self { provider, users, enrolled: Mutex::default() }
    }

    /// Takes in a list. What fails is tried again with the next one.
    async fn enrol(&self, listed: &BTreeSet<&HostName>) -> Result<(), DirectoryError> {
        let new: Vec<HostName> = {
            let enrolled = self.enrolled();
            listed.iter().filter(|name| !enrolled.contains_key(**name)).map(|name| (*name).clone()).collect()
        };
        if !new.is_empty() {
            self.users.ensure(&new).await?;
        }
        for name in self.missing(new, listed) {
            // One that beats is there, whatever the lists say: somebody may have taken its tag away.
            if !self.users.announces(&name).await? {
                self.users.revoke(&name).await?;
                self.enrolled().remove(&name);
            }
        }
        Ok(())
    }

    /// Writes down who is listed and who is missing; those that have been missing for long enough.
    fn missing(&self, new: Vec<HostName>, listed: &BTreeSet<&HostName>) -> Vec<HostName> {
        let now = Instant::now();
        let mut enrolled = self.enrolled();
        enrolled.extend(new.into_iter().map(|name| (name, None)));
        for (name, missing) in enrolled.iter_mut() {
            *missing = (!listed.contains(name)).then(|| missing.unwrap_or(now));
        }
        let gone = |since: &Option<Instant>| since.is_some_and(|since| now.duration_since(since) >= MISSING);
        enrolled.iter().filter(|(_, since)| gone(since)).map(|(name, _)| name.clone()).collect()
    }

    fn enrolled(&self) -> MutexGuard<'_, BTreeMap<HostName, Option<Instant>>> {
        self.enrolled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn revoke(&self, name: &HostName) -> Result<(), ProviderError> {
        let revoked = self.users.revoke(name).await;
        revoked.map_err(|error| ProviderError::Unknown(format!("the user of {name} is left in the directory: {error}")))
    }
}

#[async_trait]
impl HostProvider for EnrollingProvider {
    async fn list(&self) -> Result<Listing, ProviderError> {
        let listing = self.provider.list().await?;
        // Without its user a machine stays silent; that the directory is away is no reason not to see what is paid for.
        if let Err(error) = self.enrol(&listing.droplets.iter().map(|machine| &machine.name).collect()).await {
            tracing::warn!(%error, "directory.users_not_renewed");
        }
        Ok(listing)
    }

    async fn create(&self, name: &HostName) -> Result<(), ProviderError> {
        // Nothing is bought that could not announce itself.
        let granted = self.users.grant(name).await;
        granted.map_err(|error| {
            let words = format!("{name} would have no user in the directory: {error}");
            match error {
                GrantError::Directory(_) => ProviderError::NotYet(words),
                GrantError::Taken(..) => ProviderError::Refused(words),
            }
        })?;
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
