//! What is remembered between two commands: which instances were made here, and the tokens that manage them.
//!
//! Owns one file of mode 0600 in the user's state directory, replaced as a whole and under a lock, so that commands
//! that run at once lose nothing and a crash leaves the old file. Must never print a token.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use getaredis_actors::domain::{InstanceId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

const FILE: &str = "instances.json";

/// Locked while the file is changed. Another file, because the first one is replaced.
const LOCK: &str = "instances.lock";

/// Why nothing is remembered.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is no place for it.
    #[error("neither XDG_STATE_HOME nor HOME is set, so there is no place to remember instances in")]
    Nowhere,
    /// The system said no.
    #[error("cannot use {}: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// It holds something else.
    #[error("{} is damaged ({why}); move it away to begin a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: serde_json::Error,
    },
}

/// An instance that was made here.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Remembered {
    /// Its public id.
    pub id: InstanceId,
    /// The server that made it.
    pub server: String,
    /// What manages it.
    #[serde(serialize_with = "expose")]
    pub token: SecretString,
    /// After this it has ended, whatever became of it.
    pub max_expires_at: Timestamp,
}

fn expose<S: Serializer>(token: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(token.expose_secret())
}

/// The file as it is written.
#[derive(Default, Deserialize, Serialize)]
struct Written {
    instances: Vec<Remembered>,
}

/// The place where instances are remembered.
#[derive(Debug, Clone)]
pub struct State {
    dir: PathBuf,
}

impl State {
    /// The user's: `$XDG_STATE_HOME/getaredis`, else `~/.local/state/getaredis`.
    ///
    /// # Errors
    /// [`StateError::Nowhere`]
    pub fn of_user() -> Result<Self, StateError> {
        // The specification wants relative paths to be ignored.
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        Ok(Self { dir: base.ok_or(StateError::Nowhere)?.join("getaredis") })
    }

    /// In this directory.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Everything that is remembered, the oldest first. Nothing where nothing was ever written.
    ///
    /// # Errors
    /// [`StateError`] when the file cannot be read.
    pub fn read(&self) -> Result<Vec<Remembered>, StateError> {
        let path = self.dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(|written: Written| written.instances)
                .map_err(|why| StateError::Damaged { path, why }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(why) => Err(StateError::Io { path, why }),
        }
    }

    /// Changes what is remembered, alone. What must have ended by `now` is forgotten on the way.
    ///
    /// # Errors
    /// [`StateError`] when the file cannot be read or replaced; nothing is changed then.
    pub fn update(&self, now: Timestamp, change: impl FnOnce(&mut Vec<Remembered>)) -> Result<(), StateError> {
        let _lock = self.lock()?;
        let mut instances = self.read()?;
        change(&mut instances);
        instances.retain(|instance| instance.max_expires_at > now);
        let path = self.dir.join(FILE);
        self.replace(&path, &Written { instances }).map_err(|why| StateError::Io { path, why })
    }

    /// Waits for whoever changes the file at this moment. The lock is given back when the file is closed.
    fn lock(&self) -> Result<File, StateError> {
        let path = self.dir.join(LOCK);
        let open = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(|why| StateError::Io { path: path.clone(), why })
    }

    fn replace(&self, path: &Path, written: &Written) -> io::Result<()> {
        // Nobody else writes this name while the lock is held; a crash may have left it.
        let draft = self.dir.join(format!("{FILE}.new"));
        match fs::remove_file(&draft) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(written)?)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const LATER: Timestamp = Timestamp::MAX;

    fn id(n: u128) -> InstanceId {
        InstanceId::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn remembered(n: u128) -> Remembered {
        let server = "http://127.0.0.1:8080".to_owned();
        Remembered { id: id(n), server, token: "gar_secret".to_owned().into(), max_expires_at: LATER }
    }

    #[test]
    fn what_was_remembered_is_read_back_from_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::at(&dir.path().join("deep/getaredis"));
        assert!(state.read().unwrap().is_empty());
        state.update(Timestamp::UNIX_EPOCH, |all| all.push(remembered(1))).unwrap();
        let all = state.read().unwrap();
        assert_eq!((&all[0].id, all[0].token.expose_secret()), (&id(1), "gar_secret"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state.dir), mode(&state.dir.join(FILE))), (0o700, 0o600));
    }

    #[test]
    fn commands_that_run_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::at(dir.path());
        std::thread::scope(|scope| {
            for n in 0..16 {
                let state = &state;
                scope.spawn(move || {
                    state.update(Timestamp::UNIX_EPOCH, |all| all.push(remembered(n))).unwrap();
                });
            }
        });
        assert_eq!(state.read().unwrap().len(), 16);
    }

    #[test]
    fn what_must_have_ended_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::at(dir.path());
        let past = Remembered { max_expires_at: Timestamp::UNIX_EPOCH, ..remembered(2) };
        state.update(Timestamp::UNIX_EPOCH, |all| all.extend([past, remembered(1)])).unwrap();
        let ids: Vec<_> = state.read().unwrap().into_iter().map(|one| one.id).collect();
        assert_eq!(ids, [id(1)]);
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::at(dir.path());
        fs::write(dir.path().join(FILE), "{").unwrap();
        let why = state.update(Timestamp::UNIX_EPOCH, Vec::clear).unwrap_err().to_string();
        assert!(why.contains(FILE) && why.contains("damaged"), "{why}");
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), "{");
    }

    #[test]
    fn a_draft_that_a_crash_left_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::at(dir.path());
        fs::write(dir.path().join("instances.json.new"), "half").unwrap();
        state.update(Timestamp::UNIX_EPOCH, |all| all.push(remembered(1))).unwrap();
        assert_eq!(state.read().unwrap().len(), 1);
    }
}
