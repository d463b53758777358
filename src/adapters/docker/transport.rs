//! The connection to an engine: a unix socket, plain TCP, TLS with a client certificate from memory, or TLS to a pinned
//! key with a password.
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
use http::{
    HeaderValue,
    header::AUTHORIZATION,
    uri::{Authority, InvalidUri, PathAndQuery, Uri},
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Builder, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::UnixStream;

use super::{error::meaning, pinned::Pinned, tls::ClientTls};

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

/// How a TCP engine and we recognise each other.
pub(super) enum Trust {
    /// Not at all: plain HTTP.
    Open,
    /// By certificates that authorities signed. `tcp://` then means TLS, as it does for Docker's own client.
    Certificate(ClientTls),
    /// By a known key and a password. Nothing less is spoken to.
    Pinned(Pinned),
}

/// Where an engine is.
pub(super) enum EngineAddress {
    /// A socket of this machine.
    Unix(PathBuf),
    /// Plain HTTP.
    Http(Authority),
    /// HTTP over TLS.
    Https {
        /// The engine, or what stands before it.
        authority: Authority,
        /// What every path begins with there; no slash at its end.
        prefix: String,
        /// Who we are and whom we trust.
        tls: ClientTls,
        /// What opens it, where a password does.
        authorization: Option<HeaderValue>,
    },
}

impl EngineAddress {
    /// Reads `unix:///path`, `tcp://host:port`, `http://host:port` or `https://host:port/prefix`.
    pub(super) fn parse(endpoint: &str, trust: &Trust) -> Result<Self, RuntimeError> {
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
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = match authority.parse::<Authority>() {
            Ok(authority) if authority.port_u16().is_some() => authority,
            Ok(_) => return refuse("it names no port"),
            Err(_) => return refuse("after the scheme host:port must follow"),
        };
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() && scheme != "https" {
            return refuse("only an https:// address may have a path");
        }
        if !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~')) {
            return refuse("its path may hold letters, digits and -_.~/ only");
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        let https = |tls: &ClientTls, authorization| {
            Ok(Self::Https { authority: authority.clone(), prefix: prefix.clone(), tls: tls.clone(), authorization })
        };
        match (scheme, trust) {
            ("https", Trust::Pinned(pinned)) => https(&pinned.tls, Some(pinned.authorization.clone())),
            ("tcp" | "http", Trust::Pinned(_)) => {
                refuse("the password that opens a host is sent to https:// only (docker.host_auth is \"derived\")")
            }
            ("tcp" | "https", Trust::Certificate(tls)) => https(tls, None),
            ("tcp" | "http", _) => Ok(Self::Http(authority)),
            ("https", Trust::Open) => {
                refuse("https needs the three TLS files of the configuration, or docker.host_auth = \"derived\"")
            }
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
            Self::Https { authority, prefix, tls, authorization } => {
                let client = pool().build(over_tls(tls));
                let (prefix, authorization) = (prefix.clone(), authorization.clone());
                let send = move |mut request: BollardRequest| {
                    if let Some(value) = &authorization {
                        request.headers_mut().insert(AUTHORIZATION, value.clone());
                    }
                    let placed = below(&prefix, request.uri()).map(|uri| *request.uri_mut() = uri);
                    let client = client.clone();
                    async move {
                        placed.map_err(http::Error::from)?;
                        client.request(request).await.map_err(Into::into)
                    }
                };
                Docker::connect_with_custom_transport(send, Some(format!("https://{authority}")), timeout, version)
            }
        };
        docker.map_err(|error| meaning(&error))
    }
}

/// The same address with `prefix` before its path. The library would drop a prefix.
fn below(prefix: &str, uri: &Uri) -> Result<Uri, InvalidUri> {
    let mut parts = uri.clone().into_parts();
    if let Some(path) = parts.path_and_query.as_ref().filter(|_| !prefix.is_empty()) {
        parts.path_and_query = Some(format!("{prefix}{path}").parse::<PathAndQuery>()?);
    }
    // Scheme and authority were there before, so nothing can be missing now.
    Ok(Uri::from_parts(parts).unwrap_or_else(|_| uri.clone()))
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

    fn kind_with(endpoint: &str, trust: &Trust) -> Result<&'static str, String> {
        match EngineAddress::parse(endpoint, trust) {
            Ok(EngineAddress::Unix(_)) => Ok("unix"),
            Ok(EngineAddress::Http(_)) => Ok("http"),
            Ok(EngineAddress::Https { authorization: None, .. }) => Ok("https"),
            Ok(EngineAddress::Https { .. }) => Ok("https with a password"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn kind(endpoint: &str) -> Result<&'static str, String> {
        kind_with(endpoint, &Trust::Open)
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

    #[test]
    fn a_password_is_sent_to_an_engine_with_a_pinned_key_only() {
        let pinned = Trust::Pinned(Pinned::new(Vec::new(), "user", &"hunter2".to_owned().into()).unwrap());
        assert_eq!(kind_with("https://10.0.0.2:2376", &pinned), Ok("https with a password"));
        assert_eq!(kind_with("https://host:2376/a/b", &pinned), Ok("https with a password"));
        assert_eq!(kind_with("unix:///run/docker.sock", &pinned), Ok("unix"));
        for plain in ["tcp://10.0.0.2:2376", "http://10.0.0.2:2375", "https://h:1/a?b", "https://h:1/a b"] {
            let why = kind_with(plain, &pinned).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn a_prefix_comes_before_every_path() {
        let uri: Uri = "https://h:1/containers/json?all=1".parse().unwrap();
        assert_eq!(below("/one/two", &uri).unwrap(), "https://h:1/one/two/containers/json?all=1");
        assert_eq!(below("", &uri).unwrap(), uri);
    }
}
