//! The server put together: the only place that names concrete adapters.
//!
//! Owns what stands behind each port, and the order in which things start and stop. Whatever cannot start is one clear
//! error before anything is served.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use actix::System;
use actix_web::web::Data;
use anyhow::{Context, Result, anyhow};
use futures_util::FutureExt;
use getaredis_actors::{
    brain::{Brain, Ports},
    domain::{DeploymentId, HostName, MasterKey, Quotas},
    ports::{Directory, HostProvider, Journal, Runtimes, Store, StoreError},
    supervision::Pulse,
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    adapters::{
        clock::SystemClock,
        digitalocean::{
            Bakery, BakerySettings, Books, DigitalOcean, DigitalOceanSettings, InboundRule, Placement, UserData,
        },
        directory::{EnrollingProvider, HostUsers, RedisDirectory, RedisSettings, StaticDirectory},
        docker::{DockerRuntimes, DockerSettings, TlsFiles},
        journal::FileJournal,
        master_key,
        process::{ProcessRuntimes, ProcessSettings},
        store::{Owner, SqlStore, StoreSettings},
        webhook::{HttpWebhooks, SinkSettings},
    },
    cli::HostScriptForm,
    config::{ApiToken, Config, DirectoryKind, HostAuth, Provider, RuntimeKind, Sink, SinkSecret, signing_key},
    host_setup::{HostOptions, HostSettings, HostSetup, builder_user_data},
    images::{HostImages, ImageError},
    shutdown,
    web::{self, FeedSettings, TokenSettings, Vitals, Web, WebSettings},
};

/// The engine of the process runtime, looked up in `PATH`.
const PROCESS_ENGINE: &str = "redis-server";

/// How often a provider is asked how far the making of an image is, which takes minutes.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a handler waits longer than the brain may take, so that it is the brain that gives the reason.
const CALL_MARGIN: Duration = Duration::from_secs(5);

/// Runs the server until it is told to stop, or cannot go on. With `take_over` it makes a database its own that belongs to
/// another deployment or was used with another master key.
///
/// # Errors
/// When something that it needs cannot be had: the port, the database, the master key, a certificate.
pub fn serve(config: Config, take_over: bool) -> Result<ExitCode> {
    // Read now, because the runtime's threads are made in a closure that cannot fail.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let system = System::with_tokio_rt(move || runtime);
    system.block_on(run(&config, take_over))
}

async fn run(config: &Config, take_over: bool) -> Result<ExitCode> {
    let listener = TcpListener::bind(config.http.bind).with_context(|| {
        format!("cannot listen on {} (http.bind); free it, or choose another with --bind", config.http.bind)
    })?;
    // The system chooses a port where 0 was configured.
    let address = listener.local_addr()?;
    let master_key = Arc::new(master_key::load_or_create(&config.instances.master_key_file)?);
    let store = store(config, &master_key, take_over).await?;
    let ports = ports(config, &master_key, store).await?;
    let settings = Arc::new(config.brain_settings());
    let brain =
        Brain::start(config.fleet.deployment.clone(), ports.clone(), Arc::clone(&settings), Arc::clone(&master_key));
    let web = web_of(config, &brain, &ports, master_key);
    let server = web::serve(web.clone(), vec![listener], config.http.workers)?;
    let handle = server.handle();
    let server = actix::spawn(server);
    tracing::info!(%address, deployment = %config.fleet.deployment, "http.listening");

    let code = shutdown::due(&brain.roster, server).await?;
    web.shut_down();
    brain.let_nobody_wait();
    // A second signal does not wait for what is under way.
    tokio::select! {
        () = handle.stop(true) => {}
        _ = shutdown::signal() => tracing::warn!("server.stopped_at_once"),
    }
    brain.stop().await;
    Ok(code)
}

/// The database, if it is this server's.
async fn store(config: &Config, master_key: &MasterKey, take_over: bool) -> Result<SqlStore> {
    let owner = Owner { deployment: config.fleet.deployment.clone(), key_fingerprint: master_key.fingerprint() };
    let open = async {
        let store = SqlStore::open(&store_settings(config)).await?;
        store.claim(owner, take_over).await?;
        Ok(store.with_sinks(config.webhooks.names()))
    };
    open.await.map_err(|e| match e {
        // At a start the reason is a whole sentence by itself.
        StoreError::Unavailable(why) | StoreError::Corrupt(why) => anyhow!(why),
        other => other.into(),
    })
}

/// What stands behind each port.
async fn ports(config: &Config, master_key: &Arc<MasterKey>, store: SqlStore) -> Result<Ports> {
    let runtimes: Arc<dyn Runtimes> = match config.fleet.runtime {
        RuntimeKind::Docker => {
            let runtimes = DockerRuntimes::new(docker_settings(config))?;
            match config.docker.host_auth {
                HostAuth::Certificate => Arc::new(runtimes),
                HostAuth::Derived => Arc::new(runtimes.with_derived_auth(Arc::clone(master_key))),
            }
        }
        RuntimeKind::Process => {
            tracing::warn!("tenants are NOT isolated from each other: fleet.runtime is \"process\"");
            Arc::new(ProcessRuntimes::new(process_settings(config))?)
        }
    };
    let users = host_users(config, master_key)?;
    let directory: Arc<dyn Directory> = match config.directory.kind {
        DirectoryKind::Static => Arc::new(StaticDirectory::new(config.static_hosts())),
        DirectoryKind::Redis => {
            let directory = RedisDirectory::new(redis_settings(config)?)?;
            match &users {
                Some(users) => Arc::new(directory.with_users(Arc::clone(users))),
                None => Arc::new(directory),
            }
        }
    };
    let cloud: Option<Arc<dyn HostProvider>> = match config.fleet.provider {
        Provider::None => None,
        Provider::DigitalOcean => {
            let provider = Arc::new(digitalocean(config, master_key)?);
            tokio::spawn(tell_what_will_go_wrong(Arc::clone(&provider), config.scaling.max_hosts));
            match users {
                Some(users) => Some(Arc::new(EnrollingProvider::new(provider, users))),
                None => Some(provider),
            }
        }
    };
    let sinks = config.webhooks.sinks.iter().map(sink_settings).collect::<Result<_>>()?;
    let webhooks = Arc::new(HttpWebhooks::new(sinks, config.webhooks.timeout)?);
    let journal = cloud.as_ref().and(config.scaling.scaling_log.as_deref()).map(journal).transpose()?;
    let clock = Arc::new(SystemClock);
    let ports = Ports { clock, store: Arc::new(store), runtimes, directory, cloud, journal, webhooks };
    #[cfg(feature = "crash-points")]
    let ports = crate::adapters::crash_points::around(ports)?;
    Ok(ports)
}

/// Where decisions are kept. Found out now, because later nobody would look before the decisions are needed.
fn journal(path: &Path) -> Result<Arc<dyn Journal>> {
    let journal = FileJournal::new(path.to_owned());
    journal
        .check()
        .context("fleet.scaling_log cannot be used; name a file in a folder that the server may write, or none")?;
    Ok(Arc::new(journal))
}

fn sink_settings(sink: &Sink) -> Result<SinkSettings> {
    let key = match &sink.secret {
        SinkSecret::Key(key) => key.clone(),
        SinkSecret::File(path) => {
            let what = || format!("the secret of sink {} (webhooks.sinks) in {}", sink.name, path.display());
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", what()))?;
            signing_key(&text).map_err(|rule| anyhow!("{} {rule}", what()))?
        }
    };
    Ok(SinkSettings { name: sink.name.clone(), url: sink.url.0.clone(), key })
}

fn store_settings(config: &Config) -> StoreSettings {
    let database = config.database.clone();
    StoreSettings {
        url: database.url,
        pool: database.pool,
        acquire_timeout: database.acquire_timeout,
        tls_ca: database.tls_ca,
    }
}

fn digitalocean(config: &Config, master_key: &Arc<MasterKey>) -> Result<DigitalOcean> {
    let settings = digitalocean_settings(config)?;
    DigitalOcean::new(settings, user_data(config, master_key)?).map_err(|why| anyhow!(why))
}

fn digitalocean_settings(config: &Config) -> Result<DigitalOceanSettings> {
    let section = &config.digitalocean;
    let token = match (&section.token, &section.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => secret_of(file, "digitalocean.token_file")?,
        (None, None) => return Err(anyhow!("digitalocean.token_file is not set")),
    };
    let placements = section.placements.iter();
    Ok(DigitalOceanSettings {
        deployment: config.fleet.deployment.clone(),
        url: section.api.clone(),
        token,
        placements: placements.map(|at| Placement { region: at.region.clone(), size: at.size.clone() }).collect(),
        image: section.image.clone(),
        vpc: section.vpc.clone(),
        ssh_keys: section.ssh_keys.clone(),
        inbound: section
            .inbound
            .iter()
            .map(|rule| InboundRule {
                ports: rule.ports.clone(),
                sources: rule.from.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        call_timeout: section.call_timeout,
        // From the answer that did not come, as the autoscaler waits for the whole from before the order was made: when it
        // orders again, that is not refused for some last seconds.
        settle: config.scaling.list_grace / 2,
        bake_deadline: section.bake_deadline,
    })
}

/// The images of this deployment at the provider that its hosts are bought at.
///
/// # Errors
/// When hosts are not bought, or the token cannot be read.
pub fn images(config: &Config) -> Result<Box<dyn HostImages>, ImageError> {
    if config.fleet.provider == Provider::None {
        return Err(ImageError::Invalid("images are kept where hosts are bought: set fleet.provider".to_owned()));
    }
    let baking = BakerySettings {
        from: config.digitalocean.bake_from.clone(),
        look_every: LOOK_EVERY,
        max_hosts: config.scaling.max_hosts as usize,
    };
    let config = config.clone();
    let settings = digitalocean_settings(&config).map_err(|error| ImageError::Invalid(format!("{error:#}")))?;
    let (guest, deployment) = (store_settings(&config), config.fleet.deployment.clone());
    let books = move || books(guest.clone(), deployment.clone()).boxed_local();
    let user_data = move || {
        if config.digitalocean.user_data_file.is_some() {
            return Err("hosts are set up by digitalocean.user_data_file, so their image is made by hand".to_owned());
        }
        // What is told of the host's name is in no image.
        let name = HostName::parse("builder").map_err(|error| error.to_string())?;
        builder_user_data(&config.host_settings(&name)?).map_err(|error| error.to_string())
    };
    Ok(Box::new(Bakery::new(settings, baking, Box::new(user_data), Box::new(books)).map_err(ImageError::Invalid)?))
}

/// The database of the server that looks after the pool, for a command beside it.
async fn books(settings: StoreSettings, deployment: DeploymentId) -> Result<Books, StoreError> {
    // One query at a time, so that the server keeps its connections.
    let store = SqlStore::join(&StoreSettings { pool: 1, ..settings }).await?;
    let known = store.visit(deployment).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    #[cfg(feature = "crash-points")]
    let store = crate::adapters::crash_points::around_store(store)
        .map_err(|unknown| StoreError::Corrupt(unknown.to_string()))?;
    Ok(Books { store, known })
}

/// What a host that is bought sets itself up with: the operator's own file, or ours.
fn user_data(config: &Config, master_key: &Arc<MasterKey>) -> Result<Arc<UserData>> {
    let Some(file) = &config.digitalocean.user_data_file else {
        let (config, master_key) = (config.clone(), Arc::clone(master_key));
        return Ok(Arc::new(move |name: &HostName| {
            let setup = HostSetup::new(config.host_settings(name)?, Arc::clone(&master_key));
            setup.user_data(name, HostOptions::default()).map_err(|error| error.to_string())
        }));
    };
    let template = secret_of(file, "digitalocean.user_data_file")?;
    Ok(Arc::new(move |name: &HostName| Ok(template.expose_secret().replace("{name}", name.as_str()).into())))
}

fn secret_of(file: &Path, key: &str) -> Result<SecretString> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {} ({key})", file.display()))?;
    match text.trim() {
        "" => Err(anyhow!("{} ({key}) is empty", file.display())),
        text => Ok(text.into()),
    }
}

/// Says at the start what nobody should have to find out from the first order; the server runs on without it.
async fn tell_what_will_go_wrong(provider: Arc<DigitalOcean>, max_hosts: u32) {
    match provider.preflight(max_hosts).await {
        Ok(preflight) => {
            for finding in preflight.findings {
                tracing::warn!(%finding, "provider.preflight");
            }
        }
        Err(error) => tracing::warn!(%error, "provider.preflight_failed"),
    }
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
        ports: docker.reached_ports(),
        engine_chooses: docker.ports.is_none(),
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

/// The users of the hosts in the directory, where hosts are set up with derived passwords.
fn host_users(config: &Config, master_key: &Arc<MasterKey>) -> Result<Option<Arc<HostUsers>>> {
    if config.directory.kind == DirectoryKind::Static || config.docker.host_auth == HostAuth::Certificate {
        return Ok(None);
    }
    Ok(Some(Arc::new(HostUsers::new(redis_settings(config)?, Arc::clone(master_key))?)))
}

/// What a host that the operator brings is set up with: a script, or user-data for cloud-init. Where hosts announce
/// themselves, the host's user is made in the directory first.
///
/// # Errors
/// When something cannot be written down safely, the master key is not here, or the directory does not answer.
pub fn host_script(
    config: &Config,
    settings: HostSettings,
    host: &HostName,
    options: HostOptions,
    form: HostScriptForm,
) -> Result<SecretString> {
    // Only read: with another key than the server's, the host would be closed to it.
    let master_key = Arc::new(master_key::load(&config.instances.master_key_file)?);
    let setup = HostSetup::new(settings, Arc::clone(&master_key));
    let rendered = match form {
        HostScriptForm::Script => setup.script(host, options),
        HostScriptForm::UserData => setup.user_data(host, options),
    }?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match host_users(config, &master_key)? {
            Some(users) => Ok(users.grant(host).await?),
            None => anyhow::Ok(()),
        }
    })?;
    Ok(rendered)
}

fn redis_settings(config: &Config) -> Result<RedisSettings> {
    let directory = &config.directory;
    let read =
        |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {} (directory.tls_ca)", path.display()));
    Ok(RedisSettings {
        deployment: config.fleet.deployment.clone(),
        url: directory.url.clone(),
        ca: directory.tls_ca.as_ref().map(read).transpose()?,
        prefix: directory.prefix.clone(),
        ttl: directory.ttl,
        engine: directory.endpoint.clone(),
        slots: config.fleet.slots,
    })
}

fn web_of(config: &Config, brain: &Brain, ports: &Ports, master_key: Arc<MasterKey>) -> Data<Web> {
    let (roster, pulse) = (brain.roster.clone(), Pulse::start());
    let vitals = Vitals {
        actors: Box::new(move || roster.reports().into_iter().map(Into::into).collect()),
        pulse_age: Box::new(move || pulse.age()),
    };
    let (doors, store, clock) = (brain.doors.clone(), Arc::clone(&ports.store), Arc::clone(&ports.clock));
    Data::new(Web::new(doors, store, clock, master_key, vitals, web_settings(config)))
}

fn token_settings(token: &ApiToken, quotas: &Quotas) -> TokenSettings {
    let per_creator = token.per_creator.unwrap_or(quotas.per_creator);
    TokenSettings { name: token.name.clone(), sha256: token.sha256, per_creator }
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
        tokens: config.limits.tokens.iter().map(|token| token_settings(token, &brain.quotas)).collect(),
        admin_token_sha256: config.admin.token_sha256,
        allowed_origins: config.admin.allowed_origins.clone(),
        isolated: config.fleet.runtime == RuntimeKind::Docker,
        metrics: config.http.metrics,
        feed: FeedSettings::default(),
    }
}
