//! The store in memory. Keeps the contract of [`Store`] to the letter; `store_conformance` holds it to that.
//!
//! Clones are the same database, so it survives the actors. Each method is the operation `store.<method>` of its
//! [`Faults`]; an error planned there is [`StoreError::Unavailable`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

mod tables;

use self::tables::{Tables, whole_millisecond, whole_milliseconds};
use super::faults::Faults;
use crate::{
    domain::{
        Cordon, Creator, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, InstanceState, ServerId,
        SinkName, Timestamp,
        scaling::{DropletState, Hold, OrderBudget},
    },
    ports::{
        Admission, Admitted, Attended, Beat, BuilderRow, Delivery, DropletRow, OrderLimits, Orders, Relocated, Report,
        Store, StoreError, Totals,
    },
};

/// A database in memory.
#[derive(Debug, Clone, Default)]
pub struct SimStore {
    tables: Arc<Mutex<Tables>>,
    faults: Faults,
    sinks: Vec<SinkName>,
    shared: bool,
}

/// What a database held at some moment.
#[derive(Debug, Clone)]
pub struct Backup(Tables);

impl SimStore {
    /// An empty database whose calls pass these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    /// The same database, of which notices are delivered to these sinks.
    #[must_use]
    pub fn with_sinks(self, sinks: Vec<SinkName>) -> Self {
        Self { sinks, ..self }
    }

    /// The same database, as one that several servers may use.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
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

    /// A copy of what is in it now.
    #[must_use]
    pub fn back_up(&self) -> Backup {
        Backup(self.tables().clone())
    }

    /// Puts a copy in the place of what is in it, also beneath a server that uses it.
    pub fn restore(&self, backup: &Backup) {
        self.tables().clone_from(&backup.0);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
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
        let write = || self.tables().apply(id, event, now, &self.sinks);
        self.faults.around("store.apply", StoreError::Unavailable, write).await
    }

    async fn relocate(
        &self,
        id: &InstanceId,
        host: &HostName,
        slots: u32,
        now: Timestamp,
    ) -> Result<Relocated, StoreError> {
        let write = || self.tables().relocate(id, host, slots, now);
        self.faults.around("store.relocate", StoreError::Unavailable, write).await
    }

    async fn live(&self, after: Option<&(Timestamp, InstanceId)>, limit: u32) -> Result<Vec<Instance>, StoreError> {
        let read = || {
            let tables = self.tables();
            let comes = |i: &&Instance| after.is_none_or(|(at, id)| (i.created_at, &i.id) > (*at, id));
            let mut live: Vec<_> = tables.live().filter(comes).collect();
            live.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            Ok(live.into_iter().take(limit as usize).cloned().collect())
        };
        self.faults.around("store.live", StoreError::Unavailable, read).await
    }

    async fn carried(&self, hosts: &[HostName]) -> Result<BTreeMap<HostName, u32>, StoreError> {
        let read = || {
            let mut carried = BTreeMap::new();
            for instance in self.tables().live().filter(|instance| hosts.contains(&instance.host)) {
                *carried.entry(instance.host.clone()).or_default() += 1;
            }
            Ok(carried)
        };
        self.faults.around("store.carried", StoreError::Unavailable, read).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError> {
        let read = || {
            let tables = self.tables();
            let may_end = |i: &&Instance| i.state.reason().is_none() && i.lease.expires_at <= now;
            let mut due: Vec<_> = tables.live().filter(may_end).collect();
            due.sort_by_key(|i| (i.lease.expires_at, &i.id));
            Ok(due.into_iter().take(limit as usize).cloned().collect())
        };
        self.faults.around("store.due", StoreError::Unavailable, read).await
    }

    async fn warnings_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError> {
        let read = || {
            let tables = self.tables();
            let lives = |i: &&Instance| matches!(i.state, InstanceState::Running | InstanceState::Unreachable);
            let due = tables.live().filter(lives).filter(|i| i.lease.warn_at.is_some_and(|at| at <= now));
            let mut due: Vec<_> = due.cloned().collect();
            due.sort_by(|a, b| (a.lease.warn_at, &a.id).cmp(&(b.lease.warn_at, &b.id)));
            due.truncate(limit as usize);
            Ok(due)
        };
        self.faults.around("store.warnings_due", StoreError::Unavailable, read).await
    }

    async fn purge(&self, ended_before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let write = || Ok(self.tables().purge(ended_before, limit));
        self.faults.around("store.purge", StoreError::Unavailable, write).await
    }

    async fn take_deliveries(
        &self,
        sink: &SinkName,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let write = || Ok(self.tables().take_deliveries(sink, now, until, limit));
        self.faults.around("store.take_deliveries", StoreError::Unavailable, write).await
    }

    async fn close_delivery(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let write = || {
            self.tables().deliveries.retain(|(_, d)| d.notice.id != delivery.notice.id || d.sink != delivery.sink);
            Ok(())
        };
        self.faults.around("store.close_delivery", StoreError::Unavailable, write).await
    }

    async fn postpone_delivery(&self, delivery: &Delivery, until: Timestamp) -> Result<(), StoreError> {
        let write = || {
            if let Some((at, _)) = self.tables().delivery(delivery) {
                *at = whole_millisecond(until);
            }
            Ok(())
        };
        self.faults.around("store.postpone_delivery", StoreError::Unavailable, write).await
    }

    async fn waiting_deliveries(&self, sink: &SinkName) -> Result<u64, StoreError> {
        let read = || Ok(self.tables().deliveries.iter().filter(|(_, d)| &d.sink == sink).count() as u64);
        self.faults.around("store.waiting_deliveries", StoreError::Unavailable, read).await
    }

    async fn beat(&self, server: &ServerId, report: &Report) -> Result<Vec<Beat>, StoreError> {
        let write = || {
            let mut tables = self.tables();
            let beats = tables.beats.get(server).map_or(0, |before| before.beats) + 1;
            tables.beats.insert(server.clone(), Beat { server: server.clone(), beats, report: report.clone() });
            Ok(tables.beats.values().cloned().collect())
        };
        self.faults.around("store.beat", StoreError::Unavailable, write).await
    }

    async fn retire(&self, server: &ServerId) -> Result<(), StoreError> {
        let write = || {
            self.tables().beats.remove(server);
            Ok(())
        };
        self.faults.around("store.retire", StoreError::Unavailable, write).await
    }

    async fn attend(&self, last: Option<Attended>, now: Timestamp) -> Result<Attended, StoreError> {
        let write = || Ok(self.tables().attend(last, whole_millisecond(now)));
        self.faults.around("store.attend", StoreError::Unavailable, write).await
    }

    async fn attended(&self) -> Result<Vec<Attended>, StoreError> {
        let read = || Ok(self.tables().attended.values().copied().collect());
        self.faults.around("store.attended", StoreError::Unavailable, read).await
    }

    async fn known(&self, ids: &[InstanceId]) -> Result<BTreeSet<InstanceId>, StoreError> {
        let read = || {
            let tables = self.tables();
            Ok(ids.iter().filter(|id| tables.instances.contains_key(id)).cloned().collect())
        };
        self.faults.around("store.known", StoreError::Unavailable, read).await
    }

    fn is_shared(&self) -> bool {
        self.shared
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        self.faults.around("store.totals", StoreError::Unavailable, || Ok(self.tables().totals)).await
    }

    async fn droplets(&self) -> Result<Vec<DropletRow>, StoreError> {
        let read = || Ok(self.tables().droplets.values().cloned().collect());
        self.faults.around("store.droplets", StoreError::Unavailable, read).await
    }

    async fn order_droplet(&self, row: &DropletRow, most: u32, budget: OrderBudget) -> Result<bool, StoreError> {
        let write = || {
            let mut tables = self.tables();
            let others = tables.places_but(&row.name, whole_millisecond(row.created_at));
            let before = tables.droplets.get(&row.name).map(|row| row.state);
            let allowed = others < most as usize && before.is_none_or(|state| state == DropletState::Creating);
            if allowed {
                tables.put_droplet(row.clone());
                tables.order_limits.budget = OrderBudget::of(budget.full_at().map(whole_millisecond));
            }
            Ok(allowed)
        };
        self.faults.around("store.order_droplet", StoreError::Unavailable, write).await
    }

    async fn order_limits(&self) -> Result<OrderLimits, StoreError> {
        let read = || Ok(self.tables().order_limits.clone());
        self.faults.around("store.order_limits", StoreError::Unavailable, read).await
    }

    async fn hold_orders(&self, hold: Option<&Hold>) -> Result<(), StoreError> {
        let write = || {
            let whole = |hold: &Hold| Hold { until: whole_millisecond(hold.until), ..hold.clone() };
            self.tables().order_limits.hold = hold.map(whole);
            Ok(())
        };
        self.faults.around("store.hold_orders", StoreError::Unavailable, write).await
    }

    async fn confirm_droplet(&self, name: &HostName) -> Result<bool, StoreError> {
        let write = || Ok(self.tables().move_droplet(name, DropletState::Creating, DropletState::Created));
        self.faults.around("store.confirm_droplet", StoreError::Unavailable, write).await
    }

    async fn condemn_droplet(&self, name: &HostName, created_at: Timestamp) -> Result<bool, StoreError> {
        let write = || {
            let mut tables = self.tables();
            let free = tables.on(name) == 0;
            if free {
                tables.put_droplet(DropletRow { name: name.clone(), state: DropletState::Deleting, created_at });
            }
            Ok(free)
        };
        self.faults.around("store.condemn_droplet", StoreError::Unavailable, write).await
    }

    async fn keep_droplet(&self, name: &HostName) -> Result<bool, StoreError> {
        let write = || {
            let mut tables = self.tables();
            Ok(tables.on(name) > 0 && tables.move_droplet(name, DropletState::Deleting, DropletState::Created))
        };
        self.faults.around("store.keep_droplet", StoreError::Unavailable, write).await
    }

    async fn bury_droplet(&self, name: &HostName) -> Result<bool, StoreError> {
        let write = || Ok(self.tables().move_droplet(name, DropletState::Deleting, DropletState::Deleted));
        self.faults.around("store.bury_droplet", StoreError::Unavailable, write).await
    }

    async fn remove_droplet(&self, name: &HostName, state: DropletState) -> Result<bool, StoreError> {
        let write = || {
            let mut tables = self.tables();
            let there = tables.droplets.get(name).is_some_and(|row| row.state == state);
            if there {
                tables.droplets.remove(name);
                tables.orders.cordons.remove(name);
            }
            Ok(there)
        };
        self.faults.around("store.remove_droplet", StoreError::Unavailable, write).await
    }

    async fn builders(&self) -> Result<Vec<BuilderRow>, StoreError> {
        let read = || Ok(self.tables().builders.values().cloned().collect());
        self.faults.around("store.builders", StoreError::Unavailable, read).await
    }

    async fn order_builder(&self, row: &BuilderRow, now: Timestamp, most: u32) -> Result<bool, StoreError> {
        let write = || {
            let mut tables = self.tables();
            let allowed = tables.places_but(&row.name, whole_millisecond(now)) < most as usize;
            if allowed {
                let row = BuilderRow { ends_at: whole_millisecond(row.ends_at), ..row.clone() };
                tables.builders.insert(row.name.clone(), row);
            }
            Ok(allowed)
        };
        self.faults.around("store.order_builder", StoreError::Unavailable, write).await
    }

    async fn close_builder(&self, name: &HostName) -> Result<bool, StoreError> {
        let write = || Ok(self.tables().builders.remove(name).is_some());
        self.faults.around("store.close_builder", StoreError::Unavailable, write).await
    }

    async fn orders(&self) -> Result<Orders, StoreError> {
        self.faults.around("store.orders", StoreError::Unavailable, || Ok(self.tables().orders.clone())).await
    }

    async fn order_cordon(&self, host: &HostName, cordon: Option<Cordon>) -> Result<(), StoreError> {
        let write = || {
            let cordons = &mut self.tables().orders.cordons;
            match cordon {
                Some(cordon) => cordons.insert(host.clone(), cordon),
                None => cordons.remove(host),
            };
            Ok(())
        };
        self.faults.around("store.order_cordon", StoreError::Unavailable, write).await
    }

    async fn order_pause(&self, paused: bool) -> Result<(), StoreError> {
        let write = || {
            self.tables().orders.paused = paused;
            Ok(())
        };
        self.faults.around("store.order_pause", StoreError::Unavailable, write).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.faults.around("store.ping", StoreError::Unavailable, || Ok(())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{
        samples::{a_request, droplet},
        store_conformance::sinks,
    };

    async fn empty() -> (SimStore, ()) {
        (SimStore::default().with_sinks(sinks().to_vec()), ())
    }

    async fn two() -> (SimStore, SimStore, ()) {
        let (store, ()) = empty().await;
        (store.clone().shared(), store.shared(), ())
    }

    crate::store_conformance!(empty);
    crate::shared_store_conformance!(two);

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
        store.clone().order_droplet(&droplet("d1"), 1, OrderBudget::default()).await.unwrap();
        assert_eq!(store.droplets().await.unwrap(), [droplet("d1")]);
    }
}
