//! The numbers: what a scrape says, what it never says, and what is left out when somebody does not answer.

use std::{collections::BTreeMap, time::Duration};

use actix_web::web::Data;
use getaredis_actors::{
    autoscaler::messages::{DescribeScaling, ScalingStatus},
    domain::{Cordon, Health},
    ports::{HostVitals, StoreError},
    reaper::messages::{Orphans, ReaperStatus},
    scheduler::messages::{CreateError, CreateInstance, Created, FleetView, HostView},
};
use prometheus_parse::{Scrape, Value};

use super::{
    kit::{ID, Kit, actor, ask, dead, door, get, host, instance, post, token},
    pool::with_vitals,
};
use crate::web::Web;

/// A scrape by name and labels; histograms by their count.
async fn scrape(web: &Data<Web>) -> (String, BTreeMap<String, f64>) {
    let answer = ask(web, get("/metrics")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(answer.body).unwrap();
    let parsed = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    for name in parsed.samples.iter().map(|sample| sample.metric.as_str()) {
        // The parser takes the sum and the count of a histogram for metrics of their own.
        let name = name.strip_suffix("_sum").or(name.strip_suffix("_count")).unwrap_or(name);
        assert!(parsed.docs.contains_key(name), "nothing says what {name} is");
    }
    let number = |sample: prometheus_parse::Sample| {
        let labels = sample.labels.iter().map(|(name, value)| format!("{name}={value}"));
        let mut labels: Vec<_> = labels.collect();
        labels.sort();
        let value = match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
            Value::Histogram(buckets) => buckets.last().unwrap().count,
            Value::Summary(_) => panic!("a summary cannot be added up: {}", sample.metric),
        };
        (format!("{}{{{}}}", sample.metric, labels.join(",")), value)
    };
    (text, parsed.samples.into_iter().map(number).collect())
}

#[actix_web::test]
async fn a_scrape_says_how_fleet_instances_actors_store_and_sinks_are() {
    let mut kit = Kit::new();
    let using = |memory: u64, disk: u64| HostVitals {
        memory_total_bytes: Some(100),
        memory_available_bytes: Some(100 - memory),
        disk_total_bytes: Some(200),
        disk_free_bytes: Some(200 - disk),
        ..HostVitals::default()
    };
    let hosts = move || {
        let cordoned = HostView { cordon: Some(Cordon::Cordoned), ..with_vitals("a", using(75, 20)) };
        let unknown = with_vitals("c", HostVitals::default());
        vec![
            cordoned,
            host("b", Health::Unreachable, 1),
            HostView { state: Health::Unannounced, used: 0, ..unknown },
            with_vitals("d", using(50, 100)),
            host("e", Health::Failing, 0),
        ]
    };
    let waited_for = Duration::from_millis(12_700);
    kit.doors.fleet = door(move |_| FleetView {
        hosts: hosts(),
        ready: true,
        waiting: 2,
        waited: 9,
        waited_for,
        ..FleetView::default()
    });
    let orphans = Orphans { container: 2, unknown: 3, row: 1 };
    kit.doors.reaper = door(move |_| ReaperStatus { pending: 5, reap_lag_s: 90, orphans, ..ReaperStatus::default() });
    kit.actors.extend([actor("host:a", "up"), actor("host:b", "down")]);
    let (_, numbers) = scrape(&kit.web()).await;
    for (name, value) in [
        ("getaredis_instances{state=running}", 3.0),
        ("getaredis_instances{state=stopping}", 0.0),
        ("getaredis_instances_started_total{}", 1234.0),
        ("getaredis_hosts_cordoned{cordon=cordoned}", 1.0),
        ("getaredis_hosts_cordoned{cordon=draining}", 0.0),
        ("getaredis_host_memory_used_ratio{}", 0.75),
        ("getaredis_host_disk_used_ratio{}", 0.5),
        ("getaredis_creates_waiting{}", 2.0),
        ("getaredis_creates_waited_total{}", 9.0),
        ("getaredis_create_wait_seconds_total{}", 12.0),
        ("getaredis_droplets{stage=booting}", 1.0),
        ("getaredis_droplets{stage=up}", 0.0),
        ("getaredis_droplets_allowed{}", 5.0),
        ("getaredis_droplets_ordered_total{}", 3.0),
        ("getaredis_droplets_deleted_total{}", 2.0),
        ("getaredis_scaling_failures_total{}", 1.0),
        ("getaredis_scaling_passes_total{}", 9.0),
        ("getaredis_scaling_paused{}", 0.0),
        ("getaredis_hosts{state=up}", 2.0),
        ("getaredis_hosts{state=unreachable}", 1.0),
        ("getaredis_hosts{state=unannounced}", 1.0),
        ("getaredis_hosts{state=failing}", 1.0),
        ("getaredis_hosts{state=joining}", 0.0),
        ("getaredis_slots{kind=total}", 200.0),
        ("getaredis_slots{kind=used}", 7.0),
        ("getaredis_accepting{}", 1.0),
        ("getaredis_ended_total{reason=expired}", 5.0),
        ("getaredis_ended_total{reason=lost}", 0.0),
        ("getaredis_webhook_deliveries_total{outcome=accepted,sink=audit}", 7.0),
        ("getaredis_webhook_deliveries_total{outcome=failed,sink=audit}", 2.0),
        ("getaredis_webhook_backlog{sink=audit}", 4.0),
        ("getaredis_actor_up{actor=scheduler}", 1.0),
        ("getaredis_actor_up{actor=host}", 0.0),
        ("getaredis_actor_restarts_total{actor=scheduler}", 0.0),
        ("getaredis_store_up{}", 1.0),
        ("getaredis_reaper_pending{}", 5.0),
        ("getaredis_reap_lag_seconds{}", 90.0),
        ("getaredis_orphans{kind=container}", 2.0),
        ("getaredis_orphans{kind=unknown}", 3.0),
        ("getaredis_orphans{kind=row}", 1.0),
        ("getaredis_creates_total{outcome=created}", 0.0),
    ] {
        assert_eq!(numbers.get(name), Some(&value), "{name} in {numbers:#?}");
    }
    assert!(numbers["process_resident_memory_bytes{}"] > 1e6 && numbers["process_open_fds{}"] > 2.0);
    assert!(numbers.keys().any(|name| name.starts_with("getaredis_build_info{version=")));
}

#[actix_web::test]
async fn creates_are_counted_by_what_became_of_them_and_timed_where_an_instance_was_made() {
    let mut kit = Kit::new();
    let mut answers = vec![
        Err(CreateError::Busy { in_flight: 3 }),
        Ok(Created { instance: instance(), replayed: true }),
        Ok(Created { instance: instance(), replayed: false }),
    ];
    kit.doors.create = door(move |_: CreateInstance| answers.pop().unwrap());
    let web = kit.web();
    for path in ["/v1/instances", "/v1/instances", "/instance"] {
        ask(&web, post(path)).await;
    }
    let (text, numbers) = scrape(&web).await;
    for outcome in ["created", "replayed", "busy"] {
        assert_eq!(numbers[&format!("getaredis_creates_total{{outcome={outcome}}}")], 1.0);
    }
    assert_eq!(numbers["getaredis_create_seconds{}"], 1.0);
    assert!(text.contains(r#"getaredis_create_seconds_bucket{le="0.5"} 1"#), "{text}");
    assert_eq!(scrape(&web).await.1["getaredis_create_seconds{}"], 1.0, "a scrape takes nothing away");
}

#[actix_web::test]
async fn no_label_names_a_creator_an_instance_a_host_or_a_secret() {
    let mut kit = Kit::new();
    kit.doors.fleet =
        door(|_| FleetView { hosts: vec![host("hidden-host", Health::Up, 3)], ready: true, ..FleetView::default() });
    kit.actors.push(actor("host:hidden-host", "up"));
    let web = kit.web();
    ask(&web, post("/v1/instances")).await;
    let (text, _) = scrape(&web).await;
    for hidden in ["hidden-host", ID, &token(), "198.51.100", "203.0.113"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
}

#[actix_web::test]
async fn what_does_not_answer_is_left_out_and_the_rest_is_there() {
    let mut kit = Kit::new();
    (kit.doors.fleet, kit.doors.counts) = (dead(), dead());
    (kit.doors.reaper, kit.doors.webhooks) = (dead(), dead());
    kit.rows.fails = Some(StoreError::Unavailable("gone".to_owned()));
    let (_, numbers) = scrape(&kit.web()).await;
    assert_eq!(numbers["getaredis_store_up{}"], 0.0);
    assert_eq!(numbers["getaredis_actor_up{actor=scheduler}"], 1.0);
    for left_out in
        ["getaredis_hosts", "getaredis_instances", "getaredis_webhook", "getaredis_reap", "getaredis_orphans"]
    {
        assert!(!numbers.keys().any(|name| name.starts_with(left_out)), "{numbers:#?}");
    }
}

#[actix_web::test]
async fn metrics_that_are_switched_off_are_no_address_at_all() {
    let mut kit = Kit::new();
    kit.settings.metrics = false;
    let answer = kit.ask(get("/metrics")).await;
    assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (404, "not-found"));
}

#[actix_web::test]
async fn where_no_host_is_bought_or_tells_how_it_fares_no_number_says_so() {
    let mut kit = Kit::new();
    kit.doors.scaling = door(|_: DescribeScaling| ScalingStatus::default());
    let (_, numbers) = scrape(&kit.web()).await;
    let about = ["getaredis_droplets", "getaredis_scaling", "getaredis_host_"];
    assert!(!numbers.keys().any(|name| about.iter().any(|start| name.starts_with(start))), "{numbers:#?}");
}
