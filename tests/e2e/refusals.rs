//! Bytes that are no request, sent to the real server.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{SOON, server::Server};

#[tokio::test]
async fn what_is_no_request_is_refused_with_a_problem_like_everything_else() {
    let server = Server::start(&[]).await;
    let address = server.authority();
    let talk = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
        answer
    };
    let post = "POST /v1/instances HTTP/1.1\r\nhost: h\r\n";
    for (bytes, status, kind) in [
        ("nonsense\r\n\r\n".to_owned(), "400", "invalid-request"),
        (format!("{post}content-length: 1\r\ncontent-length: 2\r\n\r\n"), "400", "invalid-request"),
        (format!("{post}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), "400", "invalid-request"),
        (format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(200_000)), "431", "head-too-large"),
        ("GET / HTTP/1.1\r\nhost: ".to_owned(), "408", "request-timeout"),
    ] {
        let answer = talk(bytes.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(head.contains("application/problem+json"), "{answer}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["type"], format!("/problems/{kind}"));
    }
    assert!(server.containers().await.is_empty());
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_does_not_wait_for_who_was_refused() {
    let mut server = Server::start(&[]).await;
    let address = server.authority();
    let mut refused = TcpStream::connect(&address).await.unwrap();
    refused.write_all(b"nonsense\r\n\r\n").await.unwrap();
    refused.readable().await.unwrap();
    server.terminate();
    assert!(timeout(SOON, server.ended()).await.expect("it stops").success());
}
