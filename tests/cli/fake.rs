//! A small server that speaks the contract, remembers what it was asked, and fails as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::{Method, StatusCode},
    web,
};
use futures_util::stream;
use serde_json::{Value, json};

/// What the next request is answered with instead of what it asks for.
pub enum Next {
    /// The request is carried out and the connection breaks in the middle of the answer.
    LoseAnswer,
    /// This status and body, perhaps with `Retry-After`.
    Answer(u16, Value, Option<u64>),
}

/// What a request looked like.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub key: Option<String>,
    pub authorization: Option<String>,
    pub body: Value,
}

#[derive(Default)]
pub struct Inner {
    pub next: VecDeque<Next>,
    pub seen: Vec<Seen>,
    /// Live instances by id.
    pub live: BTreeMap<String, Value>,
    pub ended: Vec<String>,
    by_key: BTreeMap<String, String>,
    count: u32,
}

pub struct Fake {
    inner: Arc<Mutex<Inner>>,
    pub url: String,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let (tell, told) = mpsc::channel();
        let shared = Arc::clone(&inner);
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app =
                    move || App::new().app_data(web::Data::from(Arc::clone(&shared))).default_service(web::to(serve));
                let server =
                    HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(0).bind("127.0.0.1:0").unwrap();
                let address = server.addrs()[0];
                let running = server.run();
                tell.send((address, running.handle())).unwrap();
                running.await.unwrap();
            });
        });
        let (address, handle) = told.recv_timeout(Duration::from_secs(20)).unwrap();
        Self { inner, url: format!("http://{address}"), handle, thread: Some(thread) }
    }

    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn next(&self, next: Next) {
        self.inner().next.push_back(next);
    }

    pub fn refuse(&self, status: u16, detail: &str, retry_after: Option<u64>) {
        let problem = json!({ "type": "/problems/x", "title": "Refused", "status": status, "detail": detail });
        self.next(Next::Answer(status, problem, retry_after));
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(request: HttpRequest, body: web::Bytes, inner: web::Data<Mutex<Inner>>) -> HttpResponse {
    let mut inner = inner.lock().unwrap();
    let header = |name: &str| Some(request.headers().get(name)?.to_str().unwrap().to_owned());
    let seen = Seen {
        method: request.method().to_string(),
        path: request.path().to_owned(),
        key: header("Idempotency-Key"),
        authorization: header("Authorization"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    inner.seen.push(seen.clone());
    let next = inner.next.pop_front();
    if let Some(Next::Answer(status, body, retry_after)) = next {
        let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap());
        if let Some(seconds) = retry_after {
            response.insert_header(("Retry-After", seconds.to_string()));
        }
        return response.content_type("application/problem+json").body(body.to_string());
    }
    let (status, answer) = carry_out(&mut inner, request.method(), &seen);
    if matches!(next, Some(Next::LoseAnswer)) {
        let broken = stream::iter([Ok(web::Bytes::from_static(b"{")), Err(std::io::Error::other("lost"))]);
        return HttpResponse::Ok().streaming(broken);
    }
    HttpResponse::build(StatusCode::from_u16(status).unwrap()).json(answer)
}

fn carry_out(inner: &mut Inner, method: &Method, seen: &Seen) -> (u16, Value) {
    if *method == Method::POST {
        let key = seen.key.clone().unwrap();
        if let Some(id) = inner.by_key.get(&key) {
            return (201, inner.live[id].clone());
        }
        inner.count += 1;
        let id = format!("{:08x}{}", inner.count, "0".repeat(24));
        let instance = instance(&id, seen.body["ttl"].as_u64().unwrap_or(43_200), &seen.body["label"]);
        inner.by_key.insert(key, id.clone());
        inner.live.insert(id, instance.clone());
        return (201, instance);
    }
    let id = seen.path.rsplit('/').next().unwrap().to_owned();
    if inner.ended.contains(&id) {
        let ended_at = "2026-01-02T03:04:05Z";
        let detail = "this instance has ended";
        return (410, json!({ "status": 410, "detail": detail, "reason": "expired", "ended_at": ended_at }));
    }
    let Some(instance) = inner.live.get_mut(&id) else {
        return (404, json!({ "status": 404, "detail": "there is no such instance" }));
    };
    let token = instance["management_token"].as_str().unwrap();
    if seen.authorization != Some(format!("Bearer {token}")) {
        return (401, json!({ "status": 401, "detail": "the management token is missing or wrong" }));
    }
    match method.as_str() {
        "PATCH" => instance["expires_in_s"] = seen.body["ttl"].clone(),
        "DELETE" => {
            inner.live.remove(&id);
            inner.ended.push(id);
            return (204, Value::Null);
        }
        _ => {}
    }
    (200, instance.clone())
}

fn instance(id: &str, ttl: u64, label: &Value) -> Value {
    json!({
        "id": id, "state": "running", "flavour": "redis", "label": label, "host": "203.0.113.7", "port": 32768,
        "username": "default", "password": "pass-word", "redis_url": "redis://default:pass-word@203.0.113.7:32768/0",
        "created_at": "2026-01-01T00:00:00Z", "expires_at": "2099-01-01T12:00:00Z", "expires_in_s": ttl,
        "max_expires_at": "2099-01-04T00:00:00Z", "limits": { "memory_bytes": 5_242_880, "connections": 5 },
        "isolated": true, "management_token": format!("gar_{id}"),
        "links": { "self": format!("/v1/instances/{id}"), "page": format!("/i/{id}") },
    })
}
