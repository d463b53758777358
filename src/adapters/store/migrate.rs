//! Brings a database to the version of this program, forward only. The caller holds whatever lock keeps others away.

use std::fmt::Display;

use diesel::{backend::Backend, migration::MigrationSource};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};
use getaredis_actors::ports::StoreError;

/// Runs what is missing. `database` is the subject of the sentences that refuse. Blocks.
///
/// # Errors
/// [`StoreError::Corrupt`] when a migration fails, or when another version has been here that this one does not know.
pub(super) fn migrate<DB: Backend>(
    conn: &mut impl MigrationHarness<DB>,
    migrations: EmbeddedMigrations,
    database: &str,
) -> Result<(), StoreError>
where
    EmbeddedMigrations: MigrationSource<DB>,
{
    if !is_current(conn, &migrations, database)? {
        conn.run_pending_migrations(migrations).map_err(|e| broken(database, &e))?;
    }
    Ok(())
}

/// Whether nothing is missing. Needs no lock. Blocks.
///
/// # Errors
/// As [`migrate`].
pub(super) fn is_current<DB: Backend>(
    conn: &mut impl MigrationHarness<DB>,
    migrations: &EmbeddedMigrations,
    database: &str,
) -> Result<bool, StoreError>
where
    EmbeddedMigrations: MigrationSource<DB>,
{
    let known = MigrationSource::<DB>::migrations(migrations).map_err(|e| broken(database, &e))?;
    let applied = conn.applied_migrations().map_err(|e| broken(database, &e))?;
    if let Some(newer) = applied.iter().find(|v| !known.iter().any(|k| k.name().version() == **v)) {
        return Err(StoreError::Corrupt(format!(
            "{database} was written by another version of getaredis (it has migration {newer}); run that version, or set database.url to another database"
        )));
    }
    Ok(known.len() == applied.len())
}

fn broken(database: &str, error: &dyn Display) -> StoreError {
    let why = error.to_string();
    let remedy = if why.contains("denied") {
        "give its user all rights on the database (GRANT), as a table may have to be made or changed"
    } else {
        "restore a backup of it"
    };
    StoreError::Corrupt(format!("{database} cannot be brought up to date: {why}; {remedy}"))
}
