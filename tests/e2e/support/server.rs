//! The real binary, serving in a home of its own.
//!
//! Owns the process, its deployment and its log. When it is dropped the process is killed, everything that carries its
//! deployment is removed, and a log that holds a panic, an error that nobody expected, or a secret fails the test.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{
    api::Api,
    engine::{self, Container, Engine},
    eventually,
    feed::Feed,
    processes::signal,
    secrets::Secrets,
    unique,
};

/// For a start with migrations, or an orderly end with creates under way.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// What a process that aborts itself dies of.
#[cfg(feature = "crash-points")]
const SIGABRT: i32 = 6;
/// A database that is busy with other tests may not answer in time, so that a start fails; hardly thrice.
const STARTS: usize = 3;
/// What a start says that may be repeated.
const REPEATABLE: &str = "does not answer within";
/// What all processes of a server write to, in its home.
const LOG: &str = "server.log";

/// The database of a server that is told of no other one.
pub const USED: &str = "getaredis.db";

/// How a server that is not told where the engine is finds out.
const DOCKER_HOST: &str = "DOCKER_HOST";
/// The deployment of a server that is not told its own.
const DEFAULT_DEPLOYMENT: &str = "default";

/// See the module's header.
pub struct Server {
    home: TempDir,
    deployment: String,
    port: u16,
    settings: BTreeMap<String, String>,
    child: Option<Child>,
    admin_token: String,
    secrets: Secrets,
    /// Further variables of the next process.
    environment: BTreeMap<String, String>,
    /// The command that the next process is started by; nothing means by itself.
    launcher: Vec<String>,
}

impl Server {
    /// Starts one with containers on the engine that the tests were given, and waits until it is ready. `settings` are
    /// `("section.key", "value")` and win over what suits most tests.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::unstarted(settings);
        server.start_again().await;
        server
    }

    /// Starts one that nobody configured: it has the engine's address as `DOCKER_HOST`, a working directory and a port.
    pub async fn start_unconfigured() -> Self {
        let mut server = Self::unstarted(&[]);
        server.settings.clear();
        DEFAULT_DEPLOYMENT.clone_into(&mut server.deployment);
        // It would clean up after a server of the same name, as every server does.
        assert_eq!(server.containers().await, [], "another server of this deployment uses the engine");
        server.set_environment(&[(DOCKER_HOST, &engine::endpoint())]);
        server.start_again().await;
        server
    }

    /// The same as [`start`](Self::start), without waiting for more than an answer.
    pub async fn start_unready(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::unstarted(settings);
        server.launch().await;
        server
    }

    /// One that is yet to be started, by [`start_again`](Self::start_again).
    pub fn unstarted(settings: &[(&str, &str)]) -> Self {
        let (deployment, admin_token) = (format!("e2e-{}", unique()), format!("operator-{}", unique()));
        let secrets = Secrets::default();
        secrets.keep(&admin_token);
        let mut all: BTreeMap<_, _> = [
            ("fleet.deployment", deployment.as_str()),
            ("admin.token_sha256", &format!("{:x}", Sha256::digest(&admin_token))),
            ("http.workers", "2"),
            ("instances.min_ttl", "1s"),
            // Most tests are about something else than how fast one visitor may ask.
            ("limits.creates_per_minute", "100000"),
            ("limits.burst", "100000"),
            // Nor about how fast a machine is that is busy with all the others.
            ("docker.start_timeout", "60s"),
            ("instances.create_deadline", "75s"),
            ("reaper.sweep", "1s"),
            ("telemetry.log", "info,getaredis=debug,getaredis_actors=debug"),
            ("telemetry.format", "json"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        if all.get("fleet.runtime").is_none_or(|runtime| runtime == "docker") {
            all.entry("docker.endpoint".to_owned()).or_insert_with(engine::endpoint);
        }
        Self {
            home: TempDir::new().unwrap(),
            deployment,
            port: 0,
            settings: all,
            child: None,
            admin_token,
            secrets,
            environment: BTreeMap::new(),
            launcher: Vec::new(),
        }
    }

    /// Starts a second one of the same deployment, with the same settings, key and database, in a home of its own.
    pub async fn start_beside(&self) -> Self {
        let key = self.home().join("master.key");
        let mut server = Self::unstarted(&[("instances.master_key_file", key.to_str().unwrap())]);
        let key = server.settings.remove("instances.master_key_file").unwrap();
        server.settings.clone_from(&self.settings);
        server.settings.insert("instances.master_key_file".to_owned(), key);
        server.deployment.clone_from(&self.deployment);
        (server.admin_token, server.secrets) = (self.admin_token.clone(), self.secrets.clone());
        server.start_again().await;
        server
    }

    /// Starts it on what it left, and waits until it is ready.
    pub async fn start_again(&mut self) {
        self.launch().await;
        self.becomes_ready().await;
    }

    /// Waits until it takes visitors.
    pub async fn becomes_ready(&self) {
        let api = self.api();
        eventually("the server is ready", PATIENCE, async || {
            let answer = api.get("/readyz").await;
            if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
        })
        .await;
    }

    /// The same of a process that may die at its crash point meanwhile: whether it did not.
    #[cfg(feature = "crash-points")]
    pub async fn try_start_again(&mut self) -> bool {
        let died = match self.starts().await {
            Err(status) => Some(status),
            Ok(()) => {
                let api = self.api();
                let child = self.child.as_mut().unwrap();
                eventually("the server is ready, or ended", PATIENCE, async || {
                    if let Some(status) = child.try_wait().unwrap() {
                        return Ok(Some(status));
                    }
                    match api.try_send(api.request(reqwest::Method::GET, "/readyz")).await {
                        Ok(answer) if answer.status == 200 => Ok(None),
                        other => Err(format!("{other:?}")),
                    }
                })
                .await
            }
        };
        let in_good_order = died.is_some_and(|status| status.code().is_some());
        assert!(!in_good_order, "it does not start: {}", self.log());
        died.is_none()
    }

    /// Starts it on what it left, and waits until it listens, whether it is ready or not.
    pub async fn launch(&mut self) {
        let started = self.starts().await;
        assert!(started.is_ok(), "it does not start ({started:?}): {}", self.log());
    }

    /// Starts a process and waits until it listens, on a port that the system chose, or died.
    async fn starts(&mut self) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "it runs");
        let mut said = self.log().len();
        for attempt in 1.. {
            let child = self.child.insert(self.command(0).spawn().unwrap());
            let log = self.home.path().join(LOG);
            let started = eventually("the server listens, or ended", PATIENCE, async || {
                let ended = child.try_wait().unwrap();
                match (ended, listening_port(&fs::read_to_string(&log).unwrap()[said..])) {
                    (Some(status), _) => Ok(Err(status)),
                    (None, Some(port)) => Ok(Ok(port)),
                    (None, None) => Err("it does not listen".to_owned()),
                }
            })
            .await;
            let log = self.log();
            if started.is_err() && attempt < STARTS && log[said..].contains(REPEATABLE) {
                said = log.len();
                continue;
            }
            self.port = started?;
            break;
        }
        Ok(())
    }

    /// `getaredis serve` with this server's settings on a port (0: any). It lives in this server's home: database, master key
    /// and log are the defaults' relative paths.
    pub fn command(&self, port: u16) -> Command {
        let log: File = OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let mut words = self.launcher.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_getaredis")]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(["serve", "--bind", &format!("127.0.0.1:{port}")])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(
                self.settings
                    .iter()
                    .map(|(key, value)| (format!("GETAREDIS__{}", key.to_uppercase().replace('.', "__")), value)),
            )
            .envs(&self.environment)
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// From its next start on the process dies at this point (see `src/adapters/crash_points.rs`), or lives.
    #[cfg(feature = "crash-points")]
    pub fn crash_at(&mut self, point: Option<&str>) {
        self.environment.remove("GETAREDIS_CRASH_AT");
        self.environment.extend(point.map(|point| ("GETAREDIS_CRASH_AT".to_owned(), point.to_owned())));
    }

    /// From its next start on the process has these variables too.
    pub fn set_environment(&mut self, variables: &[(&str, &str)]) {
        self.environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }

    /// From its next start on the process is started by this command, which must become it (`exec`).
    pub fn start_by(&mut self, command: &[&str]) {
        self.launcher = command.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Waits until the process died at its crash point.
    #[cfg(feature = "crash-points")]
    pub async fn crashes(&mut self) {
        self.crashes_within(PATIENCE).await;
    }

    /// The same, for what takes longer.
    #[cfg(feature = "crash-points")]
    pub async fn crashes_within(&mut self, patience: Duration) {
        let status = self.ended_within(patience).await;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(SIGABRT), "{status}: {}", self.log());
        assert!(self.log().contains("crash_points.reached"), "it died of something else");
    }

    /// The process dies here and now (`kill -9`).
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Tells the process to end (SIGTERM); what it does then is seen by [`ended`](Self::ended).
    pub fn terminate(&self) {
        signal(self.process(), "TERM");
    }

    /// Presses Ctrl-C (SIGINT).
    pub fn interrupt(&self) {
        signal(self.process(), "INT");
    }

    /// Waits until the process ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        self.ended_within(PATIENCE).await
    }

    async fn ended_within(&mut self, patience: Duration) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        eventually("the server ends", patience, async || child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned()))
            .await
    }

    /// The id of the process.
    pub fn process(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// `host:port`
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// A visitor from this machine.
    pub fn api(&self) -> Api {
        Api::new(self.url(), self.secrets.clone())
    }

    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// What must not be in the log.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// A viewer of the operator's feed.
    pub async fn feed(&self) -> Feed {
        Feed::open(&self.authority(), &self.admin_token).await
    }

    /// This server's containers on the engine.
    pub async fn containers(&self) -> Vec<Container> {
        Engine::given().containers(&self.deployment).await
    }

    /// The one container of an instance.
    pub async fn container(&self, instance: &str) -> Container {
        Engine::given().container(&self.deployment, instance).await
    }

    /// Every row of an instance is deleted behind the server's back, where it works on a file.
    pub fn lose_rows(&self) {
        self.execute(
            "PRAGMA busy_timeout = 5000; DELETE FROM instances; UPDATE counters SET value = 0 WHERE name = 'live'",
        );
    }

    /// Puts one database of its folder in the place of another, or nothing where there is none. While no server uses them.
    pub fn copy_database(&self, from: &str, to: &str) {
        // What a server wrote last may be in its log.
        for part in ["", "-wal", "-shm"] {
            let [from, to] = [from, to].map(|name| self.home().join(format!("{name}{part}")));
            let _ = fs::remove_file(&to);
            if part != "-shm" && from.exists() {
                fs::copy(from, to).unwrap();
            }
        }
    }

    /// Does something to the server's file behind its back.
    pub fn execute(&self, sql: &str) {
        let file = self.home().join(USED);
        SqliteConnection::establish(file.to_str().unwrap()).unwrap().batch_execute(sql).unwrap();
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join(LOG)
    }

    /// Everything that all processes of this server wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// What must not be in the log and is.
    fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let mut complaints = self.secrets.found_in(&log);
        complaints.extend(log.lines().filter(|line| is_alarming(line)).map(str::to_owned));
        complaints
    }
}

/// The port that a process says it listens on, in JSON or in text.
fn listening_port(log: &str) -> Option<u16> {
    let (_, rest) = log.lines().find(|line| line.contains("http.listening"))?.split_once("127.0.0.1:")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whether a line of a log tells of a bug. What else may go wrong is a warning at most.
fn is_alarming(line: &str) -> bool {
    match serde_json::from_str::<Value>(line) {
        Ok(entry) => entry["level"] == "ERROR",
        Err(_) => line.contains("panicked at"),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.settings.contains_key("docker.endpoint") || self.environment.contains_key(DOCKER_HOST) {
            Engine::forget(self.deployment.clone());
        }
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        } else {
            let complaints = self.complaints();
            assert!(complaints.is_empty(), "this must not be in a log: {complaints:#?}");
        }
    }
}

#[test]
fn the_port_of_a_server_is_read_from_what_it_says() {
    let json = r#"{"level":"INFO","message":"http.listening","address":"127.0.0.1:4711","deployment":"a"}"#;
    let text = "2026-11-23T12:00:00Z  INFO getaredis::wiring: http.listening address=127.0.0.1:4712 deployment=a";
    assert_eq!(listening_port(&format!("else 127.0.0.1:1\n{json}\n")), Some(4711));
    assert_eq!(listening_port(text), Some(4712));
    assert_eq!(listening_port("127.0.0.1:4713"), None);
}

#[test]
fn errors_and_panics_in_a_log_are_alarming_and_warnings_are_not() {
    let panic = "thread 'main' (7) panicked at src/main.rs:1:1:";
    for (line, alarming) in [
        (r#"{"level":"ERROR","message":"child.gave_up"}"#, true),
        (r#"{"level":"WARN","message":"host.unwell","error":"no ERROR"}"#, false),
        (panic, true),
        ("note: something else", false),
    ] {
        assert_eq!(is_alarming(line), alarming, "{line}");
    }
}
