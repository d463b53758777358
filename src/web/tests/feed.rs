//! The operator's feed over a real socket.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use actix_web::{dev::ServerHandle, rt, web::Data};
use futures_util::{SinkExt, StreamExt};
use getaredis_actors::{
    domain::{EndReason, Health},
    feed::messages::{Delta, Fact, InstanceView, Snapshot, Subscribe, Subscription},
    ports::Totals,
    reaper::messages::ReaperStatus,
};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue, protocol::frame::coding::CloseCode},
};

use super::kit::{ID, Kit, OPERATOR_TOKEN, actor, door, host, id, instance, now};
use crate::web::{Web, serve};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What the real feed does: numbers the facts, and cuts a subscriber that does not keep up.
#[derive(Clone)]
struct Feed(Arc<Mutex<Stream>>);

struct Stream {
    seq: u64,
    room: usize,
    subscribers: Vec<mpsc::Sender<Arc<Delta>>>,
}

impl Feed {
    fn with_room(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Stream { seq: 7, room, subscribers: vec![] })))
    }

    fn publish(&self, fact: Fact) {
        let mut stream = self.0.lock().unwrap();
        stream.seq += 1;
        let delta = Arc::new(Delta { seq: stream.seq, at: now(), fact });
        stream.subscribers.retain(|one| one.try_send(delta.clone()).is_ok());
    }

    fn subscribe(&self) -> Subscription {
        let mut stream = self.0.lock().unwrap();
        let (sender, deltas) = mpsc::channel(stream.room);
        stream.subscribers.push(sender);
        let snapshot = Snapshot {
            seq: stream.seq,
            at: now(),
            hosts: vec![host("local", Health::Up, 1)],
            instances: vec![Arc::new(InstanceView::from(&instance()))],
            actors: vec![actor("reaper", "up")],
            totals: Totals { started: 12 },
            reaper: ReaperStatus::default(),
            scaling: None,
        };
        Subscription { snapshot, deltas }
    }

    fn forget_subscribers(&self) {
        self.0.lock().unwrap().subscribers.clear();
    }

    fn subscribers(&self) -> usize {
        let mut stream = self.0.lock().unwrap();
        stream.subscribers.retain(|one| !one.is_closed());
        stream.subscribers.len()
    }
}

struct Running {
    address: std::net::SocketAddr,
    web: Data<Web>,
    handle: ServerHandle,
    feed: Feed,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not waited for: the test is over.
        drop(self.handle.stop(false));
    }
}

fn start(room: usize, change: impl FnOnce(&mut Kit)) -> Running {
    let feed = Feed::with_room(room);
    let mut kit = Kit::new();
    let source = feed.clone();
    kit.doors.subscribe = door(move |_: Subscribe| source.subscribe());
    change(&mut kit);
    let web = kit.web();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = serve(web.clone(), vec![listener], 1).unwrap();
    let handle = server.handle();
    rt::spawn(server);
    Running { address, web, handle, feed }
}

impl Running {
    async fn connect(&self, headers: &[(&'static str, &str)]) -> Result<(Socket, Option<String>), Error> {
        let mut request = format!("ws://{}/v1/admin/feed", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let (socket, response) = timeout(SOON, connect_async(request)).await.unwrap()?;
        let protocol = response.headers().get("sec-websocket-protocol").map(|one| one.to_str().unwrap().to_owned());
        Ok((socket, protocol))
    }

    async fn watch(&self) -> Socket {
        self.connect(&[("authorization", &format!("Bearer {OPERATOR_TOKEN}"))]).await.unwrap().0
    }

    async fn refusal(&self, headers: &[(&'static str, &str)]) -> u16 {
        match self.connect(headers).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            other => panic!("not refused: {:?}", other.map(|_| ())),
        }
    }
}

/// The next JSON frame.
async fn frame(socket: &mut Socket) -> Value {
    loop {
        match timeout(SOON, socket.next()).await.expect("a frame in time").expect("a frame").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// The code of the close frame, and that the connection ends after it.
async fn close_code(socket: &mut Socket) -> CloseCode {
    let mut code = None;
    while let Some(message) = timeout(SOON, socket.next()).await.expect("an end in time") {
        match message {
            Ok(Message::Close(Some(reason))) => code = Some(reason.code),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    code.expect("a close frame")
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !done().await {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn totals(started: u64) -> Fact {
    Fact::TotalsChanged { totals: Totals { started } }
}

#[actix_web::test]
async fn a_viewer_gets_a_snapshot_and_then_every_fact_in_order() {
    let running = start(64, |_| {});
    let mut socket = running.watch().await;
    let snapshot = frame(&mut socket).await;
    assert_eq!((&snapshot["type"], &snapshot["seq"]), (&json!("snapshot"), &json!(7)));
    assert_eq!(snapshot["at"], "2026-03-01T12:00:00Z");
    assert_eq!(snapshot["totals"], json!({"started": 12}));
    assert_eq!(snapshot["hosts"][0]["name"], "local");
    assert_eq!(snapshot["hosts"][0]["state"], "up");
    let shown = json!({"id": ID, "host": "local", "flavour": "redis", "state": "running", "creator": "198.51.100.1",
        "label": null, "created_at": "2026-03-01T11:59:59.5Z", "expires_at": "2026-03-01T23:59:59.5Z", "port": 32768,
        "unreachable_since": null});
    assert_eq!(snapshot["instances"], json!([shown]));
    assert_eq!(snapshot["actors"][0]["name"], "reaper");

    running.feed.publish(Fact::InstanceChanged { instance: InstanceView::from(&instance()) });
    running.feed.publish(Fact::InstanceEnded { id: id(), reason: EndReason::Expired });
    running.feed.publish(Fact::ActorChanged { actor: actor("reaper", "backing_off") });
    running.feed.publish(Fact::HostRemoved { name: instance().host });
    running.feed.publish(totals(13));
    let kinds = ["instance_changed", "instance_ended", "actor_changed", "host_removed", "totals_changed"];
    for (seq, kind) in (8..).zip(kinds) {
        let delta = frame(&mut socket).await;
        assert_eq!((&delta["type"], &delta["seq"]), (&json!("delta"), &json!(seq)));
        assert_eq!(delta["fact"]["kind"], kind);
    }
    socket.send(Message::Text("what is said is not listened to".into())).await.unwrap();
    socket.send(Message::Ping(vec![1, 2].into())).await.unwrap();
    assert_eq!(timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap(), Message::Pong(vec![1, 2].into()));
    socket.close(None).await.unwrap();
    assert_eq!(close_code(&mut socket).await, CloseCode::Normal);
    until("the end of the subscription", async || running.feed.subscribers() == 0).await;
}

#[actix_web::test]
async fn only_the_operator_and_the_own_page_are_let_in() {
    let running = start(64, |_| {});
    let right = format!("Bearer {OPERATOR_TOKEN}");
    assert_eq!(running.refusal(&[]).await, 401);
    assert_eq!(running.refusal(&[("authorization", "Bearer wrong")]).await, 401);
    assert_eq!(running.refusal(&[("authorization", &right), ("origin", "https://evil.example")]).await, 403);
    let own = format!("http://{}", running.address);
    assert!(running.connect(&[("authorization", &right), ("origin", &own)]).await.is_ok());
    // As a browser does it: base64url of the token, which is what `printf %s token | base64` says too.
    let offered = "getaredis.feed.v1, bearer.Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ";
    let (mut socket, protocol) =
        running.connect(&[("sec-websocket-protocol", offered), ("origin", &own)]).await.unwrap();
    assert_eq!(protocol.as_deref(), Some("getaredis.feed.v1"));
    assert_eq!(frame(&mut socket).await["type"], "snapshot");
}

#[actix_web::test]
async fn a_slow_viewer_is_resynchronised_and_delays_nobody() {
    let running = start(8, |_| {});
    let mut slow = running.watch().await;
    let mut quick = running.watch().await;
    assert_eq!(frame(&mut slow).await["type"], "snapshot");
    assert_eq!(frame(&mut quick).await["type"], "snapshot");
    // Far more than all buffers between here and there hold.
    let big = "x".repeat(100_000);
    for n in 0..250_usize {
        let mut told = actor("reaper", "up");
        (told.restarts, told.last_cause) = (n, Some(big.clone()));
        running.feed.publish(Fact::ActorChanged { actor: told });
        // The quick one has each before the next is published, however slow the other one is.
        assert_eq!(frame(&mut quick).await["seq"], 8 + n);
    }
    assert_eq!(running.feed.subscribers(), 1, "the slow one was cut");
    let mut expected = 8;
    loop {
        let next = frame(&mut slow).await;
        if next["type"] == "resync" {
            break;
        }
        assert_eq!((&next["type"], &next["seq"]), (&json!("delta"), &json!(expected)), "no gap before the resync");
        expected += 1;
    }
    assert!(expected < 258, "it cannot have got them all");
    let snapshot = frame(&mut slow).await;
    assert_eq!((&snapshot["type"], &snapshot["seq"]), (&json!("snapshot"), &json!(257)));
    running.feed.publish(totals(14));
    assert_eq!(frame(&mut slow).await["seq"], 258);
    assert_eq!(frame(&mut quick).await["seq"], 258);
}

#[actix_web::test]
async fn a_feed_that_restarts_resynchronises_its_viewers() {
    let running = start(64, |_| {});
    let mut socket = running.watch().await;
    assert_eq!(frame(&mut socket).await["type"], "snapshot");
    running.feed.forget_subscribers();
    assert_eq!(frame(&mut socket).await, json!({"type": "resync"}));
    assert_eq!(frame(&mut socket).await["type"], "snapshot");
    running.feed.publish(totals(14));
    assert_eq!(frame(&mut socket).await["seq"], 8);
}

#[actix_web::test]
async fn a_viewer_that_takes_nothing_loses_its_place() {
    let running = start(4, |kit| {
        kit.settings.feed.max_sessions = 1;
        kit.settings.feed.write_timeout = Duration::from_millis(200);
    });
    let stuck = running.watch().await;
    let right = format!("Bearer {OPERATOR_TOKEN}");
    assert_eq!(running.refusal(&[("authorization", &right)]).await, 503, "there is one place only");
    let big = "x".repeat(500_000);
    let mut next = None;
    until("the place becoming free", async || {
        let mut told = actor("reaper", "up");
        told.last_cause = Some(big.clone());
        running.feed.publish(Fact::ActorChanged { actor: told });
        next = running.connect(&[("authorization", &right)]).await.ok();
        next.is_some()
    })
    .await;
    assert_eq!(frame(&mut next.unwrap().0).await["type"], "snapshot");
    drop(stuck);
}

#[actix_web::test]
async fn a_viewer_that_gives_no_sign_of_life_is_dropped() {
    let running = start(64, |kit| {
        kit.settings.feed.ping_every = Duration::from_millis(50);
        kit.settings.feed.dead_after = Duration::from_millis(300);
    });
    // Reading is what answers pings, so the one that reads stays and the other one does not.
    let mut alive = running.watch().await;
    let dead = running.watch().await;
    assert_eq!(frame(&mut alive).await["type"], "snapshot");
    assert_eq!(running.feed.subscribers(), 2);
    let reading = async {
        loop {
            let _ = alive.next().await;
        }
    };
    let dropped = until("the end of the dead one", async || running.feed.subscribers() == 1);
    tokio::select! { () = dropped => {}, () = reading => {} }
    running.feed.publish(totals(14));
    assert_eq!(frame(&mut alive).await["type"], "delta");
    drop(dead);
}

#[actix_web::test]
async fn a_shutdown_closes_every_session_with_a_close_frame_and_waits_for_none() {
    let running = start(64, |_| {});
    let mut first = running.watch().await;
    let mut second = running.watch().await;
    assert_eq!(frame(&mut first).await["type"], "snapshot");
    assert_eq!(frame(&mut second).await["type"], "snapshot");
    running.web.shut_down();
    assert_eq!(close_code(&mut first).await, CloseCode::Away);
    assert_eq!(close_code(&mut second).await, CloseCode::Away);
    let right = format!("Bearer {OPERATOR_TOKEN}");
    assert_eq!(running.refusal(&[("authorization", &right)]).await, 503);
    timeout(SOON, running.handle.stop(true)).await.expect("a stop that waits for no session");
}
