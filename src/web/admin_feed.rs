//! `GET /v1/admin/feed`: the operator's websocket, a snapshot and then every fact in its order.
//!
//! Owns the open sessions. Each reads its own bounded channel, which the feed cuts when it is not emptied in time: the
//! session then says `resync` and subscribes anew, so a slow browser delays nobody. What a client says is not listened
//! to. On restart all sessions are lost and browsers come back by themselves.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL},
    rt,
    web::{Data, Payload},
};
use actix_ws::{CloseCode, CloseReason, Message, MessageStream, ProtocolError, Session};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{FutureExt, future::LocalBoxFuture};
use getaredis_actors::{
    feed::messages::{Delta, Snapshot, Subscribe, Subscription},
    supervision::{AskError, ask},
};
use secrecy::SecretString;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::Instrument;

use super::{
    FeedSettings, Web,
    admin::{admit, configured},
    problem::{Kind, Problem},
    request::own_origin,
    tokens::bearer,
};

/// What both sides speak.
const PROTOCOL: &str = "getaredis.feed.v1";
/// What precedes the token among the offered protocols: a browser's websocket has no other header to put it in.
const TOKEN_PROTOCOL: &str = "bearer.";
/// The feed answers from memory.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(5);
/// A feed that restarts is back by then; and a session that is always too slow gets one snapshot in this time.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);
/// Nothing that a client has to say is longer.
const LONGEST_FRAME: usize = 4096;

/// The open sessions: how many there may be, and the word that ends them all.
pub(super) struct Sessions {
    places: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

impl Sessions {
    pub(super) fn new(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), closing: watch::Sender::new(false) }
    }

    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    pub(super) fn closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// A text frame.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame<'a> {
    Snapshot(&'a Snapshot),
    Delta(&'a Delta),
    Resync,
}

/// Lets the operator in and upgrades; everything that can be refused is, before that.
pub(super) async fn open(web: Data<Web>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let headers = request.headers();
    configured(&web)?;
    if !own_origin(headers, request.uri(), &web.settings.allowed_origins) {
        return Err(Problem::new(Kind::Forbidden, "A web page of another origin may not read the operator's feed."));
    }
    admit(&request, &web, bearer(headers).or_else(|| offered_token(headers))).await?;
    let busy = |why| Problem::new(Kind::Busy, why).retry_after(Duration::from_secs(10));
    if web.sessions.closing() {
        return Err(busy("The server is shutting down."));
    }
    let place = web.sessions.places.clone().try_acquire_owned();
    let place = place.map_err(|_| busy("As many sessions are open as may be at once."))?;
    let upgrade = actix_ws::handle_with_protocols(&request, payload, &[PROTOCOL]);
    let (response, session, stream) = upgrade.map_err(|error| {
        Problem::new(Kind::InvalidRequest, "This address speaks WebSocket (version 13) only.").because(error)
    })?;
    let subscription =
        ask(&web.doors.subscribe, Subscribe, SUBSCRIBE_WITHIN).await.map_err(|error| Problem::of_ask(error, "feed"))?;

    let viewer = Viewer {
        settings: web.settings.feed,
        stream: stream.max_frame_size(LONGEST_FRAME),
        source: Source::Fresh(Some(subscription)),
        heard: Instant::now(),
        web,
        _place: place,
    };
    rt::spawn(viewer.run(session).in_current_span());
    Ok(response)
}

/// The token among the offered protocols.
fn offered_token(headers: &HeaderMap) -> Option<SecretString> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|line| line.to_str().ok());
    let mut tokens = lines.flat_map(|line| line.split(',')).filter_map(|one| one.trim().strip_prefix(TOKEN_PROTOCOL));
    let (Some(only), None) = (tokens.next(), tokens.next()) else { return None };
    let bytes = URL_SAFE_NO_PAD.decode(only).ok()?;
    String::from_utf8(bytes).ok().map(Into::into)
}

/// Where the next frame comes from.
enum Source {
    /// A view whose snapshot was not sent yet.
    Fresh(Option<Subscription>),
    /// What happens after the snapshot.
    Live(mpsc::Receiver<Arc<Delta>>),
    /// A new view is on its way.
    Pending(LocalBoxFuture<'static, Result<Subscription, AskError>>),
}

/// What the source had.
enum Next {
    Snapshot(Box<Subscription>),
    Delta(Arc<Delta>),
    /// The channel ended: too slow, or the feed restarted.
    Cut,
    /// No new view yet.
    Refused(AskError),
}

impl Source {
    /// Waits for the next one. May be dropped half-way without losing anything.
    async fn next(&mut self) -> Next {
        match self {
            Self::Fresh(view) => view.take().map_or(Next::Cut, |view| Next::Snapshot(Box::new(view))),
            Self::Live(deltas) => deltas.recv().await.map_or(Next::Cut, Next::Delta),
            Self::Pending(subscribing) => match subscribing.await {
                Ok(view) => Next::Snapshot(Box::new(view)),
                Err(error) => Next::Refused(error),
            },
        }
    }
}

/// Why a session is over.
enum Over {
    /// With these words, which the client is told.
    Said(CloseReason),
    /// Without any, because nobody listens.
    Silent(&'static str),
}

/// One operator who watches.
struct Viewer {
    web: Data<Web>,
    settings: FeedSettings,
    stream: MessageStream,
    source: Source,
    /// When the client last gave a sign of life.
    heard: Instant,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    async fn run(mut self, mut session: Session) {
        tracing::info!("feed.session_opened");
        let why = match self.watch(&mut session).await {
            Over::Silent(why) => why.to_owned(),
            Over::Said(reason) => {
                let why = reason.description.clone().unwrap_or_default();
                // Whether it arrives is the client's concern.
                let _ = timeout(self.settings.write_timeout, session.close(Some(reason))).await;
                why
            }
        };
        tracing::info!(why, "feed.session_closed");
    }

    async fn watch(&mut self, session: &mut Session) -> Over {
        let mut ping = interval(self.settings.ping_every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.tick().await;
        let mut closing = self.web.sessions.closing.subscribe();
        let mut closing = pin!(async move { closing.wait_for(|closing| *closing).await.is_ok() });
        loop {
            let step = tokio::select! {
                _ = &mut closing => return said(CloseCode::Away, "the server is shutting down"),
                message = self.stream.recv() => match message {
                    Some(Ok(message)) => self.heard(session, message).await,
                    // The connection broke, without a word.
                    Some(Err(ProtocolError::Io(_))) => return Over::Silent("the client is gone"),
                    Some(Err(_)) => return said(CloseCode::Protocol, "the frames make no sense"),
                    None => return Over::Silent("the client is gone"),
                },
                _ = ping.tick() => self.ping(session).await,
                next = self.source.next() => self.tell(session, next).await,
            };
            if let Err(over) = step {
                return over;
            }
        }
    }

    async fn heard(&mut self, session: &mut Session, message: Message) -> Result<(), Over> {
        self.heard = Instant::now();
        match message {
            Message::Ping(bytes) => self.within(session.pong(&bytes)).await,
            Message::Close(_) => Err(said(CloseCode::Normal, "the client closed it")),
            // Nothing is expected of a viewer.
            Message::Text(_) | Message::Binary(_) | Message::Continuation(_) | Message::Pong(_) | Message::Nop => {
                Ok(())
            }
        }
    }

    async fn ping(&self, session: &mut Session) -> Result<(), Over> {
        if self.heard.elapsed() > self.settings.dead_after {
            return Err(Over::Silent("no sign of life"));
        }
        self.within(session.ping(b"")).await
    }

    async fn tell(&mut self, session: &mut Session, next: Next) -> Result<(), Over> {
        match next {
            Next::Delta(delta) => self.frame(session, &Frame::Delta(&delta)).await,
            Next::Snapshot(view) => {
                self.frame(session, &Frame::Snapshot(&view.snapshot)).await?;
                self.source = Source::Live(view.deltas);
                Ok(())
            }
            Next::Cut => {
                self.source = self.subscribe();
                self.frame(session, &Frame::Resync).await
            }
            Next::Refused(AskError::Down) => Err(said(CloseCode::Again, "the feed is out of service")),
            Next::Refused(AskError::Restarting | AskError::Timeout | AskError::Busy) => {
                self.source = self.subscribe();
                Ok(())
            }
        }
    }

    /// A new view, after a pause.
    fn subscribe(&self) -> Source {
        let web = self.web.clone();
        let subscribing = async move {
            sleep(RESUBSCRIBE_AFTER).await;
            ask(&web.doors.subscribe, Subscribe, SUBSCRIBE_WITHIN).await
        };
        Source::Pending(subscribing.boxed_local())
    }

    async fn frame(&self, session: &mut Session, frame: &Frame<'_>) -> Result<(), Over> {
        let text = serde_json::to_string(frame).map_err(|error| {
            tracing::error!(error = %error, "feed.frame_unwritable");
            said(CloseCode::Error, "a frame could not be written")
        })?;
        self.within(session.text(text)).await
    }

    /// Sends, unless the client does not take anything.
    async fn within(&self, sending: impl Future<Output = Result<(), actix_ws::Closed>>) -> Result<(), Over> {
        match timeout(self.settings.write_timeout, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Over::Silent("the client is gone")),
            Err(_) => Err(Over::Silent("the client takes nothing")),
        }
    }
}

fn said(code: CloseCode, why: &str) -> Over {
    Over::Said(CloseReason { code, description: Some(why.to_owned()) })
}
