//! Droplets with everything that a real one has: cloud-init runs the very user-data that the server renders.

use getaredis::host_setup::{HostSettings, builder_user_data};
use getaredis_testbed::droplet::{Droplet, Tier, is_built};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::{
    SOON,
    api::Instance,
    eventually,
    isolating::{containers, reached},
    tenant::{connect, must_work},
    world::{World, in_a_world_of},
};

/// Where the set-up is on a host, to be run as often as anybody likes.
const SETUP: &str = "/usr/local/lib/getaredis/setup";

fn boots(image: &str, release: &str) {
    in_a_world_of(Tier::Full, &[("digitalocean.image", image)], async |world| {
        sets_itself_up_and_carries_a_tenant(world, release).await;
    });
}

/// The fleet's one host; it has had no tenant before, and has none afterwards.
async fn sets_itself_up_and_carries_a_tenant(world: &World, release: &str) -> Droplet {
    world.start();
    let host = world.settles_at(1).await.pop_first().unwrap();
    let machine = world.machine(&host);
    let runs = |script: &str| machine.run(&["sh", "-c", script]).unwrap();
    assert_eq!(runs(". /etc/os-release && echo $VERSION_ID").trim(), release);
    let result: Value =
        serde_json::from_str(&runs("cloud-init status --wait >&2; cat /run/cloud-init/result.json")).unwrap();
    assert_eq!(result["v1"]["errors"], serde_json::json!([]), "{}", machine.console());
    assert_eq!(result["v1"]["datasource"], "DataSourceDigitalOcean");
    cloud_init_finds_nothing_wrong(&machine);
    // Whatever cloud-init keeps of the user-data is nobody else's to read.
    assert_eq!(
        runs("setpriv --reuid nobody --clear-groups cat /var/lib/cloud/instance/user-data.txt || echo no").trim(),
        "no"
    );
    carries_a_tenant(world, &machine).await;
    assert_eq!(world.settles_at(1).await.pop_first().unwrap(), host);
    machine
}

/// One tenant, which is reached and reaches nothing, on a machine that is set up in every respect.
pub(crate) async fn carries_a_tenant(world: &World, machine: &Droplet) {
    let runs = |script: &str| machine.run(&["sh", "-c", script]).unwrap();
    let instance = world.api().create().await;
    assert_eq!(world.home_of(&instance).name(), machine.name());
    must_work(&instance).await;
    let forbidden = ["tcp:169.254.169.254:80", "tcp:10.118.0.1:6379", "udp:198.51.100.1:53"].map(str::to_owned);
    assert_eq!(reached(machine, None, &forbidden), forbidden.clone().into(), "the machine itself reaches them");
    for (process, _) in containers(machine) {
        assert_eq!(reached(machine, Some(&process), &forbidden), [].into());
    }
    // What the engine does, whatever its file says.
    let engine =
        runs("docker info --format '{{.LoggingDriver}} {{.LiveRestoreEnabled}}'; pidof docker-proxy || echo none");
    assert_eq!(engine, "local true\nnone\n");
    // As the program reads its configuration, ours and that of the distribution.
    let updates = runs("unattended-upgrade --dry-run --debug 2>&1; apt-config dump APT::Periodic");
    let origins = updates.lines().find(|line| line.starts_with("Allowed origins are: ")).unwrap_or_default();
    assert!(origins.to_lowercase().contains("security"), "{updates}");
    assert!(updates.contains(r#"APT::Periodic::Unattended-Upgrade "1""#), "{updates}");
    another_set_up_changes_nothing(world, machine, &instance).await;
    // The machine's own firewall forgets everybody's rules, and ours come back by themselves.
    for order in ["start", "reload", "restart", "stop"] {
        runs(&format!("systemctl {order} nftables.service"));
        let tables = runs("nft list tables");
        assert!(tables.contains("inet getaredis") && tables.contains("bridge getaredis"), "{order}: {tables}");
    }
    assert_eq!(world.api().delete(&instance).await.status, 204);
    world.api().until_ended(&instance).await;
    assert_eq!(world.containers(), 0);
}

/// What the server renders is what cloud-init understands, the host's own user-data and a builder's; and cloud-init of
/// this release says so of nonsense too.
fn cloud_init_finds_nothing_wrong(machine: &Droplet) {
    let check = |file: &str| machine.run(&["cloud-init", "schema", "--config-file", file]);
    let own = "/var/lib/cloud/instance/user-data.txt";
    assert!(machine.run(&["cat", own]).unwrap().contains(SETUP), "it is the host's");
    assert!(check(own).unwrap().contains("Valid"));

    let settings =
        HostSettings { image: "redis:7".to_owned(), engine_port: 2376, engine_clients: Vec::new(), directory: None };
    let builder = builder_user_data(&settings).unwrap();
    let write = |text: &str| machine.run(&["sh", "-c", "printf %s \"$1\" >/root/user-data", "--", text]).map(drop);
    write(builder.expose_secret()).unwrap();
    assert!(check("/root/user-data").unwrap().contains("Valid"));
    write("#cloud-config\nruncmd: 7\n").unwrap();
    assert!(check("/root/user-data").is_err());
    machine.run(&["rm", "/root/user-data"]).unwrap();
}

/// As often as you like: nothing that is right already is touched.
async fn another_set_up_changes_nothing(world: &World, machine: &Droplet, instance: &Instance) {
    let same = || {
        let programs = ["docker", "containerd", "getaredis-door", "getaredis-heartbeat"];
        let running = [&["systemctl", "show", "--property=MainPID", "--value"][..], &programs].concat();
        let running = machine.run(&running).unwrap();
        let started = "docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.State.Pid}}' $(docker ps --quiet)";
        (running, machine.run(&["sh", "-c", started]).unwrap())
    };
    let (before, mut directory) = (same(), world.directory().await);
    assert_eq!(before.1.lines().count(), 1, "{before:?}");
    let mut tenant = connect(&instance.redis_url).await.unwrap();
    let said = machine.run(&[SETUP]).unwrap();
    assert!(said.contains("getaredis: ready"), "{said}");
    assert_eq!(same(), before, "{said}");
    assert!(!world.log().contains("host.lost"), "the server missed it");
    assert_eq!(redis::cmd("PING").query_async::<String>(&mut tenant).await.unwrap(), "PONG");
    let until = directory.announced_until(machine.name()).await;
    eventually("the heart beats on", SOON, async || match directory.announced_until(machine.name()).await {
        later if later > until => Ok(()),
        same => Err(format!("{same}")),
    })
    .await;
}

#[test]
fn a_full_debian_13_sets_itself_up_by_what_the_server_renders_and_carries_a_tenant() {
    boots("debian-13-x64", "13");
}

#[test]
fn a_stock_debian_12_installs_what_it_lacks_though_its_archive_fails_and_others_hold_apts_lists() {
    installs_what_it_lacks("debian-12-stock", "12");
}

/// Of Debian 13 the same is seen where an image is baked of it.
fn installs_what_it_lacks(image: &str, release: &str) {
    // Everything is unpacked on a busy machine.
    let settings = [("digitalocean.image", image), ("fleet.boot_deadline", "10m")];
    in_a_world_of(Tier::Full, &settings, async |world| {
        world.next_packages_fail(2);
        let machine = sets_itself_up_and_carries_a_tenant(world, release).await;
        let console = machine.console();
        let packages =
            ["nftables", "docker.io nginx", "unattended-upgrades"].map(|names| format!("installing {names}\n"));
        for told in
            packages.iter().map(String::as_str).chain(["install_packages failed, to be tried again in 1 s", "503"])
        {
            assert!(console.contains(told), "{told}: {console}");
        }
        // Of two web servers only the door was ever to run, and what was written before the engine's package came holds.
        let nginx = machine.run(&["sh", "-c", "systemctl is-enabled nginx; systemctl is-active nginx; true"]).unwrap();
        assert_eq!(nginx, "masked\ninactive\n");
        let settings = machine.run(&["sh", "-c", "cat /etc/default/docker /etc/docker/daemon.json"]).unwrap();
        assert!(settings.contains("registry-mirror"), "{settings}");
    });
}

/// Images of Ubuntu need its archive, which is not everywhere. Once script/test has found it, a skipped test fails.
#[test]
fn a_stock_ubuntu_24_04_installs_what_it_lacks_though_its_archive_fails_and_others_hold_apts_lists() {
    if is_built("stock-noble") {
        return installs_what_it_lacks("ubuntu-24-04-stock", "24.04");
    }
    assert!(std::env::var_os("GETAREDIS_TEST_UBUNTU").is_none(), "no longer possible: there is no image");
    eprintln!("SKIPPED, so nothing about Ubuntu 24.04 is tested here: there is no image (testbed/image stock-noble)");
}

/// That of 22.04 is built by hand.
#[test]
fn a_full_ubuntu_22_04_sets_itself_up_by_what_the_server_renders_and_carries_a_tenant() {
    if is_built("jammy") {
        return boots("ubuntu-22-04-x64", "22.04");
    }
    eprintln!("SKIPPED, so nothing about Ubuntu 22.04 is tested here: there is no image (testbed/image jammy)");
}
