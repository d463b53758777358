//! The databases that a server can be put on.

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt, future::join_all};

use crate::databases::{Kind, TestDatabase};

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Server(Kind),
}

/// Plays the same on each database, all at once: what is played mostly waits.
pub async fn on_every_database(play: impl AsyncFn(Backend)) {
    let played = Backend::ALL.map(async |backend| AssertUnwindSafe(play(backend)).catch_unwind().await.is_ok());
    let went_well: Vec<_> = Backend::ALL.into_iter().zip(join_all(played).await).collect();
    assert!(went_well.iter().all(|(_, well)| *well), "{went_well:?}; the panics are above");
}

/// Drops what is left of a scenario while others go on in the same task. What stands for a server or a database blocks when
/// it is dropped, for as long as PostgreSQL takes to let a database go; meanwhile the others' requests would grow too old.
#[cfg(feature = "crash-points")]
pub async fn tidy_up<T: Send + 'static>(scenario: T) {
    if let Err(failed) = tokio::task::spawn_blocking(move || drop(scenario)).await {
        std::panic::resume_unwind(failed.into_panic());
    }
}

impl Backend {
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::Server(Kind::Mysql), Self::Server(Kind::Postgres)];

    /// Whether several servers may use it at once.
    #[cfg(feature = "crash-points")]
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
