//! A receiver of notices is told a life from its beginning to its end, whatever happens in between.

use std::sync::{Arc, Mutex};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::support::{SOON, eventually, server::Server};

const KEY: [u8; 32] = *b"fedcba9876543210fedcba9876543210";

/// What a receiver was posted.
#[derive(Debug, Clone, Default)]
struct Posted {
    id: String,
    signed: String,
    signature: String,
    body: Value,
}

/// A receiver that answers with a status which the test may change.
#[derive(Clone)]
struct Receiver {
    url: String,
    status: Arc<Mutex<&'static str>>,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Receiver {
    async fn answering(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let receiver = Self { url, status: Arc::new(Mutex::new(status)), posted: Arc::default() };
        let answering = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = answering.clone();
                // A connection that breaks is the killed server's.
                tokio::spawn(async move { receiver.answer(stream).await.ok() });
            }
        });
        receiver
    }

    /// Takes one request and closes.
    async fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let (mut posted, mut seconds, mut length) = (Posted::default(), String::new(), 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_lowercase().as_str() {
                "webhook-id" => posted.id = value.to_owned(),
                "webhook-timestamp" => seconds = value.to_owned(),
                "webhook-signature" => posted.signature = value.to_owned(),
                "content-length" => length = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let body = String::from_utf8_lossy(&body).into_owned();
        posted.signed = format!("{}.{seconds}.{body}", posted.id);
        posted.body = serde_json::from_str(&body).unwrap_or_default();
        self.posted.lock().unwrap().push(posted);
        let status = *self.status.lock().unwrap();
        stream
            .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
            .await
    }

    fn setting(&self) -> String {
        let secret = format!("whsec_{}", BASE64_STANDARD.encode(KEY));
        format!(r#"[{{ name = "audit", url = "{}", secret = "{secret}" }}]"#, self.url)
    }

    fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }

    /// Waits until it was told these, in this order and nothing else; repetitions count once.
    async fn told(&self, ids: &[String]) {
        eventually("the receiver is told", SOON, async || {
            let mut told: Vec<_> = self.posted().into_iter().map(|posted| posted.id).collect();
            told.dedup();
            if told == ids { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    }
}

fn genuine(posted: &Posted) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
    mac.update(posted.signed.as_bytes());
    posted.signature == format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_receiver_that_was_away_is_told_after_a_crash_what_it_missed_and_what_follows() {
    let receiver = Receiver::answering("503 Service Unavailable").await;
    let mut server = Server::start(&[("webhooks.sinks", &receiver.setting()), ("webhooks.timeout", "1s")]).await;
    server.secrets().keep(&BASE64_STANDARD.encode(KEY));
    let instance = server.api().create().await;
    server.secrets().keep(&receiver.url);
    let [created, ended] = ["created", "ended"].map(|what| format!("{}_{what}", instance.id));
    receiver.told(std::slice::from_ref(&created)).await;
    server.kill();
    *receiver.status.lock().unwrap() = "204 No Content";
    let before = receiver.posted().len();
    server.start_again().await;
    eventually("it is told again", 2 * SOON, async || {
        if receiver.posted().len() > before { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    assert_eq!(server.api().delete(&instance).await.status, 204);
    receiver.told(&[created, ended]).await;

    let posted = receiver.posted();
    assert!(posted.iter().all(genuine), "{posted:#?}");
    let last = &posted.last().unwrap().body;
    assert_eq!((last["type"].as_str(), last["data"]["reason"].as_str()), (Some("instance.ended"), Some("deleted")));
    let answer = server.api().get("/metrics").await;
    assert_eq!(answer.status, 200);
}
