//! MySQL and MariaDB: their dialect, their connections, their migrations.
//!
//! Owns what only they need: the settings of a session, TLS, the classification of their messages, and what to tell an
//! operator whose server it cannot use.

use std::{fmt, path::Path, time::Duration};

use diesel::{QueryableByName, sql_query, sql_types::BigInt};
use diesel_async::{
    AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection, async_connection_wrapper::AsyncConnectionWrapper,
};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use getaredis_actors::ports::StoreError;
use mysql_async::{Error, Opts, OptsBuilder, SslOpts};

use super::{
    failure::Trouble,
    migrate::migrate,
    pool::{self, NO_ANSWER, Server},
    tls,
};

#[path = "queries.rs"]
pub(super) mod queries;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/mysql");

/// A connection.
pub(super) type Conn = AsyncMysqlConnection;

/// An open database.
pub(super) type Database = pool::Connections<Mysql>;

macro_rules! write_transaction {
    ($conn:expr, $work:expr) => {
        diesel_async::AsyncConnection::transaction::<_, $crate::adapters::store::failure::Failure, _>($conn, $work)
            .await
    };
}

/// The row, new or over the old one with the same key.
macro_rules! upsert {
    ($table:expr, $key:expr, $row:expr) => {
        insert_into($table).values($row).on_conflict(diesel::dsl::DuplicatedKeys).do_update().set($row)
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
/// locking exact; a value that does not fit is refused, not cut; messages are those that [`trouble`] knows. MariaDB
/// (which alone reads the words after `/*M!`) ends a statement soon after we gave it up, and a transaction whose next
/// statement never comes, because either may hold a lock that would stop all admissions. MySQL knows only how long a
/// session may be idle, which must be longer than the pool keeps an idle connection ([`pool::IDLE`]).
const SESSION: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', lc_messages = 'en_US',
     innodb_lock_wait_timeout = 1, lock_wait_timeout = 2, wait_timeout = 120
     /*M!, max_statement_time = 3, idle_transaction_timeout = 3 */",
];

/// One server migrates at a time; the others wait here, but not for ever. The name counts on the whole server, hence
/// the database in it; the sum makes it short enough.
const LOCK: &str = "SELECT COALESCE(GET_LOCK(SHA1(CONCAT('getaredis migrations ', DATABASE())), 60), 0) AS held";

/// What the server answers to [`LOCK`].
#[derive(QueryableByName)]
struct Lock {
    #[diesel(sql_type = BigInt)]
    held: i64,
}

/// Reads a message of the server, or of the library that speaks with it.
pub(super) fn trouble(message: &str) -> Option<Trouble> {
    const COLLISIONS: [&str; 3] =
        ["Deadlock found", "Lock wait timeout exceeded", "Record has changed since last read"];
    const PASSING: [&str; 16] = [
        // The library's own: what it says of a connection that is lost.
        "Input/output error",
        "Driver error",
        "Server shutdown in progress",
        "Connection was killed",
        "disconnected by the server because of inactivity",
        "Query execution was interrupted",
        "maximum statement execution time exceeded",
        "max_statement_time exceeded",
        "Too many connections",
        "is full",
        "Disk full",
        "Out of memory",
        "No space left on device",
        "read-only",
        // Somebody took a right away, and may give it back.
        "denied to user",
        "Got error",
    ];
    let speaks_of = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if speaks_of(&COLLISIONS) {
        Some(Trouble::Collision)
    } else {
        speaks_of(&PASSING).then(|| Trouble::Passing(message.to_owned()))
    }
}

/// A MySQL or MariaDB server and one database on it.
pub(super) struct Mysql {
    opts: Opts,
}

impl fmt::Display for Mysql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.opts.ip_or_hostname(), self.opts.tcp_port());
        write!(f, "MySQL database {} at {host}:{port}", self.opts.db_name().unwrap_or_default())
    }
}

impl Mysql {
    /// Reads `mysql://user:password@host:port/database`. With the certificate of an authority TLS is required.
    pub(super) fn new(url: &str, tls_ca: Option<&Path>) -> Result<Self, StoreError> {
        // Not the parser's words: they may repeat the password.
        let wrong =
            || StoreError::Unavailable("database.url must be like mysql://user:password@host:3306/database".to_owned());
        let opts = Opts::from_url(url).map_err(|_| wrong())?;
        if opts.db_name().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let mut opts = OptsBuilder::from_opts(opts)
            // Diesel has a cache of its own, and counts rows that were found, not rows that were changed.
            .stmt_cache_size(0)
            .client_found_rows(true)
            // The address that was given, and no detour over a socket that the server names.
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE_MS));
        if let Some(ca) = tls_ca {
            // Says what is wrong with the file before the server is asked.
            tls::client(ca)?;
            let ssl = SslOpts::default().with_root_certs(vec![ca.to_owned().into()]).with_disable_built_in_roots(true);
            opts = opts.ssl_opts(ssl);
        }
        Ok(Self { opts: opts.into() })
    }

    /// Connects, brings the schema up to date and opens the pool.
    pub(super) async fn open(self, size: u32, acquire_timeout: Duration) -> Result<Database, StoreError> {
        self.migrate().await?;
        Database::open(self, size, acquire_timeout).await
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let mut conn = pool::connect(self).await?;
        let name = format!("the {self}");
        // A migration may take longer than a query.
        conn.batch_execute("SET SESSION lock_wait_timeout = 60 /*M!, max_statement_time = 0 */")
            .await
            .map_err(|e| StoreError::Unavailable(format!("cannot use {name}: {e}")))?;
        let Lock { held } = sql_query(LOCK)
            .get_result(&mut conn)
            .await
            .map_err(|e| StoreError::Unavailable(format!("cannot use {name}: {e}")))?;
        if held != 1 {
            return Err(StoreError::Unavailable(format!(
                "{name} is being brought up to date by another server; try again"
            )));
        }
        tokio::task::spawn_blocking(move || migrate(&mut AsyncConnectionWrapper::<Conn>::from(conn), MIGRATIONS, &name))
            .await
            .map_err(|e| StoreError::Unavailable(format!("opening was cut short: {e}")))?
    }

    fn explain(&self, error: &Error) -> String {
        let user = self.opts.user().unwrap_or_default();
        let database = self.opts.db_name().unwrap_or_default();
        match error {
            Error::Server(e) => match e.code {
                1045 | 1698 => format!("it refuses the user {user} or the password; correct them in database.url"),
                1044 => format!(
                    "the user {user} may not use it, or it is not there; create it (CREATE DATABASE `{database}`) and GRANT ALL on it, or correct database.url"
                ),
                1049 => format!(
                    "there is no such database; create it (CREATE DATABASE `{database}`), or correct database.url"
                ),
                _ => e.message.clone(),
            },
            Error::Io(e) if e.to_string().contains("certificate") => format!("{e}; {}", tls::REMEDY),
            Error::Driver(mysql_async::DriverError::NoClientSslFlagFromServer) => {
                format!("it offers no TLS; {}", tls::REMEDY)
            }
            other => format!("{other}; {NO_ANSWER}"),
        }
    }
}

/// After this silence the system asks whether the peer is still there. In milliseconds.
const KEEPALIVE_MS: u32 = 30_000;

impl Server for Mysql {
    type Conn = Conn;

    async fn connect(&self) -> Result<Conn, String> {
        let conn = mysql_async::Conn::new(self.opts.clone()).await.map_err(|e| self.explain(&e))?;
        let mut conn = Conn::try_from(conn).await.map_err(|e| e.to_string())?;
        for setting in SESSION {
            conn.batch_execute(setting).await.map_err(|e| e.to_string())?;
        }
        Ok(conn)
    }
}
