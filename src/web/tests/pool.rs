//! What operators see of hosts and the pool, and do to them.

use std::collections::BTreeMap;

use getaredis_actors::{
    autoscaler::messages::{DescribeScaling, ScalingStatus},
    domain::{Cordon, Health, HostEvent, HostState},
    ports::HostVitals,
    scheduler::messages::{CordonError, FleetView, HostView, OrderCordon},
};
use serde_json::json;

use super::kit::{Kit, OPERATOR_TOKEN, ask, bearing, dead, door, get, host, pool, post, recording, silent};

const FULL: HostVitals = HostVitals {
    containers: Some(3),
    engine: None,
    memory_total_bytes: Some(1000),
    memory_available_bytes: Some(50),
    disk_total_bytes: Some(1000),
    disk_free_bytes: Some(400),
    cpus: Some(2),
    load_percent: Some(30),
    engine_version: None,
    kernel: None,
    setup_version: None,
    booted_at: None,
    restarts: BTreeMap::new(),
};

pub(super) fn with_vitals(name: &str, vitals: HostVitals) -> HostView {
    HostView { vitals: Some(Box::new(vitals)), ..host(name, Health::Up, 3) }
}

#[actix_web::test]
async fn the_operator_sees_every_host_and_how_it_fares() {
    let mut kit = Kit::new();
    let hosts = || vec![with_vitals("a", FULL), host("b", Health::Unreachable, 1)];
    let fleet =
        move || FleetView { hosts: hosts(), ready: true, waiting: 4, waiting_elsewhere: 7, ..FleetView::default() };
    kit.doors.fleet = door(move |_| fleet());
    let answer = kit.ask(bearing(get("/v1/admin/hosts"), OPERATOR_TOKEN)).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let seen = answer.json();
    assert_eq!((&seen["waiting"], &seen["waiting_elsewhere"], &seen["ready"]), (&json!(4), &json!(7), &json!(true)));
    assert_eq!(seen["hosts"][0]["vitals"]["memory_available_bytes"], 50);
    assert_eq!((&seen["hosts"][1]["state"], seen["hosts"][1].get("vitals")), (&json!("unreachable"), None));
}

#[actix_web::test]
async fn a_host_is_cordoned_drained_and_taken_back_by_its_name() {
    for (deed, cordon) in [("cordon", Some(Cordon::Cordoned)), ("drain", Some(Cordon::Draining)), ("uncordon", None)] {
        let mut kit = Kit::new();
        let (asked, orders) =
            recording(|order: OrderCordon| Ok(HostView { cordon: order.cordon, ..host("web-1", Health::Up, 3) }));
        kit.doors.cordon = asked;
        let request = post(&format!("/v1/admin/hosts/web-1/{deed}"));
        let answer = kit.ask(bearing(request, OPERATOR_TOKEN)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["name"]), (200, &json!("web-1")));
        assert_eq!(answer.json()["cordon"], serde_json::to_value(cordon).unwrap());
        let orders = orders.lock().unwrap();
        assert_eq!((orders.len(), orders[0].name.as_str(), orders[0].cordon), (1, "web-1", cordon));
    }
}

#[actix_web::test]
async fn what_cannot_be_done_to_a_host_says_why() {
    let draining = HostState { health: Health::Up, cordon: Some(Cordon::Draining) };
    let mut kit = Kit::new();
    kit.doors.cordon = door(move |_: OrderCordon| Err(draining.after(HostEvent::Cordon).unwrap_err().into()));
    let answer = kit.ask(bearing(post("/v1/admin/hosts/a/cordon"), OPERATOR_TOKEN)).await;
    assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (409, "host-conflict"));
    assert_eq!(answer.json()["reason"], "up and draining");
    let mut kit = Kit::new();
    kit.doors.cordon = door(|_: OrderCordon| Err(CordonError::NoSuchHost));
    let web = kit.web();
    for path in ["/v1/admin/hosts/gone/cordon", "/v1/admin/hosts/%20/drain", "/v1/admin/hosts/a/explode"] {
        let answer = ask(&web, bearing(post(path), OPERATOR_TOKEN)).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (404, "not-found"), "{path}");
    }
    let mut kit = Kit::new();
    kit.doors.cordon = dead();
    assert_eq!(kit.ask(bearing(post("/v1/admin/hosts/a/cordon"), OPERATOR_TOKEN)).await.slug(), "restarting");
}

#[actix_web::test]
async fn the_operator_sees_the_pool_and_stops_and_starts_it() {
    let web = Kit::new().web();
    let answer = ask(&web, bearing(get("/v1/admin/scaling"), OPERATOR_TOKEN)).await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "enabled": true, "passes": 9, "paused": false, "explanation": ["1 of at most 5 droplets"], "created": 0,
        "deleted": 0, "errors": [], "max_hosts": 5, "ready_in_s": 40,
        "droplets": [{"name": "test-0001", "stage": "booting", "since": "2026-03-01T12:00:00Z"}],
        "totals": {"ordered": 3, "deleted": 2, "failures": 1},
    });
    assert_eq!(answer.json(), expected);
    for (path, paused) in [("/v1/admin/scaling/pause", true), ("/v1/admin/scaling/resume", false)] {
        let answer = ask(&web, bearing(post(path), OPERATOR_TOKEN)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["paused"]), (200, &json!(paused)), "{path}");
    }
}

#[actix_web::test]
async fn a_pause_that_waits_for_a_slow_provider_is_accepted_and_holds() {
    let mut kit = Kit::new();
    kit.doors.pause_scaling = silent();
    kit.doors.scaling = door(|_: DescribeScaling| ScalingStatus { paused: true, ..pool() });
    let answer = kit.ask(bearing(post("/v1/admin/scaling/pause"), OPERATOR_TOKEN)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["paused"]), (202, &json!(true)));
}

#[actix_web::test]
async fn without_a_provider_there_is_no_pool_and_the_key_is_named() {
    for request in [get("/v1/admin/scaling"), post("/v1/admin/scaling/pause"), post("/v1/admin/scaling/resume")] {
        let mut kit = Kit::new();
        kit.doors.scaling = door(|_: DescribeScaling| ScalingStatus::default());
        let (pause, pauses) = recording(|_| pool());
        kit.doors.pause_scaling = pause;
        let answer = kit.ask(bearing(request, OPERATOR_TOKEN)).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (409, "no-provider"));
        assert!(answer.json()["detail"].as_str().unwrap().contains("fleet.provider"));
        assert!(pauses.lock().unwrap().is_empty());
    }
}
