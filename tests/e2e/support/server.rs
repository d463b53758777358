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

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{
    api::Api,
    engine::{self, Container, Engine},
    eventually,
    feed::Feed,
    free_port,
    processes::signal,
    secrets::Secrets,
    unique,
};

/// For a start with migrations, or an orderly end with creates under way.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// What a process that aborts itself dies of.
#[cfg(feature = "crash-points")]
const SIGABRT: i32 = 6;
/// Somebody may take a port between finding it free and binding it; hardly thrice.
const PORTS_TO_TRY: usize = 3;

/// See the module's header.
pub struct Server {
    home: TempDir,
    deployment: String,
    port: u16,
    settings: BTreeMap<String, String>,
    child: Option<Child>,
    admin_token: String,
    secrets: Secrets,
    /// Where the next process dies.
    crash_at: Option<&'static str>,
}

impl Server {
    /// Starts one with containers on the engine that the tests were given, and waits until it is ready. `settings` are
    /// `("section.key", "value")` and win over what suits most tests.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::unstarted(settings);
        server.start_again().await;
        server
    }

    /// The same, without waiting for more than an answer.
    pub async fn start_unready(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::unstarted(settings);
        server.launch().await;
        server
    }

    fn unstarted(settings: &[(&str, &str)]) -> Self {
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
            crash_at: None,
        }
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

    async fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs");
        for _ in 0..PORTS_TO_TRY {
            self.port = free_port();
            self.child = Some(self.command(self.port).spawn().unwrap());
            if self.answers().await {
                return;
            }
            self.child = None;
        }
        panic!("no free port was found");
    }

    /// Waits for an answer. False when somebody else was faster with the port.
    async fn answers(&mut self) -> bool {
        let api = self.api();
        let log = self.log_file();
        let Some(child) = &mut self.child else { panic!("it does not run") };
        eventually("the server answers", PATIENCE, async || {
            if let Some(status) = child.try_wait().unwrap() {
                let log = fs::read_to_string(&log).unwrap();
                assert!(log.contains("in use"), "the server ended at its start ({status}): {log}");
                return Ok(false);
            }
            match api.try_send(api.request(reqwest::Method::GET, "/livez")).await {
                Ok(_) => Ok(true),
                Err(e) => Err(e.to_string()),
            }
        })
        .await
    }

    /// `getaredis serve` with this server's settings on a port. It lives in this server's home: database, master key
    /// and log are the defaults' relative paths.
    pub fn command(&self, port: u16) -> Command {
        let log: File = OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_getaredis"));
        command
            .args(["serve", "--bind", &format!("127.0.0.1:{port}")])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(
                self.settings
                    .iter()
                    .map(|(key, value)| (format!("GETAREDIS__{}", key.to_uppercase().replace('.', "__")), value)),
            )
            .envs(self.crash_at.map(|point| ("GETAREDIS_CRASH_AT", point)))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// From its next start on the process dies at this point (see `src/adapters/crash_points.rs`), or lives.
    #[cfg(feature = "crash-points")]
    pub fn crash_at(&mut self, point: Option<&'static str>) {
        self.crash_at = point;
    }

    /// Waits until the process died at its crash point.
    #[cfg(feature = "crash-points")]
    pub async fn crashes(&mut self) {
        let status = self.ended().await;
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

    /// Waits until the process ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        eventually("the server ends", PATIENCE, async || child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned()))
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

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("server.log")
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
        if self.settings.contains_key("docker.endpoint") {
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
