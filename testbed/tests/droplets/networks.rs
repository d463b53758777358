//! What a droplet's failing networks look like from outside, and its end without a goodbye.

use std::{
    io::{ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use getaredis_testbed::droplet::{Side, Spec, Tier, wait_for};

use crate::host::{BOOT, SOON, USER_DATA, boot, boot_as, cloud};

#[test]
fn the_two_halves_of_a_split_brain_can_be_told_apart() {
    let Some(cloud) = cloud() else { return };
    let host = boot(&cloud, "split");
    host.droplet.cut(Side::Private).unwrap();
    host.stops_beating();
    assert!(host.engine_answers(&cloud), "proxy answers, heartbeat gone");
    host.droplet.heal().unwrap();
    host.beats_within(SOON);

    host.droplet.cut(Side::Public).unwrap();
    assert_eq!(host.connect(2376).unwrap_err().kind(), ErrorKind::TimedOut, "packets vanish in silence");
    assert!(host.goes_on_beating(), "heartbeat alive, proxy gone");
    host.droplet.heal().unwrap();
    wait_for("the proxy answers", SOON, || host.engine_answers(&cloud)).unwrap();

    host.droplet.unplug().unwrap();
    assert_eq!(host.connect(2376).unwrap_err().kind(), ErrorKind::TimedOut);
    host.stops_beating();
    host.droplet.power_off().unwrap();
    host.droplet.power_on().unwrap();
    host.droplet.wait_until_settled(BOOT).unwrap();
    assert!(host.heartbeat().is_none(), "a fault stays through a boot");
    host.droplet.heal().unwrap();
    host.beats_within(SOON);
    wait_for("the proxy answers", SOON, || host.engine_answers(&cloud)).unwrap();
    cloud.end().unwrap();
}

#[test]
fn loss_and_latency_slow_clients_down_and_break_nothing() {
    let Some(cloud) = cloud() else { return };
    let host = boot(&cloud, "slow");
    host.start_redis(&cloud, "tenant", 7001);
    let quick = host.ping(7001).unwrap();
    host.droplet.delay(Duration::from_millis(100)).unwrap();
    // The way to the bridge is learnt with the first packets.
    wait_for("the cable carries", SOON, || host.ping(7001).is_ok()).unwrap();
    let slow = host.ping(7001).unwrap();
    assert!(
        slow >= Duration::from_millis(400) && slow < Duration::from_secs(2),
        "two round trips: {slow:?}, {quick:?}"
    );
    // More than one packet's worth each way.
    let mut stream = host.connect(7001).unwrap();
    let value = vec![b'x'; 300_000];
    stream.write_all(b"AUTH pw\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$300000\r\n").unwrap();
    stream.write_all(&value).unwrap();
    stream.write_all(b"\r\nSTRLEN k\r\nQUIT\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "+OK\r\n+OK\r\n:300000\r\n+OK\r\n");
    host.droplet.heal().unwrap();
    wait_for("it is quick again", SOON, || host.ping(7001).is_ok_and(|took| took < Duration::from_millis(200)))
        .unwrap();

    host.droplet.lose(Side::Public, 30).unwrap();
    let pings: Vec<_> = (0..8).map(|_| host.ping(7001)).collect();
    assert!(pings.iter().any(|ping| ping.is_ok()), "{pings:?}");
    let hindered = |took: &Duration| *took > Duration::from_millis(150);
    assert!(pings.iter().any(|ping| ping.as_ref().map_or(true, hindered)), "{pings:?}");
    cloud.end().unwrap();
}

#[test]
fn a_destroyed_droplet_says_no_goodbye_and_the_next_one_gets_its_address() {
    let Some(cloud) = cloud() else { return };
    let host = boot(&cloud, "first");
    host.start_redis(&cloud, "tenant", 7001);
    let mut open = host.connect(7001).unwrap();
    open.write_all(b"AUTH pw\r\n").unwrap();
    open.read_exact(&mut [0; 5]).unwrap();
    let start = Instant::now();
    host.droplet.destroy().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let silence = open.read(&mut [0; 1]).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock, "neither an end nor a reset");
    host.stops_beating();

    let next = boot_as(&cloud, &Spec::new("second", "debian-13-x64", Tier::Lite).user_data(USER_DATA));
    assert_eq!(next.droplet.public_address(), host.droplet.public_address());
    assert_ne!(next.droplet.id(), host.droplet.id());
    assert!(next.ping(7001).is_err(), "nothing of the first one is on it");
    cloud.end().unwrap();
}

#[test]
fn a_droplet_reaches_its_cloud_and_nothing_else() {
    let Some(cloud) = cloud() else { return };
    let neighbour = cloud.boot(&Spec::new("neighbour", "debian-13-x64", Tier::Lite)).unwrap();
    let host = boot(&cloud, "inside");
    neighbour.wait_until_settled(BOOT).unwrap();
    let reaches = |url: &str| host.droplet.run(&["curl", "-sS", "-k", "-m", "3", "-o", "/dev/null", url]).is_ok();
    assert!(reaches("http://169.254.169.254/metadata/v1.json"));
    assert!(reaches("http://10.118.0.1:5000/v2/"));
    assert!(reaches(&format!("http://{}/", neighbour.private_address())), "the page that a fresh nginx has");
    // The machine's own loopback, any address outside, and any name.
    for url in ["http://192.0.2.1/", "http://1.1.1.1/", "http://deb.debian.org/"] {
        assert!(!reaches(url), "{url}");
    }
    let name = Instant::now();
    assert!(host.droplet.run(&["getent", "hosts", "registry-1.docker.io"]).is_err());
    assert!(name.elapsed() < Duration::from_secs(2), "no such name is said at once");
    cloud.end().unwrap();
}
