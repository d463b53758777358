//! `hosts` and `scaling`: what operators ask and do.

use std::fs;

use serde_json::{Value, json};

use super::{
    Done, Home, done,
    fake::{Fake, Next},
};

const TOKEN: &str = "operator-token";

struct Desk {
    home: Home,
    fake: Fake,
}

impl Desk {
    fn new() -> Self {
        Self { home: Home::empty(), fake: Fake::start() }
    }

    /// Runs a command whose request is answered with this.
    fn run(&self, arguments: &[&str], answer: &Value) -> Done {
        self.fake.next(Next::Answer(200, answer.clone(), None));
        let mut command = self.home.command(arguments);
        command.env("GETAREDIS_SERVER", &self.fake.url).env("GETAREDIS_OPERATOR_TOKEN", TOKEN);
        done(command.output().unwrap())
    }

    fn asked(&self) -> (String, String, Option<String>) {
        let seen = self.fake.inner().seen.pop().unwrap();
        (seen.method, seen.path, seen.authorization)
    }
}

fn request(method: &str, path: &str) -> (String, String, Option<String>) {
    (method.to_owned(), path.to_owned(), Some(format!("Bearer {TOKEN}")))
}

fn host(cordon: Value) -> Value {
    json!({
        "name": "web-1", "address": "203.0.113.7", "state": "up", "cordon": cordon, "slots": 40, "used": 3,
        "reason": null, "isolated": true, "something_new": 1,
        "vitals": { "memory_total_bytes": 1000, "memory_available_bytes": 50, "load_percent": 129, "cpus": 2 },
    })
}

fn pool(paused: bool) -> Value {
    json!({
        "enabled": true, "passes": 9, "paused": paused, "explanation": ["one more droplet: too little is free"],
        "created": 1, "deleted": 0, "errors": ["sold out"], "max_hosts": 5, "ready_in_s": 40,
        "droplets": [{ "name": "d-1", "stage": "booting", "since": "2026-01-01T00:00:00Z" }],
        "totals": { "ordered": 3, "deleted": 2, "failures": 1 },
    })
}

#[test]
fn hosts_are_listed_with_how_they_fare() {
    let desk = Desk::new();
    let listed = desk.run(&["hosts", "ls"], &json!({ "hosts": [host(json!("cordoned"))] }));
    assert_eq!((listed.code, listed.err.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> = listed
        .out
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(lines[0], ["HOST", "STATE", "SLOTS", "LOAD", "MEMORY", "DISK", "ADDRESS", "REASON"]);
    assert_eq!(lines[1], ["web-1", "up and cordoned", "3/40", "1.29", "95 %", "-", "203.0.113.7"]);
    assert_eq!(desk.asked(), request("GET", "/v1/admin/hosts"));
    let answer = json!({ "hosts": [] });
    assert_eq!(serde_json::from_str::<Value>(&desk.run(&["hosts", "ls", "--json"], &answer).out).unwrap(), answer);
}

#[test]
fn a_host_is_cordoned_drained_and_taken_back() {
    let desk = Desk::new();
    for (deed, cordon, said) in [
        ("cordon", json!("cordoned"), "web-1: up and cordoned\n"),
        ("drain", json!("draining"), "web-1: up and draining\n"),
        ("uncordon", Value::Null, "web-1: up\n"),
    ] {
        assert_eq!(desk.run(&["hosts", deed, "web-1"], &host(cordon)).out, said);
        assert_eq!(desk.asked(), request("POST", &format!("/v1/admin/hosts/web-1/{deed}")));
    }
    assert_eq!(desk.home.run(&["hosts", "drain", "../scaling"]).code, 2, "no name of a host");
}

#[test]
fn the_pool_is_shown_paused_and_resumed() {
    let desk = Desk::new();
    let shown = desk.run(&["scaling", "status"], &pool(false));
    for words in ["running", "1 of at most 5 hosts", "in about 40s", "d-1", "booting", "one more droplet", "sold out"] {
        assert!(shown.out.contains(words), "{words} is not in\n{}", shown.out);
    }
    assert_eq!(desk.asked(), request("GET", "/v1/admin/scaling"));
    assert!(desk.run(&["scaling", "pause"], &pool(true)).out.starts_with("paused"));
    assert_eq!(desk.asked(), request("POST", "/v1/admin/scaling/pause"));
    assert_eq!(desk.run(&["scaling", "resume"], &pool(false)).out, "running\n");
    assert_eq!(desk.asked(), request("POST", "/v1/admin/scaling/resume"));
}

#[test]
fn without_the_operators_token_nobody_is_asked_and_a_file_may_hold_it() {
    let desk = Desk::new();
    let refused = desk.home.run(&["--server", &desk.fake.url, "scaling", "status"]);
    assert_eq!(refused.code, 7);
    assert!(refused.err.contains("GETAREDIS_OPERATOR_TOKEN"), "{}", refused.err);
    assert!(desk.fake.inner().seen.is_empty());
    let file = desk.home.path("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    desk.fake.refuse(409, "No hosts are bought here. To have a pool, set fleet.provider.", None);
    let told = desk.home.run(&["--server", &desk.fake.url, "scaling", "pause", "--token-file", file.to_str().unwrap()]);
    assert_eq!(told.code, 2);
    assert!(told.err.contains("fleet.provider") && !told.err.contains(TOKEN), "{}", told.err);
}
