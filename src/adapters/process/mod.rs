//! Instances as plain `redis-server` children, for a machine on which no Docker Engine can run.
//!
//! Owns the children: each has a directory of its own, a bounded memory, no privileges, and ends with this process at
//! the latest. Tenants are **not** isolated from each other or from the machine, and nothing here pretends they are.

use std::{
    fs::{File, TryLockError},
    io,
    net::IpAddr,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use getaredis_actors::{
    domain::DeploymentId,
    ports::{HostRecord, Runtime, RuntimeError, Runtimes},
};

mod child;
mod leftovers;
mod nursery;
mod runtime;

use runtime::Children;
pub use runtime::ProcessRuntime;

/// How children are started in this deployment.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// Who we are: the directory under `base` that is ours.
    pub deployment: DeploymentId,
    /// Where the children's directories are.
    pub base: PathBuf,
    /// The engine, version 7.0 or newer; looked up in `PATH` when it is a bare name.
    pub binary: PathBuf,
    /// The address that the children listen on.
    pub publish_address: IpAddr,
    /// The longest that a child may take to get ready.
    pub start_timeout: Duration,
}

/// Makes the one runtime that there can be: every host is this machine, and the children outlive a handle.
pub struct ProcessRuntimes {
    children: Arc<Children>,
    _lock: File,
}

impl ProcessRuntimes {
    /// Takes the deployment's directory for itself and clears what an earlier process left in it.
    ///
    /// # Errors
    /// [`RuntimeError::Refused`] when another process has the directory, it cannot be used, or a child of an earlier
    /// process still lives.
    pub fn new(settings: ProcessSettings) -> Result<Self, RuntimeError> {
        let home = settings.base.join(settings.deployment.as_str());
        let refused = |what: &str, why: &dyn std::fmt::Display| {
            RuntimeError::Refused(format!("{what} {}: {why}", home.display()))
        };
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o711).create(&home).map_err(|e| refused("cannot make", &e))?;
        // Children are told apart by the path of their working directory, which the kernel shows without links.
        let home = home.canonicalize().map_err(|e| refused("cannot find", &e))?;
        let lock = File::create(home.join("lock")).map_err(|e| refused("cannot write to", &e))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => refused("cannot take", &"another process of this deployment has it"),
            TryLockError::Error(error) => refused("cannot lock", &error),
        })?;
        leftovers::clear(&home).map_err(|e: io::Error| refused("cannot clear", &e))?;
        let children = Children::new(settings, home).map_err(|e| refused("cannot use", &e))?;
        Ok(Self { children: Arc::new(children), _lock: lock })
    }
}

impl Runtimes for ProcessRuntimes {
    fn open(&self, host: &HostRecord) -> Result<Arc<dyn Runtime>, RuntimeError> {
        Ok(Arc::new(ProcessRuntime::new(self.children.clone(), host.public_address)))
    }
}
