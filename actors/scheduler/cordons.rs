//! Who keeps new instances from a host: the operator, by orders that stand for all servers on the database, and the
//! autoscaler, for as long as this server runs.
//!
//! Owns the orders as they were read last. They are read again with every comparison of the ledger, so that what another
//! server was told holds here within seconds, and a host gets its cordon before its first instance. Must not undo what
//! the autoscaler decided for hosts that no order names, nor let it undo an order.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use super::{
    desk::Desk,
    messages::{CordonError, HostView},
};
use crate::{
    domain::{Cordon, HostEvent, HostName, HostState},
    patience,
    ports::StoreError,
};

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Cordons {
    ordered: RefCell<BTreeMap<HostName, Cordon>>,
    /// Counts what was ordered here: what was read meanwhile may be older.
    given: Cell<u64>,
}

impl Cordons {
    fn of(&self, host: &HostName) -> Option<Cordon> {
        self.ordered.borrow().get(host).copied()
    }

    /// Every host that an order names.
    pub(super) fn ordered(&self) -> BTreeSet<HostName> {
        self.ordered.borrow().keys().cloned().collect()
    }

    fn count(&self) {
        self.given.set(self.given.get() + 1);
    }
}

/// What gives a host this cordon.
fn event(cordon: Option<Cordon>) -> HostEvent {
    match cordon {
        None => HostEvent::Uncordon,
        Some(Cordon::Cordoned) => HostEvent::Cordon,
        Some(Cordon::Draining) => HostEvent::Drain,
    }
}

impl Desk {
    /// Reads the operator's orders, and lets the hosts follow those that are new, or gone.
    pub(super) async fn follow_orders(&self) -> Result<(), StoreError> {
        let given = self.cordons.given.get();
        let read = patience::store(self.tools.store.orders()).await?.cordons;
        if self.cordons.given.get() != given {
            return Ok(());
        }
        let before = self.cordons.ordered.replace(read.clone());
        for (host, cordon) in &read {
            if before.get(host) != Some(cordon) {
                self.impose(host, Some(*cordon));
            }
        }
        for (host, cordon) in before.iter().filter(|(host, _)| !read.contains_key(host)) {
            if self.ledger.borrow().view(host).is_some_and(|view| view.cordon == Some(*cordon)) {
                self.impose(host, None);
            }
        }
        Ok(())
    }

    /// The operator orders a cordon, or takes the order back. It stands when it is written.
    pub(super) async fn order_cordon(&self, host: &HostName, cordon: Option<Cordon>) -> Result<HostView, CordonError> {
        let view = |desk: &Self| desk.ledger.borrow().view(host).ok_or(CordonError::NoSuchHost);
        view(self)?;
        // What another server was told a moment ago stands.
        self.follow_orders().await.map_err(CordonError::Store)?;
        let now = view(self)?;
        if now.cordon != cordon {
            HostState { health: now.state, cordon: now.cordon }.after(event(cordon))?;
        }
        self.cordons.count();
        let written = patience::store(self.tools.store.order_cordon(host, cordon)).await;
        self.cordons.count();
        // It may have been written all the same; then the next reading tells.
        written.map_err(CordonError::Store)?;
        match cordon {
            Some(cordon) => self.cordons.ordered.borrow_mut().insert(host.clone(), cordon),
            None => self.cordons.ordered.borrow_mut().remove(host),
        };
        self.impose(host, cordon);
        view(self)
    }

    /// The autoscaler cordons a host, or takes that back. What the operator ordered is not taken back.
    pub(super) fn cordon(&self, host: &HostName, cordon: Option<Cordon>) -> Result<HostView, CordonError> {
        let now = self.ledger.borrow().view(host).ok_or(CordonError::NoSuchHost)?;
        if now.cordon == cordon || (cordon.is_none() && self.cordons.of(host).is_some()) {
            return Ok(now);
        }
        self.ledger.borrow_mut().order_event(host, event(cordon))?;
        self.publish_host(host);
        self.ledger.borrow().view(host).ok_or(CordonError::NoSuchHost)
    }

    /// A host was announced. To be called before anything can be placed on it.
    pub(super) fn impose_order(&self, host: &HostName) {
        if let Some(cordon) = self.cordons.of(host) {
            self.impose(host, Some(cordon));
        }
    }

    /// Gives a host this cordon, whatever it had. Nothing where there is no such host.
    fn impose(&self, host: &HostName, cordon: Option<Cordon>) {
        let Some(now) = self.ledger.borrow().view(host).filter(|now| now.cordon != cordon) else { return };
        {
            let mut ledger = self.ledger.borrow_mut();
            // From one cordon to the other there is no way but over none.
            let over_none = now.cordon.map(|_| HostEvent::Uncordon);
            for event in over_none.into_iter().chain(cordon.map(|cordon| event(Some(cordon)))) {
                // Both are legal: the first because it has a cordon, the second because it then has none.
                let _ = ledger.order_event(host, event);
            }
        }
        tracing::info!(%host, ?cordon, "host.cordon_ordered");
        self.publish_host(host);
    }
}
