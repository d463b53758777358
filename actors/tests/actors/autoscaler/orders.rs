//! Orders that nobody confirms, and a provider that wants to be left alone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use async_trait::async_trait;
use getaredis_actors::{
    autoscaler::messages::{PauseScaling, ScaleNow},
    domain::{HostName, scaling::Stage},
    ports::{DropletState, HostProvider, HourlyPrice, Listing, ProviderError, Store},
    sim::cloud::SimCloud,
    supervision::ask,
};
use tokio::time::sleep;

use super::world::{MINUTE, World, policy};
use crate::support::seconds;

/// The only row, and the state it must be in.
async fn only_row(world: &World, state: DropletState) -> HostName {
    let [row] = &world.store.droplets().await.unwrap()[..] else { panic!("one row") };
    assert_eq!(row.state, state);
    row.name.clone()
}

#[actix::test]
async fn an_order_without_a_clear_answer_is_not_promised_and_is_made_again_by_its_name() {
    let world = World::paused(policy());
    world.faults.fail_next("cloud.create", 2);
    sleep(seconds(1)).await;
    let name = only_row(&world, DropletState::Creating).await;
    for _ in 0..3 {
        sleep(seconds(30)).await;
        let told = *world.fleet.growth.lock().unwrap().last().unwrap();
        assert_eq!((told.booting, told.may_grow), (0, false), "nobody waits for what may never come");
        let status = world.status().await;
        assert_eq!(status.droplets[0].stage, Stage::Ordered);
        let why = format!("{name}: ordered, and the provider has not confirmed it");
        assert!(status.explanation.contains(&why), "{status:?}");
    }
    assert_eq!(world.faults.calls("cloud.create"), 1, "not before the list had time to show it");
    sleep(2 * MINUTE).await;
    assert_eq!((world.faults.calls("cloud.create"), world.cloud.ordered()), (2, 0));
    assert_eq!(only_row(&world, DropletState::Creating).await, name);
    sleep(2 * MINUTE).await;
    assert_eq!(only_row(&world, DropletState::Created).await, name);
    assert_eq!((world.cloud.ordered(), world.cloud.most_ever()), (1, 1));
    sleep(5 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!(world.up(), [name], "its boot was counted from the order that was heard");
}

#[actix::test]
async fn an_order_that_was_written_down_and_never_made_is_made_by_the_next_process() {
    let mut world = World::paused(policy());
    world.faults.die_before_next("cloud.create");
    world.faults.until_frozen().await;
    world.restart().await;
    let name = only_row(&world, DropletState::Creating).await;
    sleep(4 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!((world.up(), world.cloud.ordered()), (vec![name], 1));
}

/// A cloud that answers nothing but that it wants rest, until it had it.
struct Tired {
    cloud: SimCloud,
    tired: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

#[async_trait]
impl HostProvider for Tired {
    async fn list(&self) -> Result<Listing, ProviderError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.tired.swap(false, Ordering::Relaxed) {
            return Err(ProviderError::RateLimited(10 * MINUTE));
        }
        self.cloud.list().await
    }

    async fn create(&self, name: &HostName) -> Result<(), ProviderError> {
        self.cloud.create(name).await
    }

    async fn delete(&self, name: &HostName) -> Result<(), ProviderError> {
        self.cloud.delete(name).await
    }

    async fn forget(&self, name: &HostName) -> Result<(), ProviderError> {
        self.cloud.forget(name).await
    }

    async fn price(&self) -> Result<HourlyPrice, ProviderError> {
        self.cloud.price().await
    }
}

#[actix::test]
async fn whoever_orders_something_of_the_pool_does_not_wake_a_provider_that_rests() {
    let mut world = World::paused(policy());
    let (tired, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let provider = Tired { cloud: world.cloud.clone(), tired: tired.clone(), asked: asked.clone() };
    world.ports.cloud = Some(Arc::new(provider));
    world.restart().await;
    sleep(seconds(1)).await;
    let to = world.child().addr();
    let status = ask(&to.clone().recipient(), ScaleNow, seconds(5)).await.unwrap();
    assert!(status.errors[0].starts_with("the provider wants 59"), "{status:?}");
    let status = ask(&to.recipient(), PauseScaling, seconds(5)).await.unwrap();
    assert!(status.paused && status.errors[0].starts_with("the provider wants 59"), "{status:?}");
    assert!(world.store.orders().await.unwrap().paused, "every server hears of it all the same");
    sleep(9 * MINUTE).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    sleep(MINUTE).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2, "it had its rest");
    assert_eq!(world.status().await.errors, Vec::<String>::new());
}
