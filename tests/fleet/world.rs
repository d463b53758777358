//! A world of its own for each test: a simulated cloud, DigitalOcean's API with its droplets behind it, and the real
//! server in the cloud's network.
//!
//! Owns the tidying up, and what must be true at the end of every scenario: no secret, error or panic in the log, and
//! nothing left of the cloud. What a scenario does happens in the cloud's network too.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use diesel::{Connection, RunQueryDsl, SqliteConnection};
use getaredis_testbed::{
    api::{self, RateLimits, Scheme, droplets::Droplets},
    droplet::{Cloud, Droplet, Tier, wait_for, why_impossible},
};
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    api::{Api, Instance, http},
    directory::{self, Directory},
    eventually,
    secrets::Secrets,
};

/// Time for a droplet to boot and settle, on a machine that is busy with other things.
pub(crate) const BOOT: Duration = Duration::from_secs(240);

/// Opens the account at the API.
pub(crate) const TOKEN: &str = "dop_v1_0123456789abcdef";
/// Opens the operator's page.
pub(crate) const OPERATOR: &str = "operator-hunter2-hunter2";
const DIRECTORY_PASSWORD: &str = "control-hunter2-hunter2";
/// The network is the cloud's own, so every port is free.
pub(crate) const SERVER: &str = "127.0.0.1:20080";
const DEPLOYMENT: &str = "fleet";

/// Settings with which faults of hosts are noticed soon, and nothing is given up because of them.
pub(crate) const QUICK: [(&str, &str); 4] =
    [("fleet.max_hosts", "3"), ("directory.ttl", "5s"), ("docker.call_timeout", "5s"), ("fleet.strategy", "fill")];

/// See the module's header.
pub(crate) struct World {
    pub(crate) bought: api::Api,
    machines: Arc<Droplets>,
    settings: BTreeMap<String, String>,
    crash_at: Option<&'static str>,
    child: RefCell<Option<Running>>,
    home: TempDir,
    secrets: Secrets,
    cloud: Arc<Cloud>,
}

/// Runs a scenario in a world of its own, or says why there can be none. Once script/test has found that there can be
/// one, a test that is skipped all the same fails. `settings` are `("section.key", "value")`.
pub(crate) fn in_a_world(settings: &[(&str, &str)], scenario: impl AsyncFnOnce(&mut World) + Send) {
    in_a_world_of(Tier::Lite, settings, scenario);
}

/// The same, with droplets that are as real as `tier` says.
pub(crate) fn in_a_world_of(tier: Tier, settings: &[(&str, &str)], scenario: impl AsyncFnOnce(&mut World) + Send) {
    if let Some(reason) = why_impossible() {
        assert!(std::env::var_os("GETAREDIS_TEST_DROPLETS").is_none(), "no longer possible: {reason}");
        eprintln!("SKIPPED, so nothing about a fleet of droplets is tested here: {reason}");
        return;
    }
    let mut world = World::new(tier, settings);
    let network = world.cloud.network().clone();
    let played = network.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            world.close_directory().await;
            scenario(&mut world).await;
        });
        Ok(())
    });
    if played.is_err() {
        world.tell();
    }
    played.unwrap();
    world.end();
}

impl World {
    fn new(tier: Tier, settings: &[(&str, &str)]) -> Self {
        let cloud = Arc::new(Cloud::start().unwrap());
        let listener = cloud.network().inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let machines = Arc::new(Droplets::new(Arc::clone(&cloud), tier));
        let bought =
            api::Api::start_on(listener, Scheme::Http, TOKEN, api::Settings::default(), machines.clone()).unwrap();
        // The server looks at its fleet far more often than one that serves people would.
        bought.limit_rates(RateLimits { per_hour: 100_000, per_minute: 10_000 });
        let home = TempDir::new().unwrap();
        fs::write(home.path().join("token"), TOKEN).unwrap();
        let directory = directory::url(&cloud.directory().to_string(), DIRECTORY_PASSWORD);
        let mut all: BTreeMap<_, _> = [
            ("http.bind", SERVER),
            ("admin.token_sha256", &format!("{:x}", Sha256::digest(OPERATOR))),
            ("fleet.deployment", DEPLOYMENT),
            ("fleet.provider", "digitalocean"),
            ("fleet.slots", "2"),
            ("fleet.standby", "1"),
            ("fleet.max_hosts", "1"),
            ("fleet.idle", "0s"),
            ("fleet.min_age", "0s"),
            ("fleet.cooldown", "0s"),
            ("fleet.retry_after", "1s"),
            ("fleet.boot_deadline", "3m"),
            ("fleet.list_grace", "6s"),
            ("digitalocean.call_timeout", "3s"),
            ("fleet.pass_every", "500ms"),
            ("directory.kind", "redis"),
            ("directory.url", &directory),
            ("directory.endpoint", "https://{private_address}:2376"),
            ("directory.poll", "500ms"),
            ("docker.host_auth", "derived"),
            ("docker.publish_address", "0.0.0.0"),
            // Time for the next host after one that hangs.
            ("instances.create_deadline", "60s"),
            ("digitalocean.api", bought.url()),
            ("digitalocean.token_file", "token"),
            ("digitalocean.placements", r#"[{ region = "fra1", size = "s-1vcpu-1gb" }]"#),
            ("digitalocean.image", "debian-13-x64"),
            ("instances.min_ttl", "1s"),
            ("reaper.sweep", "1s"),
            ("telemetry.log", "info,getaredis=debug,getaredis_actors=debug"),
            ("telemetry.format", "json"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let secrets = Secrets::default();
        secrets.keep(TOKEN);
        secrets.keep(DIRECTORY_PASSWORD);
        secrets.keep(OPERATOR);
        Self { bought, machines, settings: all, crash_at: None, child: RefCell::default(), home, secrets, cloud }
    }

    /// From its next start on the server has this setting.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }

    /// From its next start on the server dies at this point (see `src/adapters/crash_points.rs`), or lives.
    #[cfg(feature = "crash-points")]
    pub(crate) fn crash_at(&mut self, point: Option<&'static str>) {
        self.crash_at = point;
    }

    /// Starts the server on what is there.
    pub(crate) fn start(&self) {
        assert!(self.child.borrow().is_none(), "it runs");
        let log = OpenOptions::new().create(true).append(true).open(self.home.path().join("server.log")).unwrap();
        let mut server = self.command(&["serve"]);
        server
            .envs(self.crash_at.map(|point| ("GETAREDIS_CRASH_AT", point)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        *self.child.borrow_mut() = Some(Running(server.spawn().unwrap()));
    }

    /// Runs a command of the program to its end, beside the server; what it wrote.
    pub(crate) fn runs(&self, arguments: &[&str]) -> String {
        let mut command = self.command(arguments);
        let who = [("GETAREDIS_SERVER", format!("http://{SERVER}")), ("GETAREDIS_OPERATOR_TOKEN", OPERATOR.to_owned())];
        let output = command.envs(who).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (said(&output.stdout), said(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        assert!(self.secrets.found_in(&format!("{out}{err}")).is_empty(), "{out}{err}");
        out
    }

    /// The program with these arguments and all settings, in the cloud.
    fn command(&self, arguments: &[&str]) -> Command {
        let variable = |key: &String| format!("GETAREDIS__{}", key.to_uppercase().replace('.', "__"));
        let mut command = self.cloud.command(env!("CARGO_BIN_EXE_getaredis"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.settings.iter().map(|(key, value)| (variable(key), value)))
            .current_dir(self.home.path());
        command
    }

    /// Waits until the server answers.
    pub(crate) async fn answers(&self) {
        let api = self.api();
        let answers =
            async || api.try_send(api.request(Method::GET, "/livez")).await.map_err(|error| error.to_string());
        eventually("the server answers", BOOT, answers).await;
    }

    /// The server dies here and now (`kill -9`).
    pub(crate) fn kill(&self) {
        drop(self.child.take().unwrap());
    }

    /// Tells the server to end, and waits until it has.
    pub(crate) async fn stop(&self) {
        let id = self.child.borrow().as_ref().unwrap().0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.ends().await;
    }

    /// Waits until the server has ended by itself.
    pub(crate) async fn ends(&self) {
        let has_ended = || self.child.borrow_mut().as_mut().unwrap().0.try_wait().unwrap();
        let ended = async || has_ended().map(drop).ok_or_else(|| "it runs".to_owned());
        eventually("the server ends", BOOT, ended).await;
        self.child.take();
    }

    /// A visitor from the cloud's network.
    pub(crate) fn api(&self) -> Api {
        Api::new(format!("http://{SERVER}"), self.secrets.clone())
    }

    /// What the operator is told at this address.
    pub(crate) async fn operator_sees(&self, path: &str) -> Value {
        let request = http().get(format!("http://{SERVER}/v1/admin/{path}")).bearer_auth(OPERATOR);
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// Names of what is paid for.
    pub(crate) fn paid_for(&self) -> BTreeSet<String> {
        self.bought.droplets().into_iter().map(|droplet| droplet.name).collect()
    }

    /// Orders that the API took or refused.
    pub(crate) fn orders(&self) -> usize {
        self.bought.count("POST", "/v2/droplets")
    }

    /// Hosts with a row in the database, which the server keeps to itself; so it is only read, past its lock.
    ///
    /// # Errors
    /// Why there is none to be read yet.
    fn rows(&self) -> Result<BTreeSet<String>, String> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            name: String,
        }
        let file = format!("file:{}?mode=ro", self.home.path().join("getaredis.db").display());
        let mut database = SqliteConnection::establish(&file).map_err(|error| error.to_string())?;
        diesel::sql_query("PRAGMA busy_timeout = 5000").execute(&mut database).map_err(|error| error.to_string())?;
        let rows = diesel::sql_query("SELECT name FROM droplets").load::<Row>(&mut database);
        Ok(rows.map_err(|error| error.to_string())?.into_iter().map(|row| row.name).collect())
    }

    pub(crate) async fn directory(&self) -> Directory {
        Directory::open(&directory::url(&self.cloud.directory().to_string(), DIRECTORY_PASSWORD)).await
    }

    /// The directory dies, with all that it knows.
    pub(crate) fn stop_directory(&self) {
        self.cloud.stop_directory();
    }

    /// It is back, as on the first day.
    pub(crate) async fn start_directory(&self) {
        self.cloud.start_directory().unwrap();
        self.close_directory().await;
    }

    async fn close_directory(&self) {
        directory::close(&self.cloud.directory().to_string(), DIRECTORY_PASSWORD).await;
    }

    /// Hosts that take instances, as far as anybody answers.
    pub(crate) async fn hosts_up(&self) -> Option<u64> {
        let answer = self.api().try_send(self.api().request(Method::GET, "/v1/capacity")).await.ok()?;
        answer.body["hosts_up"].as_u64()
    }

    /// Waits until so many hosts are up, and droplets, machines, rows, keys and users are of the same hosts; their names.
    pub(crate) async fn settles_at(&self, hosts: usize) -> BTreeSet<String> {
        let mut directory = self.directory().await;
        let what = format!("a fleet of {hosts}, in agreement");
        let within = BOOT * u32::try_from(hosts.max(1)).unwrap();
        eventually(&what, within, async || {
            let up = self.hosts_up().await;
            let (paid, rows) = (self.paid_for(), self.rows()?);
            let machines: BTreeSet<_> = self.cloud.droplets().iter().map(|machine| machine.name().to_owned()).collect();
            let (announced, users) = (directory.announced().await, directory.users().await);
            let each_has_a_user = users.len() == hosts && paid.iter().all(|name| users.iter().any(|u| u.contains(name)));
            let same = [&rows, &machines, &announced].iter().all(|names| **names == paid);
            if up == Some(hosts as u64) && paid.len() == hosts && same && each_has_a_user {
                return Ok(paid);
            }
            Err(format!("up {up:?}, paid {paid:?}, machines {machines:?}, rows {rows:?}, announced {announced:?}, users {users:?}"))
        })
        .await
    }

    /// Containers that there are on all hosts, running or not.
    pub(crate) fn containers(&self) -> usize {
        self.cloud.droplets().iter().map(containers_on).sum()
    }

    /// The machines that are on.
    pub(crate) fn machines(&self) -> Vec<Droplet> {
        self.cloud.droplets()
    }

    /// The machine of this name.
    pub(crate) fn machine(&self, host: &str) -> Droplet {
        self.cloud.droplets().into_iter().find(|machine| machine.name() == host).unwrap()
    }

    /// The machine that an instance lives on.
    pub(crate) fn home_of(&self, instance: &Instance) -> Droplet {
        let lives_there = |machine: &Droplet| machine.public_address().to_string() == instance.host;
        self.cloud.droplets().into_iter().find(lives_there).unwrap()
    }

    /// The next machines that are bought are on and never answer.
    pub(crate) fn next_never_boot(&self, count: u32) {
        self.machines.next_never_boot(count);
    }

    /// The archive of packages fails to serve the next requests.
    pub(crate) fn next_packages_fail(&self, count: u32) {
        self.cloud.next_packages_fail(count);
    }

    /// The server's working directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("server.log")).unwrap_or_default()
    }

    fn end(self) {
        let log = self.log();
        let Self { bought, machines, settings, child, secrets, cloud, .. } = self;
        drop(child);
        let (most, allowed) = (bought.most_droplets(), settings["fleet.max_hosts"].parse::<usize>().unwrap());
        assert!(most <= allowed, "{most} droplets were paid for at once, and {allowed} are allowed");
        let alarming = |line: &&str| line.contains(r#""level":"ERROR""#) || line.contains("panicked at");
        let complaints: Vec<_> = log.lines().filter(alarming).collect();
        assert!(complaints.is_empty(), "this must not be in a log: {complaints:#?}");
        let told = secrets.found_in(&log);
        assert!(told.is_empty(), "secrets are in the log: {told:#?}");
        drop((bought, machines));
        wait_for("the last boot is over", BOOT, || Arc::strong_count(&cloud) == 1).unwrap();
        Arc::into_inner(cloud).unwrap().end().unwrap();
    }

    /// What a failure is understood by.
    fn tell(&self) {
        eprintln!("--- the server's log ---\n{}", self.log());
        for machine in self.cloud.droplets() {
            eprintln!("--- the console of {} ---\n{}", machine.name(), machine.console());
        }
    }
}

/// Containers that there are on a machine whose engine is up, running or not.
pub(crate) fn containers_on(machine: &Droplet) -> usize {
    machine.run(&["docker", "ps", "--all", "--quiet"]).unwrap().lines().count()
}

/// The server's process, which ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
