//! The fleet follows its load.

use serde_json::json;

use crate::{
    api::Instance,
    eventually,
    tenant::must_work,
    world::{BOOT, World, in_a_world},
};

/// Longer than the longest pause between two extensions.
const LEASE_S: u64 = 30;

/// Asks until there is a place, while everybody else keeps what they have.
async fn insist(world: &World, others: &[Instance]) -> Instance {
    eventually("a place", BOOT, async || {
        keep(world, others).await;
        let answer = world.api().post(json!({"ttl": LEASE_S})).await;
        if answer.status == 201 { Ok(answer.created()) } else { Err(format!("{answer:?}")) }
    })
    .await
}

async fn keep(world: &World, instances: &[Instance]) {
    for instance in instances {
        let kept = world.api().extend(instance, json!(LEASE_S)).await;
        assert_eq!(kept.status, 200, "{kept:?}");
    }
}

#[test]
fn a_fleet_grows_with_its_load_and_shrinks_to_its_standby_as_leases_end() {
    in_a_world(&[("fleet.max_hosts", "3")], async |world| {
        world.start();
        world.settles_at(1).await;
        let mut instances = Vec::new();
        for _ in 0..3 {
            instances.push(insist(world, &instances).await);
        }
        let full = async || {
            keep(world, &instances).await;
            let capacity = world.api().capacity().await;
            if capacity.hosts_up == 3 { Ok(()) } else { Err(format!("{capacity:?}, paid {:?}", world.paid_for())) }
        };
        eventually("three hosts", BOOT, full).await;
        for instance in &instances {
            must_work(instance).await;
        }
        assert_eq!(world.containers(), 3);

        // Who ends the leases is not who granted them.
        world.kill();
        world.start();
        world.answers().await;
        let ended = async || {
            for instance in &instances {
                let shown = world.api().show(instance).await;
                if shown.status != 410 {
                    return Err(format!("{shown:?}"));
                }
            }
            Ok(())
        };
        eventually("all leases are over", BOOT, ended).await;
        world.settles_at(1).await;
        assert_eq!(world.containers(), 0);
        assert_eq!((world.orders(), world.bought.most_droplets()), (3, 3));
    });
}
