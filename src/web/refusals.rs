//! The bytes between a client and the HTTP/1 codec, which refuses by itself what is no request: it answers with an
//! error that has no body, and closes. Here such an answer gets the body that every other error has. A connection on which
//! nothing was asked is closed without a word: clients open some ahead, and take an answer that they did not ask for, in
//! the moment in which they ask, for the answer to that.
//!
//! Owns how that answer is recognised on its way out and how long its reader is waited for, and who hears that a client
//! has hung up. Everything else passes through untouched. Must not know what a refusal says: that is [`Problem::of_codec`].
//!
//! The codec gives no better place: it hands a refusal to no service. But its answer is always the last one of its
//! connection, is encoded in one piece, and has no header of ours, which every answer of the application has. So the end
//! of what is written is looked at, and nothing has to be understood that comes before it.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::net::{ActixStream, Ready};
use actix_web::{ResponseError, body::MessageBody, http::header};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Sleep, sleep},
};

use super::problem::Problem;

/// A client that is still sending when it is refused would lose the answer if its connection was closed on what it
/// sends: the kernel then resets it. So what comes is read and forgotten for this long.
const LINGER: Duration = Duration::from_secs(2);

/// The codec's answers have less than half of that.
const LONGEST_HEAD: usize = 256;

const HEAD: &[u8] = b"HEAD ";

/// What the codec answers when no request came in time.
const TOO_LATE: u16 = 408;

/// Told when a client has closed its side of a connection. The codec goes on with what was asked, as if an answer could
/// still be read; whoever makes somebody wait for long is to ask here.
#[derive(Clone, Default)]
pub(super) struct HungUp(Arc<Notify>);

impl HungUp {
    /// Returns once the client has hung up, also when it has before. One at a time may wait, as one request is served at
    /// a time.
    pub(super) async fn wait(&self) {
        self.0.notified().await;
        self.0.notify_one();
    }
}

/// A connection whose refusals explain themselves.
pub(super) struct Explained<Io> {
    io: Io,
    hung_up: HungUp,
    peer: Option<SocketAddr>,
    /// The first bytes that came since something was written, which begin the request that is answered next.
    asked: Vec<u8>,
    refusal: Refusal,
}

/// How far the answer to what is no request came.
enum Refusal {
    None,
    /// It is being written, so far to this byte.
    Writing(Vec<u8>, usize),
    /// It is written; its reader may still be sending.
    Lingering(Pin<Box<Sleep>>),
    /// Nothing more is to be said.
    Done,
}

impl<Io> Explained<Io> {
    pub(super) fn new(io: Io, peer: Option<SocketAddr>) -> Self {
        let asked = Vec::with_capacity(HEAD.len());
        Self { io, hung_up: HungUp::default(), peer, asked, refusal: Refusal::None }
    }

    pub(super) fn hung_up(&self) -> HungUp {
        self.hung_up.clone()
    }

    fn explain(&self, head: &Head<'_>) -> Vec<u8> {
        let id = uuid::Uuid::now_v7();
        // Quiet, because anybody who knocks could fill the log with it.
        tracing::debug!(status = head.status, peer = ?self.peer, request_id = %id, "http.refused");
        let response = Problem::of_codec(head.status).error_response();
        let mut answer = format!("{}\r\n{}\r\nconnection: close\r\nx-request-id: {id}\r\n", head.line, head.date);
        for (name, value) in response.headers() {
            // All of them are ours, and ASCII.
            answer.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        let body = response.into_body().try_into_bytes().unwrap_or_default();
        answer.push_str(&format!("{}: {}\r\n\r\n", header::CONTENT_LENGTH, body.len()));
        let mut answer = answer.into_bytes();
        if self.asked != HEAD {
            answer.extend_from_slice(&body);
        }
        answer
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Explained<Io> {
    /// Whether something has come that the codec has not read, and never will.
    fn asks_now(&mut self, cx: &mut Context<'_>) -> bool {
        let mut room = [0; HEAD.len()];
        let mut room = ReadBuf::new(&mut room);
        let _ = Pin::new(&mut self.io).poll_read(cx, &mut room);
        self.asked.extend_from_slice(room.filled());
        !self.asked.is_empty()
    }

    /// Writes the answer that stands in for the codec's, and waits for its reader. Nothing is said to be written before
    /// that, because the codec drops the connection as soon as its own answer is.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.refusal {
                Refusal::Writing(answer, written) => {
                    let rest = answer.get(*written..).unwrap_or_default();
                    if rest.is_empty() {
                        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                        ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
                        self.refusal = Refusal::Lingering(Box::pin(sleep(LINGER)));
                    } else {
                        match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                            some => *written += some,
                        }
                    }
                }
                Refusal::Lingering(end) => {
                    let mut room = [0; 4096];
                    let mut room = ReadBuf::new(&mut room);
                    let over = match Pin::new(&mut self.io).poll_read(cx, &mut room) {
                        Poll::Ready(Ok(())) => room.filled().is_empty() || end.is_elapsed(),
                        Poll::Ready(Err(_)) => true,
                        Poll::Pending => {
                            ready!(end.as_mut().poll(cx));
                            true
                        }
                    };
                    if over {
                        self.refusal = Refusal::Done;
                    }
                }
                Refusal::None | Refusal::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// The head of an answer that only the codec gives: an error without a body and without a header of ours.
#[derive(Debug, PartialEq, Eq)]
struct Head<'a> {
    starts_at: usize,
    line: &'a str,
    status: u16,
    date: &'a str,
}

impl<'a> Head<'a> {
    /// The one that `bytes` end with, if they do.
    fn ending(bytes: &'a [u8]) -> Option<Self> {
        let lines = bytes.strip_suffix(b"\r\n\r\n")?;
        let from = lines.len().saturating_sub(LONGEST_HEAD);
        let starts_at = from + lines.get(from..)?.windows(5).rposition(|window| window == b"HTTP/")?;
        let mut lines = str::from_utf8(lines.get(starts_at..)?).ok()?.split("\r\n");
        let line = lines.next()?;
        let status = line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok().filter(|status| *status >= 400)?;
        let (mut date, mut empty) = (None, false);
        for line in lines {
            match line.split_once(": ")? {
                ("content-length", "0") => empty = true,
                ("connection", _) => {}
                ("date", _) => date = Some(line),
                _ => return None,
            }
        }
        Some(Self { starts_at, line, status, date: date.filter(|_| empty)? })
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Explained<Io> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, into))?;
        let came = into.filled().get(before..).unwrap_or_default();
        if came.is_empty() && into.remaining() > 0 {
            this.hung_up.0.notify_one();
        }
        let line_ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let first = if this.asked.is_empty() { came.iter().position(|byte| !line_ends(byte)) } else { Some(0) };
        let missing = HEAD.len() - this.asked.len();
        this.asked.extend(came.iter().skip(first.unwrap_or(came.len())).take(missing));
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Explained<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let pass_through = match (Head::ending(bytes), &this.refusal) {
            (None, _) => bytes,
            // What comes before it is written first.
            (Some(head), _) if head.starts_at > 0 => bytes.get(..head.starts_at).unwrap_or(bytes),
            (Some(head), Refusal::None) => {
                let unasked = head.status == TOO_LATE && this.asked.is_empty() && !this.asks_now(cx);
                let answer = if unasked { Vec::new() } else { this.explain(&head) };
                this.refusal = Refusal::Writing(answer, 0);
                return this.poll_refusal(cx).map_ok(|()| bytes.len());
            }
            (Some(_), _) => return this.poll_refusal(cx).map_ok(|()| bytes.len()),
        };
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, pass_through))?;
        this.asked.clear();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.refusal {
            // That has happened already.
            Refusal::Done => Poll::Ready(Ok(())),
            _ => Pin::new(&mut this.io).poll_shutdown(cx),
        }
    }
}

impl<Io: ActixStream> ActixStream for Explained<Io> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.io.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.io.poll_write_ready(cx)
    }
}
