//! The directory against a real redis-server.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use getaredis_actors::{
    domain::DeploymentId,
    ports::{Directory, DirectoryError, DirectoryReading},
};

use super::{
    RedisDirectory, RedisSettings,
    test_server::{DEADLINE, Server},
};

/// A heartbeat as the first getaredis wrote it.
fn beat(name: &str) -> String {
    format!(r#"{{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"{name}","NumberOfContainers":3}}"#)
}

fn names(reading: &DirectoryReading) -> Vec<&str> {
    reading.hosts.iter().map(|host| host.name.as_str()).collect()
}

async fn until(
    directory: &RedisDirectory,
    what: &str,
    met: impl Fn(&Result<DirectoryReading, DirectoryError>) -> bool,
) {
    let start = Instant::now();
    loop {
        let reading = directory.read().await;
        if met(&reading) {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "never {what}: {reading:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_heartbeat_of_the_original_shape_makes_a_host() {
    let server = Server::start().await;
    server.set("server:b", &beat("b")).await;
    server.set("server:a", &beat("a").replace('}', r#","Slots":7,"Since":"later"}"#)).await;
    server.set("other:c", &beat("c")).await;
    let reading = server.directory("").read().await.unwrap();
    assert_eq!(names(&reading), ["a", "b"], "sorted by name");
    assert_eq!((reading.hosts[0].slots, reading.hosts[1].slots), (7, 40));
    assert_eq!(reading.hosts[1].engine, "tcp://10.0.0.5:2376");
    assert_eq!(reading.hosts[1].public_address.to_string(), "203.0.113.5");
    assert_eq!(reading.malformed, []);
}

#[tokio::test]
async fn a_host_leaves_when_its_key_expires() {
    let server = Server::start().await;
    let directory = server.directory("");
    server.set("server:stays", &beat("stays")).await;
    server.command(redis::cmd("SET").arg("server:leaves").arg(beat("leaves")).arg("PX").arg(1500)).await;
    assert_eq!(names(&directory.read().await.unwrap()), ["leaves", "stays"]);
    until(&directory, "without the expired host", |reading| {
        reading.as_ref().is_ok_and(|reading| names(reading) == ["stays"])
    })
    .await;
}

#[tokio::test]
async fn malformed_heartbeats_are_reported_and_skipped() {
    let server = Server::start().await;
    server.set("server:good", &beat("good")).await;
    server.set("server:text", "hello").await;
    server.set("server:empty", "").await;
    server.set("server:huge", &beat("huge").replace('}', &format!(r#","Note":"{}"}}"#, "x".repeat(20_000)))).await;
    server.set("server:liar", &beat("good")).await;
    server.set("server:noip", &beat("noip").replace("203.0.113.5", "somewhere")).await;
    server.set("server:a b", &beat("a b")).await;
    server.set("server:none", &beat("none").replace('}', r#","Slots":0}"#)).await;
    server.set("server:", &beat("")).await;
    server.command(redis::cmd("LPUSH").arg("server:list").arg(1)).await;
    server.command(redis::cmd("SET").arg(b"server:\xff".as_slice()).arg("x")).await;
    let reading = server.directory("").read().await.unwrap();
    assert_eq!(names(&reading), ["good"]);
    let mut bad: Vec<_> = reading.malformed.iter().map(|(key, _)| key.as_str()).collect();
    bad.sort_unstable();
    let expected = [
        "server:",
        "server:a b",
        "server:empty",
        "server:huge",
        "server:liar",
        "server:list",
        "server:noip",
        "server:none",
        "server:text",
        "server:\u{fffd}",
    ];
    assert_eq!(bad, expected);
    assert!(reading.malformed.iter().all(|(_, why)| !why.is_empty()));
}

#[tokio::test]
async fn a_host_of_another_deployment_under_the_same_prefix_is_reported_and_left_alone() {
    let server = Server::start().await;
    let of = |name: &str, deployment: &str| beat(name).replace('}', &format!(r#","Deployment":"{deployment}"}}"#));
    server.set("server:first-shape", &beat("first-shape")).await;
    server.set("server:mine", &of("mine", "ours")).await;
    server.set("server:stray", &of("stray", "theirs")).await;
    let directory = server.directory("");
    let reading = directory.read().await.unwrap();
    assert_eq!(names(&reading), ["first-shape", "mine"]);
    let stray = |key: &str| (key.to_owned(), "a host of another deployment: theirs".to_owned());
    assert_eq!(reading.malformed, [stray("server:stray")]);
    assert!(!reading.vitals.keys().any(|name| name.as_str() == "stray"));
    // Of a name that both use there is one key; whoever wrote last has it, and the other one says who does.
    server.set("server:mine", &of("mine", "theirs")).await;
    let reading = directory.read().await.unwrap();
    assert_eq!(
        (names(&reading), reading.malformed.clone()),
        (vec!["first-shape"], vec![stray("server:mine"), stray("server:stray")])
    );
}

#[tokio::test]
async fn what_makes_no_sense_of_how_a_host_fares_is_reported_and_the_host_stays() {
    let server = Server::start().await;
    server.set("server:a", &beat("a").replace('}', r#","MemoryTotal":1024,"Load":"high","Kernel":"\u001b[2J"}"#)).await;
    let reading = server.directory("").read().await.unwrap();
    assert_eq!(names(&reading), ["a"]);
    assert_eq!(reading.vitals[&reading.hosts[0].name].memory_total_bytes, Some(1024));
    let expected = ("server:a".to_owned(), "makes no sense, and is left out: Load, Kernel".to_owned());
    assert_eq!(reading.malformed, [expected]);
}

#[tokio::test]
async fn the_directory_goes_on_by_itself_after_the_server_restarts() {
    let mut server = Server::start().await;
    let directory = server.directory("");
    server.set("server:a", &beat("a")).await;
    assert_eq!(names(&directory.read().await.unwrap()), ["a"]);
    server.kill();
    until(&directory, "unreachable", Result::is_err).await;
    server.restart_after_kill().await;
    until(&directory, "empty again", |reading| reading.as_ref().is_ok_and(|reading| reading.hosts.is_empty())).await;
    server.set("server:b", &beat("b")).await;
    assert_eq!(names(&directory.read().await.unwrap()), ["b"]);
}

#[tokio::test]
async fn a_restart_between_two_readings_is_no_longer_than_one_failed_reading() {
    let mut server = Server::start().await;
    let directory = server.directory("");
    assert!(directory.read().await.is_ok());
    server.restart().await;
    server.set("server:a", &beat("a")).await;
    until(&directory, "back", |reading| reading.as_ref().is_ok_and(|reading| names(reading) == ["a"])).await;
}

#[tokio::test]
async fn readings_of_one_run_of_the_server_are_told_from_those_of_another() {
    let mut server = Server::start().await;
    let directory = server.directory("");
    let first = directory.read().await.unwrap().run;
    assert!(first.as_ref().is_some_and(|run| !run.is_empty()));
    server.set("server:a", &beat("a")).await;
    server.command(&redis::cmd("FLUSHALL")).await;
    assert_eq!(directory.read().await.unwrap().run, first, "it was emptied, and did not restart");
    server.restart().await;
    until(&directory, "another run", |reading| {
        reading.as_ref().is_ok_and(|reading| reading.run.is_some() && reading.run != first)
    })
    .await;
}

#[tokio::test]
async fn a_server_that_may_not_be_asked_for_its_run_is_read_all_the_same() {
    let server = Server::start().await;
    server.set("server:a", &beat("a")).await;
    server.command(redis::cmd("ACL").arg(&["SETUSER", "default", "-info"])).await;
    let reading = server.directory("").read().await.unwrap();
    assert_eq!((names(&reading), reading.run.as_deref()), (vec!["a"], None));
    let nameless = Server::start_with(|_| ["--rename-command", "INFO", ""].map(str::to_owned).into()).await;
    nameless.set("server:a", &beat("a")).await;
    let reading = nameless.directory("").read().await.unwrap();
    assert_eq!((names(&reading), reading.run.as_deref()), (vec!["a"], None));
}

#[tokio::test]
async fn a_directory_may_be_made_before_its_server_is_there() {
    let mut server = Server::start().await;
    server.kill();
    let directory = server.directory("");
    let why = directory.read().await.unwrap_err().to_string();
    assert!(why.starts_with("the directory does not answer"), "{why}");
    server.restart_after_kill().await;
    until(&directory, "there", Result::is_ok).await;
}

#[tokio::test]
async fn a_wrong_password_is_an_unreachable_directory_and_is_not_repeated_in_the_error() {
    let server = Server::start().await;
    let wrong = "letmein-letmein";
    let directory = RedisDirectory::new(server.settings("", wrong)).unwrap();
    let error = directory.read().await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains(wrong), "{error:?}");
    assert!(error.to_string().contains("WRONGPASS") || error.to_string().contains("uthentication"), "{error}");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_unreachable_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let settings = RedisSettings {
        deployment: DeploymentId::parse("ours").unwrap(),
        url: url.into(),
        ca: None,
        prefix: String::new(),
        ttl: Duration::from_secs(10),
        engine: String::new(),
        slots: 1,
    };
    let start = Instant::now();
    assert!(RedisDirectory::new(settings).unwrap().read().await.is_err());
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn a_prefix_with_glob_characters_matches_nothing_but_itself() {
    let server = Server::start().await;
    let prefix = r"a*[b]?\:";
    server.set(&format!("{prefix}server:mine"), &beat("mine")).await;
    server.set(r"aXb?\:server:theirs", &beat("theirs")).await;
    server.set("axxb1:server:theirs", &beat("theirs")).await;
    server.set("server:theirs", &beat("theirs")).await;
    let reading = server.directory(prefix).read().await.unwrap();
    assert_eq!(names(&reading), ["mine"]);
    assert_eq!(reading.malformed, []);
}

#[tokio::test]
async fn three_thousand_hosts_are_read_once_each() {
    let server = Server::start().await;
    let mut pipeline = redis::pipe();
    for n in 0..3000 {
        pipeline.set(format!("server:h{n:04}"), beat(&format!("h{n:04}"))).ignore();
        pipeline.set(format!("noise:{n}"), "x").ignore();
    }
    pipeline.query_async::<()>(&mut server.connection().await.unwrap()).await.unwrap();
    let reading = server.directory("").read().await.unwrap();
    assert_eq!(reading.hosts.len(), 3000);
    assert!(reading.hosts.is_sorted_by(|a, b| a.name < b.name));
}

#[tokio::test]
async fn keys_that_may_not_be_read_are_an_unreachable_directory_and_not_lost_hosts() {
    let server = Server::start().await;
    server.set("server:a", &beat("a")).await;
    let directory = server.directory("");
    assert_eq!(names(&directory.read().await.unwrap()), ["a"]);
    let rules = ["SETUSER", "default", "-getrange"];
    server.command(redis::cmd("ACL").arg(&rules)).await;
    let told = directory.read().await.unwrap_err().to_string();
    assert!(told.to_lowercase().contains("no permission") || told.contains("NOPERM"), "{told}");
}

#[tokio::test]
async fn hosts_that_expire_while_they_are_read_are_simply_absent() {
    let server = Server::start().await;
    let directory = server.directory("");
    let mut pipeline = redis::pipe();
    for n in 0..2000u32 {
        // Their ends are spread over the time the readings below take.
        let life = 300 + n / 4;
        pipeline.cmd("SET").arg(format!("server:h{n:04}")).arg(beat(&format!("h{n:04}"))).arg("PX").arg(life).ignore();
    }
    pipeline.query_async::<()>(&mut server.connection().await.unwrap()).await.unwrap();
    until(&directory, "empty", |reading| {
        let reading = reading.as_ref().unwrap();
        assert_eq!(reading.malformed, []);
        reading.hosts.is_empty()
    })
    .await;
}
