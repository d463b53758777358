//! What is no request: refused by the codec, explained by us.

use std::{net::SocketAddr, time::Duration};

use actix_server::Server;
use actix_web::{dev::ServerHandle, rt};
use proptest::prelude::*;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
    time::timeout,
};

use super::kit::Kit;
use crate::web::{refusals::Explained, server::connections};

const SOON: Duration = Duration::from_secs(20);

// ---- The stream ----------------------------------------------------------------------------------------------

const CODECS_400: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\
                          date: Sun, 22 Nov 2026 12:46:17 GMT\r\n\r\n";

/// What arrives at a client that has sent `sent` when the server writes `written` through a pipe of `room` bytes, and
/// whether the server was told that all of it is written.
async fn arrives(sent: &str, written: &[&str], room: usize) -> String {
    let (mut client, server) = duplex(room);
    let mut server = Explained::new(server, None);
    let (sent, written) = (sent.to_owned(), written.iter().map(|piece| (*piece).to_owned()).collect::<Vec<_>>());
    let length = sent.len();
    let serving = async move {
        let mut asked = vec![0; length];
        server.read_exact(&mut asked).await.unwrap();
        for piece in written {
            server.write_all(piece.as_bytes()).await.unwrap();
        }
        server.shutdown().await.unwrap();
        String::from_utf8(asked).unwrap()
    };
    let asking = async {
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        drop(client);
        answer
    };
    let (asked, answer) = tokio::join!(serving, asking);
    assert_eq!(asked, sent);
    answer
}

/// The status and the problem of an answer, after checking that it is whole and the last of its connection.
fn problem(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    let header = |name: &str| {
        let of = |line: &str| line.to_ascii_lowercase().strip_prefix(&format!("{name}: ")).map(str::to_owned);
        let values: Vec<_> = head.lines().filter_map(of).collect();
        assert_eq!(values.len(), 1, "{name} in {head}");
        values[0].clone()
    };
    assert_eq!(header("content-type"), "application/problem+json");
    assert_eq!(header("content-length"), body.len().to_string());
    assert_eq!(header("connection"), "close");
    assert_eq!(header("cache-control"), "no-store");
    assert!(!header("date").is_empty() && !header("x-request-id").is_empty());
    let status = head[9..12].parse().unwrap();
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], status);
    (status, problem)
}

#[tokio::test]
async fn an_empty_refusal_gets_a_body_however_small_the_pieces_are() {
    for room in [1, 2, 7, 64, 100_000] {
        let answer = arrives("nonsense\r\n\r\n", &[CODECS_400], room).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert_eq!(problem(&answer).1["type"], "/problems/invalid-request");
    }
}

#[tokio::test]
async fn what_was_answered_before_it_on_the_connection_stays_as_it_is() {
    let earlier = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n";
    for room in [1, 3, 1000] {
        for written in [&[earlier, CODECS_400][..], &[&format!("{earlier}{CODECS_400}")]] {
            let answer = arrives("GET / HTTP/1.1\r\n\r\n", written, room).await;
            assert_eq!(problem(answer.strip_prefix(earlier).unwrap()).0, 400);
        }
    }
}

#[tokio::test]
async fn a_refused_head_request_is_told_the_length_and_gets_no_body() {
    for asked in ["HEAD / HTTP/1.1\r\n\r\n", "\r\n\r\nHEAD / HTTP/1.1\r\n\r\n"] {
        let answer = arrives(asked, &[CODECS_400], 50).await;
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("content-type: application/problem+json"), "{answer}");
        assert!(!answer.contains("content-length: 0\r\n"), "{answer}");
    }
    assert_eq!(problem(&arrives("HEADER\r\n\r\n", &[CODECS_400], 50).await).0, 400);
}

#[tokio::test]
async fn answers_of_the_application_pass_through_untouched() {
    for answer in [
        "HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: x\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 217\r\ncontent-type: application/problem+json\r\ndate: x\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nx-frame-options: DENY\r\ndate: x\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\ndate: x\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "\r\n\r\n",
        "a body that ends like a head\r\n\r\n",
    ] {
        assert_eq!(arrives("GET / HTTP/1.1\r\n\r\n", &[answer], 20).await, answer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_never_stops_reading_is_waited_for_only_for_a_moment() {
    let (client, server) = duplex(10_000);
    let mut server = Explained::new(server, None);
    timeout(Duration::from_secs(3), server.write_all(CODECS_400.as_bytes())).await.unwrap().unwrap();
    drop(client);
}

#[tokio::test]
async fn a_client_that_is_gone_is_no_fault() {
    let (client, server) = duplex(64);
    drop(client);
    let mut server = Explained::new(server, None);
    assert!(timeout(SOON, server.write_all(CODECS_400.as_bytes())).await.unwrap().is_err());
}

proptest! {
    #[test]
    fn no_bytes_of_the_application_are_lost_or_changed(
        pieces in proptest::collection::vec("[ -~\r\n]{0,200}", 1..5), room in 1usize..300,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let answer = runtime.block_on(arrives("GET / HTTP/1.1\r\n\r\n", &pieces, room));
        prop_assert_eq!(answer, pieces.concat());
    }
}

// ---- The server ----------------------------------------------------------------------------------------------

fn start(head_within: Duration) -> (SocketAddr, ServerHandle) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let builder = Server::build().disable_signals().workers(1);
    let (web, stopping) = (Kit::new().web(), builder.graceful_shutdown_signal());
    let connections = move || connections(web.clone(), stopping.clone(), address, head_within);
    let server = builder.listen("test", listener, connections).unwrap().run();
    let handle = server.handle();
    rt::spawn(server);
    (address, handle)
}

/// Sends all of it, whether or not the server still reads, and reads until the server closes.
async fn talk(address: SocketAddr, request: &[u8]) -> String {
    let (mut reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
    let request = request.to_owned();
    let sending = rt::spawn(async move {
        // A server that has heard enough may close.
        let _ = writing.write_all(&request).await;
        writing
    });
    let mut answer = String::new();
    timeout(SOON, reading.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    sending.abort();
    answer
}

#[actix_web::test]
async fn everything_that_the_codec_refuses_is_a_problem() {
    let (address, handle) = start(Duration::from_secs(10));
    let post = "POST /v1/instances HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n";
    let large = format!("GET /livez HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(3_000_000));
    for (what, request, status, kind) in [
        ("garbage", "hello there\r\n\r\n".to_owned(), 400, "invalid-request"),
        ("a TLS handshake", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".to_owned(), 400, "invalid-request"),
        ("a header without a name", "GET / HTTP/1.1\r\n: x\r\n\r\n".to_owned(), 400, "invalid-request"),
        ("two lengths", format!("{post}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"), 400, "invalid-request"),
        (
            "a length and chunks",
            format!("{post}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
            "invalid-request",
        ),
        ("a length that is no number", format!("{post}content-length: two\r\n\r\n{{}}"), 400, "invalid-request"),
        ("another version", "GET / HTTP/9.9\r\n\r\n".to_owned(), 400, "invalid-request"),
        ("a head that is too large", large, 431, "head-too-large"),
    ] {
        let answer = talk(address, request.as_bytes()).await;
        let (found, problem) = problem(&answer);
        assert_eq!((found, problem["type"].as_str()), (status, Some(format!("/problems/{kind}").as_str())), "{what}");
    }
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_bad_chunk_is_a_problem() {
    let (address, handle) = start(Duration::from_secs(10));
    let request = "POST /v1/instances HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
                   transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n";
    let answer = talk(address, request.as_bytes()).await;
    for part in answer.split("HTTP/1.1 ").skip(1) {
        assert!(part.starts_with("400 ") && part.contains("/problems/invalid-request"), "{answer}");
    }
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_head_that_does_not_come_is_a_problem() {
    // The codec's clock is half a second late: what was sent must be there by then.
    let (address, handle) = start(Duration::from_secs(2));
    for begun in ["G", "GET /livez HT"] {
        let (status, problem) = problem(&talk(address, begun.as_bytes()).await);
        assert_eq!((status, problem["type"].as_str()), (408, Some("/problems/request-timeout")));
    }
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_connection_on_which_nothing_is_asked_is_closed_without_a_word() {
    let (address, handle) = start(Duration::from_millis(50));
    assert_eq!(talk(address, b"").await, "");
    handle.stop(false).await;
}

#[actix_web::test]
async fn what_is_no_request_after_good_ones_is_refused_after_their_answers() {
    let (address, handle) = start(Duration::from_secs(10));
    let good = "GET /livez HTTP/1.1\r\nhost: h\r\n\r\n";
    let answer = talk(address, format!("{good}{good}nonsense\r\n\r\n").as_bytes()).await;
    let answers: Vec<_> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| at).collect();
    assert_eq!(answers.len(), 3, "{answer}");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer[answers[1]..].starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(problem(&answer[answers[2]..]).0, 400);
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_refused_head_request_over_a_kept_connection_has_no_body() {
    let (address, handle) = start(Duration::from_secs(10));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"HEAD /livez HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let mut first = Vec::new();
    while !first.ends_with(b"\r\n\r\n") {
        first.push(timeout(SOON, stream.read_u8()).await.unwrap().unwrap());
    }
    stream.write_all(b"HEAD /livez HTTP/1.1\r\ncontent-length: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{answer}");
    handle.stop(false).await;
}
