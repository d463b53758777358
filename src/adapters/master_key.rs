//! The file of the master key: made at the first start, read at every other.
//!
//! Owns the file's format (64 hex digits and a line end) and who may read it. Must never print what is in it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use getaredis_actors::domain::{MasterKey, secret::MASTER_KEY_BYTES};
use rand::{TryRng, rngs::SysRng};

/// Why there is no master key. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// It could not be read.
    #[error("cannot read the master key {}: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// It could not be made.
    #[error("cannot make the master key {}: {why}; set instances.master_key_file to a place that can be written", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Others may read it.
    #[error("the master key {path} may be read by others (mode {mode:04o}); run: chmod 600 {path}", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a key.
    #[error("the master key {} must be {digits} hex digits and is not; put the right file back, or delete it when no instance lives any more", path.display(), digits = 2 * MASTER_KEY_BYTES)]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the key, making it first when there is no such file. Several servers may do this at once: one of them makes
/// the file and all of them read the same key.
///
/// # Errors
/// [`MasterKeyError`] when the file cannot be had or must not be used.
pub fn load_or_create(path: &Path) -> Result<MasterKey, MasterKeyError> {
    match load(path) {
        Err(MasterKeyError::Read { why, .. }) if why.kind() == io::ErrorKind::NotFound => {
            create(path).map_err(|why| MasterKeyError::Create { path: path.to_owned(), why })?;
            load(path)
        }
        result => result,
    }
}

/// Reads the key that was made before.
///
/// # Errors
/// [`MasterKeyError`] when the file cannot be had or must not be used.
pub fn load(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let failed = |why| MasterKeyError::Read { path: path.to_owned(), why };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(MasterKeyError::Exposed { path: path.to_owned(), mode });
    }
    let bytes = fs::read(path).map_err(failed)?;
    let key = from_hex(bytes.trim_ascii_end()).ok_or_else(|| MasterKeyError::Malformed { path: path.to_owned() })?;
    Ok(MasterKey::new(key))
}

/// Writes a new key beside `path` and links it there, which fails when somebody else was first: the file is never
/// seen half-written and never overwritten.
fn create(path: &Path) -> io::Result<()> {
    let mut key = [0; MASTER_KEY_BYTES];
    SysRng.try_fill_bytes(&mut key).map_err(io::Error::other)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", uuid::Uuid::now_v7().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let linked = file
        .write_all(format!("{digits}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn from_hex(digits: &[u8]) -> Option<[u8; MASTER_KEY_BYTES]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use getaredis_actors::domain::InstanceId;
    use secrecy::ExposeSecret;

    fn password(key: &MasterKey) -> String {
        key.password(&InstanceId::from_uuid(uuid::Uuid::from_u128(1)), 0).expose_secret().to_owned()
    }

    fn refused(path: &Path) -> String {
        load_or_create(path).err().unwrap().to_string()
    }

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_start_makes_a_private_file_and_the_second_reads_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let first = password(&load_or_create(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap().len(), 65);
        assert_eq!(password(&load_or_create(&path).unwrap()), first);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn two_servers_that_start_at_once_get_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let start = std::sync::Barrier::new(8);
        let keys: Vec<_> = std::thread::scope(|scope| {
            let one = || {
                start.wait();
                password(&load_or_create(&path).unwrap())
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        for mode in [0o640, 0o604, 0o620, 0o666] {
            write(&path, &"ab".repeat(32), mode);
            let why = refused(&path);
            assert!(why.contains(&format!("{mode:04o}")) && why.contains("chmod 600"), "{why}");
            assert!(!why.contains("abab"), "{why}");
        }
    }

    #[test]
    fn a_file_of_the_wrong_length_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        for text in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &"xy".repeat(32), &"a".repeat(63)] {
            write(&path, text, 0o600);
            assert!(refused(&path).contains("must be 64 hex digits"));
            assert_eq!(fs::read_to_string(&path).unwrap(), *text);
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_with_the_key_to_change() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("not-there").join("master.key");
        let why = refused(&place);
        assert!(why.contains(&place.display().to_string()) && why.contains("instances.master_key_file"), "{why}");
    }
}
