//! The scheduler as the parent of its HostActors: who joins, leaves, answers or stays away.

use std::sync::Arc;

use actix::Recipient;

use super::{
    desk::Desk,
    messages::{HostError, HostReady, HostSilent, OrphansKept},
};
use crate::{
    domain::{Cordon, Health, HostEvent, HostName, InstanceId},
    host::{
        self, HostActor,
        messages::{Inventory, RemoveInstance, StartInstance},
    },
    ports::{Found, HostRecord, HostVitals, Removal},
    supervision::{Child, Cradle, GaveUp, GiveUp, Spec, Status, ask, supervise},
};

/// A HostActor and the doors to it. Dropping it ends the actor.
pub(super) struct HostChild {
    record: HostRecord,
    doors: HostDoors,
    child: Child<HostActor>,
}

impl HostChild {
    fn is_down(&self) -> bool {
        self.child.report().status == Status::Down
    }

    /// Whether this actor lives and speaks to that very engine.
    fn serves(&self, record: &HostRecord) -> bool {
        let same = (&self.record.engine, self.record.public_address) == (&record.engine, record.public_address);
        same && !self.is_down()
    }
}

/// What a host is asked through.
#[derive(Clone)]
pub(super) struct HostDoors {
    pub(super) start: Recipient<StartInstance>,
    remove: Recipient<RemoveInstance>,
    inventory: Recipient<Inventory>,
}

/// The name that a host's actor has on the roster.
fn child_name(host: &HostName) -> String {
    format!("host:{host}")
}

impl Desk {
    /// A host was announced, or announces something else. Repeating it changes nothing.
    pub(super) fn join(&self, record: HostRecord) {
        let name = record.name.clone();
        // As long as it is the same engine, its actor and what it is doing stay.
        if self.hosts.borrow().get(&name).is_some_and(|child| child.serves(&record)) {
            let isolated = self.ledger.borrow().view(&name).is_none_or(|view| view.isolated);
            return self.announce(record, isolated);
        }
        self.open(record);
    }

    /// Gives a host a new actor after the one before was given up.
    pub(super) fn revive(&self, name: &HostName) {
        let record = self.hosts.borrow().get(name).filter(|host| host.is_down()).map(|host| host.record.clone());
        if let Some(record) = record {
            self.open(record);
        }
    }

    /// Starts an actor for a host, in place of the one before if there is one.
    fn open(&self, record: HostRecord) {
        let name = record.name.clone();
        let runtime = match self.tools.runtimes.open(&record) {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(host = %name, %error, "host.unusable"),
        };
        let isolated = runtime.isolated();
        let cradle = Cradle::new();
        let addr = cradle.addr();
        let doors = HostDoors {
            start: addr.clone().recipient(),
            remove: addr.clone().recipient(),
            inventory: addr.recipient(),
        };
        let spec = Spec::permanent(child_name(&name))
            .watched_every(self.tools.settings.watch_every)
            .give_up(GiveUp::Tell(self.peers.host_gave_up.clone()));
        let (tools, peers) = (
            self.tools.clone(),
            host::Peers {
                well: self.peers.host_well.clone(),
                unwell: self.peers.host_unwell.clone(),
                exited: self.peers.instance_exited.clone(),
            },
        );
        let host = name.clone();
        // The one before, if the record changed, goes first: two actors must not share a name on the roster.
        self.hosts.borrow_mut().remove(&name);
        let child = supervise(cradle, spec, &self.tools.roster, move |_| {
            HostActor::new(
                host.clone(),
                Arc::clone(&runtime),
                tools.settings.host,
                Arc::clone(&tools.master_key),
                peers.clone(),
            )
        });
        tracing::info!(host = %name, address = %record.public_address, slots = record.slots, "host.joined");
        self.hosts.borrow_mut().insert(name.clone(), HostChild { record: record.clone(), doors, child });
        self.announce(record, isolated);
    }

    fn announce(&self, record: HostRecord, isolated: bool) {
        let name = record.name.clone();
        self.ledger.borrow_mut().announce(record, isolated);
        self.impose_order(&name);
        self.publish_host(&name);
    }

    /// A host says how it fares.
    pub(super) fn host_fares(&self, name: &HostName, vitals: HostVitals) {
        let view = self.ledger.borrow().view(name);
        if let Some(before) = view.and_then(|view| view.vitals) {
            for (program, times) in vitals.restarted_since(&before) {
                tracing::warn!(host = %name, program, times, "host.program_restarted");
            }
        }
        self.ledger.borrow_mut().fares(name, vitals);
        self.publish_host(name);
    }

    /// The directory lost a host. One that was being drained and is empty has done what it was told.
    pub(super) fn lose(&self, name: &HostName) {
        let cordon = self.ledger.borrow().view(name).and_then(|view| view.cordon);
        let forgotten = self.ledger.borrow_mut().withdraw(name, self.tools.clock.now());
        if forgotten && cordon == Some(Cordon::Draining) {
            tracing::info!(host = %name, "host.left");
        } else {
            tracing::warn!(host = %name, forgotten, "host.lost");
        }
        if forgotten {
            self.forget(name);
        } else {
            self.publish_host(name);
            self.tell_silent(name);
        }
    }

    fn forget(&self, name: &HostName) {
        self.hosts.borrow_mut().remove(name);
        self.doubts.forget(name);
        self.queue.host_left();
        self.publish_host(name);
    }

    /// Wakes the reaper, which looks what that means for the instances there.
    fn tell_silent(&self, name: &HostName) {
        self.peers.host_silent.do_send(HostSilent { host: name.clone() });
    }

    /// Forgets hosts that were lost and have just become empty.
    pub(super) fn forget_empty_hosts(&self) {
        let names = self.ledger.borrow().forgettable();
        for name in names {
            self.ledger.borrow_mut().withdraw(&name, self.tools.clock.now());
            tracing::info!(host = %name, "host.left");
            self.forget(&name);
        }
    }

    /// A host's engine answered; `unfit` is why it could start nothing all the same, if so.
    pub(super) fn host_answered(&self, name: &HostName, unfit: Option<String>) {
        let health = |desk: &Self| desk.ledger.borrow().view(name).map(|view| view.state);
        let before = health(self);
        // Answering is legal in every state.
        let answered = self.ledger.borrow_mut().engine_event(name, HostEvent::Answered, unfit.clone());
        if answered.unwrap_or_default() {
            if let Some(why) = unfit {
                tracing::warn!(host = %name, why, "host.failing");
            }
            self.publish_host(name);
        }
        if before != Some(Health::Up) && health(self) == Some(Health::Up) {
            tracing::info!(host = %name, "host.up");
            self.peers.host_ready.do_send(HostReady { host: name.clone() });
        }
    }

    /// A host's engine stayed away.
    pub(super) fn host_stayed_away(&self, name: &HostName, why: String) {
        let changed =
            self.ledger.borrow_mut().engine_event(name, HostEvent::StayedAway, Some(why.clone())).unwrap_or_default();
        if changed {
            tracing::warn!(host = %name, why, "host.unreachable");
            self.publish_host(name);
            self.tell_silent(name);
        }
    }

    /// A host's actor was given up: the host is cordoned, and unreachable until it has a new actor. Tells which.
    pub(super) fn host_gave_up(&self, gave_up: &GaveUp) -> Option<HostName> {
        // The news may speak of a child of an earlier incarnation; the one that is held now tells the truth.
        let is_down = |name: &HostName, host: &HostChild| child_name(name) == gave_up.name && host.is_down();
        let host = self.hosts.borrow().iter().find(|(name, host)| is_down(name, host)).map(|(name, _)| name.clone());
        let name = host?;
        let why = format!("its actor was given up: {}", gave_up.cause);
        tracing::error!(host = %name, why, "host.given_up");
        {
            let mut ledger = self.ledger.borrow_mut();
            // Only a host that is draining cannot be cordoned, and that one takes no new instance either.
            let _ = ledger.engine_event(&name, HostEvent::StayedAway, Some(why));
            let _ = ledger.order_event(&name, HostEvent::Cordon);
        }
        self.publish_host(&name);
        self.tell_silent(&name);
        Some(name)
    }

    /// The doors to a host.
    pub(super) fn doors(&self, host: &HostName) -> Result<HostDoors, HostError> {
        self.hosts.borrow().get(host).map(|child| child.doors.clone()).ok_or(HostError::NoSuchHost)
    }

    /// What is on a host.
    pub(super) async fn inventory_of(&self, host: &HostName) -> Result<Vec<Found>, HostError> {
        let doors = self.doors(host)?;
        let found = ask(&doors.inventory, Inventory, self.tools.settings.host.longest_call()).await??;
        self.ledger.borrow_mut().drop_leftovers(host, |id| !found.iter().any(|found| &found.id == id));
        self.publish_host(host);
        Ok(found)
    }

    /// What is on a host takes slots there, whoever put it there.
    pub(super) fn orphans_are_kept(&self, OrphansKept { host, ids }: &OrphansKept) {
        let before = self.ledger.borrow().used(host);
        self.ledger.borrow_mut().leave_strangers(ids, host);
        if self.ledger.borrow().used(host) != before {
            self.publish_host(host);
        }
    }

    /// Removes a container from a host; returns when it is confirmed gone.
    pub(super) async fn remove_from(&self, host: &HostName, id: &InstanceId) -> Result<Removal, HostError> {
        let doors = self.doors(host)?;
        let request = RemoveInstance { id: id.clone() };
        let removal = ask(&doors.remove, request, self.tools.settings.host.longest_call()).await??;
        self.ledger.borrow_mut().drop_leftovers(host, |leftover| leftover == id);
        self.publish_host(host);
        Ok(removal)
    }
}
