//! What holds for every route: methods, headers, panics and the log.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use actix_web::http::Method;
use tracing_subscriber::fmt::MakeWriter;

use super::kit::{API_TOKEN, Kit, OPERATOR_TOKEN, bearing, get, own, post, token, with_json};

#[actix_web::test]
async fn a_wrong_method_is_told_the_right_ones() {
    for (path, method, allow) in [
        ("/v1/instances".to_owned(), Method::GET, "POST"),
        (own(), Method::POST, "GET, HEAD, PATCH, DELETE"),
        (own(), Method::OPTIONS, "GET, HEAD, PATCH, DELETE"),
        ("/v1/capacity".to_owned(), Method::POST, "GET, HEAD"),
        ("/instance".to_owned(), Method::GET, "POST"),
        ("/livez".to_owned(), Method::DELETE, "GET, HEAD"),
        ("/v1/admin/feed".to_owned(), Method::HEAD, "GET"),
        ("/v1/admin/scaling/pause".to_owned(), Method::GET, "POST"),
        ("/v1/admin/hosts/local/drain".to_owned(), Method::DELETE, "POST"),
    ] {
        let answer = Kit::new().ask(get(&path).method(method.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (405, "method-not-allowed"), "{method} {path}");
        assert_eq!(answer.header("allow"), allow);
    }
}

#[actix_web::test]
async fn head_works_where_get_does() {
    for path in [own().as_str(), "/v1/capacity", "/livez", "/readyz", "/metrics", "/", "/v1/admin/actors"] {
        let token = match path {
            "/v1/admin/actors" => OPERATOR_TOKEN.to_owned(),
            "/v1/capacity" => API_TOKEN.to_owned(),
            _ => token(),
        };
        let answer = Kit::new().ask(bearing(get(path), &token).method(Method::HEAD)).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[actix_web::test]
async fn every_answer_is_hardened_and_kept_by_no_cache() {
    for request in [
        post("/v1/instances"),
        post("/instance"),
        with_json(post("/v1/instances"), "nonsense"),
        bearing(get(&own()), &token()),
        get(&own()),
        get("/v1/capacity"),
        get("/livez"),
        get("/metrics"),
        get("/nothing"),
        post("/v1/instances").insert_header(("origin", "https://evil.example")),
    ] {
        let answer = Kit::new().ask(request).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert_ne!(answer.header("x-request-id"), "");
    }
}

#[actix_web::test]
async fn a_panic_in_a_handler_is_a_problem_without_its_words() {
    let mut kit = Kit::new();
    kit.rows.panics = true;
    let answer = kit.ask(get("/v1/capacity")).await;
    assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (500, "internal"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!String::from_utf8(answer.body).unwrap().contains("stub"));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[actix_web::test]
async fn the_log_has_one_line_a_request_with_client_and_cause_and_no_secret() {
    let log = Log::default();
    // With a single subscriber in the process, tracing would ask the thread that comes to a line first, and remember
    // for all threads that a test without a subscriber did not want it.
    let _another = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone());
    let guard = tracing::subscriber::set_default(subscriber.with_max_level(tracing::Level::TRACE).finish());
    let request = bearing(post("/v1/instances?secret=in-query"), API_TOKEN)
        .peer_addr("10.0.0.1:1".parse().unwrap())
        .insert_header(("x-forwarded-for", "192.0.2.66"))
        .insert_header(("idempotency-key", "private-key"));
    let created = Kit::new().ask(with_json(request, r#"{"label":"private label"}"#)).await;
    let mut kit = Kit::new();
    kit.rows.fails = Some(getaredis_actors::ports::StoreError::Unavailable("disk is gone".to_owned()));
    let failed = kit.ask(get("/v1/capacity")).await;
    let mut kit = Kit::new();
    kit.rows.panics = true;
    kit.ask(get("/v1/capacity")).await;
    drop(guard);

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("http.answered")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains("192.0.2.66") && lines[0].contains("status=201"), "{text}");
    assert!(lines[0].contains(created.header("x-request-id")), "{text}");
    assert!(lines[1].contains("disk is gone") && lines[1].contains("status=503"), "{text}");
    assert!(lines[1].contains(failed.header("x-request-id")), "{text}");
    assert!(lines[2].contains("panic: the store stub panics") && lines[2].contains("status=500"), "{text}");
    let password = created.json()["password"].as_str().unwrap().to_owned();
    for secret in ["in-query", &token(), API_TOKEN, "private", &password] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(text.matches("disk is gone").count(), 1, "{text}");
}

#[actix_web::test]
async fn the_time_that_an_answer_took_is_a_number_in_a_json_log() {
    let log = Log::default();
    let _another = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(log.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    Kit::new().ask(get("/v1/capacity")).await;
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains("http.answered")).unwrap_or_else(|| panic!("{text}"));
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(line["ms"].is_u64() && line["status"].is_u64(), "{line}");
}
