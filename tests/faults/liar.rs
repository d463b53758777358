//! A Docker Engine that lies: a proxy that answers chosen requests by itself and passes all others on.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};

use crate::support::engine;

/// What is answered instead of the engine.
#[derive(Debug, Clone)]
pub struct Lie {
    pub method: &'static str,
    /// Must occur in the path.
    pub path: &'static str,
    pub status: &'static str,
    pub body: &'static str,
}

#[derive(Default)]
struct Story {
    lies: Vec<Lie>,
    told: usize,
}

/// See the module's header. Stops when it is dropped.
pub struct Liar {
    port: u16,
    story: Arc<Mutex<Story>>,
    keeper: JoinHandle<()>,
}

impl Liar {
    pub async fn telling(lies: Vec<Lie>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let story = Arc::new(Mutex::new(Story { lies, told: 0 }));
        let telling = Arc::clone(&story);
        let keeper = tokio::spawn(async move {
            while let Ok((visitor, _)) = listener.accept().await {
                // A connection that breaks is the visitor's to notice.
                tokio::spawn(serve(visitor, Arc::clone(&telling)));
            }
        });
        Self { port, story, keeper }
    }

    /// Where the engine is, as the server is told.
    pub fn endpoint(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// From now on it also tells this one.
    pub fn tell(&self, lie: Lie) {
        self.story.lock().unwrap().lies.push(lie);
    }

    /// From now on it tells the truth.
    pub fn relent(&self) {
        self.story.lock().unwrap().lies.clear();
    }

    /// How many lies were told.
    pub fn told(&self) -> usize {
        self.story.lock().unwrap().told
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// One request for each connection, so that every request is seen.
async fn serve(mut visitor: TcpStream, story: Arc<Mutex<Story>>) -> io::Result<()> {
    let mut request = Vec::new();
    let head = loop {
        if visitor.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
    };
    let line = String::from_utf8_lossy(&request[..head]).lines().next().unwrap_or_default().to_owned();
    if let Some(Lie { status, body, .. }) = lie_for(&line, &story) {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        visitor.write_all(answer.as_bytes()).await?;
        return visitor.shutdown().await;
    }
    let rest = request.split_off(head);
    request.extend_from_slice(b"\r\nconnection: close");
    request.extend(rest);
    let endpoint = engine::endpoint();
    match endpoint.strip_prefix("unix://") {
        Some(path) => pass(visitor, UnixStream::connect(path).await?, &request).await,
        None => pass(visitor, TcpStream::connect(endpoint.trim_start_matches("tcp://")).await?, &request).await,
    }
}

async fn pass(mut visitor: TcpStream, mut engine: impl AsyncRead + AsyncWrite + Unpin, head: &[u8]) -> io::Result<()> {
    engine.write_all(head).await?;
    copy_bidirectional(&mut visitor, &mut engine).await.map(drop)
}

fn lie_for(line: &str, story: &Mutex<Story>) -> Option<Lie> {
    let (method, path) = line.split_once(' ')?;
    let Story { lies, told } = &mut *story.lock().unwrap();
    let lie = lies.iter().find(|lie| lie.method == method && path.contains(lie.path))?;
    *told += 1;
    Some(lie.clone())
}
