//! The store against real databases: a file in a directory of its own, and databases on the servers of script/test.

mod guests;
mod model;
mod owning;
mod plans;
mod purging;
mod servers;
mod sqlite;
mod upgrading;

#[path = "../../../../tests/databases/mod.rs"]
mod databases;

use databases::{Kind, TestDatabase};
use getaredis_actors::{shared_store_conformance, sim::store_conformance::sinks, store_conformance};
use tempfile::TempDir;

use super::*;

/// Long enough for a crowd at a few connections, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings(url: &str) -> StoreSettings {
    StoreSettings { url: url.to_owned().into(), pool: 4, acquire_timeout: PATIENCE, tls_ca: None }
}

async fn opened(url: &str) -> SqlStore {
    SqlStore::open(&settings(url)).await.unwrap().with_sinks(sinks().to_vec())
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn url(dir: &TempDir) -> String {
    format!("sqlite://{}", dir.path().join("test.db").display())
}

async fn empty_file() -> (SqlStore, TempDir) {
    let dir = dir();
    (opened(&url(&dir)).await, dir)
}

async fn empty(kind: Kind) -> (SqlStore, TestDatabase) {
    let database = TestDatabase::create(kind).await;
    (opened(&database.url()).await, database)
}

async fn two(kind: Kind) -> (SqlStore, SqlStore, TestDatabase) {
    let database = TestDatabase::create(kind).await;
    (opened(&database.url()).await, opened(&database.url()).await, database)
}

async fn empty_mysql() -> (SqlStore, TestDatabase) {
    empty(Kind::Mysql).await
}

async fn empty_postgres() -> (SqlStore, TestDatabase) {
    empty(Kind::Postgres).await
}

async fn two_mysql() -> (SqlStore, SqlStore, TestDatabase) {
    two(Kind::Mysql).await
}

async fn two_postgres() -> (SqlStore, SqlStore, TestDatabase) {
    two(Kind::Postgres).await
}

mod conforms_on_sqlite {
    super::store_conformance!(super::empty_file);
}

mod conforms_on_mysql {
    super::store_conformance!(super::empty_mysql);
    super::shared_store_conformance!(super::two_mysql);
}

mod conforms_on_postgres {
    super::store_conformance!(super::empty_postgres);
    super::shared_store_conformance!(super::two_postgres);
}
