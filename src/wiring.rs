//! The server put together: the only place that names concrete adapters.
//!
//! Owns what stands behind each port, the order in which things start and stop, and the exit code. Whatever cannot start
//! is one clear error before anything is served.

use std::{net::TcpListener, process::ExitCode, sync::Arc};

use actix::System;
use actix_web::web::Data;
use anyhow::{Context, Result, anyhow};
use getaredis_actors::{
    brain::{Brain, Ports},
    domain::MasterKey,
    ports::{Directory, Runtimes},
};

use crate::{
    adapters::{
        clock::SystemClock,
        directory::{RedisDirectory, StaticDirectory},
        docker::DockerRuntimes,
        master_key,
        process::ProcessRuntimes,
        store::SqlStore,
    },
    config::{Config, DirectoryKind, RuntimeKind},
    shutdown,
    web::{self, Vitals, Web},
};

/// Runs the server until it is told to stop, or cannot go on.
///
/// # Errors
/// When something that it needs cannot be had: the port, the database, the master key, a certificate.
pub fn serve(config: &Config) -> Result<ExitCode> {
    // One TLS provider for everything; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Read now, because the runtime's threads are made in a closure that cannot fail.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let system = System::with_tokio_rt(move || runtime);
    system.block_on(run(config))
}

async fn run(config: &Config) -> Result<ExitCode> {
    let listener = TcpListener::bind(config.http.bind)
        .with_context(|| format!("cannot listen on {} (http.bind)", config.http.bind))?;
    let master_key = Arc::new(master_key::load_or_create(&config.instances.master_key_file)?);
    let ports = ports(config).await?;
    let settings = Arc::new(config.brain_settings());
    let brain =
        Brain::start(config.fleet.deployment.clone(), ports.clone(), Arc::clone(&settings), Arc::clone(&master_key));
    let web = web_of(config, &brain, &ports, master_key);
    let server = web::serve(web.clone(), vec![listener], config.http.workers)?;
    let handle = server.handle();
    let mut server = actix::spawn(server);
    tracing::info!(address = %config.http.bind, deployment = %config.fleet.deployment, "http.listening");

    let code = tokio::select! {
        signal = shutdown::signal() => {
            tracing::info!(signal = signal?, "server.stopping");
            ExitCode::SUCCESS
        }
        exit = brain.roster.exit_requested() => {
            tracing::error!(actor = exit.name, cause = %exit.cause, "server.cannot_go_on");
            ExitCode::from(exit.code)
        }
        ended = &mut server => {
            return Err(anyhow!("the HTTP server ended by itself: {ended:?}"));
        }
    };
    web.shut_down();
    // A second signal does not wait for what is under way.
    tokio::select! {
        () = handle.stop(true) => {}
        _ = shutdown::signal() => tracing::warn!("server.stopped_at_once"),
    }
    drop(brain);
    Ok(code)
}

/// What stands behind each port.
async fn ports(config: &Config) -> Result<Ports> {
    let database = &config.database;
    let store = SqlStore::open(&database.url, database.pool, database.acquire_timeout).await?;
    let runtimes: Arc<dyn Runtimes> = match config.fleet.runtime {
        RuntimeKind::Docker => Arc::new(DockerRuntimes::new(config.docker_settings())?),
        RuntimeKind::Process => {
            tracing::warn!("tenants are NOT isolated: fleet.runtime is \"process\"");
            Arc::new(ProcessRuntimes::new(config.process_settings())?)
        }
    };
    let directory: Arc<dyn Directory> = match config.directory.kind {
        DirectoryKind::Static => Arc::new(StaticDirectory::new(config.static_hosts())),
        DirectoryKind::Redis => Arc::new(RedisDirectory::new(config.redis_directory())?),
    };
    Ok(Ports { clock: Arc::new(SystemClock), store: Arc::new(store), runtimes, directory, cloud: None })
}

fn web_of(config: &Config, brain: &Brain, ports: &Ports, master_key: Arc<MasterKey>) -> Data<Web> {
    let (roster, pulse) = (brain.roster.clone(), brain.pulse.clone());
    let vitals = Vitals {
        actors: Box::new(move || roster.reports().into_iter().map(Into::into).collect()),
        pulse_age: Box::new(move || pulse.age()),
    };
    Data::new(Web::new(
        brain.doors.clone(),
        Arc::clone(&ports.store),
        Arc::clone(&ports.clock),
        master_key,
        vitals,
        config.web_settings(),
    ))
}
