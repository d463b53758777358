//! The file of a SQLite database: where it is, who may use it, what is in it before the first query.
//!
//! Owns the claim on it: one server at a time, because a second one would place instances that the first one's ledger
//! does not know. A guest comes without a claim: SQLite itself keeps several processes on one file apart. Speaks to
//! operators: every refusal names the path and what to do.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use getaredis_actors::ports::StoreError;

use super::{
    failure::Failure,
    migrate::{is_current, migrate},
    sqlite::trouble,
};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// How long a start waits for somebody who looks into the file or copies it, such as an operator's own tools.
const PATIENCE: Duration = Duration::from_secs(5);

const SCHEME: &str = "sqlite://";

/// Only the server's own user may read who asked for what. SQLite gives its `-wal` and `-shm` files the same mode.
const MODE: u32 = 0o600;

/// A database file, which no other server uses for as long as this value lives, unless it is a guest's.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    /// Absolute, so that SQLite never takes it for a URI and no change of directory matters.
    path: String,
    /// The operating system releases the lock with the handle, also when the process is killed. The file stays:
    /// removing it would let two processes hold locks on two files of the same name. A guest has none.
    _lock: Option<File>,
}

impl DatabaseFile {
    /// Finds or creates the file, locks it and brings its schema up to date. Blocks.
    pub(super) fn open(url: &str) -> Result<Self, StoreError> {
        let path = path_of(url)?;
        create(&path)?;
        let path = real(&path)?;
        let used = "another getaredis server is using it; stop that one, or set database.url to another file";
        let file = Self::claim(&path)?.ok_or_else(|| unusable(&path, used))?;
        file.migrate()?;
        Ok(file)
    }

    /// Finds the file for a guest. One that no server uses is created and brought up to date first, under a claim that is
    /// given back at once: a server may be started at any moment. Blocks.
    pub(super) fn join(url: &str) -> Result<Self, StoreError> {
        let path = path_of(url)?;
        let there = path.is_file();
        create(&path)?;
        let path = real(&path)?;
        let guest = Self { path: name_of(&path)?, _lock: None };
        if there && guest.is_current()? {
            return Ok(guest);
        }
        match Self::claim(&path)? {
            Some(file) => file.migrate()?,
            // It may have come up to date meanwhile.
            None if guest.is_current()? => {}
            None => {
                let older = "a getaredis server of another version is using it; start the server of this version first";
                return Err(unusable(&path, older));
            }
        }
        Ok(guest)
    }

    /// Locks the file, if nobody else has.
    fn claim(path: &Path) -> Result<Option<Self>, StoreError> {
        let Some(lock) = lock(path)? else { return Ok(None) };
        // Only under the lock: closing a file drops all locks that this process's SQLite has on it.
        OpenOptions::new().read(true).write(true).open(path).map_err(|e| {
            unusable(path, &format!("{e}; the user that runs getaredis must be able to read and write it"))
        })?;
        Ok(Some(Self { path: name_of(path)?, _lock: Some(lock) }))
    }

    /// Switches to write-ahead logging as well, which stays with the file.
    fn migrate(&self) -> Result<(), StoreError> {
        migrate(&mut self.connect("PRAGMA journal_mode = WAL;")?, MIGRATIONS, &self.path)
    }

    /// Whether its schema is this version's.
    fn is_current(&self) -> Result<bool, StoreError> {
        is_current(&mut self.connect("")?, &MIGRATIONS, &self.path)
    }

    fn connect(&self, also: &str) -> Result<SqliteConnection, StoreError> {
        let mut conn = SqliteConnection::establish(&self.path).map_err(|e| self.unusable(&e.to_string()))?;
        let first = format!("PRAGMA busy_timeout = {}; {also}", PATIENCE.as_millis());
        conn.batch_execute(&first).map_err(|e| self.explain(e.into()))?;
        Ok(conn)
    }

    /// The absolute path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The refusal that names this file.
    pub(super) fn unusable(&self, why: &str) -> StoreError {
        unusable(Path::new(&self.path), why)
    }

    fn explain(&self, failure: Failure) -> StoreError {
        match failure.into_store_error(trouble) {
            StoreError::Unavailable(why) => self.unusable(&why),
            StoreError::Corrupt(why) => StoreError::Corrupt(format!(
                "{} cannot be read ({why}); restore a backup of it, or set database.url to another file",
                self.path
            )),
            other => other,
        }
    }
}

/// The refusal that names a file.
pub(super) fn unusable(path: &Path, why: &str) -> StoreError {
    // What SQLite says when it finds no room for its index of the log, too.
    let hint = if why.contains("disk I/O error") { "; its disk is full, or fails" } else { "" };
    StoreError::Unavailable(format!("cannot use {}: {why}{hint}", path.display()))
}

/// The absolute path that the URL names.
fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    // The URL itself is never shown: one of another database would hold a password.
    let refused = |why: &str| StoreError::Unavailable(format!("database.url {why}, such as sqlite://getaredis.db"));
    let path = url.strip_prefix(SCHEME).ok_or_else(|| refused("must begin with sqlite://"))?;
    if path.is_empty() || path.starts_with(':') || path.contains('?') {
        return Err(refused("must be sqlite:// and the path of a file, without parameters"));
    }
    std::path::absolute(path).map_err(|e| unusable(Path::new(path), &e.to_string()))
}

/// Creates the file if it is not there. Does not open one that is: see [`DatabaseFile::claim`].
fn create(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Err(unusable(path, "it is a directory; set database.url to a file"));
    }
    if let Some(directory) = path.parent().filter(|d| !d.is_dir()) {
        let missing = format!("there is no directory {}; create it, or change database.url", directory.display());
        return Err(unusable(path, &missing));
    }
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(unusable(path, &format!("{e}; its directory must be writable for the user that runs getaredis"))),
    }
}

/// The path that all names of a file have in common: they must meet at one lock.
fn real(path: &Path) -> Result<PathBuf, StoreError> {
    let path = path.canonicalize().map_err(|e| unusable(path, &e.to_string()))?;
    // The lock stands beside the name, and SQLite's log too: under a second name they would not be found.
    let names = path.metadata().map_err(|e| unusable(&path, &e.to_string()))?.nlink();
    match names {
        0 | 1 => Ok(path),
        _ => Err(unusable(&path, "the file has a second name (a hard link); remove that, or copy the file")),
    }
}

fn name_of(path: &Path) -> Result<String, StoreError> {
    path.to_str().map(ToOwned::to_owned).ok_or_else(|| unusable(path, "its path is not UTF-8; move it"))
}

/// Nothing if another process has it.
fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = PathBuf::from(name);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(&lock).map_err(|e| {
        unusable(&lock, &format!("{e}; its directory must be writable for the user that runs getaredis"))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(unusable(&lock, &e.to_string())),
    }
}
