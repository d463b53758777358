//! `fleet`: a cloud with the API that sells its droplets, for a server that somebody develops.
//!
//! Owns how the three are put together and end, and the one port through which this machine's browser gets in.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use getaredis_testbed::{
    api::{Api, Scheme, Settings, droplets::Droplets},
    droplet::{Cloud, Error, Network, wait_for},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{Realness, say};

/// Where the API listens in the cloud, where every port is free; `testbed/fleet.toml` says the same.
const API_PORT: u16 = 20_080;
/// Where the server listens in the cloud, by `testbed/fleet.toml`.
const SERVER_PORT: u16 = 8080;
/// How long a droplet that is just being powered on may hold up the end.
const LAST_BOOT: Duration = Duration::from_secs(60);

/// How such a cloud is to be.
#[derive(Args)]
pub(super) struct Fleet {
    /// Token that the API accepts; it protects nothing
    #[arg(long, default_value = "sim-token")]
    token: String,
    /// Droplets that the account may have
    #[arg(long, default_value_t = 25, value_name = "N")]
    limit: usize,
    /// How much of the droplets is real
    #[arg(long, value_enum, default_value = "lite")]
    tier: Realness,
    /// Port on this machine's loopback that leads to port 8080 in the cloud, for a browser; 0 chooses one
    #[arg(long, default_value_t = SERVER_PORT, value_name = "PORT")]
    open: u16,
}

impl Fleet {
    pub(super) fn run(&self) -> Result<ExitCode, Error> {
        let told = |what: &str| {
            let what = what.to_owned();
            move |error| Error::Io(what, error)
        };
        // Refused before anything is there.
        let page = TcpListener::bind((Ipv4Addr::LOCALHOST, self.open)).map_err(told("--open"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(told("the runtime"))?;
        // From here on nobody is ended by a signal before the cloud is.
        let ended = runtime.block_on(async { ended() }).map_err(told("signals"))?;

        let cloud = Arc::new(Cloud::start()?);
        say(cloud.mark())?;
        let network = cloud.network().clone();
        let listener =
            network.inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, API_PORT))).map_err(told("the API"))?;
        let machines = Arc::new(Droplets::new(Arc::clone(&cloud), self.tier.into()));
        let settings = Settings { droplet_limit: self.limit, ..Settings::default() };
        let api = Api::start_on(listener, Scheme::Http, &self.token, settings, machines).map_err(told("the API"))?;
        let address = page.local_addr().map_err(told("--open"))?;
        say(&format!(
            "api {} with the token {}, directory {}, in the cloud",
            api.url(),
            self.token,
            cloud.directory()
        ))?;
        say(&format!("page http://{address} once a server runs in the cloud: testbed-cloud in COMMAND"))?;
        say("up")?;
        runtime.spawn(lead_in(page, network));
        runtime.block_on(ended);

        drop(api);
        runtime.shutdown_background();
        wait_for("the last boot is over", LAST_BOOT, || Arc::strong_count(&cloud) == 1)?;
        if let Some(cloud) = Arc::into_inner(cloud) {
            cloud.end()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Is ready when somebody wants this to end. To be called on a runtime; from the call on no such signal ends the process.
fn ended() -> io::Result<impl Future<Output = ()>> {
    let mut kinds = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        kinds.push(signal(kind)?);
    }
    Ok(async move {
        let each = kinds.iter_mut().map(|kind| Box::pin(kind.recv()));
        futures_util::future::select_all(each).await;
    })
}

/// Leads whoever connects here to the server in the cloud; away again while there is none.
async fn lead_in(listener: TcpListener, network: Network) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (mut outside, _) = listener.accept().await?;
        let network = network.clone();
        tokio::spawn(async move {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, SERVER_PORT));
            let connect = move || network.inside(|| TcpStream::connect(server));
            let inside = tokio::task::spawn_blocking(connect).await.map_err(io::Error::other)??;
            inside.set_nonblocking(true)?;
            let mut inside = tokio::net::TcpStream::from_std(inside)?;
            tokio::io::copy_bidirectional(&mut outside, &mut inside).await
        });
    }
}
