//! Creates and deletions that meet a shrinking fleet at every moment.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    SOON,
    api::{Api, Instance},
    eventually,
    tenant::must_work,
    world::{World, in_a_world},
};

const INTERLEAVINGS: usize = 50;
/// How often, at least, the fleet has to shrink and grow again meanwhile.
const SHRINKS: usize = 3;
/// From a host's last instance to its deletion it takes two passes of half a second each, and the calls between them.
const RACE_MS: u64 = 1_500;
/// As many as the hosts carry.
const MOST: usize = 4;

#[test]
fn in_fifty_random_interleavings_of_create_and_shrink_no_live_instance_is_ever_deleted() {
    let seed = std::env::var("GETAREDIS_TEST_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    eprintln!("to see the same again: GETAREDIS_TEST_SEED={seed}");
    // It buys far more in a minute than one that serves people would.
    let settings = [("fleet.standby", "0"), ("fleet.max_hosts", "2"), ("fleet.creates_per_hour", "0")];
    in_a_world(&settings, async |world| {
        let mut rng = StdRng::seed_from_u64(seed);
        world.start();
        world.answers().await;
        let mut live = vec![first(&world.api()).await, world.api().create().await];
        let (mut met, mut round) = (0, 0);
        let ordered = world.orders();
        while met < INTERLEAVINGS || world.orders() - ordered < SHRINKS {
            round += 1;
            // Whoever is alone leaves more often, so that hosts run empty.
            let is_alone = |one: &Instance| live.iter().filter(|other| other.host == one.host).count() == 1;
            let alone = live.iter().position(is_alone).filter(|_| rng.random_ratio(1, 4));
            let leaves = live.remove(alone.unwrap_or_else(|| rng.random_range(0..live.len())));
            let api = world.api();
            // Each of those who come may meet what becomes of the host that was left.
            let coming: usize = rng.random_range(usize::from(live.is_empty())..=(MOST - live.len() - 1).min(2));
            let moments: Vec<_> = (0..coming).map(|_| Duration::from_millis(rng.random_range(0..RACE_MS))).collect();
            let creates = futures_util::future::join_all(moments.into_iter().map(|moment| create_at(&api, moment)));
            let leave_at = Duration::from_millis(rng.random_range(0..RACE_MS / 2));
            let (created, ()) = futures_util::join!(creates, delete_at(&api, &leaves, leave_at));
            met += coming;
            live.extend(created);
            for instance in &live {
                let what = format!("round {round} of seed {seed}: {}", instance.id);
                assert_eq!(world.api().show(instance).await.body["state"], "running", "{what}");
                must_work(instance).await;
            }
            agrees(world, &live, round);
        }
        for instance in live {
            assert_eq!(world.api().delete(&instance).await.status, 204);
        }
        world.settles_at(0).await;
    });
}

/// Until the server has looked at its fleet, nobody knows that there will be room.
async fn first(api: &Api) -> Instance {
    eventually("room is foreseen", SOON, async || {
        let answer = api.post(serde_json::json!({})).await;
        if answer.status == 503 { Err(format!("{answer:?}")) } else { Ok(answer.created()) }
    })
    .await
}

/// Somebody wants one at this moment, and gets it however full the fleet is.
async fn create_at(api: &Api, moment: Duration) -> Instance {
    tokio::time::sleep(moment).await;
    api.create().await
}

async fn delete_at(api: &Api, instance: &Instance, moment: Duration) {
    tokio::time::sleep(moment).await;
    assert_eq!(api.delete(instance).await.status, 204);
}

/// Every home is paid for.
fn agrees(world: &World, live: &[Instance], round: usize) {
    let paid = world.paid_for();
    for instance in live {
        assert!(paid.contains(world.home_of(instance).name()), "round {round}: {paid:?}");
    }
}
