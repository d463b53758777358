//! A viewer of the operator's feed that tolerates no gap.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, handshake::client::Request},
};

/// What both sides speak.
pub const PROTOCOL: &str = "getaredis.feed.v1";

/// See the module's header.
pub struct Feed {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    seq: u64,
}

/// The request that opens the feed of a server, with these headers.
pub fn request(authority: &str, headers: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://{authority}/v1/admin/feed").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// The status and the problem that a refused viewer is answered with.
pub async fn refused(request: Request) -> (u16, String) {
    match connect_async(request).await {
        Err(Error::Http(response)) => {
            let body: Value =
                serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap_or_default();
            let kind = body["type"].as_str().unwrap_or_default();
            (response.status().as_u16(), kind.trim_start_matches("/problems/").to_owned())
        }
        Err(e) => panic!("no answer: {e}"),
        Ok(_) => panic!("it was let in"),
    }
}

impl Feed {
    /// Watches with the token in a header, as a program does. The snapshot comes first.
    pub async fn open(authority: &str, token: &str) -> Self {
        Self::with(request(authority, &[("authorization", &format!("Bearer {token}"))])).await
    }

    /// Watches as the request says.
    pub async fn with(request: Request) -> Self {
        let (socket, _) = connect_async(request).await.unwrap();
        Self { socket, seq: 0 }
    }

    /// The next frame, which must be the one after the last.
    pub async fn frame(&mut self, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = match tokio::time::timeout(left, self.socket.next()).await {
                Ok(message) => message.expect("the feed ended").unwrap(),
                Err(_) => panic!("no frame within {within:?} after number {}", self.seq),
            };
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            match frame["type"].as_str() {
                Some("snapshot") => self.seq = frame["seq"].as_u64().unwrap(),
                Some("delta") => {
                    assert_eq!(frame["seq"], self.seq + 1, "a gap: {frame}");
                    self.seq += 1;
                }
                Some("resync") => {}
                _ => panic!("no such frame: {frame}"),
            }
            assert!(frame["type"] == "resync" || frame["at"].is_string(), "{frame}");
            return frame;
        }
    }

    /// The snapshot that a feed begins with.
    pub async fn snapshot(&mut self) -> Value {
        let frame = self.frame(super::SOON).await;
        assert_eq!(frame["type"], "snapshot", "{frame}");
        frame
    }

    /// Reads on until `wanted` finds what it looks for in a fact.
    pub async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + super::SOON;
        loop {
            assert!(Instant::now() < deadline, "never seen: {what}");
            let frame = self.frame(super::SOON).await;
            assert_eq!(frame["type"], "delta", "while waiting for {what}: {frame}");
            if let Some(found) = wanted(&frame["fact"]) {
                return found;
            }
        }
    }

    /// Reads on until the server says goodbye; the code that it gives.
    pub async fn goodbye(&mut self) -> u16 {
        let reading = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(reason))) => return reason.map_or(0, |reason| reason.code.into()),
                    Some(Ok(_)) => {}
                    other => panic!("no goodbye: {other:?}"),
                }
            }
        };
        tokio::time::timeout(super::SOON, reading).await.expect("a goodbye in time")
    }
}
