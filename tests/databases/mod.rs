//! Real database servers for tests: databases on the servers that script/test starts, and servers of a test's own.
//!
//! Owns the tidying up: a database is dropped and a server killed with the value that stands for it, also when the test
//! fails. Mounted by the tests that need it, inside the crate and outside.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::panic)]

pub mod filling;
#[path = "../e2e/support/ports.rs"]
mod ports;
#[path = "../e2e/support/processes.rs"]
mod processes;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mysql_async::prelude::Queryable;
use tempfile::TempDir;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// MariaDB.
    Mysql,
    /// PostgreSQL.
    Postgres,
}

/// Longest time for a server to come up, or down, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Longest time for a database to be dropped.
const FAREWELL: Duration = Duration::from_secs(5);

impl Kind {
    pub const ALL: [Self; 2] = [Self::Mysql, Self::Postgres];

    fn given(self, what: &str) -> String {
        let kind = match self {
            Self::Mysql => "MYSQL",
            Self::Postgres => "POSTGRES",
        };
        let name = format!("GETAREDIS_TEST_{kind}{what}");
        match std::env::var(&name) {
            Ok(value) if !value.is_empty() => value,
            _ => panic!("{name} is not set: run script/test, which starts the databases and says where they are"),
        }
    }

    /// Runs statements on a database as somebody who may do everything.
    pub async fn execute(self, url: &str, sql: &str) -> Result<(), String> {
        match self {
            Self::Mysql => {
                let mut conn = mysql_async::Conn::from_url(url).await.map_err(|e| e.to_string())?;
                conn.query_drop(sql).await.map_err(|e| e.to_string())?;
                conn.disconnect().await.map_err(|e| e.to_string())
            }
            Self::Postgres => {
                let (client, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(|e| format!("{e:?}"))?;
                let connection = tokio::spawn(connection);
                let done = client.batch_execute(sql).await.map_err(|e| format!("{e:?}"));
                connection.abort();
                done
            }
        }
    }

    /// The database that is always there.
    fn first_database(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Postgres => "postgres",
        }
    }
}

/// An empty database that no other test uses.
pub struct TestDatabase {
    pub kind: Kind,
    server: String,
    pub name: String,
}

impl TestDatabase {
    /// On the server that all tests share.
    pub async fn create(kind: Kind) -> Self {
        Self::create_at(kind, kind.given("")).await
    }

    /// On a server of the test's own.
    pub async fn create_on(server: &DatabaseServer) -> Self {
        Self::create_at(server.kind, server.url()).await
    }

    async fn create_at(kind: Kind, server: String) -> Self {
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let database = Self { kind, server, name };
        database.at_the_server(&format!("CREATE DATABASE {}", database.name)).await.unwrap();
        database
    }

    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// Runs statements on it.
    pub async fn execute(&self, sql: &str) {
        self.kind.execute(&self.url(), sql).await.unwrap();
    }

    async fn at_the_server(&self, sql: &str) -> Result<(), String> {
        self.kind.execute(&format!("{}/{}", self.server, self.kind.first_database()), sql).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let force = if self.kind == Kind::Postgres { " WITH (FORCE)" } else { "" };
        let sql = format!("DROP DATABASE IF EXISTS {}{force}", self.name);
        // A runtime of its own: this may be dropped on one that is about to end. Not for long: PostgreSQL waits for a
        // connection that is being made, and who makes it may be the one that waits here. The server will go anyhow.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                // A server that is gone has no database to drop.
                let _ = runtime.block_on(async { tokio::time::timeout(FAREWELL, self.at_the_server(&sql)).await });
            });
        });
    }
}

/// A server of a test's own, which it may stop, kill and freeze. Starts in about a second on a copy of the template.
pub struct DatabaseServer {
    pub kind: Kind,
    port: u16,
    dir: TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl DatabaseServer {
    pub async fn start(kind: Kind) -> Self {
        Self::start_with(kind, |_| Vec::new()).await
    }

    /// With further arguments, which may name files in the server's own directory.
    pub async fn start_with(kind: Kind, arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let dir = TempDir::new().unwrap();
        // PostgreSQL runs as a user that must be able to pass.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let template = PathBuf::from(kind.given("_TEMPLATE")).join("data");
        let copied = Command::new("cp").arg("-a").arg(&template).arg(dir.path().join("data")).status().unwrap();
        assert!(copied.success(), "{} cannot be copied", template.display());
        let port = ports::free_port();
        let arguments = arguments(dir.path());
        let mut server = Self { kind, port, dir, arguments, child: None };
        server.start_again().await;
        server
    }

    /// `scheme://user:password@host:port`, of a user who may do everything.
    pub fn url(&self) -> String {
        let shared = self.kind.given("");
        format!("{}:{}", shared.rsplit_once(':').unwrap().0, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it where it was, with what it had, and returns once it answers.
    pub async fn start_again(&mut self) {
        self.launch();
        let deadline = Instant::now() + PATIENCE;
        let url = format!("{}/{}", self.url(), self.kind.first_database());
        while let Err(why) = self.kind.execute(&url, "SELECT 1").await {
            // One that wants TLS is up when it says so.
            if ["Access denied", "insecure transport", "no encryption"].iter().any(|refusal| why.contains(refusal)) {
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "{:?} ended: {}", self.kind, log());
            assert!(Instant::now() < deadline, "{:?} does not answer: {why}; {}", self.kind, log());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn launch(&mut self) {
        let (data, program) = (self.dir.path().join("data"), self.kind.given("_SERVER"));
        let log = fs::OpenOptions::new().append(true).create(true).open(self.dir.path().join("log")).unwrap();
        let owner = fs::metadata(&data).unwrap();
        let mut command = Command::new("setpriv");
        if fs::metadata("/proc/self").unwrap().uid() != owner.uid() {
            command.args([format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid())]);
            command.args(["--clear-groups", "setpriv"]);
        }
        command.args(["--pdeathsig", "KILL", &program]);
        match self.kind {
            Kind::Mysql => {
                let settings = PathBuf::from(self.kind.given("_TEMPLATE")).join("my.cnf");
                command.arg(format!("--defaults-file={}", settings.display()));
                command.arg(format!("--datadir={}", data.display())).arg(format!("--port={}", self.port));
                command.arg(format!("--socket={}", self.dir.path().join("socket").display()));
            }
            Kind::Postgres => {
                command.arg("-D").arg(&data).args(["-p", &self.port.to_string()]);
            }
        }
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Shuts it down in good order.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // PostgreSQL would wait for its clients at TERM.
        processes::signal(child.id(), if self.kind == Kind::Postgres { "INT" } else { "TERM" });
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "{:?} does not stop", self.kind);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// `kill -9`, it and all its processes.
    pub async fn kill(&mut self) {
        let killed = self.end();
        let deadline = Instant::now() + PATIENCE;
        while killed.iter().any(processes::Process::lives) {
            assert!(Instant::now() < deadline, "{:?} does not die", self.kind);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Kills it without waiting for all its processes, which are returned.
    fn end(&mut self) -> BTreeSet<processes::Process> {
        let Some(mut child) = self.child.take() else { return BTreeSet::new() };
        let children = processes::descendants(child.id());
        let _ = child.kill();
        let _ = child.wait();
        for process in &children {
            // Some have noticed and are gone.
            let _ = Command::new("kill").args(["-KILL", &process.id.to_string()]).stderr(Stdio::null()).status();
        }
        children
    }

    /// Stops it in the middle of whatever it does: it keeps its connections and answers nobody, until
    /// [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        let id = self.child.as_ref().unwrap().id();
        // The parent first, so that no child is made unseen.
        processes::signal(id, "STOP");
        processes::descendants(id).iter().for_each(|child| processes::signal(child.id, "STOP"));
    }

    pub fn thaw(&self) {
        let id = self.child.as_ref().unwrap().id();
        processes::descendants(id).iter().for_each(|child| processes::signal(child.id, "CONT"));
        processes::signal(id, "CONT");
    }

    /// Gives a file to the server's user alone.
    pub fn own(template_of: Kind, file: &Path) {
        let owner = fs::metadata(PathBuf::from(template_of.given("_TEMPLATE")).join("data")).unwrap();
        chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        self.end();
    }
}
