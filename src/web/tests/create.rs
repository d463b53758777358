//! `POST /v1/instances` and `POST /instance`.

use std::time::Duration;

use getaredis_actors::{
    domain::{Creator, Endpoint, Instance, InstanceState, Label, NoPlace},
    rate_limit::messages::{Admit, Refused},
    scheduler::messages::{CreateError, CreateInstance, Created},
};
use secrecy::ExposeSecret;
use serde_json::json;

use super::kit::{ID, Kit, bearing, dead, door, id, instance, key, now, post, recording, silent, token, with_json};

#[actix_web::test]
async fn a_click_without_a_body_is_answered_with_everything_about_the_instance() {
    let answer = Kit::new().ask(post("/v1/instances")).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), format!("/v1/instances/{ID}"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("idempotent-replayed"), "");
    let password = key().password(&id(), 0).expose_secret().to_owned();
    let expected = json!({
        "id": ID, "state": "running", "flavour": "redis", "label": null,
        "host": "203.0.113.7", "port": 32768, "username": "default", "password": password,
        "redis_url": format!("redis://default:{password}@203.0.113.7:32768/0"),
        "created_at": "2026-03-01T11:59:59.5Z", "expires_at": "2026-03-01T23:59:59.5Z",
        // 43199.5 s are left: rounded up.
        "expires_in_s": 43_200, "max_expires_at": "2026-03-04T11:59:59.5Z",
        "limits": {"memory_bytes": 5_242_880, "connections": 5}, "isolated": true,
        "management_token": token(), "links": {"self": format!("/v1/instances/{ID}"), "page": format!("/i/{ID}")},
    });
    assert_eq!(answer.json(), expected);
}

#[actix_web::test]
async fn what_is_wished_for_reaches_the_scheduler() {
    let mut kit = Kit::new();
    let (door, seen) = recording(|_: CreateInstance| Ok(Created { instance: instance(), replayed: true }));
    kit.doors.create = door;
    let request = post("/v1/instances").insert_header(("idempotency-key", "ci-4711"));
    let answer = kit.ask(with_json(request, r#"{"ttl":"90m","flavour":"redis","label":"my ci job"}"#)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("idempotent-replayed"), "true");
    let asked = seen.lock().unwrap().pop().unwrap();
    assert_eq!(asked.creator, Creator::of("198.51.100.1".parse().unwrap()));
    assert_eq!(asked.ttl, Some(Duration::from_secs(5400)));
    assert_eq!(asked.flavour.as_deref(), Some("redis"));
    assert_eq!(asked.label, Some(Label::parse("my ci job").unwrap()));
    assert_eq!(asked.idempotency_key.unwrap().as_str(), "ci-4711");
}

#[actix_web::test]
async fn the_creator_is_who_the_trusted_proxies_say_and_nobody_elses_word_counts() {
    for (peer, header, creator) in [
        ("198.51.100.1:1", "1.2.3.4", "198.51.100.1"),
        ("10.1.1.1:1", "9.9.9.9, 1.2.3.4", "1.2.3.4"),
        ("[2001:db8:1:2:3::4]:1", "1.2.3.4", "2001:db8:1:2::/64"),
    ] {
        let mut kit = Kit::new();
        let (admit, admitted) = recording(|_: Admit| Ok(()));
        let (create, created) = recording(|_: CreateInstance| Ok(Created { instance: instance(), replayed: false }));
        (kit.doors.admit, kit.doors.create) = (admit, create);
        let request = post("/v1/instances").peer_addr(peer.parse().unwrap()).insert_header(("x-forwarded-for", header));
        assert_eq!(kit.ask(request).await.status, 201);
        assert_eq!(admitted.lock().unwrap()[0].creator.to_string(), creator);
        assert_eq!(created.lock().unwrap()[0].creator.to_string(), creator);
    }
}

#[actix_web::test]
async fn an_ipv6_address_stands_in_brackets_in_the_connection_string() {
    let mut kit = Kit::new();
    kit.doors.create = door(|_: CreateInstance| {
        let endpoint = Some(Endpoint { address: "2001:db8::7".parse().unwrap(), port: 20000 });
        Ok(Created { instance: Instance { endpoint, ..instance() }, replayed: false })
    });
    let body = kit.ask(post("/v1/instances")).await.json();
    assert_eq!(body["host"], "2001:db8::7");
    assert!(body["redis_url"].as_str().unwrap().ends_with("@[2001:db8::7]:20000/0"));
}

#[actix_web::test]
async fn a_request_that_makes_no_sense_is_refused_by_name_and_asks_nobody() {
    let json = |body: &str| with_json(post("/v1/instances"), body);
    let plain = |kind: &'static str| post("/v1/instances").insert_header(("content-type", kind)).set_payload("{}");
    let key = |value: &'static str| post("/v1/instances").insert_header(("idempotency-key", value));
    for (request, status, slug, field) in [
        (json(r#"{"ttl":true}"#), 400, "invalid-request", "ttl"),
        (json(r#"{"label":""}"#), 400, "invalid-request", "label"),
        (json(r#"{"flavour":1}"#), 400, "invalid-request", "flavour"),
        (json(r#"{"size":"big"}"#), 400, "invalid-request", "size"),
        (json("nonsense"), 400, "invalid-request", ""),
        (key("a b"), 400, "invalid-request", "Idempotency-Key"),
        (key("a").append_header(("idempotency-key", "b")), 400, "invalid-request", "Idempotency-Key"),
        (json(&format!("{{\"label\":\"{}\"}}", "x".repeat(1024))), 413, "payload-too-large", ""),
        (post("/v1/instances").set_payload("{}"), 415, "unsupported-media-type", ""),
        (plain("text/plain"), 415, "unsupported-media-type", ""),
        (plain("application/x-www-form-urlencoded"), 415, "unsupported-media-type", ""),
        (json("{}").insert_header(("content-encoding", "gzip")), 415, "unsupported-media-type", ""),
    ] {
        let mut kit = Kit::new();
        kit.doors.admit = dead();
        let answer = kit.ask(request).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (status, slug));
        assert_eq!(answer.json()["field"].as_str().unwrap_or_default(), field);
    }
}

#[actix_web::test]
async fn an_empty_body_and_a_content_type_with_parameters_are_fine() {
    let empty = post("/v1/instances").insert_header(("content-type", "text/plain"));
    assert_eq!(Kit::new().ask(empty).await.status, 201);
    let charset = post("/v1/instances").insert_header(("content-type", "Application/JSON; charset=utf-8"));
    assert_eq!(Kit::new().ask(charset.set_payload("{}")).await.status, 201);
}

#[actix_web::test]
async fn whom_the_rate_limit_refuses_does_not_reach_the_scheduler() {
    for (refused, status, slug, retry) in [
        (Refused::TooFast { retry_after: Duration::from_millis(1200) }, 429, "rate-limited", json!(2)),
        (Refused::Banned, 403, "forbidden", json!(null)),
    ] {
        for path in ["/v1/instances", "/instance"] {
            let mut kit = Kit::new();
            let refused = refused.clone();
            kit.doors.admit = door(move |_: Admit| Err(refused.clone()));
            let (create, created) = recording(|_: CreateInstance| Err(CreateError::Starting));
            kit.doors.create = create;
            let answer = kit.ask(post(path)).await;
            assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (status, slug));
            assert_eq!(answer.json()["retry_after_s"], retry);
            assert!(created.lock().unwrap().is_empty());
        }
    }
}

#[actix_web::test]
async fn nobody_is_let_in_while_the_rate_limit_is_down() {
    let mut kit = Kit::new();
    kit.doors.admit = dead();
    let (create, created) = recording(|_: CreateInstance| Err(CreateError::Starting));
    kit.doors.create = create;
    let answer = kit.ask(post("/v1/instances")).await;
    assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (503, "restarting"));
    assert!(created.lock().unwrap().is_empty());
}

#[actix_web::test]
async fn an_actor_that_does_not_answer_is_not_waited_for_for_ever() {
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let mut kit = Kit::new();
    kit.doors.create = silent();
    let answer = kit.ask(post("/v1/instances")).await;
    assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (503, "busy"));
    assert!((30..=40).contains(&began.elapsed().as_secs()), "after {:?}", began.elapsed());

    let mut kit = Kit::new();
    kit.doors.admit = silent();
    assert_eq!(kit.ask(post("/v1/instances")).await.slug(), "busy");
}

#[actix_web::test]
async fn a_page_of_another_origin_cannot_create() {
    for path in ["/v1/instances", "/instance"] {
        for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
            let mut kit = Kit::new();
            kit.doors.admit = dead();
            let answer = kit.ask(post(path).insert_header((name, value))).await;
            assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (403, "forbidden"));
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
        let own = post(path).insert_header(("host", "r.example")).insert_header(("origin", "https://r.example"));
        assert!(Kit::new().ask(own).await.status.is_success());
    }
}

#[actix_web::test]
async fn the_old_address_answers_as_the_old_program_did() {
    let answer = Kit::new().ask(post("/instance").set_payload("whatever=1")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let password = key().password(&id(), 0).expose_secret().to_owned();
    assert_eq!(answer.json(), json!({"IP": "203.0.113.7", "port": "32768", "password": password}));

    let mut kit = Kit::new();
    kit.doors.create = door(|_: CreateInstance| Err(CreateError::NoPlace(Default::default())));
    let answer = kit.ask(post("/instance")).await;
    assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (503, "fleet-full"));
    assert_eq!(answer.json()["reason"], "no hosts");
}

#[actix_web::test]
async fn a_full_fleet_says_how_long_to_wait_as_far_as_it_knows() {
    let ready_in = |seconds| Some(Duration::from_secs(seconds));
    for (joining, ready_in, next_order_in, seconds) in
        [(1, None, None, "2"), (0, None, None, "30"), (0, ready_in(50), None, "50"), (0, None, ready_in(120), "120")]
    {
        let why = NoPlace { full: 3, joining, ready_in, next_order_in, ..NoPlace::default() };
        let mut kit = Kit::new();
        kit.doors.create = door(move |_: CreateInstance| Err(CreateError::NoPlace(why.clone())));
        assert_eq!(kit.ask(post("/v1/instances")).await.header("retry-after"), seconds);
    }
    // What boots is for those who wait already, and then all is full.
    for (seconds, told) in [(5, "30"), (50, "50")] {
        let why = NoPlace { booting: 1, spoken_for: true, ready_in: ready_in(seconds), ..NoPlace::default() };
        let mut kit = Kit::new();
        kit.doors.create = door(move |_: CreateInstance| Err(CreateError::NoPlace(why.clone())));
        assert_eq!(kit.ask(post("/v1/instances")).await.header("retry-after"), told);
    }
}

#[actix_web::test]
async fn an_instance_that_is_not_running_shows_no_way_in() {
    for state in ["creating", "stopping"] {
        let state = match state {
            "creating" => InstanceState::Creating,
            _ => InstanceState::Stopping(getaredis_actors::domain::EndReason::Expired),
        };
        let kit = Kit::new().row(Instance { state, ..instance() });
        let body = kit.ask(bearing(super::kit::get(&super::kit::own()), &token())).await.json();
        assert_eq!(body["state"], state.as_str());
        for field in ["host", "port", "password", "redis_url"] {
            assert!(body[field].is_null(), "{field}");
        }
        assert_eq!(body["management_token"], token());
        assert_eq!(body["created_at"], (now() - Duration::from_millis(500)).to_string());
    }
}
