//! The server dies while it buys a host.

use crate::{
    SOON, eventually,
    tenant::must_work,
    world::{World, in_a_world},
};

/// Waits until one order was made.
async fn ordered(world: &World) {
    let ordered = async || if world.orders() == 1 { Ok(()) } else { Err(format!("{} orders", world.orders())) };
    eventually("a host is ordered", SOON, ordered).await;
}

/// The name is written down and the server dies; the next one makes the order and dies of the answer.
#[cfg(feature = "crash-points")]
async fn die_around_the_order(world: &mut World) {
    for (point, orders) in [("store.order_droplet:after", 0), ("hostprovider.create:after", 1)] {
        world.crash_at(Some(point));
        world.start();
        world.ends().await;
        assert_eq!(world.orders(), orders, "{point}");
    }
    world.crash_at(None);
}

/// Only a program built for it dies there.
#[cfg(not(feature = "crash-points"))]
async fn die_around_the_order(_: &mut World) {}

#[test]
fn a_server_that_dies_while_its_host_boots_buys_nothing_twice_and_ends_up_with_it() {
    in_a_world(&[("fleet.max_hosts", "3")], async |world| {
        die_around_the_order(world).await;
        world.start();
        ordered(world).await;
        let paid = world.paid_for();
        for _ in 0..3 {
            world.kill();
            world.start();
            let listed = world.bought.count("GET", "/v2/droplets");
            let looks = async || {
                let looked = world.bought.count("GET", "/v2/droplets") - listed;
                if looked > 2 { Ok(()) } else { Err(format!("{looked} looks")) }
            };
            eventually("the server looks at its fleet again", SOON, looks).await;
        }
        assert_eq!(world.settles_at(1).await, paid);
        assert_eq!((world.orders(), world.bought.most_droplets()), (1, 1));
        must_work(&world.api().create().await).await;
    });
}
