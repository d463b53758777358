//! The [`HostProvider`] that buys droplets.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use getaredis_actors::{
    domain::{HostName, Timestamp},
    ports::{self, HostProvider, HourlyPrice, Listing, ProviderError},
};
use secrecy::SecretString;
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};

use super::{Api, ApiError, DigitalOceanSettings, Droplet, builders::is_builder, buying::Purchase, droplets::NAMELESS};

/// Renders what a new host sets itself up with; secret, because it opens that host.
pub type UserData = dyn Fn(&HostName) -> Result<SecretString, String> + Send + Sync;

/// Buys droplets. See the module above.
pub struct DigitalOcean {
    pub(super) api: Api,
    pub(super) settings: DigitalOceanSettings,
    tag: String,
    user_data: Arc<UserData>,
    /// Names whose order may have been sent without a clear answer, and until when it may take effect. Held while an
    /// order is looked up and made, so that two for one name cannot miss each other.
    unsettled: Mutex<BTreeMap<HostName, Instant>>,
    price: OnceCell<HourlyPrice>,
    /// When droplets were listed last.
    listed: Mutex<Option<Instant>>,
}

impl DigitalOcean {
    /// Prepares the provider. Connects with the first call.
    ///
    /// # Errors
    /// See [`Api::new`].
    pub fn new(settings: DigitalOceanSettings, user_data: Arc<UserData>) -> Result<Self, String> {
        let api = Api::new(&settings.url, settings.token.clone(), settings.call_timeout)?;
        let tag = settings.tag();
        Ok(Self {
            api,
            settings,
            tag,
            user_data,
            unsettled: Mutex::default(),
            price: OnceCell::new(),
            listed: Mutex::default(),
        })
    }

    /// Whether there is a droplet of this name. With or without our tag, which is attached only after a droplet was
    /// made: a name of ours is nobody else's.
    async fn exists(&self, name: &HostName) -> Result<bool, ApiError> {
        Ok(!self.api.droplets_named(name.as_str()).await?.is_empty())
    }

    /// Every droplet that a host's name stands for, with or without our tag.
    async fn called(&self, name: &HostName) -> Result<Vec<Droplet>, ApiError> {
        let mut called = self.api.droplets_named(name.as_str()).await?;
        if let Some(id) = name.as_str().strip_prefix(NAMELESS).and_then(|id| id.parse().ok()) {
            match self.api.droplet(id).await {
                Ok(droplet) if HostName::parse(&droplet.name).is_err() => called.push(droplet),
                Ok(_) | Err(ApiError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(called)
    }

    /// It is there and not listed: were it forgotten, it would be paid for and nobody's.
    fn without_tag(&self, droplet: &Droplet) -> ProviderError {
        ProviderError::Refused(format!(
            "droplet {} of this name does not carry the tag {}: give it back the tag, or delete it yourself",
            droplet.id, self.tag
        ))
    }

    async fn order(&self, name: &HostName) -> Result<(), ProviderError> {
        let user_data = (self.user_data)(name).map_err(ProviderError::Refused)?;
        let (places, image) = (&self.settings.placements, &self.settings.image);
        let purchase = Purchase { name: name.as_str(), places, image, user_data: &user_data };
        match self.api.buy(&purchase, &self.settings).await {
            Ok(_) => Ok(()),
            Err(ProviderError::Unknown(why)) => self.after_a_lost_answer(name, why).await,
            Err(ProviderError::LimitReached(why)) => Err(ProviderError::LimitReached(self.with_the_limit(why).await)),
            Err(error) => Err(error),
        }
    }

    async fn after_a_lost_answer(&self, name: &HostName, why: String) -> Result<(), ProviderError> {
        if self.exists(name).await == Ok(true) {
            tracing::info!(droplet = %name, %why, "droplet.found_after_a_lost_answer");
            return Ok(());
        }
        // Not there yet is not the same as never.
        Err(ProviderError::Unknown(why))
    }

    /// A refusal does not say what the limit is, which is what an operator wants to know who is stuck at it.
    async fn with_the_limit(&self, why: String) -> String {
        match self.api.account().await {
            Ok(account) => format!("{}; the account's limit is {}", why.trim_end_matches('.'), account.droplet_limit),
            Err(error) => {
                tracing::warn!(%error, "provider.limit_unknown");
                why
            }
        }
    }

    /// While few requests are left, lists wait: orders and deletions need them more.
    async fn spare_requests(&self) -> Result<(), ProviderError> {
        let mut listed = self.listed.lock().await;
        let since = listed.map(|at| at.elapsed());
        if let Some(rest) = self.api.allowance().zip(since).and_then(|(allowance, since)| allowance.list_waits(since)) {
            tracing::warn!(rest_s = rest.as_secs(), "digitalocean.few_requests_left");
            return Err(ProviderError::RateLimited(rest));
        }
        *listed = Some(Instant::now());
        Ok(())
    }

    /// Whether a bake may be at work with it: then it is nobody's host. Left alone for longer than any bake takes, it is
    /// a droplet that nobody ordered.
    fn is_at_work(&self, droplet: &Droplet) -> bool {
        let age = Duration::try_from(Timestamp::now().duration_since(droplet.created_at)).unwrap_or_default();
        let at_work = is_builder(&self.tag, &droplet.name);
        if at_work && age >= self.settings.bake_deadline {
            tracing::warn!(droplet = droplet.name, "builder.left_behind");
            return false;
        }
        at_work
    }
}

#[async_trait]
impl HostProvider for DigitalOcean {
    async fn list(&self) -> Result<Listing, ProviderError> {
        let ours = |droplet: Droplet| {
            let (address, is_off) = (droplet.address("public"), droplet.status == "off");
            droplet.host_name().map(|name| ports::Droplet { name, created_at: droplet.created_at, address, is_off })
        };
        self.spare_requests().await?;
        let tagged = self.api.droplets_tagged(&self.tag).await?.into_iter();
        let (builders, others): (Vec<_>, Vec<_>) = tagged.partition(|droplet| self.is_at_work(droplet));
        Ok(Listing {
            droplets: others.into_iter().filter_map(ours).collect(),
            builders: builders.iter().filter_map(Droplet::host_name).collect(),
        })
    }

    async fn create(&self, name: &HostName) -> Result<(), ProviderError> {
        let mut unsettled = self.unsettled.lock().await;
        if self.exists(name).await? {
            tracing::info!(droplet = %name, "droplet.ordered_before");
            unsettled.remove(name);
            return Ok(());
        }
        let now = Instant::now();
        unsettled.retain(|_, until| *until > now);
        if unsettled.contains_key(name) {
            return Err(ProviderError::Unknown("an earlier order of this name may still take effect".to_owned()));
        }
        // Before it is sent, because whoever waits for the answer may stop to at any point.
        unsettled.insert(name.clone(), now + self.settings.settle);
        let ordered = self.order(name).await;
        if !matches!(ordered, Err(ProviderError::Unknown(_))) {
            unsettled.remove(name);
        }
        ordered
    }

    async fn delete(&self, name: &HostName) -> Result<(), ProviderError> {
        let called = self.called(name).await?.into_iter();
        let (ours, others): (Vec<_>, Vec<_>) = called.partition(|droplet| droplet.tags.contains(&self.tag));
        for droplet in &ours {
            self.api.delete_droplet(droplet.id).await?;
        }
        for droplet in &others {
            tracing::warn!(droplet = %name, id = droplet.id, "droplet.not_ours_left_alone");
        }
        match others.first() {
            Some(other) if ours.is_empty() => Err(self.without_tag(other)),
            _ => Ok(()),
        }
    }

    async fn forget(&self, name: &HostName) -> Result<(), ProviderError> {
        match self.called(name).await?.first() {
            None => {
                self.unsettled.lock().await.remove(name);
                Ok(())
            }
            Some(droplet) if droplet.tags.contains(&self.tag) => {
                Err(ProviderError::Unknown("a droplet of this name is there".to_owned()))
            }
            Some(droplet) => Err(self.without_tag(droplet)),
        }
    }

    async fn price(&self) -> Result<HourlyPrice, ProviderError> {
        let first = self.settings.placements.first();
        let ask = async || {
            let sizes = self.api.sizes().await?;
            let size = sizes.into_iter().find(|size| first.is_some_and(|first| first.size == size.slug));
            let size = size.ok_or_else(|| ProviderError::Refused("there is no such size".to_owned()))?;
            Ok(HourlyPrice(millionths(size.price_hourly)))
        };
        self.price.get_or_try_init(ask).await.copied()
    }
}

/// Dollars in millionths; prices are between a fraction of a cent and some dollars an hour.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn millionths(dollars: f64) -> u64 {
    (dollars * 1e6).round().clamp(0.0, 1e12) as u64
}
