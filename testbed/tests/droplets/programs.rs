//! What a droplet's failing programs and disk look like from outside.

use std::{io::ErrorKind, time::Duration};

use getaredis_testbed::droplet::wait_for;

use crate::host::{SOON, boot, cloud};

#[test]
fn a_killed_engine_comes_back_and_no_tenant_notices() {
    let Some(cloud) = cloud() else { return };
    let host = boot(&cloud, "engine");
    host.start_redis(&cloud, "tenant", 7001);
    let pid = |name: &str| host.droplet.run(&["pidof", name]).unwrap_or_default();
    let (engine, tenant) = (pid("dockerd"), pid("redis-server"));
    host.droplet.kill("dockerd").unwrap();
    host.ping(7001).unwrap();
    wait_for("the engine is back", SOON, || host.engine_answers(&cloud)).unwrap();
    assert_ne!(pid("dockerd"), engine);
    assert_eq!(pid("redis-server"), tenant, "live-restore keeps it");

    host.droplet.kill("containerd").unwrap();
    host.ping(7001).unwrap();
    assert_eq!(host.create_redis(&cloud, "second", 7002).status, 201);
    wait_for("containers start again", SOON, || {
        host.engine(&cloud, "POST", "/containers/second/start", "").status < 300
    })
    .unwrap();
    wait_for("the new one answers", SOON, || host.ping(7002).is_ok()).unwrap();
    assert_eq!(pid("redis-server").split_whitespace().count(), 2);
    cloud.end().unwrap();
}

#[test]
fn proxy_and_engine_fail_while_tenants_and_heartbeat_go_on() {
    let Some(cloud) = cloud() else { return };
    let host = boot(&cloud, "proxy");
    host.start_redis(&cloud, "tenant", 7001);
    host.droplet.kill("nginx").unwrap();
    let refused = || host.connect(2376).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    wait_for("its port is closed", SOON, refused).unwrap();
    host.ping(7001).unwrap();
    assert!(host.heartbeat().is_some(), "heartbeat alive, proxy gone");
    wait_for("the proxy is back", SOON, || host.engine_answers(&cloud)).unwrap();

    host.droplet.stop("dockerd").unwrap();
    let hung = host.engine(&cloud, "GET", "/_ping", "");
    assert!(hung.status == 0 && hung.took > Duration::from_secs(2), "{hung:?}");
    host.ping(7001).unwrap();
    assert!(host.goes_on_beating());
    host.droplet.resume("dockerd").unwrap();
    wait_for("the engine answers again", SOON, || host.engine_answers(&cloud)).unwrap();
    assert!(host.droplet.kill("no-such-program").is_err());
    cloud.end().unwrap();
}

#[test]
fn a_frozen_droplet_accepts_and_stays_silent_until_it_is_thawed() {
    let Some(cloud) = cloud() else { return };
    let host = boot(&cloud, "frozen");
    host.start_redis(&cloud, "tenant", 7001);
    host.droplet.freeze().unwrap();
    host.connect(7001).unwrap();
    assert_eq!(host.ping(7001).unwrap_err().kind(), ErrorKind::WouldBlock, "no answer in three seconds");
    assert_eq!(host.engine(&cloud, "GET", "/_ping", "").status, 0);
    host.stops_beating();
    host.droplet.thaw().unwrap();
    wait_for("all is back", SOON, || host.ping(7001).is_ok() && host.engine_answers(&cloud)).unwrap();
    host.beats_within(SOON);
    host.droplet.freeze().unwrap();
    host.droplet.destroy().unwrap();
    cloud.end().unwrap();
}

#[test]
fn a_full_disk_fails_creates_while_the_heart_beats_and_recovers() {
    let Some(cloud) = cloud() else { return };
    let host = boot(&cloud, "full");
    host.start_redis(&cloud, "tenant", 7001);
    host.droplet.fill_disk(0).unwrap();
    let refused = host.create_redis(&cloud, "second", 7002);
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(refused.body.contains("no space left on device"), "{refused:?}");
    assert!(host.engine_answers(&cloud) && host.goes_on_beating());
    host.ping(7001).unwrap();
    host.droplet.free_disk().unwrap();
    assert_eq!(host.create_redis(&cloud, "second", 7002).status, 201);
    cloud.end().unwrap();
}
