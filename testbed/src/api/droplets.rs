//! Machines that are simulated droplets: what is bought through the API boots in a cloud of this machine.
//!
//! Owns which droplet of the cloud stands behind which one of the books, and that one boots at a time: on a machine of
//! two cores several at once only keep each other waiting.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Mutex as Turn, OwnedMutexGuard},
    task::spawn_blocking,
};

use super::machines::{Addresses, Boot, Machines, Power};
use crate::droplet::{Cloud, Droplet, Error, Spec, Tier};

/// A droplet that has not settled by then lets the next one boot.
const LONGEST_BOOT: u32 = 90;
/// How often a droplet is looked at that boots, for it may be destroyed meanwhile, or that may power itself off.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Simulated droplets behind the API. See the module.
pub struct Droplets {
    cloud: Arc<Cloud>,
    tier: Tier,
    duds: AtomicU32,
    droplets: Mutex<BTreeMap<u64, Droplet>>,
    turn: Arc<Turn<()>>,
}

impl Droplets {
    /// Boots what is bought in this cloud, as real as `tier` says. The cloud is let go of once the API has ended and
    /// the last boot is over.
    #[must_use]
    pub fn new(cloud: Arc<Cloud>, tier: Tier) -> Self {
        Self { cloud, tier, duds: AtomicU32::new(0), droplets: Mutex::default(), turn: Arc::default() }
    }

    /// The next `count` machines are powered on and never answer.
    pub fn next_never_boot(&self, count: u32) {
        self.duds.store(count, Ordering::Relaxed);
    }

    /// What the next machine is.
    fn next_tier(&self) -> Tier {
        let is_dud = self.duds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if is_dud { Tier::Dead } else { self.tier }
    }

    fn droplets(&self) -> MutexGuard<'_, BTreeMap<u64, Droplet>> {
        self.droplets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn droplet(&self, id: u64) -> Result<Droplet, String> {
        self.droplets().get(&id).cloned().ok_or_else(|| "there is no such machine".to_owned())
    }
}

#[async_trait]
impl Machines for Droplets {
    async fn boot(&self, order: Boot) -> Result<Addresses, String> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let id = order.id;
        let (cloud, spec) = (Arc::clone(&self.cloud), spec(order, self.next_tier()));
        let droplet = blocking(move || cloud.boot(&spec)).await?;
        self.droplets().insert(id, droplet.clone());
        let addresses = Addresses { public: droplet.public_address(), private: droplet.private_address() };
        // Its outcome is seen from outside: a host that is not set up never announces itself.
        drop(spawn_blocking(move || settle(&droplet, turn)));
        Ok(addresses)
    }

    async fn destroy(&self, id: u64) {
        let Some(droplet) = self.droplets().remove(&id) else { return };
        if let Err(error) = blocking(move || droplet.destroy()).await {
            tracing::error!(id, %error, "the droplet is not destroyed");
        }
    }

    async fn power(&self, id: u64, power: Power) -> Result<(), String> {
        let droplet = self.droplet(id)?;
        blocking(move || match power {
            Power::Reboot => droplet.reboot(),
            Power::Cycle => droplet.power_off().and_then(|()| droplet.power_on()),
            Power::Shutdown => droplet.run(&["systemctl", "poweroff"]).map(drop),
            Power::Off => droplet.power_off(),
            Power::On => droplet.power_on(),
        })
        .await
    }

    async fn powered_itself_off(&self, id: u64) {
        while let Ok(droplet) = self.droplet(id) {
            if droplet.has_powered_itself_off() {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // It was deleted.
        std::future::pending().await
    }

    async fn snapshot(&self, id: u64, image: u64) -> Result<(), String> {
        let droplet = self.droplet(id)?;
        blocking(move || droplet.snapshot(&image.to_string())).await
    }
}

fn spec(order: Boot, tier: Tier) -> Spec {
    Spec {
        user_data: order.user_data.unwrap_or_default(),
        id: Some(order.id),
        region: order.region,
        tags: order.tags,
        ..Spec::new(&order.name, &order.image, tier)
    }
}

/// Waits until the droplet has settled, or is off or no more, and only then lets the next one boot.
fn settle(droplet: &Droplet, turn: OwnedMutexGuard<()>) {
    let waits = if droplet.tier() == Tier::Dead { 0 } else { LONGEST_BOOT };
    for _ in 0..waits {
        let settled = droplet.wait_until_settled(LOOK_EVERY);
        if !matches!(settled, Err(Error::Deadline { .. })) || droplet.is_destroyed() || !droplet.is_on() {
            break;
        }
    }
    drop(turn);
}

/// Does what blocks on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, String> {
    let done = spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}
