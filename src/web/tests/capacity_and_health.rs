//! `GET /v1/capacity`, `/livez` and `/readyz`.

use std::time::Duration;

use getaredis_actors::{
    discovery::messages::{DescribeDirectory, DirectoryView},
    domain::{Cordon, Health},
    ports::StoreError,
    scheduler::messages::{DescribeFleet, FleetView, HostView},
};
use serde_json::json;

use super::kit::{Kit, actor, ask, dead, door, get, host};

fn fleet(hosts: Vec<HostView>, refusal: Option<&str>) -> FleetView {
    FleetView { hosts, ready: true, refusal: refusal.map(str::to_owned), ..FleetView::default() }
}

fn with_fleet(view: FleetView) -> Kit {
    let mut kit = Kit::new();
    kit.doors.fleet = door(move |_: DescribeFleet| view.clone());
    kit
}

#[actix_web::test]
async fn the_capacity_is_what_the_page_needs() {
    let answer = Kit::new().ask(get("/v1/capacity")).await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "slots_total": 40, "slots_used": 3, "slots_free": 37, "hosts": 1, "hosts_up": 1,
        "accepting": true, "reason": null, "instances_started_total": 1234, "instances_running": 3, "isolated": true,
        "defaults": {"ttl_s": 43_200, "min_ttl_s": 60, "max_ttl_s": 86_400, "max_lifetime_s": 259_200,
            "memory_bytes": 5_242_880, "connections": 5, "per_creator": 6},
    });
    assert_eq!(answer.json(), expected);
}

#[actix_web::test]
async fn slots_of_hosts_that_take_nothing_are_not_free() {
    let cordoned = HostView { cordon: Some(Cordon::Cordoned), isolated: false, ..host("c", Health::Up, 1) };
    let hosts = vec![host("a", Health::Up, 40), host("b", Health::Unreachable, 5), cordoned];
    let body = with_fleet(fleet(hosts, Some("1 host full, 1 cordoned, 1 unreachable"))).ask(get("/v1/capacity")).await;
    let body = body.json();
    assert_eq!((&body["slots_total"], &body["slots_used"], &body["slots_free"]), (&json!(120), &json!(46), &json!(0)));
    assert_eq!((&body["hosts"], &body["hosts_up"]), (&json!(3), &json!(2)));
    assert_eq!((&body["accepting"], &body["isolated"]), (&json!(false), &json!(false)));
    assert_eq!(body["reason"], "1 host full, 1 cordoned, 1 unreachable");
}

#[actix_web::test]
async fn a_fleet_that_is_starting_or_capped_does_not_accept() {
    let body = with_fleet(FleetView::default()).ask(get("/v1/capacity")).await.json();
    assert_eq!((&body["accepting"], &body["reason"]), (&json!(false), &json!("the server is starting")));
    let mut kit = Kit::new();
    kit.settings.quotas.global = 3;
    let body = kit.ask(get("/v1/capacity")).await.json();
    assert_eq!(body["accepting"], false);
    assert!(body["reason"].as_str().unwrap().starts_with("3 instances"));
}

#[actix_web::test]
async fn the_capacity_is_not_made_up_when_nobody_knows_it() {
    let mut kit = Kit::new();
    kit.doors.fleet = dead();
    assert_eq!(kit.ask(get("/v1/capacity")).await.slug(), "restarting");
    let mut kit = Kit::new();
    kit.rows.fails = Some(StoreError::Unavailable(String::new()));
    assert_eq!(kit.ask(get("/v1/capacity")).await.slug(), "store-unavailable");
}

#[actix_web::test]
async fn the_process_lives_as_long_as_its_pulse_beats() {
    let answer = Kit::new().ask(get("/livez")).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"status": "ok"})));
    let mut kit = Kit::new();
    kit.pulse_age = Duration::from_secs(11);
    // Neither the database nor an actor is the process.
    kit.rows.fails = Some(StoreError::Unavailable(String::new()));
    let answer = kit.ask(get("/livez")).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (503, json!({"status": "stalled"})));
}

#[actix_web::test]
async fn all_well_is_ready() {
    let answer = Kit::new().ask(get("/readyz")).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["status"], "ok");
    let names: Vec<_> =
        body["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    let expected = ["discovery", "rate_limit", "scheduler", "store", "hosts", "directory", "pulse", "serving"];
    assert_eq!(names, expected);
    assert_eq!(body["checks"][0], json!({"name": "discovery", "ok": true, "detail": ""}));
}

#[actix_web::test]
async fn readiness_tells_what_is_missing_and_how_bad_it_is() {
    let kit = Kit::new;
    let with_actor = |name: &str, status| {
        let mut kit = Kit::new();
        kit.actors.push(actor(name, status));
        kit
    };
    let with_directory = |view: DirectoryView| {
        let mut kit = Kit::new();
        kit.doors.directory = door(move |_: DescribeDirectory| view.clone());
        kit
    };
    let read = DirectoryView { read_once: true, ..DirectoryView::default() };
    let mut without_store = kit();
    without_store.rows.fails = Some(StoreError::Unavailable("sqlite:///secret/place".to_owned()));
    let mut stalled = kit();
    stalled.pulse_age = Duration::from_secs(60);
    let mut without_scheduler = kit();
    without_scheduler.doors.fleet = dead();
    let mut without_discovery = kit();
    without_discovery.doors.directory = dead();
    for (kit, status, check) in [
        (without_store, "unavailable", "store"),
        (stalled, "unavailable", "pulse"),
        (without_scheduler, "unavailable", "hosts"),
        (with_fleet(FleetView::default()), "unavailable", "hosts"),
        (with_fleet(fleet(vec![], None)), "unavailable", "hosts"),
        (with_fleet(fleet(vec![host("a", Health::Unreachable, 0)], None)), "unavailable", "hosts"),
        // Nobody but a visitor finds out that it is well again.
        (with_fleet(fleet(vec![host("a", Health::Failing, 0)], None)), "degraded", "hosts"),
        (with_fleet(FleetView { growing: true, ..fleet(vec![], Some("no hosts")) }), "degraded", "hosts"),
        (
            with_fleet(fleet(vec![host("a", Health::Unreachable, 0), host("b", Health::Up, 0)], None)),
            "degraded",
            "hosts",
        ),
        (with_actor("reaper", "backing_off"), "degraded", "reaper"),
        (with_actor("scheduler", "backing_off"), "unavailable", "scheduler"),
        (with_actor("rate_limit", "down"), "unavailable", "rate_limit"),
        (without_discovery, "degraded", "directory"),
        (with_directory(DirectoryView::default()), "degraded", "directory"),
        (
            with_directory(DirectoryView { unreachable: Some("redis://secret".into()), ..read.clone() }),
            "degraded",
            "directory",
        ),
        (with_directory(DirectoryView { malformed: vec![("k".into(), "v".into())], ..read }), "degraded", "directory"),
    ] {
        let answer = kit.ask(get("/readyz")).await;
        let body = answer.json();
        assert_eq!(body["status"], status, "{check}: {body}");
        assert_eq!(answer.status.as_u16(), if status == "unavailable" { 503 } else { 200 });
        let failed: Vec<_> = body["checks"].as_array().unwrap().iter().filter(|one| one["ok"] == false).collect();
        assert_eq!(failed.len(), 1, "{body}");
        assert_eq!(failed[0]["name"], check);
        assert_ne!(failed[0]["detail"], "");
        assert!(!body.to_string().contains("secret"), "{body}");
    }
}

#[actix_web::test]
async fn readiness_names_no_host() {
    let mut kit = Kit::new();
    kit.actors.push(actor("host local", "down"));
    let body = kit.ask(get("/readyz")).await.json();
    assert!(!body.to_string().contains("local"), "{body}");
}

#[actix_web::test]
async fn a_full_fleet_is_ready() {
    let full = fleet(vec![host("a", Health::Up, 40)], Some("1 host full"));
    assert_eq!(with_fleet(full).ask(get("/readyz")).await.json()["status"], "ok");
}

#[actix_web::test]
async fn a_server_that_shuts_down_is_not_ready() {
    let web = Kit::new().web();
    web.shut_down();
    let answer = ask(&web, get("/readyz")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (503, &json!("unavailable")));
}
