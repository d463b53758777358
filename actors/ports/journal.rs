//! The journal: lines that are kept for a person to look at later.

use async_trait::async_trait;

/// Why a line was not kept, or could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// It cannot be written or read at this time.
    #[error("the journal cannot be used: {0}")]
    Unavailable(String),
}

/// Keeps lines in the order in which they came. Bounded: the oldest go first. Nothing depends on it but the person who
/// reads it, so a line that cannot be kept is lost and whoever wrote it goes on.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Keeps one line, which holds no line end.
    async fn append(&self, line: &str) -> Result<(), JournalError>;

    /// The newest `n` lines at most, the oldest of them first.
    async fn last(&self, n: usize) -> Result<Vec<String>, JournalError>;
}
