//! A real redis-server on a free port, with a folder of its own, ended by its own handle.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use getaredis_actors::domain::DeploymentId;

#[path = "../../../tests/e2e/support/ports.rs"]
mod ports;

use self::ports::free_port;
use super::{RedisDirectory, RedisSettings};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);
pub(super) const PASSWORD: &str = "hunter2hunter2";

pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    dir: tempfile::TempDir,
    /// Further arguments, kept for a restart.
    arguments: Vec<String>,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| Vec::new()).await
    }

    /// The same with arguments that depend on the server's own folder.
    pub(super) async fn start_with(arguments: impl Fn(&Path) -> Vec<String>) -> Self {
        loop {
            let port = free_port();
            let dir = tempfile::tempdir().unwrap();
            let arguments = arguments(dir.path());
            let child = Self::spawn(port, &dir, &arguments);
            let mut server = Self { child, port, dir, arguments };
            server.ready().await;
            // It has ended when somebody else took the port first, and then somebody else has answered.
            if server.child.try_wait().unwrap().is_none() {
                return server;
            }
        }
    }

    /// The same with a second port that speaks TLS; the arguments end with the option for it.
    pub(super) async fn start_tls(arguments: impl Fn(&Path) -> Vec<String>) -> Self {
        Self::start_with(|dir| {
            let mut all = arguments(dir);
            all.push(free_port().to_string());
            all
        })
        .await
    }

    pub(super) fn tls_port(&self) -> u16 {
        self.arguments.last().unwrap().parse().unwrap()
    }

    fn spawn(port: u16, dir: &tempfile::TempDir, arguments: &[String]) -> Child {
        let binary = std::env::var_os("GETAREDIS_TEST_REDIS_SERVER").unwrap_or_else(|| "/usr/bin/redis-server".into());
        Command::new(&binary)
            .args(["--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD, "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(dir.path())
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("no redis-server at {}: {e}; run script/test", binary.display()))
    }

    async fn ready(&self) {
        let start = Instant::now();
        while self.connection().await.is_err() {
            assert!(start.elapsed() < DEADLINE, "redis-server did not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn connection(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        let mut connection = redis::Client::open(self.url(PASSWORD))?.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(connection)
    }

    pub(super) fn url(&self, password: &str) -> String {
        format!("redis://:{password}@127.0.0.1:{}", self.port)
    }

    pub(super) fn directory(&self, prefix: &str) -> RedisDirectory {
        RedisDirectory::new(self.settings(prefix, PASSWORD)).unwrap()
    }

    pub(super) fn settings(&self, prefix: &str, password: &str) -> RedisSettings {
        RedisSettings {
            deployment: DeploymentId::parse("ours").unwrap(),
            url: self.url(password).into(),
            ca: None,
            prefix: prefix.to_owned(),
            ttl: Duration::from_secs(10),
            engine: "tcp://{private_address}:2376".to_owned(),
            slots: 40,
        }
    }

    pub(super) async fn set(&self, key: &str, value: &str) {
        self.command(redis::cmd("SET").arg(key).arg(value)).await;
    }

    pub(super) async fn command(&self, command: &redis::Cmd) {
        command.query_async::<()>(&mut self.connection().await.unwrap()).await.unwrap();
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) async fn restart(&mut self) {
        self.kill();
        self.restart_after_kill().await;
    }

    pub(super) async fn restart_after_kill(&mut self) {
        self.child = Self::spawn(self.port, &self.dir, &self.arguments);
        self.ready().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
