//! That nothing of a cloud stays on this machine, however it ends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use getaredis_testbed::droplet::{Cloud, Spec, Tier, leaks, wait_for};

use crate::host::{BOOT, SOON, USER_DATA, boot, cloud};

/// Another process that holds a cloud with a settled droplet in it; its mark.
fn another_holder(user_data: &Path) -> (Child, String) {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_testbed-cloud"))
        .args(["up", "held", "debian-13-x64", "lite"])
        .arg(user_data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mark = lines.next().expect("a cloud");
    assert!(lines.any(|line| line == "up"), "it ended early");
    (holder, mark)
}

#[test]
fn a_holder_that_is_killed_leaves_nothing() {
    if cloud().is_none() {
        return;
    }
    let user_data = file_with(USER_DATA);
    let before = leaks::traces();
    let (mut holder, mark) = another_holder(&user_data);
    let kinds = ["dockerd", "nginx", "heartbeat", "loop device", "/sys/fs/cgroup/pids", "clouds/"];
    wait_for("the check sees all kinds of things", SOON, || {
        let there = leaks::left_of(&mark);
        kinds.iter().all(|kind| there.iter().any(|thing| thing.contains(kind)))
    })
    .unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let mut left = Vec::new();
    let gone = wait_for("nothing is left", SOON, || {
        left = leaks::left_of(&mark);
        left.is_empty()
    });
    assert!(gone.is_ok(), "left behind: {left:#?}");
    assert_eq!(leaks::traces(), before);
    std::fs::remove_dir_all(user_data.parent().unwrap()).unwrap();
}

#[test]
fn what_a_killed_script_could_not_clear_is_swept_by_the_next_cloud() {
    let Some(first) = cloud() else { return };
    drop(first);
    let user_data = file_with("#!/bin/sh\n");
    let (mut holder, mark) = another_holder(&user_data);
    // The script that would clear up dies first, then the process that holds the cloud.
    let scripts = leaks::left_of(&mark).into_iter().filter(|thing| thing.contains("scripts/cloud "));
    let script = scripts.filter_map(|thing| thing.split([' ', ':']).nth(1)?.parse::<i32>().ok()).min().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(script), nix::sys::signal::Signal::SIGKILL).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let groups = || leaks::left_of(&mark).iter().any(|thing| thing.starts_with("/sys/fs/cgroup"));
    assert!(groups(), "nobody has cleared up");
    let next = Cloud::start().unwrap();
    assert_eq!(leaks::left_of(&mark), Vec::<String>::new());
    next.end().unwrap();
    std::fs::remove_dir_all(user_data.parent().unwrap()).unwrap();
}

#[test]
fn a_fleet_for_a_person_is_entered_from_outside_and_leaves_nothing_when_it_is_told_to_end() {
    if cloud().is_none() {
        return;
    }
    let before = leaks::traces();
    for signal in [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGINT] {
        let mut fleet = Command::new(env!("CARGO_BIN_EXE_testbed-cloud"))
            .args(["fleet", "--open", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(fleet.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said: Vec<_> = lines.take_while(|line| line != "up").collect();
        let mark = said.first().expect("a cloud");
        let page = said.iter().find_map(|line| line.strip_prefix("page http://")?.split(' ').next()).expect("a page");
        let inside = |command: &[&str]| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_testbed-cloud"));
            program.args(["in", "--cloud", mark]).args(command).stdout(Stdio::piped()).stderr(Stdio::null());
            program
        };
        let pong = inside(&["redis-cli", "-h", "10.118.0.1", "PING"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&pong.stdout), "PONG\n");
        let serve = ["python3", "-m", "http.server", "8080", "--bind", "127.0.0.1", "--directory", "/nonexistent"];
        let mut server = inside(&serve).spawn().unwrap();
        wait_for("the server in the cloud is reached from outside", SOON, || {
            let mut answer = Vec::new();
            let asked = TcpStream::connect(page).and_then(|mut stream| {
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
                stream.read_to_end(&mut answer)
            });
            asked.is_ok() && answer.starts_with(b"HTTP/1.0 404")
        })
        .unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(fleet.id().try_into().unwrap()), signal).unwrap();
        assert!(fleet.wait().unwrap().success(), "{signal}");
        assert!(!server.wait().unwrap().success(), "it ended with the cloud");
        assert_eq!(leaks::left_of(mark), Vec::<String>::new());
    }
    assert_eq!(leaks::traces(), before);
}

#[test]
fn a_cloud_ends_while_droplets_boot_and_programs_run_in_it() {
    let Some(cloud) = cloud() else { return };
    let mut client = cloud.command("sleep").arg("1000").spawn().unwrap();
    let spec = |name: &str| Spec::new(name, "debian-13-x64", Tier::Lite).user_data("#!/bin/sh\nsleep 1000\n");
    let booting: Vec<_> = ["one", "two"].map(|name| cloud.boot(&spec(name)).unwrap()).into();
    booting[1].freeze().unwrap();
    assert_eq!(cloud.droplets().len(), 2);
    cloud.end().unwrap();
    assert!(!client.wait().unwrap().success(), "whoever runs in a cloud ends with it");
}

#[test]
fn two_clouds_at_once_have_the_same_addresses_and_do_not_meet() {
    let (Some(one), Some(two)) = (cloud(), cloud()) else { return };
    let host = boot(&one, "twin");
    let mut asked = two.command("redis-cli");
    let keys = asked.args(["-h", "10.118.0.1", "DBSIZE"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&keys.stdout), "0\n");
    assert!(host.heartbeat().is_some());
    one.stop_directory();
    assert!(host.heartbeat().is_none());
    one.start_directory().unwrap();
    host.beats_within(BOOT);
    two.end().unwrap();
    assert!(host.engine_answers(&one));
    one.end().unwrap();
}

/// A file in a folder of its own.
fn file_with(text: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("testbed-droplets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("user-data");
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}
