//! Machines on which images are baked take places in the pool, from before they are ordered until they are gone.

use std::time::Duration;

use futures_util::join;
use getaredis_actors::{
    domain::{HostName, scaling::ScalingPolicy},
    ports::{BuilderRow, Store},
    sim::faults::Faults,
};
use tokio::time::sleep;

use super::world::{MINUTE, World, policy};
use crate::support::{name, seconds};

const BUILDER: &str = "getaredis-test-builder-1234abcd";

/// The longest that a bake takes here.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Everything that a bake does to the world, at paces of its own. Says whether it got its place.
async fn bakes(world: &World, builder: &HostName, paces: [Duration; 3]) -> bool {
    let [until_ordered, bakes, until_closed] = paces;
    if !holds_a_place(world, builder, world.settings.scaling.as_ref().unwrap().max_hosts).await {
        return false;
    }
    sleep(until_ordered).await;
    world.cloud.order_builder(builder);
    sleep(bakes).await;
    world.cloud.delete_builder(builder);
    sleep(until_closed).await;
    assert!(world.store.close_builder(builder).await.unwrap());
    true
}

async fn holds_a_place(world: &World, builder: &HostName, most: u32) -> bool {
    let now = world.ports.clock.now();
    let row = BuilderRow { name: builder.clone(), ends_at: now + DEADLINE };
    world.store.order_builder(&row, now, most).await.unwrap()
}

/// A pool of at most two whose only host was just taken into use, so that the next pass wants another one.
async fn wants_one_more(world: &World) {
    sleep(5 * MINUTE).await;
    let [host] = &world.up()[..] else { panic!("one host") };
    world.occupy(host, 1);
}

async fn explains(world: &World) -> String {
    world.status().await.explanation.join("\n")
}

#[actix::test]
async fn while_an_image_is_baked_the_pool_does_not_use_its_place() {
    let world = World::paused(policy());
    sleep(5 * MINUTE).await;
    assert!(holds_a_place(&world, &name(BUILDER), 2).await);
    world.cloud.order_builder(&name(BUILDER));
    wants_one_more(&world).await;
    sleep(5 * MINUTE).await;
    assert_eq!(world.cloud.ordered(), 1, "{:?}", world.status().await);
    let told = explains(&world).await;
    assert!(told.contains("; 1 more bake an image") && told.contains("max_hosts allows no more"), "{told}");
    world.cloud.delete_builder(&name(BUILDER));
    assert!(world.store.close_builder(&name(BUILDER)).await.unwrap());
    sleep(5 * MINUTE).await;
    world.agrees(2).await;
}

#[actix::test]
async fn a_builder_that_has_no_row_takes_its_place_all_the_same() {
    let world = World::paused(policy());
    world.cloud.order_builder(&name(BUILDER));
    wants_one_more(&world).await;
    sleep(5 * MINUTE).await;
    assert_eq!(world.cloud.ordered(), 1);
    let told = explains(&world).await;
    assert!(told.contains("; 1 more bake an image"), "{told}");
    world.cloud.delete_builder(&name(BUILDER));
    sleep(5 * MINUTE).await;
    world.agrees(2).await;
}

#[actix::test]
async fn a_row_without_a_builder_holds_its_place_until_it_is_over_and_is_closed_then() {
    let world = World::paused(policy());
    assert!(holds_a_place(&world, &name(BUILDER), 2).await);
    wants_one_more(&world).await;
    sleep(DEADLINE - 6 * MINUTE).await;
    assert_eq!(world.cloud.ordered(), 1);
    let told = explains(&world).await;
    assert!(told.contains("; 1 more bake an image"), "{told}");
    assert_eq!(world.store.builders().await.unwrap().len(), 1);
    sleep(5 * MINUTE).await;
    assert_eq!(world.store.builders().await.unwrap(), []);
    world.agrees(2).await;
}

#[actix::test]
async fn a_server_that_does_not_look_after_the_pool_closes_no_row() {
    let world = World::paused(policy());
    *world.fleet.leads.lock().unwrap() = false;
    assert!(holds_a_place(&world, &name(BUILDER), 2).await);
    sleep(2 * DEADLINE).await;
    assert_eq!(world.store.builders().await.unwrap().len(), 1);
    *world.fleet.leads.lock().unwrap() = true;
    world.faults.fail_next("store.close_builder", 1);
    sleep(5 * MINUTE).await;
    assert_eq!(world.store.builders().await.unwrap(), []);
}

#[actix::test]
async fn a_builder_that_was_left_behind_is_deleted_when_its_row_is_over_and_counted_once_before() {
    let world = World::paused(policy());
    let builder = name(BUILDER);
    assert!(holds_a_place(&world, &builder, 2).await);
    // The provider lists it as it does one that is older than a bake takes.
    world.cloud.order(&builder);
    sleep(20 * MINUTE).await;
    let told = explains(&world).await;
    assert!(told.contains("; 1 more bake an image") && !told.contains("without a row"), "{told}");
    assert_eq!((world.cloud.ordered(), world.cloud.alive().len()), (2, 2), "the standby has its place");
    sleep(20 * MINUTE).await;
    assert_eq!(world.store.builders().await.unwrap(), []);
    world.agrees(1).await;
    assert_eq!(world.cloud.most_ever(), 2);
}

/// Each call of the pass at which it may be slower than the bake.
const SLOW: [fn(&Faults); 4] = [
    |_| {},
    |faults| faults.slow_next("cloud.list", seconds(3)),
    |faults| faults.slow_next("store.order_droplet", seconds(3)),
    |faults| faults.slow_next("cloud.create", seconds(3)),
];

#[actix::test]
async fn of_a_pass_and_a_bake_that_want_the_last_place_at_any_moment_one_gets_it() {
    tokio::time::pause();
    let (mut baked, mut bought) = (0, 0);
    for slow in SLOW {
        for lag in [0, 4] {
            for moment in 0..20 {
                let world = World::new(policy());
                world.cloud.list_lags(seconds(lag));
                wants_one_more(&world).await;
                slow(&world.faults);
                // The next pass comes within seconds.
                let (ordered, builder) = (world.cloud.ordered(), name(BUILDER));
                let begins = Duration::from_millis(moment * 300);
                let paces = [moment % 3, 60, moment % 5].map(seconds);
                let bake = async {
                    sleep(begins).await;
                    bakes(&world, &builder, paces).await
                };
                let (got_it, ()) = join!(bake, sleep(MINUTE));
                let what = format!("lag {lag}, moment {moment}");
                assert!(world.cloud.most_ever() <= 2, "{what}: {} at once", world.cloud.most_ever());
                let now = world.cloud.ordered();
                assert!(got_it || now > ordered, "{what}: nobody got it");
                baked += u32::from(got_it);
                bought += u32::from(!got_it);
                sleep(10 * MINUTE).await;
                world.agrees(2).await;
            }
        }
    }
    assert!(baked > 20 && bought > 20, "it was no race: {baked} to {bought}");
}

#[actix::test]
async fn of_many_bakes_beside_a_pool_that_grows_and_shrinks_no_instant_has_too_many_machines() {
    let world = World::paused(ScalingPolicy { max_hosts: 3, ..policy() });
    let mut baked = 0;
    for n in 0u32..60 {
        let builder = name(&format!("getaredis-test-builder-{n:08x}"));
        match world.up().first().cloned() {
            Some(host) if n % 2 == 0 => world.occupy(&host, n.into()),
            _ => world
                .fleet
                .runtimes
                .leftovers()
                .iter()
                .for_each(|(host, id)| world.fleet.runtimes.remove_by_hand(host, id)),
        }
        let paces = [n % 7, 60 + 40 * (n % 5), n % 3].map(|n| seconds(n.into()));
        baked += u32::from(bakes(&world, &builder, paces).await);
        sleep(seconds((n % 11).into())).await;
        assert!(world.cloud.most_ever() <= 3, "{n}");
    }
    assert!(baked > 20, "{baked}");
    assert_eq!(world.fleet.runtimes.casualties(), []);
    assert!(world.store.builders().await.unwrap().is_empty());
}
