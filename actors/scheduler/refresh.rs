//! What other servers did, and what the dead left: the ledger and the feed follow the rows.
//!
//! Owns this server's signs of life and the comparison of the ledger with the live rows. What this server is creating is
//! left alone; what a dead one was creating is abandoned, so that it uses up neither quota nor idempotency key, and the
//! reaper removes what is left of it.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    desk::{Desk, Shown},
    neighbours::BEAT_EVERY,
};
use crate::{
    autoscaler::messages::PressureChanged,
    domain::{EndReason, HostName, Instance, InstanceEvent, InstanceId, InstanceState, Timestamp},
    feed::messages::Fact,
    patience,
    ports::{Report, StoreError},
};

/// How often a ledger is compared with the rows where other servers write them too: what they do is seen by operators
/// and by placement within this time. What placement does not know yet, the database refuses.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// The same where nobody else writes rows: a net for a write of an earlier incarnation that arrived late.
const REFRESH_ALONE_EVERY: Duration = Duration::from_secs(60);

/// A server whose last sign of life is older than this may be taken for dead soon, so it gives one before it writes a
/// row that is being created.
const FRESH: Duration = Duration::from_secs(3 * BEAT_EVERY.as_secs());

impl Desk {
    pub(super) fn refresh_every(&self) -> Duration {
        if self.tools.store.is_shared() { REFRESH_EVERY } else { REFRESH_ALONE_EVERY }
    }

    /// Gives a sign of life, and hears those of the others.
    pub(super) async fn beat(&self) -> Result<(), StoreError> {
        self.beat_unless(|| false).await
    }

    /// The same, unless somebody else did meanwhile. Where more wait at the others than before, or more hosts fail there, the
    /// autoscaler is woken.
    async fn beat_unless(&self, is_needless: impl Fn() -> bool) -> Result<(), StoreError> {
        let give = async {
            let _turn = self.beating.lock().await;
            if is_needless() {
                return Ok(());
            }
            let asked = Instant::now();
            let report = Report { waiting: self.queue.waits().waiting, failing: self.doubts.told() };
            let beats = self.tools.store.beat(&self.tools.server, &report).await?;
            let (waited, failed) = (self.neighbours.borrow().waiting(), self.neighbours.borrow().failing());
            self.neighbours.borrow_mut().hear(&beats, asked, Instant::now());
            let neighbours = self.neighbours.borrow();
            if neighbours.waiting() > waited || !neighbours.failing().is_subset(&failed) {
                self.peers.pressure.do_send(PressureChanged);
            }
            self.beaten.set(Some((asked, report.waiting)));
            Ok(())
        };
        patience::store(give).await
    }

    /// Whether this server looks after what all servers on the database share.
    pub(super) fn leads(&self) -> bool {
        !self.tools.store.is_shared() || self.neighbours.borrow().leads()
    }

    /// Makes sure that the others take this server for a living one, and do not believe that more wait here than do:
    /// whoever waited would be counted twice, once as waiting and once by the row that is written next.
    pub(super) async fn be_alive(&self) -> Result<(), StoreError> {
        let is_known = || {
            let waiting = self.queue.waits().waiting;
            self.beaten.get().is_some_and(|(at, told)| at.elapsed() < FRESH && told <= waiting)
        };
        if is_known() || !self.tools.store.is_shared() { Ok(()) } else { self.beat_unless(is_known).await }
    }

    /// Compares the ledger with the rows, unless that was begun after `since` by somebody else.
    pub(super) async fn refresh(&self, since: Instant) -> Result<(), StoreError> {
        let mut last = self.refreshed.lock().await;
        if last.is_some_and(|began| began > since) {
            return Ok(());
        }
        let (began, store) = (Instant::now(), &self.tools.store);
        self.ledger.borrow_mut().begin_comparison();
        let (mut shown, mut creating) = (HashMap::new(), Vec::new());
        let read = patience::live_rows(&**store, |rows| {
            self.ledger.borrow_mut().compare(&rows, |id| self.is_making(id));
            if store.is_shared() {
                self.tell_of_changes(&rows, &mut shown);
            }
            creating.extend(rows.into_iter().filter(|row| row.state == InstanceState::Creating));
        });
        read.await?;
        self.shown.replace(shown);
        let compared = self.ledger.borrow_mut().end_comparison(|id| self.is_making(id));
        for host in &compared.hosts {
            self.publish_host(host);
        }
        self.learn_condemned().await?;
        self.abandon_creates_of_the_dead(creating).await?;
        if store.is_shared() {
            self.count_at_least(patience::store(store.totals()).await?);
        }
        for (id, host) in compared.ended {
            self.learn_end(&id, &host).await;
        }
        self.forget_empty_hosts();
        *last = Some(began);
        Ok(())
    }

    /// What another server deletes, or an earlier incarnation of this one began to, has no room.
    async fn learn_condemned(&self) -> Result<(), StoreError> {
        let rows = patience::store(self.tools.store.droplets()).await?.into_iter();
        let condemned = rows.filter(|row| row.state.is_condemned()).map(|row| row.name).collect();
        let changed = self.ledger.borrow_mut().condemn(&condemned);
        for host in changed {
            self.publish_host(&host);
        }
        Ok(())
    }

    /// Nobody waits any more for what a dead server, or an earlier incarnation of this one, was creating. The intent to
    /// end it is written, so that it does not use up its creator's quota and idempotency key.
    async fn abandon_creates_of_the_dead(&self, creating: Vec<Instance>) -> Result<(), StoreError> {
        let (store, shared) = (&self.tools.store, self.tools.store.is_shared());
        let suspects: Vec<_> = creating.into_iter().filter(|row| !self.is_making(&row.id)).collect();
        if shared && !suspects.is_empty() {
            // The signs of life must be later than the rows.
            self.beat().await?;
        }
        for row in suspects {
            if !self.neighbours.borrow().is_abandoned(&row, shared, self.is_making(&row.id)) {
                continue;
            }
            tracing::warn!(instance = %row.id, server = row.server.as_ref().map(tracing::field::display), "instance.abandoned");
            match patience::store(store.apply(&row.id, &InstanceEvent::Abandoned, self.tools.clock.now())).await {
                Ok(stopping) => self.publish_instance(&stopping),
                // It has gone on, or was ended, meanwhile.
                Err(StoreError::Illegal(_) | StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let dead = self.neighbours.borrow().dead();
        for server in dead {
            tracing::warn!(%server, "server.dead");
            patience::store(store.retire(&server)).await?;
        }
        Ok(())
    }

    /// Tells the feed of every instance that is not what it was at the last comparison, and of owners that were warned
    /// since. What this server did itself it has told already, and the feed knows that it is no news.
    fn tell_of_changes(&self, rows: &[Instance], now: &mut Shown) {
        let shown = self.shown.borrow();
        for row in rows {
            let (before, look) = (shown.get(&row.id), Look::at(row));
            if before.map(|before| before.digest) != Some(look.digest) {
                self.publish_instance(row);
            }
            if before.is_some_and(|before| before.warns_of == Some(row.lease.expires_at)) && look.warns_of.is_none() {
                self.tell(Fact::InstanceExpiring { id: row.id.clone(), expires_at: row.lease.expires_at });
            }
            now.insert(row.id.clone(), look);
        }
    }

    /// Another server ended an instance.
    async fn learn_end(&self, id: &InstanceId, host: &HostName) {
        let row = patience::store(self.tools.store.instance(id)).await;
        let reason = match row.ok().flatten().map(|row| row.state) {
            Some(InstanceState::Ended(reason)) => reason,
            // It is forgotten already, or cannot be read; that it is gone is certain.
            _ => EndReason::Lost,
        };
        if reason == EndReason::Lost {
            self.ledger.borrow_mut().leave_behind(id, host);
            self.publish_host(host);
        }
        self.tell(Fact::InstanceEnded { id: id.clone(), reason });
    }
}

/// One look at a row: what is shown of it, in short.
#[derive(Debug)]
pub(super) struct Look {
    digest: u64,
    /// The end of its lease that its owner is still to be warned of.
    warns_of: Option<Timestamp>,
}

impl Look {
    fn at(row: &Instance) -> Self {
        let mut hasher = DefaultHasher::new();
        (row.state, &row.host, row.endpoint, row.lease.expires_at, row.unreachable_since).hash(&mut hasher);
        Self { digest: hasher.finish(), warns_of: row.lease.warn_at.map(|_| row.lease.expires_at) }
    }
}
