//! What tests and people do to the imitated API beside using it, and the machines behind it.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use getaredis_testbed::api::{
    Addresses, Api, Boot, Machines, Power, Settings,
    heartbeats::{Announce, Heartbeats, Machine},
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

const TOKEN: &str = "a-token";
const BEAT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

/// Counts heartbeats by machine.
#[derive(Default)]
struct Counted(Mutex<BTreeMap<String, u32>>);

#[async_trait]
impl Announce for Counted {
    async fn beat(&self, machine: &Machine) {
        *self.0.lock().unwrap().entry(machine.name.clone()).or_default() += 1;
    }

    async fn gone(&self, _: &Machine) {}
}

impl Counted {
    fn of(&self, name: &str) -> u32 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    /// Waits for one more heartbeat.
    async fn beats(&self, name: &str) {
        let before = self.of(name);
        until("it beats", || self.of(name) > before).await;
    }

    /// Whether it is silent for as long as ten heartbeats.
    async fn is_silent(&self, name: &str) -> bool {
        let before = self.of(name);
        tokio::time::sleep(BEAT * 10).await;
        self.of(name) == before
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(BEAT).await;
    }
}

struct Bed {
    api: Api,
    http: Client,
}

impl Bed {
    fn on(machines: Arc<dyn Machines>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let api = Api::start(TOKEN, Settings::default(), machines).unwrap();
        Self { api, http: Client::builder().no_proxy().build().unwrap() }
    }

    async fn post(&self, path: &str, body: Value) -> reqwest::Result<reqwest::Response> {
        self.http.post(format!("{}{path}", self.api.url())).bearer_auth(TOKEN).json(&body).send().await
    }

    async fn order(&self, name: &str) -> u64 {
        let body = json!({ "name": name, "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-13-x64" });
        let made: Value = self.post("/v2/droplets", body).await.unwrap().json().await.unwrap();
        made["droplet"]["id"].as_u64().unwrap()
    }

    async fn destroy(&self, id: u64) {
        let url = format!("{}/v2/droplets/{id}", self.api.url());
        let answer = self.http.delete(url).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    fn status(&self, id: u64) -> &'static str {
        self.api.droplets().into_iter().find(|droplet| droplet.id == id).map_or("gone", |droplet| droplet.status)
    }
}

#[tokio::test]
async fn a_machine_beats_while_its_droplet_is_on() {
    let beats = Arc::new(Counted::default());
    let bed = Bed::on(Arc::new(Heartbeats::new(BEAT, BEAT, beats.clone())));
    let id = bed.order("one").await;
    beats.beats("one").await;
    let actions = format!("/v2/droplets/{id}/actions");
    bed.post(&actions, json!({ "type": "power_off" })).await.unwrap();
    until("it is off", || bed.status(id) == "off").await;
    assert!(beats.is_silent("one").await);
    bed.post(&actions, json!({ "type": "power_on" })).await.unwrap();
    until("it is on", || bed.status(id) == "active").await;
    beats.beats("one").await;
    bed.destroy(id).await;
    until("it is silent", || bed.status(id) == "gone").await;
    // The machine goes a moment after its droplet.
    while !beats.is_silent("one").await {}
}

#[tokio::test]
async fn a_script_of_faults_is_written_read_and_forgotten_over_http() {
    let bed = Bed::on(Arc::new(getaredis_testbed::api::Nothing));
    let faults = format!("{}/_faults", bed.api.url());
    let lost = json!({ "method": "POST", "path": "/v2/droplets", "when": "after", "drop": true });
    bed.post("/_faults", lost).await.unwrap().error_for_status().unwrap();
    bed.post("/_faults", json!({ "path": "/v2/account", "status": 503 })).await.unwrap();
    let wrong = bed.post("/_faults", json!({ "path": "/v2", "tines": 3 })).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let left: Vec<Value> = bed.http.get(&faults).send().await.unwrap().json().await.unwrap();
    assert_eq!(left.len(), 2);

    let order = json!({ "name": "one", "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-13-x64" });
    let cut = bed.post("/v2/droplets", order).await.unwrap_err();
    assert!(!cut.is_status() && bed.api.droplets().len() == 1, "{cut}");
    bed.http.delete(&faults).send().await.unwrap();
    assert_eq!(bed.api.faults_left(), []);
    let account = bed.http.get(format!("{}/v2/account", bed.api.url())).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(account.status(), StatusCode::OK);

    let calls: Vec<Value> =
        bed.http.get(format!("{}/_calls", bed.api.url())).send().await.unwrap().json().await.unwrap();
    assert_eq!(calls[0], json!({ "method": "POST", "path": "/v2/droplets", "status": null }));
    assert_eq!(calls[1]["status"], 200);
}

/// Boots when it is told to, and remembers what was destroyed.
#[derive(Default)]
struct Slow {
    go: tokio::sync::Notify,
    destroyed: Mutex<Vec<u64>>,
}

#[async_trait]
impl Machines for Slow {
    async fn boot(&self, order: Boot) -> Result<Addresses, String> {
        self.go.notified().await;
        if order.name == "broken" { Err("no disk".to_owned()) } else { Ok(Addresses::invented(order.id)) }
    }

    async fn destroy(&self, id: u64) {
        self.destroyed.lock().unwrap().push(id);
    }

    async fn power(&self, _: u64, _: Power) -> Result<(), String> {
        Ok(())
    }

    async fn snapshot(&self, _: u64, _: u64) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test]
async fn a_machine_that_came_up_after_its_droplet_was_deleted_is_destroyed() {
    let machines = Arc::new(Slow::default());
    let bed = Bed::on(machines.clone());
    let id = bed.order("one").await;
    bed.destroy(id).await;
    until("it was destroyed", || machines.destroyed.lock().unwrap().len() == 1).await;
    machines.go.notify_one();
    until("what booted was destroyed", || machines.destroyed.lock().unwrap()[..] == [id, id]).await;
}

#[tokio::test]
async fn a_machine_that_cannot_boot_leaves_its_creation_errored() {
    let machines = Arc::new(Slow::default());
    let bed = Bed::on(machines.clone());
    let id = bed.order("broken").await;
    machines.go.notify_one();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let url = format!("{}/v2/droplets/{id}/actions", bed.api.url());
        let actions: Value = bed.http.get(url).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
        if actions["actions"][0]["status"] == "errored" {
            break;
        }
        assert!(Instant::now() < deadline, "{actions}");
        tokio::time::sleep(BEAT).await;
    }
    assert_eq!(bed.status(id), "new");
}
