//! The operator's feed over a real socket.

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::web::Data;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use getaredis::web::{FeedSettings, Vitals, Web, WebSettings, serve};
use getaredis_actors::{
    domain::MasterKey,
    settings::Settings,
    sim::harness::{World, settings},
    supervision::Pulse,
};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    SOON,
    api::Api,
    eventually,
    feed::{Feed, PROTOCOL, refused, request},
    secrets::Secrets,
    server::Server,
};

/// The state that a fact gives an instance.
fn state_of<'a>(fact: &'a Value, id: &str) -> Option<&'a str> {
    match fact["kind"].as_str()? {
        "instance_changed" if fact["instance"]["id"] == id => fact["instance"]["state"].as_str(),
        "instance_ended" if fact["id"] == id => Some("ended"),
        _ => None,
    }
}

#[tokio::test]
async fn a_viewer_sees_a_create_and_its_expiry_in_order() {
    let server = Server::start(&[]).await;
    let before = server.api().create().await;
    let mut feed = server.feed().await;
    let snapshot = feed.snapshot().await;
    let (host, instance) = (&snapshot["hosts"][0], &snapshot["instances"][0]);
    assert_eq!((&host["name"], &host["state"]), (&"local".into(), &"up".into()));
    assert_eq!((&host["slots"], &host["used"]), (&40.into(), &1.into()));
    assert_eq!((&instance["id"], &instance["state"]), (&before.id.clone().into(), &"running".into()));
    assert_eq!((&instance["port"], &instance["creator"]), (&before.port.into(), &"127.0.0.1".into()));
    assert_eq!(snapshot["totals"]["started"], 1);
    let actors: Vec<_> =
        snapshot["actors"].as_array().unwrap().iter().map(|a| (a["name"].as_str(), a["status"].as_str())).collect();
    for name in ["autoscaler", "discovery", "feed", "rate_limit", "reaper", "scheduler"] {
        assert!(actors.contains(&(Some(name), Some("up"))), "{name}: {actors:?}");
    }

    let created = server.api().create_for(2).await;
    let (mut states, mut totals, mut used) = (Vec::new(), Vec::new(), Vec::new());
    let ended = feed
        .until("the expiry", |fact| {
            if let Some(state) = state_of(fact, &created.id) {
                states.push(state.to_owned());
            }
            match fact["kind"].as_str().unwrap() {
                "totals_changed" => totals.push(fact["totals"]["started"].as_u64().unwrap()),
                "host_changed" => used.push(fact["host"]["used"].as_u64().unwrap()),
                _ => {}
            }
            (states.last().map(String::as_str) == Some("ended")).then(|| fact.clone())
        })
        .await;
    assert_eq!(ended["reason"], "expired");
    states.dedup();
    assert_eq!(states, ["creating", "running", "stopping", "ended"]);
    assert_eq!(totals, [2]);
    assert!(used.contains(&2), "{used:?}");
    // Whoever comes now sees where it led.
    let mut late = server.feed().await;
    let snapshot = late.snapshot().await;
    assert_eq!(snapshot["instances"].as_array().map(Vec::len), Some(1));
    assert_eq!(snapshot["totals"]["started"], 2);
}

#[tokio::test]
async fn nobody_watches_without_the_token_or_from_a_foreign_page() {
    let server = Server::start(&[("admin.allowed_origins", "https://console.example")]).await;
    let (at, token) = (server.authority(), server.admin_token());
    let bearer = format!("Bearer {token}");
    let offered = |token: &str| format!("{PROTOCOL}, bearer.{}", URL_SAFE_NO_PAD.encode(token));
    let own = format!("http://{at}");

    let unauthorized = (401, "unauthorized".to_owned());
    assert_eq!(refused(request(&at, &[])).await, unauthorized);
    assert_eq!(refused(request(&at, &[("authorization", "Bearer wrong")])).await, unauthorized);
    assert_eq!(refused(request(&at, &[("sec-websocket-protocol", &offered("wrong"))])).await, unauthorized);
    // In the address it would be in every log on the way, so there it opens nothing.
    let mut in_address = request(&at, &[]);
    *in_address.uri_mut() = format!("ws://{at}/v1/admin/feed?token={token}").parse().unwrap();
    assert_eq!(refused(in_address).await, unauthorized);

    for foreign in ["https://evil.example", "http://127.0.0.1:1", "null"] {
        let page = request(&at, &[("authorization", &bearer), ("origin", foreign)]);
        assert_eq!(refused(page).await, (403, "forbidden".to_owned()), "{foreign}");
    }
    for friendly in [own.as_str(), "https://console.example"] {
        let page = request(&at, &[("sec-websocket-protocol", &offered(token)), ("origin", friendly)]);
        Feed::with(page).await.snapshot().await;
    }
}

#[tokio::test]
async fn without_a_configured_token_the_operators_doors_stay_shut() {
    let server = Server::start(&[("admin.token_sha256", "")]).await;
    let bearer = format!("Bearer {}", server.admin_token());
    let request = request(&server.authority(), &[("authorization", &bearer)]);
    assert_eq!(refused(request).await, (403, "forbidden".to_owned()));
    let answer = server.api().get("/v1/admin/actors").await;
    answer.problem(403);
    assert!(answer.body["detail"].as_str().unwrap().contains("admin.token_sha256"), "{answer:?}");
}

// A panic cannot be caused from outside, so these have the whole server in their process, on simulated ports.

pub const TOKEN: &str = "a-token-of-the-operator";

pub struct Inside {
    pub world: World,
    pub authority: String,
}

impl Inside {
    async fn start() -> Self {
        let settings = Settings { directory_poll: Duration::from_millis(200), ..settings() };
        let world = World::running(settings, &[("sim-1", 3)]).await;
        let brain = world.brain();
        let (roster, pulse) = (brain.roster.clone(), Pulse::start());
        let vitals = Vitals {
            actors: Box::new(move || roster.reports().into_iter().map(Into::into).collect()),
            pulse_age: Box::new(move || pulse.age()),
        };
        // The one that the world derives its secrets from.
        let key = Arc::new(MasterKey::new([7; 32]));
        let web = Web::new(
            brain.doors.clone(),
            Arc::new(world.store.clone()),
            Arc::new(world.clock.clone()),
            key,
            vitals,
            web_settings(&world.settings),
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        actix_web::rt::spawn(serve(Data::new(web), vec![listener], 1).unwrap());
        Self { world, authority }
    }
}

fn web_settings(settings: &Settings) -> WebSettings {
    WebSettings {
        trusted_proxies: Vec::new(),
        max_body_bytes: 16384,
        lease: settings.lease.clone(),
        flavours: settings.flavours.clone(),
        quotas: settings.quotas,
        create_deadline: settings.create_deadline,
        call_deadline: Duration::from_secs(15),
        tokens: Vec::new(),
        admin_token_sha256: Some(Sha256::digest(TOKEN).into()),
        allowed_origins: Vec::new(),
        isolated: true,
        metrics: true,
        feed: FeedSettings::default(),
    }
}

/// Runs a test with a server in its process.
pub fn inside(test: impl AsyncFnOnce(Inside)) {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    actix_web::rt::System::with_tokio_rt(runtime).block_on(async { test(Inside::start().await).await });
}

#[test]
fn a_viewer_sees_a_create_its_expiry_and_a_restarted_actor_in_order_and_without_a_gap() {
    inside(async |Inside { mut world, authority }| {
        world.expect_restarts(&["discovery"]);
        let api = Api::new(format!("http://{authority}"), Secrets::default());
        let mut feed = Feed::open(&authority, TOKEN).await;
        feed.snapshot().await;

        let created = api.create_for(2).await;
        world.faults.panic_next("directory.read");
        let mut told = Vec::new();
        feed.until("the expiry and the restart", |fact| {
            if let Some(state) = state_of(fact, &created.id) {
                told.push(format!("instance {state}"));
            }
            if fact["kind"] == "actor_changed" && fact["actor"]["name"] == "discovery" {
                let actor = &fact["actor"];
                told.push(format!("discovery {} {}", actor["status"].as_str().unwrap(), actor["restarts"]));
                assert!(actor["last_cause"].as_str().unwrap().contains("panic"), "{fact}");
            }
            let done = ["instance ended", "discovery up 1"];
            done.iter().all(|end| told.iter().any(|said| said == end)).then_some(())
        })
        .await;
        told.dedup();
        let (about_instance, about_actor): (Vec<_>, Vec<_>) =
            told.iter().partition(|said| said.starts_with("instance"));
        assert_eq!(about_instance, ["instance creating", "instance running", "instance stopping", "instance ended"]);
        assert_eq!(about_actor, ["discovery backing_off 1", "discovery up 1"]);
        world.finish().await;
    });
}

#[test]
fn a_create_that_meets_a_panic_is_told_when_to_come_back_and_nobody_else_notices() {
    inside(async |Inside { mut world, authority }| {
        world.expect_restarts(&["scheduler"]);
        let api = Api::new(format!("http://{authority}"), Secrets::default());
        let before = api.create().await;
        let mut feed = Feed::open(&authority, TOKEN).await;
        feed.snapshot().await;

        world.faults.panic_next("store.admit");
        let refused = api.post(json!({})).await;
        assert_eq!(refused.problem(503), "restarting");
        assert!((1..=5).contains(&refused.retry_after()), "{refused:?}");
        feed.until("the scheduler is back", |fact| {
            let actor = (fact["kind"] == "actor_changed").then(|| &fact["actor"])?;
            (actor["name"] == "scheduler" && actor["status"] == "up").then_some(())
        })
        .await;
        assert_eq!(api.show(&before).await.instance().redis_url, before.redis_url);
        let after = eventually("the next create", SOON, async || {
            let answer = api.post(json!({})).await;
            if answer.status == 201 {
                return Ok(answer.created());
            }
            // Its hosts are joining again; nobody is sent away for long.
            assert!((1..=5).contains(&answer.retry_after()), "{answer:?}");
            Err(answer.body.to_string())
        })
        .await;
        assert_eq!(api.capacity().await.slots_used, 2);
        assert_eq!(api.delete(&after).await.status, 204);
        let actors = api.send(api.request(Method::GET, "/v1/admin/actors").bearer_auth(TOKEN)).await;
        let scheduler = actors.body["actors"].as_array().unwrap().iter().find(|actor| actor["name"] == "scheduler");
        assert_eq!(scheduler.map(|actor| &actor["restarts"]), Some(&1.into()));
        world.finish().await;
    });
}
