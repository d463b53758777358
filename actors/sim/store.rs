//! The store in memory. Keeps the contract of [`Store`] to the letter; `store_conformance` holds it to that.
//!
//! Clones are the same database, so it survives the actors. Each method is the operation `store.<method>` of its
//! [`Faults`]; an error planned there is [`StoreError::Unavailable`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::faults::Faults;
use crate::{
    domain::{Creator, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, InstanceState, Timestamp, Usage},
    ports::{Admission, Admitted, DropletRow, Store, StoreError, Totals},
};

/// A database in memory.
#[derive(Debug, Clone, Default)]
pub struct SimStore {
    tables: Arc<Mutex<Tables>>,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Tables {
    instances: BTreeMap<InstanceId, Instance>,
    droplets: BTreeMap<HostName, DropletRow>,
    totals: Totals,
}

impl SimStore {
    /// An empty database whose calls pass these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { tables: Arc::default(), faults }
    }

    /// Writes a row as it is, whatever was there. For a test's beginning: asks no quota and meets no fault.
    pub fn seed(&self, instance: Instance) {
        self.tables().instances.insert(instance.id.clone(), whole_milliseconds(instance));
    }

    /// Every row, ended ones too, by id. For a test's end: meets no fault.
    #[must_use]
    pub fn rows(&self) -> Vec<Instance> {
        self.tables().instances.values().cloned().collect()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn live(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(|i| i.state.is_live())
    }

    fn by_key(&self, creator: &Creator, key: &IdempotencyKey) -> Option<&Instance> {
        self.live().find(|i| i.creator == *creator && i.idempotency_key.as_ref() == Some(key))
    }

    fn usage(&self, creator: &Creator) -> Usage {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let own = || self.live().filter(|i| i.creator == *creator && i.state.reason().is_none());
        Usage {
            of_creator: count(own().count()),
            total: count(self.live().count()),
            creator_frees_at: own().map(|i| i.lease.expires_at).min(),
        }
    }

    fn admit(&mut self, Admission { instance, quotas }: Admission) -> Result<Admitted, StoreError> {
        if let Some(key) = &instance.idempotency_key
            && let Some(live) = self.by_key(&instance.creator, key)
        {
            let same = live.fingerprint == instance.fingerprint;
            return Ok(if same { Admitted::Existing(Box::new(live.clone())) } else { Admitted::Conflict });
        }
        if let Err(quota) = quotas.check(self.usage(&instance.creator)) {
            return Ok(Admitted::Refused(quota));
        }
        if self.instances.contains_key(&instance.id) {
            return Err(StoreError::Corrupt(format!("instance {} is there already", instance.id)));
        }
        self.instances.insert(instance.id.clone(), whole_milliseconds(instance));
        Ok(Admitted::New)
    }

    fn apply(&mut self, id: &InstanceId, event: &InstanceEvent, now: Timestamp) -> Result<Instance, StoreError> {
        let row = self.instances.get_mut(id).ok_or(StoreError::NotFound)?;
        *row = whole_milliseconds(row.after(event, now)?);
        if matches!(event, InstanceEvent::Started { .. }) {
            self.totals.started += 1;
        }
        Ok(row.clone())
    }
}

#[async_trait]
impl Store for SimStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        self.faults.around("store.admit", StoreError::Unavailable, || self.tables().admit(admission)).await
    }

    async fn instance(&self, id: &InstanceId) -> Result<Option<Instance>, StoreError> {
        let read = || Ok(self.tables().instances.get(id).cloned());
        self.faults.around("store.instance", StoreError::Unavailable, read).await
    }

    async fn by_key(&self, creator: &Creator, key: &IdempotencyKey) -> Result<Option<Instance>, StoreError> {
        let read = || Ok(self.tables().by_key(creator, key).cloned());
        self.faults.around("store.by_key", StoreError::Unavailable, read).await
    }

    async fn apply(&self, id: &InstanceId, event: &InstanceEvent, now: Timestamp) -> Result<Instance, StoreError> {
        self.faults.around("store.apply", StoreError::Unavailable, || self.tables().apply(id, event, now)).await
    }

    async fn live(&self) -> Result<Vec<Instance>, StoreError> {
        let read = || {
            let mut live: Vec<_> = self.tables().live().cloned().collect();
            live.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            Ok(live)
        };
        self.faults.around("store.live", StoreError::Unavailable, read).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError> {
        let read = || {
            let may_end = |i: &&Instance| matches!(i.state, InstanceState::Creating | InstanceState::Running);
            let tables = self.tables();
            let mut due: Vec<_> = tables.live().filter(may_end).filter(|i| i.lease.expires_at <= now).collect();
            due.sort_by_key(|i| (i.lease.expires_at, &i.id));
            Ok(due.into_iter().take(limit as usize).cloned().collect())
        };
        self.faults.around("store.due", StoreError::Unavailable, read).await
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        self.faults.around("store.totals", StoreError::Unavailable, || Ok(self.tables().totals)).await
    }

    async fn droplets(&self) -> Result<Vec<DropletRow>, StoreError> {
        let read = || Ok(self.tables().droplets.values().cloned().collect());
        self.faults.around("store.droplets", StoreError::Unavailable, read).await
    }

    async fn put_droplet(&self, row: &DropletRow) -> Result<(), StoreError> {
        let write = || {
            let row = DropletRow { created_at: whole_millisecond(row.created_at), ..row.clone() };
            self.tables().droplets.insert(row.name.clone(), row);
            Ok(())
        };
        self.faults.around("store.put_droplet", StoreError::Unavailable, write).await
    }

    async fn remove_droplet(&self, name: &HostName) -> Result<(), StoreError> {
        let write = || {
            self.tables().droplets.remove(name);
            Ok(())
        };
        self.faults.around("store.remove_droplet", StoreError::Unavailable, write).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.faults.around("store.ping", StoreError::Unavailable, || Ok(())).await
    }
}

/// A row as a database gives it back: its times are whole milliseconds.
fn whole_milliseconds(mut row: Instance) -> Instance {
    row.created_at = whole_millisecond(row.created_at);
    row.lease.expires_at = whole_millisecond(row.lease.expires_at);
    row.lease.max_expires_at = whole_millisecond(row.lease.max_expires_at);
    row.ended_at = row.ended_at.map(whole_millisecond);
    row
}

fn whole_millisecond(time: Timestamp) -> Timestamp {
    // Cannot fail: a time that is there has its milliseconds.
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::samples::{a_request, droplet};

    async fn empty() -> (SimStore, ()) {
        (SimStore::default(), ())
    }

    crate::store_conformance!(empty);

    #[tokio::test]
    async fn a_failed_admission_wrote_nothing_and_one_that_lied_wrote_the_row() {
        let faults = Faults::new();
        let store = SimStore::new(faults.clone());
        faults.fail_next("store.admit", 1);
        faults.lie_next("store.admit");
        let refused = store.admit(a_request(1)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        assert_eq!(store.rows(), []);
        assert!(store.admit(a_request(1)).await.is_err());
        assert_eq!(store.rows(), [a_request(1).instance]);
    }

    #[tokio::test]
    async fn a_clone_is_the_same_database() {
        let store = SimStore::default();
        store.clone().put_droplet(&droplet("d1")).await.unwrap();
        assert_eq!(store.droplets().await.unwrap(), [droplet("d1")]);
    }
}
