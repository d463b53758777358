//! The server put together: the only place that names concrete adapters.
//!
//! Owns what stands behind each port, the order in which things start and stop, and the exit code. Whatever cannot start
//! is one clear error before anything is served.

use std::{net::TcpListener, process::ExitCode, sync::Arc, time::Duration};

use actix::System;
use actix_web::web::Data;
use anyhow::{Context, Result, anyhow};
use getaredis_actors::{
    brain::{Brain, Ports},
    domain::MasterKey,
    ports::{Directory, Journal, Runtimes, StoreError},
};

use crate::{
    adapters::{
        clock::SystemClock,
        directory::{RedisDirectory, RedisSettings, StaticDirectory},
        docker::{DockerRuntimes, DockerSettings, TlsFiles},
        journal::FileJournal,
        master_key,
        process::{ProcessRuntimes, ProcessSettings},
        store::SqlStore,
    },
    config::{Config, DirectoryKind, RuntimeKind},
    shutdown,
    web::{self, FeedSettings, Vitals, Web, WebSettings},
};

/// The engine of the process runtime, looked up in `PATH`.
const PROCESS_ENGINE: &str = "redis-server";

/// What a handler waits longer than the brain may take, so that it is the brain that gives the reason.
const CALL_MARGIN: Duration = Duration::from_secs(5);

/// Runs the server until it is told to stop, or cannot go on.
///
/// # Errors
/// When something that it needs cannot be had: the port, the database, the master key, a certificate.
pub fn serve(config: Config) -> Result<ExitCode> {
    // Read now, because the runtime's threads are made in a closure that cannot fail.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let system = System::with_tokio_rt(move || runtime);
    system.block_on(run(&config))
}

async fn run(config: &Config) -> Result<ExitCode> {
    let listener = TcpListener::bind(config.http.bind).with_context(|| {
        format!("cannot listen on {} (http.bind); free it, or choose another with --bind", config.http.bind)
    })?;
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
    let store = SqlStore::open(&database.url, database.pool, database.acquire_timeout).await.map_err(|e| match e {
        // At a start the reason is a whole sentence by itself.
        StoreError::Unavailable(why) | StoreError::Corrupt(why) => anyhow!(why),
        other => other.into(),
    })?;
    let runtimes: Arc<dyn Runtimes> = match config.fleet.runtime {
        RuntimeKind::Docker => Arc::new(DockerRuntimes::new(docker_settings(config))?),
        RuntimeKind::Process => {
            tracing::warn!("tenants are NOT isolated from each other: fleet.runtime is \"process\"");
            Arc::new(ProcessRuntimes::new(process_settings(config))?)
        }
    };
    let directory: Arc<dyn Directory> = match config.directory.kind {
        DirectoryKind::Static => Arc::new(StaticDirectory::new(config.static_hosts())),
        DirectoryKind::Redis => Arc::new(RedisDirectory::new(redis_settings(config))?),
    };
    let journal = config.scaling.scaling_log.clone().map(|path| Arc::new(FileJournal::new(path)) as Arc<dyn Journal>);
    Ok(Ports { clock: Arc::new(SystemClock), store: Arc::new(store), runtimes, directory, cloud: None, journal })
}

fn docker_settings(config: &Config) -> DockerSettings {
    let docker = &config.docker;
    let tls = docker.tls_ca.clone().zip(docker.tls_cert.clone()).zip(docker.tls_key.clone());
    DockerSettings {
        deployment: config.fleet.deployment.clone(),
        endpoint: docker.local_engine().to_owned(),
        tls: tls.map(|((ca, cert), key)| TlsFiles { ca, cert, key }),
        image: docker.image.clone(),
        publish_address: docker.publish_address,
        ports: docker.ports.clone(),
        call_timeout: docker.call_timeout,
        start_timeout: docker.start_timeout,
        network: docker.network.clone(),
    }
}

fn process_settings(config: &Config) -> ProcessSettings {
    ProcessSettings {
        deployment: config.fleet.deployment.clone(),
        base: config.fleet.process_dir.clone(),
        binary: PROCESS_ENGINE.into(),
        publish_address: config.docker.publish_address,
        start_timeout: config.docker.start_timeout,
    }
}

fn redis_settings(config: &Config) -> RedisSettings {
    let directory = &config.directory;
    RedisSettings {
        url: directory.url.clone(),
        prefix: directory.prefix.clone(),
        ttl: directory.ttl,
        engine: directory.endpoint.clone(),
        slots: config.fleet.slots,
    }
}

fn web_of(config: &Config, brain: &Brain, ports: &Ports, master_key: Arc<MasterKey>) -> Data<Web> {
    let (roster, pulse) = (brain.roster.clone(), brain.pulse.clone());
    let vitals = Vitals {
        actors: Box::new(move || roster.reports().into_iter().map(Into::into).collect()),
        pulse_age: Box::new(move || pulse.age()),
    };
    let (doors, store, clock) = (brain.doors.clone(), Arc::clone(&ports.store), Arc::clone(&ports.clock));
    Data::new(Web::new(doors, store, clock, master_key, vitals, web_settings(config)))
}

fn web_settings(config: &Config) -> WebSettings {
    let brain = config.brain_settings();
    WebSettings {
        create_deadline: brain.longest_create(),
        trusted_proxies: config.http.trusted_proxies.clone(),
        max_body_bytes: config.http.max_body_bytes,
        call_deadline: brain.host.longest_call() + CALL_MARGIN,
        lease: brain.lease,
        flavours: brain.flavours,
        quotas: brain.quotas,
        admin_token_sha256: config.admin.token_sha256,
        allowed_origins: config.admin.allowed_origins.clone(),
        isolated: config.fleet.runtime == RuntimeKind::Docker,
        feed: FeedSettings::default(),
    }
}
