//! How droplets boot: stock and from a snapshot, with and without cloud-init, again, and never.

use std::time::Duration;

use getaredis_testbed::droplet::{Cloud, Error, Spec, Tier, wait_for};

use crate::host::{BOOT, Host, SOON, USER_DATA, boot, boot_as, cloud};

/// The same set-up as the script's, as cloud-init's other format.
fn cloud_config() -> String {
    let script: String = USER_DATA.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "#cloud-config\nwrite_files:\n  - path: /usr/local/sbin/set-up\n    permissions: '0755'\n    content: |\n{script}\
         runcmd:\n  - [/usr/local/sbin/set-up]\n"
    )
}

/// From the heartbeat to a tenant's PONG, as the product does it.
fn serves_a_tenant(cloud: &Cloud, host: &Host) {
    let beat = host.heartbeat().unwrap();
    assert!(beat.contains(&format!(r#""PublicIP":"{}""#, host.droplet.public_address())), "{beat}");
    assert_eq!(host.engine_as(cloud, "docker:wrong", "GET", "/_ping", "").status, 401);
    host.start_redis(cloud, "tenant", 7001);
    host.ping(7001).unwrap();
}

fn boots(image: &str, tier: Tier, user_data: &str, release: &str) {
    let Some(cloud) = cloud() else { return };
    let host = boot_as(&cloud, &Spec::new("web-1", image, tier).user_data(user_data));
    assert_eq!(host.droplet.run(&["sh", "-c", ". /etc/os-release && echo $VERSION_ID"]).unwrap(), release);
    assert_eq!(host.droplet.run(&["hostname"]).unwrap(), "web-1\n");
    serves_a_tenant(&cloud, &host);
    let ran = host.droplet.run(&["sh", "-c", "test -e /run/cloud-init/result.json && echo yes || echo no"]).unwrap();
    assert_eq!(ran, if tier == Tier::Full { "yes\n" } else { "no\n" });
    cloud.end().unwrap();
}

#[test]
fn a_lite_debian_12_boots_its_user_data_and_serves_a_tenant() {
    boots("debian-12-x64", Tier::Lite, USER_DATA, "12\n");
}

#[test]
fn a_lite_debian_13_boots_a_cloud_config_and_serves_a_tenant() {
    boots("debian-13-x64", Tier::Lite, &cloud_config(), "13\n");
}

#[test]
fn a_full_debian_12_boots_a_cloud_config_and_serves_a_tenant() {
    boots("debian-12-x64", Tier::Full, &cloud_config(), "12\n");
}

#[test]
fn a_full_debian_13_boots_its_user_data_and_serves_a_tenant() {
    boots("debian-13-x64", Tier::Full, USER_DATA, "13\n");
}

#[test]
fn user_data_that_fails_is_told_with_the_console_on_both_tiers() {
    let Some(cloud) = cloud() else { return };
    let fails = "#!/bin/sh\necho so it ends\nexit 7\n";
    let cases = [
        (Tier::Lite, fails, "so it ends"),
        (Tier::Full, fails, "so it ends"),
        (Tier::Lite, "#cloud-config\nswap: {size: 1}\n", "does not know swap"),
    ];
    // Three droplets at once, as many as may boot at once.
    let booting = cases.map(|(tier, text, told)| {
        let spec = Spec::new(if tier == Tier::Full { "full" } else { "lite" }, "debian-13-x64", tier);
        (cloud.boot(&spec.user_data(text)).unwrap(), told)
    });
    for (droplet, told) in booting {
        let failed = droplet.wait_until_settled(BOOT).unwrap_err();
        assert!(matches!(&failed, Error::UserData(said) if said.contains(told)), "{failed}");
    }
    cloud.end().unwrap();
}

#[test]
fn a_snapshot_keeps_the_image_and_beats_under_its_own_name() {
    let Some(cloud) = cloud() else { return };
    let builder = boot(&cloud, "builder");
    builder.start_redis(&cloud, "warm", 7001);
    builder.engine(&cloud, "DELETE", "/containers/warm?force=true", "");
    builder.droplet.snapshot("baked").unwrap();
    assert!(builder.engine_answers(&cloud), "the builder goes on");
    builder.droplet.destroy().unwrap();
    builder.stops_beating();
    let baked = boot_as(&cloud, &Spec::new("baked-1", "baked", Tier::Lite).user_data(USER_DATA));
    let images = baked.engine(&cloud, "GET", "/images/redis:7/json", "");
    assert_eq!(images.status, 200, "no pull is needed: {images:?}");
    assert_eq!(baked.heartbeat().unwrap().matches("baked-1").count(), 1);
    // The unit in the snapshot beats under the old name until the user-data has written the new one.
    builder.stops_beating();
    assert!(matches!(cloud.boot(&Spec::new("x", "no-such-image", Tier::Lite)), Err(Error::NoImage(_))));
    cloud.end().unwrap();
}

#[test]
fn a_builder_that_powers_itself_off_becomes_an_image() {
    let Some(cloud) = cloud() else { return };
    let text = "#cloud-config\nwrite_files: [{path: /etc/baked, content: done}]\n\
                power_state: {mode: poweroff, condition: test -e /etc/baked}\n";
    for (name, tier) in [("lite", Tier::Lite), ("full", Tier::Full)] {
        let builder = cloud.boot(&Spec::new(name, "debian-13-x64", tier).user_data(text)).unwrap();
        wait_for("the builder is off", BOOT, || !builder.is_on()).unwrap();
        builder.snapshot(name).unwrap();
        builder.destroy().unwrap();
        let host = cloud.boot(&Spec::new("host", name, Tier::Lite).user_data("#!/bin/sh\n")).unwrap();
        host.wait_until_settled(BOOT).unwrap();
        assert_eq!(host.run(&["cat", "/etc/baked"]).unwrap(), "done");
        host.destroy().unwrap();
    }
    cloud.end().unwrap();
}

#[test]
fn a_droplet_comes_back_from_a_reboot_and_from_a_pulled_plug_with_its_containers() {
    let Some(cloud) = cloud() else { return };
    let host = boot(&cloud, "phoenix");
    host.start_redis(&cloud, "tenant", 7001);
    let boot_id = || host.droplet.run(&["systemctl", "show", "--property=UserspaceTimestampMonotonic"]).ok();
    let first = boot_id();
    host.droplet.reboot().unwrap();
    wait_for("another boot", SOON, || boot_id().is_some_and(|id| Some(id) != first)).unwrap();
    host.droplet.wait_until_settled(BOOT).unwrap();
    wait_for("the container is back", SOON, || host.ping(7001).is_ok()).unwrap();
    wait_for("the engine is back", SOON, || host.engine_answers(&cloud)).unwrap();

    host.droplet.power_off().unwrap();
    assert!(!host.droplet.is_on());
    assert!(host.ping(7001).is_err());
    assert!(matches!(host.droplet.run(&["true"]), Err(Error::NotRunning(_))));
    host.droplet.power_on().unwrap();
    wait_for("the container is back", BOOT, || host.ping(7001).is_ok()).unwrap();
    host.beats_within(SOON);
    assert_eq!(host.droplet.console().matches("user-data of phoenix done").count(), 1, "user-data runs once");
    cloud.end().unwrap();
}

#[test]
fn a_droplet_that_never_boots_is_on_and_never_answers() {
    let Some(cloud) = cloud() else { return };
    let droplet = cloud.boot(&Spec::new("dead", "debian-13-x64", Tier::Dead).user_data(USER_DATA)).unwrap();
    assert!(droplet.is_on());
    let waited = droplet.wait_until_settled(Duration::from_secs(3));
    assert!(matches!(waited, Err(Error::Deadline { .. })), "{waited:?}");
    assert!(cloud.network().inside(|| std::net::TcpStream::connect((droplet.public_address(), 2376))).is_err());
    droplet.destroy().unwrap();
    assert!(cloud.droplets().is_empty());
    cloud.end().unwrap();
}
