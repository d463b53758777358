//! `[database]`: where instances are recorded.

use std::{path::PathBuf, time::Duration};

use super::{
    kinds::{duration, parsed, whole},
    reader::{Reader, read_section},
};

/// How an address of an SQLite file begins.
const SQLITE: &str = "sqlite://";

/// The database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// `sqlite://` and a path.
    pub url: String,
    /// Connections kept open.
    pub pool: u32,
    /// Longest wait for a free one.
    pub acquire_timeout: Duration,
}

impl Database {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(read_section!(reader, "database" => Database {
            url: parsed(sqlite_url),
            pool: whole(1..=256),
            acquire_timeout: duration(Duration::from_millis(10), Duration::from_secs(60)),
        }))
    }

    /// The file of an SQLite database.
    #[must_use]
    pub fn sqlite_file(&self) -> PathBuf {
        self.url.strip_prefix(SQLITE).unwrap_or(&self.url).into()
    }
}

fn sqlite_url(url: &str) -> Result<String, &'static str> {
    // Each connection to ":memory:" would open a database of its own.
    match url.strip_prefix(SQLITE) {
        Some(path) if !path.is_empty() && path != ":memory:" => Ok(url.to_owned()),
        _ => Err("must be sqlite:// and the path of a file, such as sqlite://getaredis.db"),
    }
}
