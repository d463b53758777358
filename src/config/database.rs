//! `[database]`: where instances are recorded.

use std::{path::PathBuf, str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::{
    kinds::{duration, optional_path, parsed, whole},
    reader::{Reader, read_section},
};

/// The database.
#[derive(Debug, Clone)]
pub struct Database {
    /// A SQLite file, or a database on a server with user and password.
    pub url: SecretString,
    /// Connections at most.
    pub pool: u32,
    /// Longest wait for a free one.
    pub acquire_timeout: Duration,
    /// The authority that signed the database server's certificate; nothing means no TLS.
    pub tls_ca: Option<PathBuf>,
}

impl Database {
    /// Whether several servers could use it.
    pub(super) fn is_networked(&self) -> bool {
        !self.url.expose_secret().starts_with("sqlite:")
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(read_section!(reader, "database" => Database {
            url: parsed(database_url),
            pool: whole(1..=256),
            acquire_timeout: duration(Duration::from_millis(10), Duration::from_secs(60)),
            tls_ca: optional_path,
        }))
    }
}

/// Checks the address without ever repeating it: it may hold a password.
fn database_url(url: &str) -> Result<SecretString, &'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let valid = match scheme {
        // Each connection to ":memory:" would open a database of its own.
        "sqlite" => !rest.is_empty() && rest != ":memory:",
        "mysql" | "mariadb" => mysql_async::Opts::from_url(&format!("mysql://{rest}"))
            .is_ok_and(|opts| opts.db_name().is_some_and(|name| !name.is_empty())),
        "postgres" | "postgresql" => {
            tokio_postgres::Config::from_str(url).is_ok_and(|config| config.get_dbname().is_some())
        }
        _ => false,
    };
    if valid {
        Ok(url.to_owned().into())
    } else {
        Err("must be sqlite:// and the path of a file, or the address of a database such as \
             postgres://user:password@host:5432/database or mysql://user:password@host:3306/database")
    }
}
