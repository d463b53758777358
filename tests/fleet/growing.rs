//! The fleet follows its load, whoever looks after it.

use std::{cell::RefCell, future::Future, pin::pin, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    api::Instance,
    eventually,
    tenant::{must_work, ping},
    world::{BOOT, World, in_a_world},
};

/// Longer than a server is away at most, and than the longest pause between two extensions.
const LEASE_S: u64 = 30;

/// Servers that die on the way to the full fleet, and on the way back.
const DEATHS: u32 = 3;
/// The longest that a server lives: three boots of hosts take longer.
const LONGEST_LIFE_MS: u64 = 6_000;

/// Asks with the same key until there is an answer, while everybody else keeps what they have.
async fn insist(world: &World, others: &[Instance]) -> Instance {
    let key = format!("visitor-{}", others.len());
    let asked = async || match world.api().try_post_with_key_for(&key, LEASE_S).await {
        Ok(answer) if answer.status == 201 => Ok(answer.created()),
        // Its server died, another one is taking stock, or the fleet grows for longer than people wait.
        Ok(answer) if answer.status == 503 => Err(format!("{answer:?}")),
        Ok(answer) => panic!("{answer:?}"),
        Err(error) => Err(error.to_string()),
    };
    let served = RefCell::new(false);
    let wait = async {
        let instance = eventually("a place", 3 * BOOT, asked).await;
        *served.borrow_mut() = true;
        instance
    };
    let keeping = async {
        while !*served.borrow() {
            keep(world, others).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    futures_util::join!(wait, keeping).0
}

/// Extends all of them, if anybody is there to do it.
async fn keep(world: &World, instances: &[Instance]) {
    for instance in instances {
        if let Ok(kept) = world.api().try_extend(instance, LEASE_S.into()).await {
            assert!([200, 503].contains(&kept.status), "{kept:?}");
        }
    }
}

/// Kills servers at random moments, and starts others, while this goes on.
async fn among_deaths<T>(world: &World, rng: &mut StdRng, what: impl Future<Output = T>) -> T {
    let mut what = pin!(what);
    for _ in 0..DEATHS {
        let life = Duration::from_millis(rng.random_range(0..LONGEST_LIFE_MS));
        tokio::select! {
            done = &mut what => return done,
            () = tokio::time::sleep(life) => {}
        }
        world.kill();
        world.start();
    }
    what.await
}

#[test]
fn a_fleet_grows_with_its_load_and_shrinks_to_nothing_whenever_its_servers_die() {
    let seed = std::env::var("GETAREDIS_TEST_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    eprintln!("to see the same again: GETAREDIS_TEST_SEED={seed}");
    in_a_world(&[("fleet.max_hosts", "3")], async |world| {
        let mut rng = StdRng::seed_from_u64(seed);
        world.start();
        let instances = among_deaths(world, &mut rng, async {
            let mut instances = Vec::new();
            for _ in 0..3 {
                let instance = insist(world, &instances).await;
                instances.push(instance);
            }
            let full = async || {
                keep(world, &instances).await;
                let up = world.hosts_up().await;
                if up == Some(3) { Ok(()) } else { Err(format!("up {up:?}, paid {:?}", world.paid_for())) }
            };
            eventually("three hosts", 3 * BOOT, full).await;
            instances
        })
        .await;
        world.answers().await;
        for instance in &instances {
            must_work(instance).await;
        }
        assert_eq!(world.containers(), 3);

        // Who ends the leases is not who granted them.
        among_deaths(world, &mut rng, async {
            let ended = async || {
                for instance in &instances {
                    match world.api().try_show(instance).await {
                        Ok(shown) if shown.status == 410 => assert_eq!(shown.body["reason"], "expired", "{shown:?}"),
                        shown => return Err(format!("{shown:?}")),
                    }
                }
                Ok(())
            };
            eventually("all leases are over", BOOT, ended).await;
            world.settles_at(1).await;
        })
        .await;
        world.settles_at(1).await;
        assert_eq!(world.containers(), 0);
        for instance in &instances {
            assert!(ping(&instance.redis_url).await.is_err());
        }

        world.stop().await;
        let last = world.paid_for().pop_first().unwrap();
        world.set("fleet.standby", "0");
        world.set("fleet.min_hosts", "0");
        world.start();
        world.settles_at(0).await;
        // Nobody is woken by a host that went because it was told to.
        world.logs(&["host.left"], &last).await;
        assert_eq!(world.bought.most_droplets(), 3);
    });
}
