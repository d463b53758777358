//! The connection to an engine: a unix socket, plain TCP, or TLS with a client certificate from memory.
//!
//! Ours instead of the client library's because that one makes a new connection, and with TLS a new handshake, for
//! every call to a TCP engine, reads the certificates again each time, and trusts every authority of the machine.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures_util::TryFutureExt;
use getaredis_actors::ports::RuntimeError;
use http::uri::{Authority, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Builder, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::UnixStream;

use super::{error::meaning, tls::ClientTls};

/// How long an idle connection is kept; less than what proxies in front of an engine usually grant.
const KEEP_IDLE: Duration = Duration::from_secs(30);
/// A host that vanished without a word is noticed by a stream of events after this much silence …
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
/// … and this many unanswered questions, asked in this rhythm.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_QUESTIONS: u32 = 3;
/// The longest that connecting to a TCP engine may take; above two lost packets.
const CONNECT: Duration = Duration::from_secs(5);
/// What the library may wait for a response's headers. Every call has its own, shorter bound.
const LIBRARY_TIMEOUT_S: u64 = 3600;

/// Where an engine is.
pub(super) enum EngineAddress {
    /// A socket of this machine.
    Unix(PathBuf),
    /// Plain HTTP.
    Http(Authority),
    /// HTTP over TLS.
    Https(Authority, ClientTls),
}

impl EngineAddress {
    /// Reads `unix:///path`, `tcp://host:port`, `http://host:port` or `https://host:port`.
    pub(super) fn parse(endpoint: &str, tls: Option<&ClientTls>) -> Result<Self, RuntimeError> {
        let refuse = |why: &str| Err(RuntimeError::Refused(format!("{endpoint:?} is no engine's address: {why}")));
        let Some((scheme, rest)) = endpoint.split_once("://") else {
            return refuse("it must begin with unix://, tcp://, http:// or https://");
        };
        if scheme == "unix" {
            let path = PathBuf::from(rest);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { refuse("the path must be absolute") };
        }
        if rest.contains('@') {
            // Not repeated, because what stands before the @ may be a secret.
            return Err(RuntimeError::Refused("an engine's address must not hold a user or password".into()));
        }
        let authority = match rest.trim_end_matches('/').parse::<Authority>() {
            Ok(authority) if authority.port_u16().is_some() => authority,
            Ok(_) => return refuse("it names no port"),
            Err(_) => return refuse("after the scheme only host:port may follow"),
        };
        match (scheme, tls) {
            ("tcp" | "https", Some(tls)) => Ok(Self::Https(authority, tls.clone())),
            ("tcp" | "http", _) => Ok(Self::Http(authority)),
            ("https", None) => refuse("https needs the three TLS files of the configuration"),
            _ => refuse("it must begin with unix://, tcp://, http:// or https://"),
        }
    }

    /// Whether the engine's published ports are this machine's.
    pub(super) fn is_on_this_machine(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// A client for it. Connects when it is first used.
    pub(super) fn client(&self) -> Result<Docker, RuntimeError> {
        let (timeout, version) = (LIBRARY_TIMEOUT_S, API_DEFAULT_VERSION);
        let docker = match self {
            Self::Unix(path) => {
                let client = pool().build(UnixConnector(path.as_path().into()));
                let send = move |request: BollardRequest| client.request(request).err_into();
                Docker::connect_with_custom_transport(send, Some("http://localhost"), timeout, version)
            }
            Self::Http(authority) => {
                let client = pool().build(tcp());
                let send = move |request: BollardRequest| client.request(request).err_into();
                Docker::connect_with_custom_transport(send, Some(format!("http://{authority}")), timeout, version)
            }
            Self::Https(authority, tls) => {
                let client = pool().build(over_tls(tls));
                let send = move |request: BollardRequest| client.request(request).err_into();
                Docker::connect_with_custom_transport(send, Some(format!("https://{authority}")), timeout, version)
            }
        };
        docker.map_err(|error| meaning(&error))
    }
}

fn pool() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(KEEP_IDLE).pool_timer(TokioTimer::new());
    builder
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE_AFTER));
    connector.set_keepalive_interval(Some(KEEPALIVE_EVERY));
    connector.set_keepalive_retries(Some(KEEPALIVE_QUESTIONS));
    connector
}

fn over_tls(tls: &ClientTls) -> HttpsConnector<HttpConnector> {
    let mut tcp = tcp();
    tcp.enforce_http(false);
    hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls.0.as_ref().clone())
        .https_only()
        .enable_http1()
        .wrap_connector(tcp)
}

/// Connects to one socket, whatever the address says.
#[derive(Clone)]
struct UnixConnector(Arc<Path>);

impl tower_service::Service<Uri> for UnixConnector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move {
            UnixStream::connect(&path)
                .await
                .map(TokioIo::new)
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(endpoint: &str) -> Result<&'static str, String> {
        match EngineAddress::parse(endpoint, None) {
            Ok(EngineAddress::Unix(_)) => Ok("unix"),
            Ok(EngineAddress::Http(_)) => Ok("http"),
            Ok(EngineAddress::Https(..)) => Ok("https"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn sockets_and_tcp_engines_are_understood() {
        assert_eq!(kind("unix:///run/docker.sock"), Ok("unix"));
        assert_eq!(kind("tcp://10.0.0.2:2375"), Ok("http"));
        assert_eq!(kind("tcp://[::1]:2375/"), Ok("http"));
        assert_eq!(kind("http://docker:2375"), Ok("http"));
    }

    #[test]
    fn what_cannot_be_connected_to_is_refused_and_no_secret_is_repeated() {
        for bad in ["", "/run/docker.sock", "unix://docker.sock", "ssh://host:22", "tcp://host", "tcp://host:1/path"] {
            assert!(kind(bad).is_err(), "{bad}");
        }
        assert!(kind("https://host:2376").unwrap_err().contains("TLS files"));
        assert!(!kind("tcp://user:hunter2@host:2376").unwrap_err().contains("hunter2"));
    }
}
