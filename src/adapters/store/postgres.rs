//! PostgreSQL: its dialect, its connections, its migrations.
//!
//! Owns what only PostgreSQL needs: the settings of a session, TLS, the classification of its messages, and what to tell
//! an operator whose server it cannot use.

use std::{error::Error, fmt, path::Path, time::Duration};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection, async_connection_wrapper::AsyncConnectionWrapper};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use getaredis_actors::ports::StoreError;
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode},
    error::SqlState,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    failure::Trouble,
    migrate::migrate,
    pool::{self, NO_ANSWER, Server},
    tls,
};

#[path = "queries.rs"]
pub(super) mod queries;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// A connection.
pub(super) type Conn = AsyncPgConnection;

/// An open database.
pub(super) type Database = pool::Connections<Postgres>;

macro_rules! write_transaction {
    ($conn:expr, $work:expr) => {
        diesel_async::AsyncConnection::transaction::<_, $crate::adapters::store::failure::Failure, _>($conn, $work)
            .await
    };
}

/// The row, new or over the old one with the same key.
macro_rules! upsert {
    ($table:expr, $key:expr, $row:expr) => {
        insert_into($table).values($row).on_conflict($key).do_update().set($row)
    };
}

/// A row that only this transaction may write until it ends.
macro_rules! locked {
    ($query:expr) => {
        $query.for_update()
    };
}

use locked;
use upsert;
use write_transaction;

/// The settings of every session. Each statement sees what was committed before it, which is what makes looking after
/// locking exact. The times bound what a query of ours can do to others when we are gone: the server ends a statement
/// soon after we gave it up, and a transaction whose next statement never comes. Both spare a lock that would stop all
/// admissions.
const SESSION: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET lock_timeout = '1s'; SET statement_timeout = '3s'; SET idle_in_transaction_session_timeout = '3s'";

/// One server migrates at a time; the others wait at this number ("getaredi"), but not for ever.
const LOCK: &str = "SET statement_timeout = 0; SET lock_timeout = '60s'; SELECT pg_advisory_lock(7450489120434250857)";

/// Reads a message of PostgreSQL's.
pub(super) fn trouble(message: &str) -> Option<Trouble> {
    const COLLISIONS: [&str; 3] = ["deadlock detected", "due to lock timeout", "could not serialize access"];
    // Of the classes 53 (no resources), 57 (the operator intervened), 58 (its system failed), and of the time limits.
    const PASSING: [&str; 14] = [
        "canceling statement due to",
        "terminating connection due to",
        "the database system is",
        "the database system was",
        "too many clients",
        "too many connections",
        "remaining connection slots are reserved",
        "No space left on device",
        "out of memory",
        "out of shared memory",
        "could not extend file",
        "could not write",
        "connection to client lost",
        // Somebody took a right away, and may give it back.
        "permission denied",
    ];
    let speaks_of = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if speaks_of(&COLLISIONS) {
        Some(Trouble::Collision)
    } else {
        speaks_of(&PASSING).then(|| Trouble::Passing(message.to_owned()))
    }
}

/// A PostgreSQL server and one database on it.
#[derive(Clone)]
pub(super) struct Postgres {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = self.config.get_ports().first().unwrap_or(&5432);
        write!(f, "PostgreSQL database {} at {host}:{port}", self.database())
    }
}

impl Postgres {
    /// Reads `postgres://user:password@host:port/database`. With the certificate of an authority TLS is required.
    pub(super) fn new(url: &str, tls_ca: Option<&Path>) -> Result<Self, StoreError> {
        let mut config: Config = url.parse().map_err(|_| {
            // Not the parser's words: they may repeat the password.
            StoreError::Unavailable("database.url must be like postgres://user:password@host:5432/database".to_owned())
        })?;
        config.application_name("getaredis").tcp_user_timeout(pool::QUERY_TIMEOUT).keepalives_idle(KEEPALIVE);
        let tls = match tls_ca {
            Some(ca) => {
                config.ssl_mode(SslMode::Require);
                Some(MakeRustlsConnect::new(tls::client(ca)?))
            }
            None => None,
        };
        Ok(Self { config, tls })
    }

    fn database(&self) -> &str {
        // The server's own rule.
        self.config.get_dbname().or(self.config.get_user()).unwrap_or_default()
    }

    /// Connects, brings the schema up to date and opens the pool.
    pub(super) async fn open(self, size: u32, acquire_timeout: Duration) -> Result<Database, StoreError> {
        self.migrate().await?;
        Database::open(self, size, acquire_timeout).await
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let mut conn = pool::connect(self).await?;
        let name = format!("the {self}");
        conn.batch_execute(LOCK).await.map_err(|e| {
            StoreError::Unavailable(format!("{name} is being brought up to date by another server: {e}; try again"))
        })?;
        tokio::task::spawn_blocking(move || migrate(&mut AsyncConnectionWrapper::<Conn>::from(conn), MIGRATIONS, &name))
            .await
            .map_err(|e| StoreError::Unavailable(format!("opening was cut short: {e}")))?
    }

    fn explain(&self, error: &tokio_postgres::Error) -> String {
        let user = self.config.get_user().unwrap_or_default();
        let Some(code) = error.code() else {
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            return match cause.as_str() {
                "password missing" => "it wants a password; put one into database.url".to_owned(),
                _ if error.to_string().contains("TLS") => format!("{cause}; {}", tls::REMEDY),
                _ => format!("{cause}; {NO_ANSWER}"),
            };
        };
        match *code {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                format!("it refuses the user {user} or the password; correct them in database.url")
            }
            SqlState::INVALID_CATALOG_NAME => format!(
                "there is no such database; create it (CREATE DATABASE \"{}\" OWNER \"{user}\"), or correct database.url",
                self.database()
            ),
            SqlState::INSUFFICIENT_PRIVILEGE => {
                format!("the user {user} may not use it; GRANT ALL on it, or change database.url")
            }
            _ => error.source().map_or_else(|| error.to_string(), ToString::to_string),
        }
    }
}

/// After this silence the system asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

impl Server for Postgres {
    type Conn = Conn;

    async fn connect(&self) -> Result<Conn, String> {
        let explain = |error: tokio_postgres::Error| self.explain(&error);
        let conn = match self.tls.clone() {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls).await.map_err(explain)?;
                Conn::try_from_client_and_connection(client, connection).await
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(explain)?;
                Conn::try_from_client_and_connection(client, connection).await
            }
        };
        let mut conn = conn.map_err(|e| e.to_string())?;
        conn.batch_execute(SESSION).await.map_err(|e| e.to_string())?;
        Ok(conn)
    }
}
