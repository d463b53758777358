//! What one incarnation of the scheduler has on its desk: the ledger, the hosts and the work in flight.
//!
//! Shared by the futures of that incarnation on one thread, so a borrow never lasts over an `.await`; state read before
//! an `.await` is a guess after it. When the actor dies its futures and the desk are dropped together.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    time::Duration,
};

use tokio::sync::watch;

use super::{Peers, Tools, hosts::HostChild, messages::HostView, queue::Queue, state::Ledger};
use crate::{
    discovery::messages::DescribeDirectory,
    domain::{Creator, EndReason, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, InstanceState},
    feed::messages::{Fact, Publish},
    patience,
    ports::StoreError,
    supervision::ask,
};

/// Discovery answers from memory, or is being restarted.
const DISCOVERY_PATIENCE: Duration = Duration::from_secs(1);

/// See the module's header.
pub(super) struct Desk {
    pub(super) tools: Tools,
    pub(super) peers: Peers,
    pub(super) ledger: RefCell<Ledger>,
    /// Creates that wait for room.
    pub(super) queue: Queue,
    pub(super) hosts: RefCell<HashMap<HostName, HostChild>>,
    /// Whether the ledger holds every live row.
    pub(super) ready: Cell<bool>,
    /// Creates that are being worked on.
    pub(super) in_flight: Cell<usize>,
    /// Idempotency keys whose first request is being worked on; the channel closes when it is done.
    pub(super) keys: RefCell<HashMap<(Creator, IdempotencyKey), watch::Receiver<()>>>,
    /// Instances that were given up while the store did not answer; somebody must go on ending them.
    pub(super) unfinished: RefCell<Vec<InstanceId>>,
    /// Instances started so far, as far as this incarnation knows.
    started: Cell<u64>,
    /// What was last told of each host, so that only changes are told.
    published: RefCell<HashMap<HostName, HostView>>,
}

impl Desk {
    pub(super) fn new(tools: Tools, peers: Peers) -> Self {
        Self {
            tools,
            peers,
            ledger: RefCell::default(),
            queue: Queue::default(),
            hosts: RefCell::default(),
            ready: Cell::new(false),
            in_flight: Cell::new(0),
            keys: RefCell::default(),
            unfinished: RefCell::default(),
            started: Cell::new(0),
            published: RefCell::default(),
        }
    }

    /// Fills the ledger from the store. What cannot be read is an error.
    pub(super) async fn rebuild(&self) -> Result<(), String> {
        let store = &self.tools.store;
        let rows = patience::store(store.live()).await.map_err(|e| e.to_string())?;
        let totals = patience::store(store.totals()).await.map_err(|e| e.to_string())?;
        self.started.set(totals.started);
        {
            let mut ledger = self.ledger.borrow_mut();
            for row in &rows {
                ledger.adopt(&row.id, &row.host);
            }
        }
        self.abandon_creates_of_the_dead(&rows).await?;
        self.ready.set(true);
        tracing::info!(instances = rows.len(), started = totals.started, "scheduler.rebuilt");
        Ok(())
    }

    /// Asks discovery for the hosts that it knows already; those that join later it announces. False when it did not
    /// answer.
    pub(super) async fn ask_for_hosts(&self) -> bool {
        let Ok(view) = ask(&self.peers.discovery, DescribeDirectory, DISCOVERY_PATIENCE).await else { return false };
        for record in view.hosts {
            self.join(record);
        }
        true
    }

    /// Nobody waits any more for what an earlier incarnation was creating. The intent to end it is written at once, so
    /// that it does not use up its creator's quota and idempotency key; the reaper removes what is left of it. Only one
    /// server works on a store, so a row that is `creating` before the first create is always such a one.
    async fn abandon_creates_of_the_dead(&self, rows: &[Instance]) -> Result<(), String> {
        let event = InstanceEvent::StopRequested { reason: EndReason::Failed };
        for row in rows.iter().filter(|row| row.state == InstanceState::Creating) {
            let stopping = patience::store(self.tools.store.apply(&row.id, &event, self.tools.clock.now())).await;
            match stopping {
                Ok(stopping) => self.publish_instance(&stopping),
                // It was ended by somebody else meanwhile.
                Err(StoreError::Illegal(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Gives the slot of an instance back, if it holds one.
    pub(super) fn release_slot(&self, id: &InstanceId) {
        let host = self.ledger.borrow_mut().release(id);
        if let Some(host) = host {
            self.publish_host(&host);
        }
        self.forget_empty_hosts();
    }

    /// Tells the feed of a host, if there is anything new about it, and gives what is free there to those who wait. To
    /// be called in the same turn of the loop after every change of a host.
    pub(super) fn publish_host(&self, name: &HostName) {
        self.serve_waiting();
        let view = self.ledger.borrow().view(name);
        let mut published = self.published.borrow_mut();
        self.press(published.get(name), view.as_ref());
        let fact = match view {
            Some(host) if published.get(name) == Some(&host) => return,
            Some(host) => {
                published.insert(name.clone(), host.clone());
                Fact::HostChanged { host }
            }
            None if published.remove(name).is_none() => return,
            None => Fact::HostRemoved { name: name.clone() },
        };
        self.tell(fact);
    }

    /// Tells the feed of an instance that has not ended.
    pub(super) fn publish_instance(&self, instance: &Instance) {
        self.tell(Fact::InstanceChanged { instance: instance.into() });
    }

    /// Counts an instance that became running.
    pub(super) fn count_started(&self) {
        self.started.set(self.started.get() + 1);
        self.tell(Fact::TotalsChanged { totals: crate::ports::Totals { started: self.started.get() } });
    }

    pub(super) fn tell(&self, fact: Fact) {
        self.peers.feed.do_send(Publish(fact));
    }
}
