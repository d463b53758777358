//! A directory of hosts: a real redis-server, and hosts whose hearts beat in it.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{SOON, eventually, free_port, given, tenant};

/// A redis-server of the test's own, with nothing in it.
pub struct DirectoryServer {
    port: u16,
    dir: TempDir,
    child: Child,
}

impl DirectoryServer {
    pub async fn start() -> Self {
        let (port, dir) = (free_port(), TempDir::new().unwrap());
        let server = Self { port, child: launch(port, &dir), dir };
        server.answers().await;
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Ends it at once; nothing that it knew is kept.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, empty.
    pub async fn start_again(&mut self) {
        self.child = launch(self.port, &self.dir);
        self.answers().await;
    }

    async fn answers(&self) {
        eventually("the directory answers", SOON, async || tenant::ping(&self.url()).await.map_err(|e| e.to_string()))
            .await;
    }
}

impl Drop for DirectoryServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(port: u16, dir: &TempDir) -> Child {
    Command::new(given("GETAREDIS_TEST_REDIS_SERVER"))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A host that announces itself as those of 2015 did. Its heart stops when it is dropped.
pub struct Host {
    heart: JoinHandle<()>,
}

impl Host {
    /// Beats from now on, each key living for so many seconds.
    pub fn announce(directory: &DirectoryServer, name: &str, key_lives_s: u64) -> Self {
        Self::announce_with(directory, name, key_lives_s, &json!({}))
    }

    /// The same, and says how it fares with these members.
    pub fn announce_with(directory: &DirectoryServer, name: &str, key_lives_s: u64, vitals: &Value) -> Self {
        let url = directory.url();
        let key = format!("server:{name}");
        let mut beat =
            json!({"PublicIP": "127.0.0.1", "PrivateIP": "127.0.0.1", "Name": name, "NumberOfContainers": 0});
        beat.as_object_mut().unwrap().extend(vitals.as_object().unwrap().clone());
        let heart = tokio::spawn(async move {
            loop {
                // A directory that is away hears the next one.
                let _ = set(&url, &key, &beat.to_string(), key_lives_s).await;
                tokio::time::sleep(Duration::from_secs(key_lives_s) / 4).await;
            }
        });
        Self { heart }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

async fn set(url: &str, key: &str, value: &str, lives_s: u64) -> redis::RedisResult<()> {
    let mut connection: MultiplexedConnection = tenant::connect(url).await?;
    redis::cmd("SET").arg(key).arg(value).arg("EX").arg(lives_s).exec_async(&mut connection).await
}
