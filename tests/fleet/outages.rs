//! The directory is away for longer than any announcement lasts, and comes back with nothing of what it knew.

use crate::{
    SOON, eventually,
    scene::Scene,
    tenant::must_work,
    world::{World, in_a_world},
};

/// Passes of half a second each, which last longer than an announcement.
const LONGER_THAN_A_TTL: f64 = 30.0;

#[test]
fn a_directory_that_is_away_and_forgets_everything_costs_nobody_a_host_or_an_instance() {
    in_a_world(&[("fleet.max_hosts", "3"), ("fleet.strategy", "fill")], async |world| {
        let scene = Scene::set(world).await;
        let (paid, orders) = (world.paid_for(), world.orders());
        world.stop_directory();
        is_read(world, false).await;

        // What there is serves people, and what could not announce itself is not bought.
        let more = [world.api().create().await, world.api().create().await];
        for instance in &more {
            must_work(instance).await;
        }
        let until = passes(world).await + LONGER_THAN_A_TTL;
        eventually("it is away for longer than any announcement lasts", SOON, async || {
            let made = passes(world).await;
            if made >= until { Ok(()) } else { Err(format!("{made} passes of {until}")) }
        })
        .await;
        for host in &paid {
            world.shows(host, "up").await;
        }
        scene.tenants_are("running").await;
        let explanation = world.operator_sees("scaling").await["explanation"].to_string();
        assert!(explanation.contains("the directory is away"), "{explanation}");
        assert_eq!((world.paid_for(), world.orders()), (paid.clone(), orders));

        world.start_directory().await;
        is_read(world, true).await;
        // Nobody is waited for any more: the reserve is bought now, and everybody announces itself as before.
        let all = world.settles_at(3).await;
        assert!(all.is_superset(&paid) && world.orders() == orders + 1, "{all:?}");
        scene.stays_connected().await;
        scene.is_well_again().await;
        let log = world.log();
        let lost = ["host.lost", "host.left", "host.unreachable"].map(|event| format!(r#""message":"{event}""#));
        assert!(!lost.iter().any(|event| log.contains(event)), "a host was missed");
        for instance in &more {
            assert_eq!(world.api().delete(instance).await.status, 204);
        }
    });
}

/// Waits until `/readyz` says whether the directory answers.
async fn is_read(world: &World, does: bool) {
    eventually("the directory answers, or is missed", SOON, async || {
        let ready = world.api().get("/readyz").await;
        let checks = ready.body["checks"].as_array().cloned().unwrap_or_default();
        let told = checks.iter().any(|check| check["name"] == "directory" && check["ok"] == does);
        if told { Ok(()) } else { Err(format!("{ready:?}")) }
    })
    .await;
}

/// How often the autoscaler has looked at its pool.
async fn passes(world: &World) -> f64 {
    world.metric("getaredis_scaling_passes_total").await.unwrap()
}
