//! The API behind a socket, with a handle for the test that started it.

use std::{
    any::Any,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use actix_web::{
    App, HttpServer,
    dev::{Extensions, ServerHandle},
    rt::{System, net::TcpStream},
    web,
};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use serde_json::Value;
use socket2::SockRef;

use super::{
    calls::{Call, Calls},
    faults::{Fault, Script},
    gate::{self, Gate, Line},
    machines::Machines,
    rates::{RateLimits, Rates},
    world::{DropletView, Settings, World},
};

/// Bytes of a request's body at most; user data has 64 KiB.
const LONGEST_BODY: usize = 1024 * 1024;

/// How the API is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// With a certificate that the API signs itself; see [`Api::certificate`].
    Https,
}

/// A running API. It ends, with the machines behind it, when this is dropped.
pub struct Api {
    gate: Arc<Gate>,
    certificate: Option<String>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Api {
    /// Starts an API over HTTP on a free port of loopback, for one client with this token.
    ///
    /// # Errors
    /// When this machine has no port, thread or certificate to give.
    pub fn start(token: &str, settings: Settings, machines: Arc<dyn Machines>) -> io::Result<Self> {
        Self::start_at(0, Scheme::Http, token, settings, machines)
    }

    /// The same, on this port (0 chooses a free one) and over HTTP or HTTPS.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub fn start_at(
        port: u16,
        scheme: Scheme,
        token: &str,
        settings: Settings,
        machines: Arc<dyn Machines>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        Self::start_on(listener, scheme, token, settings, machines)
    }

    /// The same, on a socket that is there already. A socket stays in the network that it was made in, so an API can be
    /// inside of one while this process is not.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub fn start_on(
        listener: TcpListener,
        scheme: Scheme,
        token: &str,
        settings: Settings,
        machines: Arc<dyn Machines>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let tls = match scheme {
            Scheme::Http => None,
            Scheme::Https => Some(self_signed()?),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let gate = Arc::new(Gate {
            base: format!("{}://{address}", if tls.is_some() { "https" } else { "http" }),
            token: token.to_owned(),
            activation: Mutex::default(),
            world: Mutex::new(World::new(settings)),
            rates: Mutex::new(Rates::new(RateLimits::default())),
            script: Script::default(),
            calls: Calls::default(),
            begun: Instant::now(),
            machines,
            runtime: runtime.handle().clone(),
        });
        let (certificate, config) = tls.unzip();
        let (handle, thread) = serve(listener, config, Arc::clone(&gate))?;
        Ok(Self { gate, certificate, handle, thread: Some(thread), runtime: Some(runtime) })
    }

    /// What its addresses begin with, such as `http://127.0.0.1:20080`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.gate.base
    }

    /// The certificate to trust, in PEM; none over HTTP.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Adds a line to the script of faults.
    pub fn fault(&self, fault: Fault) {
        self.gate.script.add(fault);
    }

    /// What of the script has not struck yet.
    #[must_use]
    pub fn faults_left(&self) -> Vec<Fault> {
        self.gate.script.left()
    }

    /// Every request so far, in the order of the answers.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.gate.calls.all()
    }

    /// How many requests of this method there were to paths that begin so.
    #[must_use]
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.calls().iter().filter(|call| call.method == method && call.path.starts_with(path)).count()
    }

    /// The droplets that are paid for now.
    #[must_use]
    pub fn droplets(&self) -> Vec<DropletView> {
        self.gate.world().droplet_views()
    }

    /// The most droplets that were ever paid for at once.
    #[must_use]
    pub fn most_droplets(&self) -> usize {
        self.gate.world().most_droplets()
    }

    /// The firewalls, as the API describes them.
    #[must_use]
    pub fn firewalls(&self) -> Vec<Value> {
        self.gate.world().firewalls()
    }

    /// Puts an active droplet into the books that nobody ordered and nothing stands behind; gives its id.
    pub fn plant(&self, name: &str, tags: &[&str]) -> u64 {
        self.gate.world().plant(name, tags)
    }

    /// Sets how many droplets the account may have.
    pub fn limit_droplets(&self, limit: usize) {
        self.gate.world().settings.droplet_limit = limit;
    }

    /// Sets how many requests are served.
    pub fn limit_rates(&self, limits: RateLimits) {
        self.gate.rates.lock().unwrap_or_else(PoisonError::into_inner).limit(limits);
    }

    /// Lets a region sell, or not.
    pub fn set_open(&self, region: &str, open: bool) {
        self.gate.world().set_open(region, open);
    }

    /// Lets a region have droplets of a size, or not.
    pub fn set_in_stock(&self, region: &str, size: &str, in_stock: bool) {
        self.gate.world().set_in_stock(region, size, in_stock);
    }

    /// Sets how long a droplet is `new` before its machine begins to boot; not at all by default.
    pub fn set_activation(&self, time: Duration) {
        *self.gate.activation.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // Never awaited: it is sent when the call is made.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // It panicked, which its test has seen by now.
            let _ = thread.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves on a thread of its own, so that the test's runtime may be of any kind.
fn serve(
    listener: TcpListener,
    tls: Option<ServerConfig>,
    gate: Arc<Gate>,
) -> io::Result<(ServerHandle, JoinHandle<()>)> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let run = move || {
        System::new().block_on(async move {
            let app = move || {
                App::new()
                    .app_data(web::Data::new(Arc::clone(&gate)))
                    .app_data(web::PayloadConfig::new(LONGEST_BODY))
                    .route("/_faults", web::get().to(gate::faults))
                    .route("/_faults", web::post().to(gate::add_fault))
                    .route("/_faults", web::delete().to(gate::clear_faults))
                    .route("/_calls", web::get().to(gate::calls))
                    .default_service(web::to(gate::handle))
            };
            let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(0).on_connect(remember);
            // A client may open a connection ahead, and would take a 408 on it for the answer to what it asks later.
            let server = server.client_request_timeout(Duration::ZERO);
            let server = match tls {
                Some(config) => server.listen_rustls_0_23(listener, config),
                None => server.listen(listener),
            };
            match server {
                Ok(server) => {
                    let server = server.run();
                    // Nobody waits for it if the test has ended.
                    let _ = sender.send(Ok(server.handle()));
                    let _ = server.await;
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                }
            }
        });
    };
    let thread = std::thread::Builder::new().name("testbed-api".to_owned()).spawn(run)?;
    let handle = receiver.recv().map_err(|_| io::Error::other("the API's thread ended"))??;
    Ok((handle, thread))
}

/// Keeps a second handle of the connection, by which it can be cut.
fn remember(connection: &dyn Any, data: &mut Extensions) {
    type Tls = actix_tls::accept::rustls_0_23::TlsStream<TcpStream>;
    let plain = connection.downcast_ref::<TcpStream>();
    let tcp = plain.or_else(|| connection.downcast_ref::<Tls>().map(|tls| tls.get_ref().0));
    if let Some(line) = tcp.and_then(|tcp| SockRef::from(tcp).try_clone().ok()) {
        data.insert(Line(line));
    }
}

/// A certificate for loopback in PEM, and a server that shows it.
fn self_signed() -> io::Result<(String, ServerConfig)> {
    let names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
    let signed = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    Ok((signed.cert.pem(), config))
}
