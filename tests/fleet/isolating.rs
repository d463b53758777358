//! What a tenant's container can reach, and what a droplet may write: next to nothing.

use std::collections::BTreeSet;

use getaredis_testbed::droplet::Droplet;
use redis::{ErrorKind, Value, aio::MultiplexedConnection};

use crate::{
    scene::Scene,
    tenant::connect,
    world::{QUICK, World, in_a_world},
};

/// Tries to reach each `tcp:address:port` or `udp:address:port` (asked for a name) and prints those that answer.
const REACHES: &str = r#"
import socket, sys, threading
QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"
def attempt(target):
    kind, address, port = target.split(":")
    udp = kind == "udp"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as s:
        s.settimeout(3)
        try:
            s.connect((address, int(port)))
            if udp:
                s.send(QUERY)
                s.recv(512)
            print(target, flush=True)
        except OSError:
            pass
threads = [threading.Thread(target=attempt, args=(target,)) for target in sys.argv[1:]]
[t.start() for t in threads]
[t.join() for t in threads]
"#;

#[test]
fn a_tenants_container_reaches_nothing_and_a_droplet_writes_its_own_key_and_no_other() {
    in_a_world(&QUICK, async |world| {
        let scene = Scene::set(world).await;
        let stranger = world.api().create().await;
        let other = world.home_of(&stranger);
        assert_ne!(other.name(), scene.name());
        let (public, private) = (scene.machine.public_address(), scene.machine.private_address());
        let containers = containers(&scene.machine);
        let [(_, inside), (_, neighbour)] = &containers[..] else { panic!("{containers:?}") };
        let mut targets = vec![
            // The Internet: a name server, and somebody else's machine.
            "udp:198.51.100.1:53".to_owned(),
            format!("tcp:{}:{}", other.public_address(), stranger.port),
            // What a provider knows of the machine, secrets included.
            "tcp:169.254.169.254:80".to_owned(),
            // The engine of its own host, and of another one.
            format!("tcp:{private}:2376"),
            format!("tcp:{}:2376", other.private_address()),
            // The directory, and what else is in the private network.
            "tcp:10.118.0.1:6379".to_owned(),
            "tcp:10.118.0.1:5000".to_owned(),
            // Neighbours on the same host, by every way there is.
            format!("tcp:{inside}:6379"),
            format!("tcp:{neighbour}:6379"),
        ];
        targets.extend(scene.tenants.iter().map(|tenant| format!("tcp:{public}:{}", tenant.port)));
        let all: BTreeSet<_> = targets.iter().cloned().collect();
        assert_eq!(reached(&scene.machine, None, &targets), all, "the machine itself reaches all of it");
        for (process, own) in &containers {
            let own = format!("tcp:{own}:6379");
            assert_eq!(reached(&scene.machine, Some(process), &targets), BTreeSet::from([own]), "but for itself");
        }
        scene.is_reached().await;
        writes_its_own_key_only(world, &scene.machine, other.name()).await;
    });
}

/// First process and address of each container of a machine.
pub(crate) fn containers(machine: &Droplet) -> Vec<(String, String)> {
    let format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let script = format!("docker inspect --format '{format}' $(docker ps --quiet)");
    let told = machine.run(&["sh", "-c", &script]).unwrap();
    told.lines().map(|line| line.split_once(' ').unwrap()).map(|(id, ip)| (id.to_owned(), ip.to_owned())).collect()
}

/// What is reached from a machine, or in the network of a process on it.
pub(crate) fn reached(machine: &Droplet, process: Option<&str>, targets: &[String]) -> BTreeSet<String> {
    let mut words = process.map_or_else(Vec::new, |process| vec!["nsenter", "--net", "--target", process]);
    words.extend(["python3", "-c", REACHES]);
    words.extend(targets.iter().map(String::as_str));
    machine.run(&words).unwrap().lines().map(str::to_owned).collect()
}

/// With all that a droplet knows, the directory takes its own heartbeat and nothing else.
async fn writes_its_own_key_only(world: &World, machine: &Droplet, other: &str) {
    let host = machine.run(&["cat", "/etc/getaredis/host.json"]).unwrap();
    let host: serde_json::Value = serde_json::from_str(&host).unwrap();
    let [user, password] = ["user", "password"].map(|member| host["directory"][member].as_str().unwrap().to_owned());
    let mut directory = connect(&format!("redis://{user}:{password}@10.118.0.1:6379")).await.unwrap();
    let own = host["key"].as_str().unwrap();
    let others = own.replace(machine.name(), other);
    let before = world.directory().await.heartbeat(machine.name()).await.to_string();
    ask(&mut directory, &["SET", own, &before, "EX", "5"]).await.unwrap();
    for refused in [
        &["SET", &others, &before, "EX", "5"][..],
        &["SET", "server:invented", &before],
        &["GET", &others],
        &["GET", own],
        &["DEL", own],
        &["DEL", &others],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
        &["EVAL", "return redis.call('GET', KEYS[1])", "1", &others],
        &["SUBSCRIBE", "news"],
        &["SHUTDOWN"],
    ] {
        let refusal = ask(&mut directory, refused).await.expect_err(refused[0]);
        assert_eq!(refusal.code(), Some("NOPERM"), "{refused:?}: {refusal}");
    }
    assert!(world.directory().await.announced().await.contains(other));
    // The next host's user has another password.
    let impostor = user.replace(machine.name(), other);
    let refusal = connect(&format!("redis://{impostor}:{password}@10.118.0.1:6379")).await.err().unwrap();
    assert_eq!(refusal.kind(), ErrorKind::AuthenticationFailed, "{refusal}");
}

async fn ask(directory: &mut MultiplexedConnection, words: &[&str]) -> redis::RedisResult<Value> {
    redis::cmd(words[0]).arg(&words[1..]).query_async(directory).await
}
