//! `GET /v1/admin/actors`, who is let in to the operator's addresses, and what is refused at the feed's door before an
//! upgrade.

use actix_web::test::TestRequest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use getaredis_actors::{
    autoscaler::messages::{PauseScaling, ResumeScaling},
    feed::messages::ActorView,
    scheduler::messages::{CordonError, OrderCordon},
};
use serde_json::json;

use super::kit::{Kit, OPERATOR_TOKEN, actor, ask, bearing, dead, get, pool, post, recording, token};

#[actix_web::test]
async fn the_operator_sees_every_actor() {
    let mut kit = Kit::new();
    kit.actors = vec![ActorView { restarts: 2, last_cause: Some("panic: x".into()), ..actor("reaper", "backing_off") }];
    let answer = kit.ask(bearing(get("/v1/admin/actors"), OPERATOR_TOKEN)).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let expected = json!({"actors": [{"name": "reaper", "status": "backing_off", "restarts": 2,
        "since": "2026-03-01T12:00:00Z", "last_cause": "panic: x"}]});
    assert_eq!(answer.json(), expected);
}

#[actix_web::test]
async fn nobody_else_does() {
    for path in ["/v1/admin/actors", "/v1/admin/feed", "/v1/admin/hosts", "/v1/admin/scaling"] {
        for request in [get(path), bearing(get(path), "wrong"), bearing(get(path), &token())] {
            let answer = Kit::new().ask(request).await;
            assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (401, "unauthorized"));
        }
        let in_the_address = get(&format!("{path}?token={OPERATOR_TOKEN}"));
        assert_eq!(Kit::new().ask(in_the_address).await.slug(), "unauthorized");
    }
    for path in CHANGES {
        let mut kit = Kit::new();
        let (cordon, cordons) = recording(|_: OrderCordon| Err(CordonError::NoSuchHost));
        let (pause, pauses) = recording(|_: PauseScaling| pool());
        let (resume, resumes) = recording(|_: ResumeScaling| pool());
        (kit.doors.cordon, kit.doors.pause_scaling, kit.doors.resume_scaling) = (cordon, pause, resume);
        let web = kit.web();
        for request in [post(path), bearing(post(path), "wrong"), bearing(post(path), &token())] {
            assert_eq!(ask(&web, request).await.slug(), "unauthorized", "{path}");
        }
        let foreign = bearing(post(path), OPERATOR_TOKEN).insert_header(("origin", "https://evil.example"));
        assert_eq!(ask(&web, foreign).await.slug(), "forbidden");
        let done = (cordons.lock().unwrap().len(), pauses.lock().unwrap().len(), resumes.lock().unwrap().len());
        assert_eq!(done, (0, 0, 0), "{path}");
    }
}

const CHANGES: [&str; 5] = [
    "/v1/admin/hosts/local/cordon",
    "/v1/admin/hosts/local/drain",
    "/v1/admin/hosts/local/uncordon",
    "/v1/admin/scaling/pause",
    "/v1/admin/scaling/resume",
];

#[actix_web::test]
async fn without_a_configured_token_the_doors_stay_shut_and_say_how_to_open_them() {
    for path in ["/v1/admin/actors", "/v1/admin/feed", "/v1/admin/hosts", "/v1/admin/scaling"] {
        let mut kit = Kit::new();
        kit.settings.admin_token_sha256 = None;
        let answer = kit.ask(bearing(get(path), OPERATOR_TOKEN)).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (403, "forbidden"));
        assert!(answer.json()["detail"].as_str().unwrap().contains("admin.token_sha256"));
    }
}

fn handshake() -> TestRequest {
    get("/v1/admin/feed")
        .insert_header(("host", "r.example:8080"))
        .insert_header(("connection", "upgrade"))
        .insert_header(("upgrade", "websocket"))
        .insert_header(("sec-websocket-version", "13"))
        .insert_header(("sec-websocket-key", "x3JJHMbDL1EzLkh9GBhXDw=="))
}

#[actix_web::test]
async fn the_feed_opens_for_the_token_in_either_place_and_from_the_right_pages() {
    let offer = |token: &str| format!("getaredis.feed.v1, bearer.{}", URL_SAFE_NO_PAD.encode(token));
    let protocol = |token: &str| handshake().insert_header(("sec-websocket-protocol", offer(token)));
    let from = |origin: &'static str| bearing(handshake(), OPERATOR_TOKEN).insert_header(("origin", origin));
    for (request, status) in [
        (bearing(handshake(), OPERATOR_TOKEN), 101),
        (protocol(OPERATOR_TOKEN), 101),
        (protocol("wrong"), 401),
        (handshake().insert_header(("sec-websocket-protocol", "getaredis.feed.v1, bearer.%%%")), 401),
        (handshake().insert_header(("sec-websocket-protocol", format!("{0}, {0}", offer(OPERATOR_TOKEN)))), 401),
        (handshake(), 401),
        (from("http://r.example:8080"), 101),
        (from("https://console.example"), 101),
        (from("https://evil.example"), 403),
        (from("null"), 403),
        (protocol(OPERATOR_TOKEN).insert_header(("origin", "https://evil.example")), 403),
        (bearing(get("/v1/admin/feed"), OPERATOR_TOKEN), 400),
        (bearing(handshake(), OPERATOR_TOKEN).insert_header(("sec-websocket-version", "8")), 400),
    ] {
        let answer = Kit::new().ask(request).await;
        assert_eq!(answer.status, status);
        if status != 101 {
            answer.slug();
        }
    }
    let answer = Kit::new().ask(protocol(OPERATOR_TOKEN)).await;
    assert_eq!(answer.header("sec-websocket-protocol"), "getaredis.feed.v1");
    let answer = Kit::new().ask(bearing(handshake(), OPERATOR_TOKEN)).await;
    assert_eq!(answer.header("sec-websocket-protocol"), "");
}

#[actix_web::test]
async fn a_feed_that_is_down_or_closing_is_said_so_before_the_upgrade() {
    let mut kit = Kit::new();
    kit.doors.subscribe = dead();
    assert_eq!(kit.ask(bearing(handshake(), OPERATOR_TOKEN)).await.slug(), "restarting");
    let web = Kit::new().web();
    web.shut_down();
    assert_eq!(ask(&web, bearing(handshake(), OPERATOR_TOKEN)).await.slug(), "busy");
}
