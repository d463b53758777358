//! Who may write into the directory: for each host a user of its own, which may renew the host's key and do nothing else.
//!
//! Owns those users and no others. They are made with a host and removed with it; a directory that restarts without a
//! file of its access list has lost them, so they are made again. Must not let a password into an error or a log; Redis
//! is given the hash.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use getaredis_actors::{
    domain::{DeploymentId, HostName, MasterKey, secret::sha256_hex},
    ports::DirectoryError,
};
use redis::{Cmd, RedisResult, aio::ConnectionManager};
use tokio::time::timeout;

use super::{
    heartbeat::Heartbeat,
    redis::{MOST_BYTES, READ_TIMEOUT, RedisSettings, connect, escape_glob, unreachable},
};
use crate::host_setup::{directory_key, directory_user};

/// Why a host was not let into the directory.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The directory does not answer, or does not let us manage users.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its name is in use, and would be taken from the host that has it.
    #[error(
        "deployment {1} has a host {0} under the same directory.prefix; choose another name, or a prefix of your own"
    )]
    Taken(HostName, DeploymentId),
}

/// The users of the directory's hosts. Whoever makes a host calls [`grant`](Self::grant) before the host boots and
/// [`revoke`](Self::revoke) when it is gone, and [`ensure`](Self::ensure) with those that somebody else has made. All of it
/// may be repeated.
pub struct HostUsers {
    settings: RedisSettings,
    connection: ConnectionManager,
    master_key: Arc<MasterKey>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Hosts that have been granted a user, or were seen in the directory.
    hosts: BTreeSet<HostName>,
    /// The run of the server that they were last made in.
    run: Option<String>,
}

impl HostUsers {
    /// Prepares a connection without opening it. Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// [`DirectoryError::Unreachable`] when the address cannot be understood.
    pub fn new(settings: RedisSettings, master_key: Arc<MasterKey>) -> Result<Self, DirectoryError> {
        let connection = connect(&settings)?;
        Ok(Self { settings, connection, master_key, known: Mutex::default() })
    }

    /// Lets the host of this name announce itself; from now on it is remembered.
    ///
    /// # Errors
    /// See [`GrantError`].
    pub async fn grant(&self, host: &HostName) -> Result<(), GrantError> {
        let read = async {
            let mut get = redis::cmd("GETRANGE");
            get.arg(directory_key(&self.settings.prefix, host)).arg(0).arg(MOST_BYTES);
            get.query_async::<Vec<u8>>(&mut self.connection.clone()).await
        };
        let there = Heartbeat::parse(&self.bounded(read).await?).ok();
        match there.and_then(|beat| beat.stranger(&self.settings.deployment).cloned()) {
            Some(stranger) => Err(GrantError::Taken(host.clone(), stranger)),
            None => Ok(self.ensure([host]).await?),
        }
    }

    /// The same for all of these at once, whoever has their names.
    ///
    /// # Errors
    /// [`DirectoryError::Unreachable`] when the directory does not answer, or does not let us manage users.
    pub async fn ensure<'a>(&self, hosts: impl IntoIterator<Item = &'a HostName>) -> Result<(), DirectoryError> {
        let hosts: Vec<HostName> = hosts.into_iter().cloned().collect();
        self.bounded(self.set_users(&hosts)).await?;
        self.known().hosts.extend(hosts);
        Ok(())
    }

    /// Whether the host announces itself at this moment.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub(super) async fn announces(&self, host: &HostName) -> Result<bool, DirectoryError> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(directory_key(&self.settings.prefix, host));
        self.bounded(async { exists.query_async(&mut self.connection.clone()).await }).await
    }

    /// Takes the user of this host away, and ends its connections; fine when there is none.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub async fn revoke(&self, host: &HostName) -> Result<(), DirectoryError> {
        // Forgotten first: a renewal at this moment must not bring it back.
        self.known().hosts.remove(host);
        let remove = async {
            let mut connection = self.connection.clone();
            acl("DELUSER").arg(self.user(host)).exec_async(&mut connection).await?;
            save(&mut connection).await;
            // The key may be there for another moment; without its user nobody renews it.
            redis::cmd("DEL").arg(directory_key(&self.settings.prefix, host)).exec_async(&mut connection).await
        };
        self.bounded(remove).await
    }

    /// Remembers hosts that are announced, and makes the users of all that are known again when the server is another
    /// run than last time. To be called with every reading.
    pub(super) async fn renew(
        &self,
        run: Option<&str>,
        announced: impl Iterator<Item = HostName>,
    ) -> Result<(), DirectoryError> {
        self.known().hosts.extend(announced);
        let Some(run) = run else {
            let why = "nobody may ask which run of it this is (INFO), so nobody sees when it has lost its users";
            return Err(DirectoryError::Unreachable(why.to_owned()));
        };
        let hosts: Vec<_> = {
            let known = self.known();
            if known.run.as_deref() == Some(run) {
                return Ok(());
            }
            known.hosts.iter().cloned().collect()
        };
        self.bounded(self.set_users(&hosts)).await?;
        self.known().run = Some(run.to_owned());
        Ok(())
    }

    async fn set_users(&self, hosts: &[HostName]) -> RedisResult<()> {
        if hosts.is_empty() {
            return Ok(());
        }
        let mut all = redis::pipe();
        for host in hosts {
            all.add_command(self.set_user(host)).ignore();
        }
        let mut connection = self.connection.clone();
        all.query_async::<()>(&mut connection).await?;
        save(&mut connection).await;
        Ok(())
    }

    /// `reset` first, so that nothing that this user might have had before is left.
    fn set_user(&self, host: &HostName) -> Cmd {
        let password = sha256_hex(&self.master_key.directory_password(host));
        let key = escape_glob(&directory_key(&self.settings.prefix, host));
        let mut command = acl("SETUSER");
        command.arg(self.user(host)).arg("reset").arg("on").arg(format!("#{password}"));
        command.arg(format!("~{key}")).arg(&["-@all", "+set", "+ping"]);
        command
    }

    fn user(&self, host: &HostName) -> String {
        directory_user(&self.settings.prefix, host)
    }

    async fn bounded<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Result<T, DirectoryError> {
        match timeout(READ_TIMEOUT, work).await {
            Ok(result) => result.map_err(|e| unreachable(&self.settings.url, &e)),
            Err(_) => Err(DirectoryError::Unreachable(format!("no complete answer within {READ_TIMEOUT:?}"))),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn acl(what: &str) -> Cmd {
    let mut command = redis::cmd("ACL");
    command.arg(what);
    command
}

/// Keeps the users over a restart where the directory has a file for them; where it has none, it says so in an error
/// that is nobody's fault.
async fn save(connection: &mut ConnectionManager) {
    if let Err(error) = acl("SAVE").exec_async(connection).await {
        tracing::debug!(%error, "directory.users_are_not_saved");
    }
}
