//! Droplets with everything that a real one has: cloud-init runs the very user-data that the server renders.

use getaredis_testbed::droplet::{Tier, is_built};
use serde_json::Value;

use crate::{
    isolating::{containers, reached},
    tenant::must_work,
    world::in_a_world_of,
};

fn boots(image: &str, release: &str) {
    in_a_world_of(Tier::Full, &[("digitalocean.image", image)], async |world| {
        world.start();
        let host = world.settles_at(1).await.pop_first().unwrap();
        let machine = world.machine(&host);
        let runs = |script: &str| machine.run(&["sh", "-c", script]).unwrap();
        assert_eq!(runs(". /etc/os-release && echo $VERSION_ID").trim(), release);
        let result: Value =
            serde_json::from_str(&runs("cloud-init status --wait >&2; cat /run/cloud-init/result.json")).unwrap();
        assert_eq!(result["v1"]["errors"], serde_json::json!([]), "{}", machine.console());
        assert_eq!(result["v1"]["datasource"], "DataSourceDigitalOcean");

        let instance = world.api().create().await;
        assert_eq!(world.home_of(&instance).name(), host);
        must_work(&instance).await;
        let forbidden = ["tcp:169.254.169.254:80", "tcp:10.118.0.1:6379", "udp:198.51.100.1:53"].map(str::to_owned);
        assert_eq!(reached(&machine, None, &forbidden), forbidden.clone().into(), "the machine itself reaches them");
        for (process, _) in containers(&machine) {
            assert_eq!(reached(&machine, Some(&process), &forbidden), [].into());
        }
        // As the program reads its configuration, ours and that of the distribution.
        let updates = runs("unattended-upgrade --dry-run --debug 2>&1; apt-config dump APT::Periodic");
        let origins = updates.lines().find(|line| line.starts_with("Allowed origins are: ")).unwrap_or_default();
        assert!(origins.to_lowercase().contains("security"), "{updates}");
        assert!(updates.contains(r#"APT::Periodic::Unattended-Upgrade "1""#), "{updates}");
        // Whatever cloud-init keeps of the user-data is nobody else's to read.
        assert_eq!(
            runs("setpriv --reuid nobody --clear-groups cat /var/lib/cloud/instance/user-data.txt || echo no").trim(),
            "no"
        );
        assert_eq!(world.api().delete(&instance).await.status, 204);
        world.api().until_ended(&instance).await;
        assert_eq!(world.settles_at(1).await.pop_first().unwrap(), host);
        assert_eq!(world.containers(), 0);
    });
}

#[test]
fn a_full_debian_13_sets_itself_up_by_what_the_server_renders_and_carries_a_tenant() {
    boots("debian-13-x64", "13");
}

#[test]
fn a_full_debian_12_sets_itself_up_by_what_the_server_renders_and_carries_a_tenant() {
    boots("debian-12-x64", "12");
}

#[test]
fn a_full_ubuntu_24_04_sets_itself_up_by_what_the_server_renders_and_carries_a_tenant() {
    if is_built("noble") {
        boots("ubuntu-24-04-x64", "24.04");
    } else {
        eprintln!("SKIPPED, so nothing about Ubuntu is tested here: there is no image of it (testbed/image noble)");
    }
}
