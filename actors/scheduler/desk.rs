//! What one incarnation of the scheduler has on its desk: the ledger, the hosts and the work in flight.
//!
//! Shared by the futures of that incarnation on one thread, so a borrow never lasts over an `.await`; state read before
//! an `.await` is a guess after it. When the actor dies its futures and the desk are dropped together.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use super::{
    Peers, Tools,
    cordons::Cordons,
    doubts::Doubts,
    hosts::HostChild,
    messages::{FleetView, HostView},
    neighbours::Neighbours,
    queue::{Queue, Waits},
    refresh::Look,
    state::Ledger,
    turns::Turns,
};
use crate::{
    discovery::messages::DescribeDirectory,
    domain::{Creator, Health, HostName, IdempotencyKey, Instance, InstanceId},
    feed::messages::{Fact, Publish},
    patience,
    ports::{StoreError, Totals},
    supervision::ask,
};

/// Discovery answers from memory, or is being restarted.
const DISCOVERY_PATIENCE: Duration = Duration::from_secs(1);

/// What each instance was when it was shown last.
pub(super) type Shown = HashMap<InstanceId, Look>;

/// See the module's header.
pub(super) struct Desk {
    pub(super) tools: Tools,
    pub(super) peers: Peers,
    pub(super) ledger: RefCell<Ledger>,
    /// Creates that wait for room.
    pub(super) queue: Queue,
    pub(super) hosts: RefCell<HashMap<HostName, HostChild>>,
    /// What the operator ordered of hosts.
    pub(super) cordons: Cordons,
    /// Hosts that are chosen last.
    pub(super) doubts: Doubts,
    /// Whether the ledger holds every live row.
    pub(super) ready: Cell<bool>,
    /// Creates that are being worked on.
    pub(super) in_flight: Cell<usize>,
    /// What this incarnation is creating, from before its row is written until its create is answered.
    pub(super) making: RefCell<HashSet<InstanceId>>,
    /// Idempotency keys whose first request is being worked on.
    pub(super) keys: Turns<(Creator, IdempotencyKey)>,
    /// Instances whose container is being removed.
    pub(super) removals: Turns<InstanceId>,
    /// The servers on the same database.
    pub(super) neighbours: RefCell<Neighbours>,
    /// The last sign of life that the store took: when it was given, and how many waited here.
    pub(super) beaten: Cell<Option<(Instant, u32)>>,
    /// Held while one is given, so that an older count never comes after a newer one.
    pub(super) beating: Mutex<()>,
    /// When the last comparison with the rows was begun; held while one is under way.
    pub(super) refreshed: Mutex<Option<Instant>>,
    /// What the last comparison found each instance to be, in short.
    pub(super) shown: RefCell<Shown>,
    /// Instances that were given up while the store did not answer; somebody must go on ending them.
    pub(super) unfinished: RefCell<Vec<InstanceId>>,
    /// Instances started so far, as far as this incarnation knows.
    started: Cell<u64>,
    /// What was last told of each host, so that only changes are told.
    published: RefCell<HashMap<HostName, HostView>>,
}

impl Desk {
    pub(super) fn new(tools: Tools, peers: Peers) -> Self {
        let neighbours = RefCell::new(Neighbours::new(tools.server.clone()));
        Self {
            tools,
            peers,
            ledger: RefCell::default(),
            queue: Queue::default(),
            hosts: RefCell::default(),
            cordons: Cordons::default(),
            doubts: Doubts::default(),
            ready: Cell::new(false),
            in_flight: Cell::new(0),
            making: RefCell::default(),
            keys: Turns::default(),
            removals: Turns::default(),
            neighbours,
            beaten: Cell::new(None),
            beating: Mutex::default(),
            refreshed: Mutex::default(),
            shown: RefCell::default(),
            unfinished: RefCell::default(),
            started: Cell::new(0),
            published: RefCell::default(),
        }
    }

    /// Fills the ledger from the store, and learns what was ordered. What cannot be read is an error.
    pub(super) async fn rebuild(&self) -> Result<(), StoreError> {
        // Before anything is created: a server that was never heard of is a dead one.
        self.be_alive().await?;
        self.count_at_least(patience::store(self.tools.store.totals()).await?);
        self.follow_orders().await?;
        self.refresh(Instant::now()).await?;
        self.ready.set(true);
        tracing::info!(server = %self.tools.server, started = self.started.get(), "scheduler.rebuilt");
        Ok(())
    }

    /// Asks discovery for the hosts that it knows already; those that join later it announces. False when it did not
    /// answer.
    pub(super) async fn ask_for_hosts(&self) -> bool {
        let Ok(view) = ask(&self.peers.discovery, DescribeDirectory, DISCOVERY_PATIENCE).await else { return false };
        for record in view.hosts {
            self.join(record);
        }
        for (name, vitals) in view.vitals {
            self.host_fares(&name, vitals);
        }
        true
    }

    /// The fleet at this moment.
    pub(super) fn fleet(&self) -> FleetView {
        let (ledger, queue) = (self.ledger.borrow(), &self.queue);
        let Waits { waiting, waited, waited_for } = queue.waits();
        let growing = queue.is_worth_it() && !self.tools.settings.queue.wait.is_zero();
        // Whoever finds nothing better is sent to a host on which starts failed.
        let tried = || !queue.is_worth_it() && self.doubts.failing().iter().any(|host| ledger.may_be_tried(host));
        let refusal = ledger.refusal(self.tools.settings.strategy).filter(|_| !tried());
        FleetView {
            hosts: ledger.views(),
            ready: self.ready.get(),
            leads: self.leads(),
            refusal: refusal.map(|why| self.foresee(why).to_string()),
            growing,
            waiting,
            waiting_elsewhere: self.neighbours.borrow().waiting(),
            waited,
            waited_for,
            ordered: self.cordons.ordered(),
        }
    }

    /// The fleet as all servers together see it: where another one's starts fail is no room for whoever waits there.
    pub(super) fn surveyed(&self) -> FleetView {
        let (mut fleet, failing) = (self.fleet(), self.neighbours.borrow().failing());
        for host in fleet.hosts.iter_mut().filter(|host| host.state == Health::Up && failing.contains(&host.name)) {
            host.state = Health::Failing;
        }
        fleet
    }

    /// Whether this incarnation is creating it.
    pub(super) fn is_making(&self, id: &InstanceId) -> bool {
        self.making.borrow().contains(id)
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
        self.count_at_least(Totals { started: self.started.get() + 1 });
    }

    /// Takes in a total, which never falls.
    pub(super) fn count_at_least(&self, totals: Totals) {
        if totals.started > self.started.replace(totals.started.max(self.started.get())) {
            self.tell(Fact::TotalsChanged { totals });
        }
    }

    pub(super) fn tell(&self, fact: Fact) {
        self.peers.feed.do_send(Publish(fact));
    }
}
