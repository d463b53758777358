//! A simulated directory: hosts appear and disappear in it, it goes away and comes back, with its keys or without.
//!
//! Owns the announcements. It outlives the actors that read it. Must not know what a host does.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::faults::Faults;
use crate::{
    domain::HostName,
    ports::{Directory, DirectoryError, DirectoryReading, HostRecord, HostVitals},
};

/// A directory in memory. Clones are the same directory.
///
/// With a time to live it is like keys in Redis: hosts are read by name. Without, it is like a configured list: they
/// are read in the order in which they were announced. Faults strike at `directory.read`.
#[derive(Debug, Clone)]
pub struct SimDirectory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ttl: Option<Duration>,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reading: DirectoryReading,
    outage: Option<String>,
    /// How often it has restarted.
    restarts: u64,
}

impl SimDirectory {
    /// An empty directory that answers.
    #[must_use]
    pub fn new(ttl: Option<Duration>, faults: Faults) -> Self {
        Self(Arc::new(Inner { ttl, faults, state: Mutex::default() }))
    }

    /// A host announces itself, or announces something else than before.
    pub fn announce(&self, record: HostRecord) {
        let mut state = self.state();
        let hosts = &mut state.reading.hosts;
        match hosts.iter_mut().find(|known| known.name == record.name) {
            Some(known) => *known = record,
            None => hosts.push(record),
        }
        if self.0.ttl.is_some() {
            hosts.sort_by(|a, b| a.name.cmp(&b.name));
        }
    }

    /// A host tells how it fares with its announcement.
    pub fn beat(&self, name: &HostName, vitals: HostVitals) {
        self.state().reading.vitals.insert(name.clone(), vitals);
    }

    /// A host's announcement runs out, or is taken from the list.
    pub fn withdraw(&self, name: &HostName) {
        let mut state = self.state();
        state.reading.hosts.retain(|host| &host.name != name);
        state.reading.vitals.remove(name);
    }

    /// An entry turns up that cannot be read.
    pub fn malform(&self, key: &str, why: &str) {
        self.mend(key);
        self.state().reading.malformed.push((key.to_owned(), why.to_owned()));
    }

    /// The unreadable entry goes away.
    pub fn mend(&self, key: &str) {
        self.state().reading.malformed.retain(|(known, _)| known != key);
    }

    /// It stops answering. Announcements go on meanwhile: what they say is read when it is back.
    pub fn outage(&self, why: &str) {
        self.state().outage = Some(why.to_owned());
    }

    /// It answers again.
    pub fn recover(&self) {
        self.state().outage = None;
    }

    /// It restarts without anything that it knew, as a Redis without persistence does.
    pub fn restart_empty(&self) {
        let mut state = self.state();
        state.reading = DirectoryReading::default();
        state.restarts += 1;
    }

    /// Somebody deletes all that is in it (`FLUSHALL`).
    pub fn flush(&self) {
        self.state().reading = DirectoryReading::default();
    }

    /// The hosts that are announced now.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostRecord> {
        self.state().reading.hosts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Directory for SimDirectory {
    async fn read(&self) -> Result<DirectoryReading, DirectoryError> {
        let read = || {
            let state = self.state();
            match &state.outage {
                Some(why) => Err(DirectoryError::Unreachable(why.clone())),
                None => {
                    // A configured list has no runs.
                    let run = self.0.ttl.map(|_| state.restarts.to_string());
                    Ok(DirectoryReading { run, ..state.reading.clone() })
                }
            }
        };
        self.0.faults.around("directory.read", DirectoryError::Unreachable, read).await
    }

    fn ttl(&self) -> Option<Duration> {
        self.0.ttl
    }
}
