//! The databases that a server can be put on.

use crate::databases::{Kind, TestDatabase};

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Server(Kind),
}

impl Backend {
    /// Whether several servers may use it at once.
    pub fn is_shared(self) -> bool {
        self != Self::Sqlite
    }

    /// An empty one, and its address. Must outlive the server that uses it.
    pub async fn create(self) -> (Option<TestDatabase>, String) {
        match self {
            // Relative to the server's home.
            Self::Sqlite => (None, "sqlite://getaredis.db".to_owned()),
            Self::Server(kind) => {
                let database = TestDatabase::create(kind).await;
                let url = database.url();
                (Some(database), url)
            }
        }
    }
}
