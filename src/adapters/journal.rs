//! The journal as a file of lines.
//!
//! Owns the file and its predecessor: when it is full it becomes `<file>.1`, in place of the one before, so that the two
//! together are bounded. Only its owner may read it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use getaredis_actors::ports::{Journal, JournalError};
use tokio::task::spawn_blocking;

/// Size at which a file is full, in bytes: some days of a small fleet, some hours of a thousand hosts.
const FULL: u64 = 16 * 1024 * 1024;

/// A journal in a file.
#[derive(Debug, Clone)]
pub struct FileJournal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    full: u64,
    /// Held while the file is changed or read.
    turn: Mutex<()>,
}

impl FileJournal {
    /// A journal in this file, which is made when the first line is kept.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self::that_is_full_at(path, FULL)
    }

    /// Makes sure that lines can be kept, and makes the file if it is not there.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn check(&self) -> Result<(), JournalError> {
        let path = &self.0.path;
        let opened = self.0.open().map(drop);
        opened.map_err(|error| JournalError::Unavailable(format!("cannot write {}: {error}", path.display())))
    }

    fn that_is_full_at(path: PathBuf, full: u64) -> Self {
        Self(Arc::new(Inner { path, full, turn: Mutex::default() }))
    }

    /// Does `work` with the file, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let inner = Arc::clone(&self.0);
        let work = move || {
            let _turn = inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
            work(&inner).map_err(|error| JournalError::Unavailable(format!("{}: {error}", inner.path.display())))
        };
        spawn_blocking(work).await.unwrap_or_else(|error| Err(JournalError::Unavailable(error.to_string())))
    }
}

impl Inner {
    fn predecessor(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".1");
        name.into()
    }

    fn open(&self) -> io::Result<fs::File> {
        OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&self.path)
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let length = fs::metadata(&self.path).map_or(0, |file| file.len());
        if length > 0 && length + line.len() as u64 >= self.full {
            fs::rename(&self.path, self.predecessor())?;
        }
        let mut file = self.open()?;
        // A line that was torn, by a full disk or the end of power, must not spoil the next one.
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        let start = if last == [b'\n'] { "" } else { "\n" };
        // In one piece, so that a line is whole or not there.
        file.write_all(format!("{start}{line}\n").as_bytes())
    }

    fn last(&self, n: usize) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for path in [self.predecessor(), self.path.clone()] {
            match fs::read_to_string(path) {
                Ok(text) => lines.extend(text.lines().map(str::to_owned)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(lines.split_off(lines.len().saturating_sub(n)))
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn append(&self, line: &str) -> Result<(), JournalError> {
        let line = line.to_owned();
        self.with(move |inner| inner.append(&line)).await
    }

    async fn last(&self, n: usize) -> Result<Vec<String>, JournalError> {
        self.with(move |inner| inner.last(n)).await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_newest_lines_are_kept_in_two_bounded_files_that_nobody_else_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scaling.jsonl");
        let journal = FileJournal::that_is_full_at(path.clone(), 100);
        assert_eq!(journal.last(9).await.unwrap(), Vec::<String>::new());
        for n in 0..50 {
            journal.append(&format!("line {n:04}")).await.unwrap();
        }
        assert_eq!(journal.last(3).await.unwrap(), ["line 0047", "line 0048", "line 0049"]);
        let kept = journal.last(1000).await.unwrap();
        assert!((9..50).contains(&kept.len()) && kept.is_sorted(), "{kept:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        for file in fs::read_dir(dir.path()).unwrap() {
            let meta = file.unwrap().metadata().unwrap();
            assert!(meta.len() <= 100, "{meta:?}");
            assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_torn_line_does_not_spoil_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scaling.jsonl");
        let journal = FileJournal::new(path.clone());
        journal.append("one").await.unwrap();
        fs::write(&path, "one\ntw").unwrap();
        journal.append("three").await.unwrap();
        assert_eq!(journal.last(9).await.unwrap(), ["one", "tw", "three"]);
    }

    #[test]
    fn a_journal_is_checked_by_making_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scaling.jsonl");
        fs::write(&path, "kept\n").unwrap();
        FileJournal::new(path.clone()).check().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept\n");
        FileJournal::new(dir.path().join("new.jsonl")).check().unwrap();
        let refused = FileJournal::new(dir.path().join("missing/scaling.jsonl")).check().unwrap_err().to_string();
        assert!(refused.contains("missing/scaling.jsonl"), "{refused}");
        assert!(FileJournal::new(dir.path().to_owned()).check().is_err(), "a folder is no file");
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_is_an_error_that_names_it() {
        let journal = FileJournal::new("/nonexistent/scaling.jsonl".into());
        let error = journal.append("x").await.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/scaling.jsonl"), "{error}");
    }
}
