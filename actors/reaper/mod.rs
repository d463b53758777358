//! The reaper: leases, and the agreement of rows and containers.
//!
//! Owns when an instance's time is over, and the sweeps in both directions (containers without a row, rows without a
//! container). Decides what must end and why; extends leases within their maximum lifetime.
//!
//! Must never: call an instance ended (the scheduler does, when its container is confirmed gone); believe a message
//! about an instance without reading its row; give an ending up. A message may wake it, never tell it what to do.
//!
//! Forgets on restart: what it was doing, and back-offs. Everything it has to do is found again in the rows.

pub mod messages;
pub mod state;

use std::{sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Recipient, ResponseActFuture, WrapFuture, fut::ActorFuture,
};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::{
    answers_probe,
    domain::{EndReason, Health, HostName, Instance, InstanceEvent, InstanceId, InstanceState, LeaseRefused},
    feed::messages::{Fact, Publish},
    host::messages::InstanceExited,
    patience,
    ports::{Clock, Found, Removal, Store, StoreError},
    scheduler::messages::{
        DeleteInstance, DescribeFleet, EndError, Ending as Answer, HostInventory, HostReady, RemoveOrphan,
    },
    settings::Settings,
    supervision::ask,
};
use messages::{DescribeReaper, ExtendError, ExtendLease, ReaperStatus, SweepNow};
use state::{Ending, Endings, Findings};

/// Leases that one look may find at once; the next look is not far.
const DUE_AT_ONCE: u32 = 500;

/// A host that begins to answer is rarely alone, so its sweep waits a moment for the others.
const SWEEP_SOON: Duration = Duration::from_millis(200);

/// Who the reaper speaks to.
#[derive(Clone)]
pub struct Peers {
    /// The scheduler.
    pub delete: Recipient<DeleteInstance>,
    /// The scheduler.
    pub fleet: Recipient<DescribeFleet>,
    /// The scheduler.
    pub inventory: Recipient<HostInventory>,
    /// The scheduler.
    pub remove_orphan: Recipient<RemoveOrphan>,
    /// Is told of extended leases.
    pub feed: Recipient<Publish>,
}

/// What the reaper works with.
#[derive(Clone)]
pub struct Tools {
    /// Whose time counts.
    pub clock: Arc<dyn Clock>,
    /// The rows.
    pub store: Arc<dyn Store>,
    /// The tunable numbers.
    pub settings: Arc<Settings>,
}

/// See the module's header.
pub struct ReaperActor {
    tools: Tools,
    peers: Peers,
    endings: Endings,
    status: ReaperStatus,
    /// When the next sweep is due; a timer looks at it then.
    sweep_due: Instant,
    sweeping: bool,
}

/// What one sweep over all hosts found.
#[derive(Default)]
struct Sweep {
    to_end: Vec<Ending>,
    orphans_removed: u64,
    errors: Vec<String>,
}

impl ReaperActor {
    /// A reaper that has not looked at anything yet.
    #[must_use]
    pub fn new(tools: Tools, peers: Peers) -> Self {
        Self {
            tools,
            peers,
            endings: Endings::default(),
            status: ReaperStatus::default(),
            sweep_due: Instant::now(),
            sweeping: false,
        }
    }

    /// Looks for leases that have ended, and does so again after a while.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let tools = self.tools.clone();
        let due = async move { patience::store(tools.store.due(tools.clock.now(), DUE_AT_ONCE)).await };
        ctx.spawn(due.into_actor(self).map(|due, actor, ctx| {
            match due {
                Ok(rows) => {
                    for row in rows {
                        actor.endings.want(Ending::of(&row, EndReason::Expired), Instant::now());
                    }
                }
                Err(error) => actor.note_error(&error.to_string()),
            }
            actor.work(ctx);
            ctx.run_later(actor.tools.settings.reaper.poll, Self::look);
        }));
    }

    /// Begins the endings whose time has come.
    fn work(&mut self, ctx: &mut Context<Self>) {
        let settings = self.tools.settings.reaper;
        for Ending { id, reason, .. } in self.endings.take(settings.parallel, Instant::now()) {
            let (delete, patience) = (self.peers.delete.clone(), self.tools.settings.host.longest_call() * 2);
            let request = DeleteInstance { id: id.clone(), reason };
            let end = async move { ask(&delete, request, patience).await };
            ctx.spawn(end.into_actor(self).map(move |outcome, actor, ctx| {
                actor.settle(&id, reason, outcome);
                // A place is free for the next one.
                actor.work(ctx);
            }));
        }
    }

    fn settle(
        &mut self,
        id: &InstanceId,
        reason: EndReason,
        outcome: Result<Result<Answer, EndError>, crate::supervision::AskError>,
    ) {
        let why = match outcome {
            Ok(Ok(Answer::Gone(_))) => {
                self.status.ended += 1;
                return self.endings.done(id);
            }
            Ok(Err(EndError::NotFound | EndError::AlreadyEnded(_) | EndError::NotDue)) => {
                return self.endings.done(id);
            }
            Ok(Ok(Answer::Pending { why, .. })) => why,
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("the scheduler did not answer: {error}"),
        };
        tracing::warn!(instance = %id, %reason, why, "reaper.ending_failed");
        self.note_error(&why);
        self.endings.failed(id, self.tools.settings.reaper.retry_max, Instant::now());
    }

    fn note_error(&mut self, why: &str) {
        self.status.last_error = Some(why.to_owned());
    }

    /// Wants a sweep after `wait`, unless one is due sooner.
    fn sweep_in(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        self.sweep_due = self.sweep_due.min(Instant::now() + wait);
        ctx.run_later(wait, |actor, ctx| {
            if !actor.sweeping && actor.sweep_due <= Instant::now() {
                let pass = actor.sweep();
                ctx.spawn(pass.map(|_, _, _| ()));
            }
        });
    }

    /// One sweep over all hosts; sees to it that there is a next one.
    fn sweep(&mut self) -> impl ActorFuture<Self, Output = ReaperStatus> + use<> {
        self.sweeping = true;
        self.sweep_due = Instant::now() + self.tools.settings.reaper.sweep;
        let (tools, peers) = (self.tools.clone(), self.peers.clone());
        async move { sweep(&tools, &peers).await }.into_actor(self).map(|found, actor, ctx| {
            actor.sweeping = false;
            actor.status.sweeps += 1;
            actor.status.orphans_removed += found.orphans_removed;
            actor.status.last_error = found.errors.last().cloned();
            for ending in found.to_end {
                actor.endings.want(ending, Instant::now());
            }
            actor.work(ctx);
            // Sooner than a whole period if somebody asked while this one was under way.
            actor.sweep_in(actor.sweep_due.saturating_duration_since(Instant::now()).max(SWEEP_SOON), ctx);
            actor.describe()
        })
    }

    fn describe(&self) -> ReaperStatus {
        ReaperStatus { pending: self.endings.pending(), ..self.status.clone() }
    }
}

/// Looks at everything once: the rows for what was left behind, and every host that answers in both directions.
async fn sweep(tools: &Tools, peers: &Peers) -> Sweep {
    let mut sweep = Sweep::default();
    let before = match patience::store(tools.store.live()).await {
        Ok(rows) => rows,
        Err(error) => {
            sweep.errors.push(error.to_string());
            return sweep;
        }
    };
    sweep.to_end = state::left_behind(&before, tools.settings.create_deadline, tools.clock.now());
    let fleet = match ask(&peers.fleet, DescribeFleet, tools.settings.host.call_timeout).await {
        Ok(fleet) => fleet,
        Err(error) => {
            sweep.errors.push(format!("the scheduler did not answer: {error}"));
            return sweep;
        }
    };
    let answering = fleet.hosts.into_iter().filter(|host| host.state == Health::Up).map(|host| host.name);
    // All at once: a host that hangs costs the others nothing.
    let inventories = join_all(answering.map(|host| inventory_of(tools, peers, host))).await;
    let after = match patience::store(tools.store.live()).await {
        Ok(rows) => rows,
        Err(error) => {
            sweep.errors.push(error.to_string());
            return sweep;
        }
    };
    for (host, inventory) in inventories {
        match inventory {
            Ok(inventory) => settle_host(tools, peers, &host, &before, &inventory, &after, &mut sweep).await,
            Err(why) => sweep.errors.push(format!("{host}: {why}")),
        }
    }
    sweep
}

async fn inventory_of(tools: &Tools, peers: &Peers, host: HostName) -> (HostName, Result<Vec<Found>, String>) {
    let request = HostInventory { host: host.clone() };
    let inventory = match ask(&peers.inventory, request, tools.settings.host.longest_call() * 2).await {
        Ok(Ok(inventory)) => Ok(inventory),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    (host, inventory)
}

/// Notes what must end on a host, and removes its orphans.
async fn settle_host(
    tools: &Tools,
    peers: &Peers,
    host: &HostName,
    before: &[Instance],
    inventory: &[Found],
    after: &[Instance],
    sweep: &mut Sweep,
) {
    let Findings { orphans, to_end } = state::compare(host, before, inventory, after);
    sweep.to_end.extend(to_end);
    for id in orphans {
        tracing::warn!(%host, instance = %id, "reaper.orphan");
        let request = RemoveOrphan { host: host.clone(), id };
        let removal = ask(&peers.remove_orphan, request, tools.settings.host.longest_call() * 2).await;
        match removal.map_err(|e| e.to_string()).and_then(|removal| removal.map_err(|e| e.to_string())) {
            Ok(Removal::Removed) => sweep.orphans_removed += 1,
            Ok(Removal::AlreadyGone) => {}
            // The others are not kept waiting for this one; the next sweep finds it again.
            Err(why) => sweep.errors.push(format!("{host}: {why}")),
        }
    }
}

impl Actor for ReaperActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        self.sweep_in(Duration::ZERO, ctx);
    }
}

answers_probe!(ReaperActor);

impl Handler<HostReady> for ReaperActor {
    type Result = ();

    fn handle(&mut self, ready: HostReady, ctx: &mut Self::Context) {
        self.endings.host_is_back(&ready.host, Instant::now());
        self.work(ctx);
        self.sweep_in(SWEEP_SOON, ctx);
    }
}

impl Handler<InstanceExited> for ReaperActor {
    type Result = ();

    fn handle(&mut self, exited: InstanceExited, ctx: &mut Self::Context) {
        let store = Arc::clone(&self.tools.store);
        let id = exited.id.clone();
        let row = async move { patience::store(store.instance(&id)).await };
        ctx.spawn(row.into_actor(self).map(move |row, actor, ctx| match row {
            Ok(Some(row)) if row.state == InstanceState::Running && row.host == exited.host => {
                actor.endings.want(Ending::of(&row, EndReason::Exited), Instant::now());
                actor.work(ctx);
            }
            // Somebody ends it already, or it is an orphan; the sweep knows.
            Ok(_) => {}
            Err(error) => actor.note_error(&error.to_string()),
        }));
    }
}

impl Handler<ExtendLease> for ReaperActor {
    type Result = ResponseActFuture<Self, Result<Instance, ExtendError>>;

    fn handle(&mut self, request: ExtendLease, _: &mut Self::Context) -> Self::Result {
        let (tools, feed) = (self.tools.clone(), self.peers.feed.clone());
        let extend = async move {
            let extended = extend(&tools, &request).await?;
            feed.do_send(Publish(Fact::InstanceChanged { instance: (&extended).into() }));
            Ok(extended)
        };
        Box::pin(extend.into_actor(self))
    }
}

async fn extend(tools: &Tools, request: &ExtendLease) -> Result<Instance, ExtendError> {
    let row = patience::store(tools.store.instance(&request.id)).await?.ok_or(ExtendError::NotFound)?;
    if row.state != InstanceState::Running {
        return Err(ExtendError::NotRunning(Box::new(row)));
    }
    let now = tools.clock.now();
    let lease = tools.settings.lease.extend(row.lease, request.ttl, now).map_err(ExtendError::Lease)?;
    match patience::store(tools.store.apply(&request.id, &InstanceEvent::Extended { lease }, now)).await {
        // A longer extension was written between the look and the write.
        Err(StoreError::Illegal(illegal)) if illegal.from == InstanceState::Running => {
            let row = patience::store(tools.store.instance(&request.id)).await?.ok_or(ExtendError::NotFound)?;
            Err(ExtendError::Lease(LeaseRefused::Shortens { expires_at: row.lease.expires_at }))
        }
        // It ended between the look and the write.
        Err(StoreError::Illegal(illegal)) => {
            Err(ExtendError::NotRunning(Box::new(Instance { state: illegal.from, ..row })))
        }
        other => Ok(other?),
    }
}

impl From<StoreError> for ExtendError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            error => Self::Store(error),
        }
    }
}

impl Handler<DescribeReaper> for ReaperActor {
    type Result = actix::MessageResult<DescribeReaper>;

    fn handle(&mut self, _: DescribeReaper, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.describe())
    }
}

impl Handler<SweepNow> for ReaperActor {
    type Result = ResponseActFuture<Self, ReaperStatus>;

    fn handle(&mut self, _: SweepNow, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.sweep())
    }
}
