//! Against real HTTP servers on this machine, with a signature that Python checks.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode as Status, web};
use base64::{Engine, prelude::BASE64_STANDARD};
use getaredis_actors::domain::Notice;
use tokio::net::TcpListener;

use super::*;

const KEY: [u8; 32] = *b"0123456789abcdef0123456789abcdef";
const BODY: &str = r#"{"type":"instance.created","data":{"label":"grüße"}}"#;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn delivery() -> Delivery {
    Delivery {
        notice: Notice { id: "0192f0c1.created".to_owned(), body: BODY.to_owned() },
        sink: SinkName::parse("a").unwrap(),
        created_at: now(),
        attempts: 1,
    }
}

fn poster(url: &str, timeout: Duration) -> HttpWebhooks {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = SecretSlice::from(KEY.to_vec());
    let sink = SinkSettings { name: delivery().sink, url: Url::parse(url).unwrap(), key };
    HttpWebhooks::new(vec![sink], timeout).unwrap()
}

/// A request as a sink sees it: path, headers, body.
type Seen = (String, HashMap<String, String>, String);

/// A sink that answers everything alike and keeps what it was posted.
struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Receiver {
    fn answering(status: u16, headers: &'static [(&'static str, &'static str)], body: &'static [u8]) -> Self {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let kept = seen.clone();
        let answer = move |request: HttpRequest, posted: String| {
            let header =
                |(name, value): (&actix_web::http::header::HeaderName, &actix_web::http::header::HeaderValue)| {
                    (name.to_string(), value.to_str().unwrap().to_owned())
                };
            let headers_seen = request.headers().iter().map(header).collect();
            kept.lock().unwrap().push((request.path().to_owned(), headers_seen, posted));
            let mut response = HttpResponse::build(Status::from_u16(status).unwrap());
            for pair in headers {
                response.insert_header(*pair);
            }
            async move { response.body(body) }
        };
        let server = HttpServer::new(move || App::new().default_service(web::to(answer.clone()))).workers(1);
        let server = server.disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/hooks/hunter2", server.addrs()[0]);
        actix_web::rt::spawn(server.run());
        Self { url, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn post(&self) -> Result<(), WebhookError> {
        poster(&self.url, Duration::from_secs(10)).post(&delivery(), now()).await
    }
}

/// The signature as an independent implementation makes it.
fn signed_by_python(id: &str, seconds: &str, body: &str) -> String {
    let program = "import base64,hashlib,hmac,sys\n\
                   key=base64.b64decode(sys.argv[1])\n\
                   content='.'.join(sys.argv[2:5]).encode()\n\
                   print('v1,'+base64.b64encode(hmac.new(key,content,hashlib.sha256).digest()).decode())";
    let key = BASE64_STANDARD.encode(KEY);
    let output = Command::new("python3").args(["-c", program, &key, id, seconds, body]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[actix_web::test]
async fn a_notice_is_posted_as_the_specification_says_and_its_signature_holds() {
    let receiver = Receiver::answering(204, &[], b"");
    assert_eq!(receiver.post().await, Ok(()));
    let (path, headers, body) = receiver.seen().remove(0);
    assert_eq!((path.as_str(), body.as_str()), ("/hooks/hunter2", BODY));
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["user-agent"].starts_with("getaredis/"));
    assert_eq!(
        (headers["webhook-id"].as_str(), headers["webhook-timestamp"].as_str()),
        ("0192f0c1_created", "1795348800")
    );
    assert_eq!(headers["webhook-signature"], signed_by_python("0192f0c1_created", "1795348800", BODY));
}

#[actix_web::test]
async fn only_a_success_accepts_and_gone_means_that_no_more_is_wanted() {
    for status in [200, 201, 202, 204] {
        assert_eq!(Receiver::answering(status, &[], b"thanks").post().await, Ok(()));
    }
    assert_eq!(Receiver::answering(410, &[], b"").post().await, Err(WebhookError::Unwanted));
    for status in [400, 401, 404, 429, 500, 503] {
        let refused = WebhookError::Refused { why: format!("it answered {status}"), retry_after: None };
        assert_eq!(Receiver::answering(status, &[], b"no").post().await, Err(refused));
    }
}

#[actix_web::test]
async fn a_redirect_is_not_followed() {
    let receiver = Receiver::answering(307, &[("location", "/elsewhere")], b"");
    let refused = WebhookError::Refused { why: "it answered 307".to_owned(), retry_after: None };
    assert_eq!(receiver.post().await, Err(refused));
    assert_eq!(receiver.seen().len(), 1);
}

#[actix_web::test]
async fn a_wish_for_rest_is_passed_on_in_both_of_its_spellings() {
    for (status, headers, rest) in [
        (429, &[("retry-after", "120")], Some(120)),
        (503, &[("retry-after", "Sun, 22 Nov 2026 12:05:00 GMT")], Some(300)),
        (503, &[("retry-after", "Sun, 22 Nov 2026 11:00:00 GMT")], None),
        (503, &[("retry-after", "soon")], None),
        (500, &[("retry-after", "120")], None),
    ] {
        let outcome = Receiver::answering(status, headers, b"").post().await;
        let Err(WebhookError::Refused { retry_after, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(retry_after, rest.map(Duration::from_secs), "{headers:?}");
    }
}

#[actix_web::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    static LONG: [u8; 4 * 1024 * 1024] = [b'x'; 4 * 1024 * 1024];
    assert_eq!(Receiver::answering(200, &[], &LONG).post().await, Ok(()));
}

#[actix_web::test]
async fn a_sink_that_hangs_or_is_not_there_fails_in_time_and_without_naming_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hunter2", listener.local_addr().unwrap());
    let hangs = poster(&url, Duration::from_millis(300)).post(&delivery(), now()).await;
    assert_eq!(hangs, Err(WebhookError::Unreachable("no answer in time".to_owned())));
    drop(listener);
    let Err(WebhookError::Unreachable(why)) = poster(&url, Duration::from_secs(5)).post(&delivery(), now()).await
    else {
        panic!("nobody listens")
    };
    assert!(why.contains("refused") && !why.contains("hunter2") && !why.contains("127.0.0.1"), "{why}");
}

#[actix_web::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = actix_web::rt::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_err()
    });
    let url = format!("https://localhost:{port}/hunter2");
    let outcome = poster(&url, Duration::from_secs(10)).post(&delivery(), now()).await;
    assert!(matches!(&outcome, Err(WebhookError::Unreachable(why)) if why.contains("certificate")), "{outcome:?}");
    assert!(server.await.unwrap(), "the server was believed");
}

#[actix_web::test]
async fn nothing_is_posted_to_a_sink_that_is_no_longer_configured() {
    let nobody = HttpWebhooks::new(Vec::new(), Duration::from_secs(1)).unwrap();
    assert_eq!(nobody.post(&delivery(), now()).await, Err(WebhookError::Unwanted));
}
