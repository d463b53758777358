//! A machine that the operator brings, which the fleet has not bought, becomes a host by what `host script` prints.

use getaredis_testbed::droplet::{Droplet, Tier};
use serde_json::json;

use crate::{
    SOON,
    api::http,
    booting::carries_a_tenant,
    eventually,
    world::{BOOT, TOKEN, World, in_a_world_of},
};

/// A machine as anybody buys one: nothing of ours is on it, and it knows nothing of us.
async fn plain_machine(world: &World, name: &str, image: &str) -> Droplet {
    let order = json!({ "names": [name], "region": "fra1", "size": "s-1vcpu-1gb", "image": image });
    let ordered = http().post(format!("{}/v2/droplets", world.bought.url())).bearer_auth(TOKEN).json(&order);
    assert_eq!(ordered.send().await.unwrap().status(), 202);
    let booted = async || {
        let machine = world.machines().into_iter().find(|machine| machine.name() == name);
        let machine = machine.ok_or("there is no machine yet")?;
        machine.run(&["cloud-init", "status", "--wait"]).map_err(|error| error.to_string())?;
        Ok::<_, String>(machine)
    };
    eventually("a machine that has booted", BOOT, booted).await
}

#[test]
fn a_machine_that_the_operator_brings_becomes_a_host_by_the_script_that_is_made_for_it() {
    let settings = [("fleet.provider", "none"), ("docker.host_clients", r#"["10.118.0.0/20"]"#)];
    in_a_world_of(Tier::Full, &settings, async |world| {
        let machine = plain_machine(world, "brought", "debian-12-x64").await;
        world.start();
        world.answers().await;
        assert_eq!(world.hosts_up().await, Some(0));
        let script = world.runs(&["host", "script", "--name", "brought", "--slots", "3"]);
        let said = machine.run(&["bash", "-c", &script]).unwrap();
        assert!(said.contains("getaredis: ready"), "{said}");
        eventually("it takes instances", SOON, async || match world.hosts_up().await {
            Some(1) => Ok(()),
            other => Err(format!("{other:?} hosts are up")),
        })
        .await;
        assert_eq!(world.listed("brought").await.unwrap()["slots"], 3);
        carries_a_tenant(world, &machine).await;
        // The script of a name is always the same, and to run it once more changes nothing.
        assert_eq!(world.runs(&["host", "script", "--name", "brought", "--slots", "3"]), script);
        machine.run(&["bash", "-c", &script]).unwrap();
        assert_eq!(world.hosts_up().await, Some(1));
    });
}
