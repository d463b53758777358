//! A journal in memory. Clones are the same journal. Faults strike at `journal.append` and `journal.last`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::faults::Faults;
use crate::ports::{Journal, JournalError};

/// Keeps a bounded number of lines.
#[derive(Debug, Clone)]
pub struct SimJournal {
    most: usize,
    lines: Arc<Mutex<VecDeque<String>>>,
    faults: Faults,
}

impl SimJournal {
    /// An empty journal that keeps the newest `most` lines.
    #[must_use]
    pub fn new(most: usize, faults: Faults) -> Self {
        Self { most, lines: Arc::default(), faults }
    }
}

#[async_trait]
impl Journal for SimJournal {
    async fn append(&self, line: &str) -> Result<(), JournalError> {
        let append = || {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_back(line.to_owned());
            while lines.len() > self.most {
                lines.pop_front();
            }
            Ok(())
        };
        self.faults.around("journal.append", JournalError::Unavailable, append).await
    }

    async fn last(&self, n: usize) -> Result<Vec<String>, JournalError> {
        let last = || {
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(lines.iter().skip(lines.len().saturating_sub(n)).cloned().collect())
        };
        self.faults.around("journal.last", JournalError::Unavailable, last).await
    }
}
