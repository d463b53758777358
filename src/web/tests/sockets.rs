//! What only a real socket shows: heads without bodies, bodies that never end, and connections after a panic.

use std::time::Duration;

use actix_web::{dev::ServerHandle, rt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::kit::{Kit, own, token};
use crate::web::serve;

const SOON: Duration = Duration::from_secs(20);

fn start(kit: Kit) -> (std::net::SocketAddr, ServerHandle) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = serve(kit.web(), vec![listener], 1).unwrap();
    let handle = server.handle();
    rt::spawn(server);
    (address, handle)
}

/// Sends `request` and reads until the server closes.
async fn talk(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
    String::from_utf8(answer).unwrap()
}

#[actix_web::test]
async fn a_head_has_the_length_and_not_the_body() {
    let (address, handle) = start(Kit::new());
    let head = |path: &str, extra: &str| format!("HEAD {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{extra}\r\n");
    for request in [
        head("/livez", ""),
        head("/", ""),
        head("/v1/capacity", ""),
        head(&own(), &format!("authorization: Bearer {}\r\n", token())),
    ] {
        let answer = talk(address, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        let length =
            head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
        assert_ne!(length.as_deref(), Some("0"), "{answer}");
        assert!(length.is_some(), "{answer}");
        assert_eq!(body, "");
    }
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_body_is_not_read_beyond_its_limit_however_it_is_sent() {
    let (address, handle) = start(Kit::new());
    let announced = "POST /v1/instances HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/json\r\n\
                     content-length: 100000000\r\n\r\n";
    assert!(talk(address, announced).await.starts_with("HTTP/1.1 413 "));
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    let chunked = format!(
        "POST /v1/instances HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    assert!(talk(address, &chunked).await.starts_with("HTTP/1.1 413 "));
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_panic_costs_one_answer_and_not_the_worker() {
    let mut kit = Kit::new();
    kit.rows.panics = true;
    let (address, handle) = start(kit);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    for _ in 0..3 {
        let answer = talk(address, &get("/v1/capacity")).await;
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("application/problem+json"), "{answer}");
        assert!(talk(address, &get("/livez")).await.starts_with("HTTP/1.1 200 "));
    }
    handle.stop(false).await;
}

/// One that closes its side only is answered, by which it shows; one that has closed both is not there any more.
#[actix_web::test]
async fn a_create_is_withdrawn_when_its_client_hangs_up() {
    let mut kit = Kit::new();
    kit.doors.create = super::kit::silent();
    let (address, handle) = start(kit);
    let create = "POST /v1/instances HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n";
    for waits_first in [true, false] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(create.as_bytes()).await.unwrap();
        if waits_first {
            let early = timeout(Duration::from_millis(200), stream.read_u8()).await;
            assert!(early.is_err(), "it is not answered as long as somebody is there");
        }
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("given up"), "{answer}");
    }
    handle.stop(false).await;
}

#[actix_web::test]
async fn the_peer_of_a_real_socket_is_who_counts() {
    let mut kit = Kit::new();
    let (admit, seen) = super::kit::recording(|_: getaredis_actors::rate_limit::messages::Admit| Ok(()));
    kit.doors.admit = admit;
    let (address, handle) = start(kit);
    let request = "POST /v1/instances HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-forwarded-for: 1.2.3.4\r\n\r\n";
    assert!(talk(address, request).await.starts_with("HTTP/1.1 201 "));
    assert_eq!(seen.lock().unwrap()[0].creator.to_string(), "127.0.0.1");
    handle.stop(false).await;
}
