//! The reaper: leases, and the agreement of rows and containers.
//!
//! Owns when an instance's time is over, when its owner is warned of that, and the sweeps in both directions (containers
//! without a row, rows without a container). Decides what must end and why, which instances are unreachable because
//! their host is silent, and when they are given up; extends leases within their maximum lifetime; forgets what ended
//! long ago.
//!
//! Must never: call an instance ended (the scheduler does, when its container is confirmed gone, or it is given up);
//! believe a message about an instance or a host without looking; give an ending up while its host may come back. A
//! message may wake it, never tell it what to do.
//!
//! Forgets on restart: what it was doing, back-offs, its counts, and for how long it has seen hosts silent. Everything it
//! has to do is found again in the rows.

mod extend;
mod forgetting;
pub mod messages;
mod orphans;
mod passes;
mod silence;
pub mod state;
pub mod steady;
mod sweep;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Recipient, ResponseActFuture, WrapFuture, fut::ActorFuture,
};
use tokio::time::Instant;

use crate::{
    answers_probe,
    autoscaler::messages::DescribeScaling,
    discovery::messages::DescribeDirectory,
    domain::{EndReason, HostName, Instance, InstanceId, InstanceState, Timestamp},
    feed::messages::{Fact, Publish},
    host::messages::InstanceExited,
    patience,
    ports::{Attended, Clock, Store},
    scheduler::messages::{
        DeleteInstance, DescribeFleet, EndError, Ending as Answer, EndingUnconfirmed, GiveUpInstance, HostInventory,
        HostReady, HostSilent, OrphansKept, RemoveOrphan,
    },
    settings::Settings,
    supervision::ask,
};
use forgetting::FIRST_WITHIN;
use messages::{DescribeReaper, ExtendError, ExtendLease, Orphans, ReaperStatus, SweepNow};
use orphans::{Judged, Kept, Removals, judge, remove_orphans};
use passes::{Due, Review, expire, review, warn};
use silence::Silences;
use state::{Claim, Ending, Endings};
use steady::Steady;
use sweep::{Sweep, look_everywhere};

/// How often, at most, it is looked whose owner is to be warned: a warning comes minutes before the end.
const WARN_EVERY: Duration = Duration::from_secs(1);

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
    /// The scheduler.
    pub orphans_kept: Recipient<OrphansKept>,
    /// The scheduler.
    pub give_up: Recipient<GiveUpInstance>,
    /// Discovery: whether a host is gone, or only the directory away.
    pub directory: Recipient<DescribeDirectory>,
    /// The autoscaler: whether a host that was bought is gone for good.
    pub pool: Recipient<DescribeScaling>,
    /// Is told what changes in the rows, and how the reaper is.
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
    /// What rows are forgotten by.
    pub steady: Steady,
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
    /// Rows without a container that sweeps have found and that have not ended yet.
    rows_alone: BTreeSet<InstanceId>,
    /// Containers without a row that could not be removed when their host was last looked at.
    orphans: BTreeMap<HostName, u64>,
    /// Containers that are left alone, because this database knows nothing of the time in which they were made.
    unknown: BTreeMap<HostName, Kept>,
    /// Since when and until when the database knows this server.
    attended: Option<Attended>,
    silences: Rc<RefCell<Silences>>,
    /// Whether a review is under way, and whether somebody has woken the reaper for another one since it began.
    reviewing: bool,
    review_again: bool,
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
            rows_alone: BTreeSet::new(),
            orphans: BTreeMap::new(),
            unknown: BTreeMap::new(),
            attended: None,
            silences: Rc::default(),
            reviewing: false,
            review_again: false,
        }
    }

    /// Looks for leases that have ended, and does so again after a while.
    fn look(&mut self, ctx: &mut Context<Self>) {
        // So that it knows how far the clock was ever behind, also where somebody sets it right again.
        self.tools.steady.now(&*self.tools.clock);
        let (tools, peers) = (self.tools.clone(), self.peers.clone());
        let due = async move { expire(&tools, &peers).await };
        ctx.spawn(due.into_actor(self).map(|due, actor, ctx| {
            match due {
                Ok(Due { endings, written, error }) => {
                    endings.into_iter().for_each(|ending| actor.want(ending));
                    written.iter().for_each(|id| actor.endings.may_go_on(id, Instant::now()));
                    if let Some(error) = error {
                        actor.note_error(&error.to_string());
                    }
                }
                Err(error) => actor.note_error(&error.to_string()),
            }
            actor.work(ctx);
            actor.report();
            ctx.run_later(actor.tools.settings.reaper.poll, Self::look);
        }));
    }

    fn want(&mut self, ending: Ending) {
        self.endings.want(ending, Instant::now(), self.tools.clock.now());
    }

    /// Warns owners whose lease ends soon, and does so again after a while.
    fn warn(&mut self, ctx: &mut Context<Self>) {
        let (tools, peers) = (self.tools.clone(), self.peers.clone());
        let pass = async move { warn(&tools, &peers).await };
        ctx.spawn(pass.into_actor(self).map(|(warned, more, error), actor, ctx| {
            actor.status.warned += warned;
            if let Some(error) = error {
                actor.note_error(&error);
            }
            let pause = WARN_EVERY.max(actor.tools.settings.reaper.poll);
            ctx.run_later(if more { Duration::ZERO } else { pause }, Self::warn);
        }));
    }

    /// Looks which hosts are silent, now or, when such a look is under way, right after it.
    fn review(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.reviewing, true) {
            self.review_again = true;
            return;
        }
        let (tools, peers, silences) = (self.tools.clone(), self.peers.clone(), Rc::clone(&self.silences));
        let pass = async move { review(&tools, &peers, &silences).await };
        ctx.spawn(pass.into_actor(self).map(|Review { lost, errors }, actor, ctx| {
            actor.reviewing = false;
            actor.status.lost += lost;
            if let Some(error) = errors.last() {
                actor.note_error(error);
            }
            if std::mem::take(&mut actor.review_again) {
                actor.review(ctx);
            }
        }));
    }

    /// Tells the feed how the reaper is; the feed knows whether that is news.
    fn report(&self) {
        self.peers.feed.do_send(Publish(Fact::ReaperChanged { reaper: self.describe() }));
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
                return self.settled(id);
            }
            Ok(Err(EndError::NotFound | EndError::AlreadyEnded(_) | EndError::NotDue)) => return self.settled(id),
            Ok(Ok(Answer::Pending { why, .. })) => why,
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("the scheduler did not answer: {error}"),
        };
        tracing::warn!(instance = %id, %reason, why, "reaper.ending_failed");
        self.note_error(&why);
        self.status.failures += 1;
        self.endings.failed(id, self.tools.settings.reaper.retry_max, Instant::now());
    }

    fn settled(&mut self, id: &InstanceId) {
        self.rows_alone.remove(id);
        self.endings.done(id);
    }

    fn note_error(&mut self, why: &str) {
        self.status.last_error = Some(why.to_owned());
    }

    /// Wants a sweep after `wait`, unless one is due sooner.
    fn sweep_in(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        self.sweep_due = self.sweep_due.min(Instant::now() + wait);
        ctx.run_later(wait, |actor, ctx| {
            if !actor.sweeping && actor.sweep_due <= Instant::now() {
                actor.review(ctx);
                let pass = actor.sweep();
                ctx.spawn(pass.map(|_, _, _| ()));
            }
        });
    }

    /// One sweep over all hosts; sees to it that there is a next one. What must end is not kept waiting for the removal
    /// of orphans.
    fn sweep(&mut self) -> impl ActorFuture<Self, Output = ReaperStatus> + use<> {
        self.sweeping = true;
        self.sweep_due = Instant::now() + self.tools.settings.reaper.sweep;
        let (tools, peers, last) = (self.tools.clone(), self.peers.clone(), self.attended);
        let look = async move { look_everywhere(&tools, &peers, last).await };
        let judged = look.into_actor(self).then(|found: Sweep, actor, ctx| {
            actor.status.last_error = found.errors.last().cloned();
            actor.attended = found.attended.or(actor.attended);
            actor.rows_alone.extend(found.rows_alone);
            found.to_end.into_iter().for_each(|ending| actor.want(ending));
            actor.work(ctx);
            if let Some(fleet) = found.fleet {
                actor.orphans.retain(|host, _| fleet.contains(host));
                actor.unknown.retain(|host, _| fleet.contains(host));
            }
            let tools = actor.tools.clone();
            async move { judge(&tools, found.orphans).await }.into_actor(actor)
        });
        let removed = judged.then(|judged, actor, _| {
            let Judged { over, unknown, unknown_until } = judged.unwrap_or_else(|error| {
                actor.note_error(&error.to_string());
                Judged::default()
            });
            actor.keep(&unknown, unknown_until);
            let (tools, peers) = (actor.tools.clone(), actor.peers.clone());
            async move { remove_orphans(&tools, &peers, over).await }.into_actor(actor)
        });
        removed.map(|Removals { removed, left, errors }, actor, ctx| {
            actor.sweeping = false;
            actor.status.sweeps += 1;
            actor.status.orphans_removed += removed;
            actor.status.failures += left.values().sum::<u64>();
            actor.orphans.extend(left);
            if let Some(error) = errors.last() {
                actor.note_error(error);
            }
            actor.report();
            // Sooner than a whole period if somebody asked while this one was under way.
            actor.sweep_in(actor.sweep_due.saturating_duration_since(Instant::now()).max(SWEEP_SOON), ctx);
            actor.describe()
        })
    }

    /// Leaves containers alone that may be somebody's, and says so where there are more or fewer of them than before. Where
    /// a host does not answer until their time is over, nothing is known of them any more.
    fn keep(&mut self, unknown: &orphans::Orphans, until: Option<Timestamp>) {
        for (host, ids) in unknown {
            let before = self.unknown.remove(host).map_or(0, |kept| kept.count);
            let count = ids.len() as u64;
            if let Some(until) = until.filter(|_| count > 0) {
                self.unknown.insert(host.clone(), Kept { count, until });
                if count != before {
                    tracing::warn!(%host, containers = count, %until, "reaper.orphans_unknown");
                }
            }
            if count > 0 || before > 0 {
                orphans::tell(&self.peers, host, ids);
            }
        }
        let now = self.tools.clock.now();
        self.unknown.retain(|host, kept| {
            let lasts = kept.until > now;
            if !lasts {
                orphans::tell(&self.peers, host, &[]);
            }
            lasts
        });
    }

    fn describe(&self) -> ReaperStatus {
        ReaperStatus {
            pending: self.endings.pending(),
            reap_lag_s: self.endings.lag(Instant::now()).as_secs(),
            orphans: Orphans {
                row: self.rows_alone.len() as u64,
                container: self.orphans.values().sum(),
                unknown: self.unknown.values().map(|kept| kept.count).sum(),
            },
            ..self.status.clone()
        }
    }
}

impl Actor for ReaperActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        self.warn(ctx);
        self.sweep_in(Duration::ZERO, ctx);
        ctx.run_later(FIRST_WITHIN.mul_f64(rand::random()), Self::purge);
    }
}

answers_probe!(ReaperActor);

impl Handler<HostReady> for ReaperActor {
    type Result = ();

    fn handle(&mut self, ready: HostReady, ctx: &mut Self::Context) {
        self.endings.host_is_back(&ready.host, Instant::now());
        self.work(ctx);
        self.review(ctx);
        self.sweep_in(SWEEP_SOON, ctx);
    }
}

impl Handler<HostSilent> for ReaperActor {
    type Result = ();

    fn handle(&mut self, _: HostSilent, ctx: &mut Self::Context) {
        self.review(ctx);
    }
}

impl Handler<InstanceExited> for ReaperActor {
    type Result = ();

    fn handle(&mut self, exited: InstanceExited, ctx: &mut Self::Context) {
        let store = Arc::clone(&self.tools.store);
        let id = exited.id.clone();
        let row = async move { patience::store(store.instance(&id)).await };
        ctx.spawn(row.into_actor(self).map(move |row, actor, ctx| match row {
            Ok(Some(row)) if row.state.is_lent() && row.host == exited.host => {
                actor.want(Claim::from(&row).ending(EndReason::Exited));
                actor.work(ctx);
            }
            // Somebody ends it already, or it is an orphan; the sweep knows.
            Ok(_) => {}
            Err(error) => actor.note_error(&error.to_string()),
        }));
    }
}

impl Handler<EndingUnconfirmed> for ReaperActor {
    type Result = ();

    fn handle(&mut self, unconfirmed: EndingUnconfirmed, ctx: &mut Self::Context) {
        // Mostly it is an ending of its own, that it is about to hear of.
        if self.endings.wants(&unconfirmed.id) {
            return;
        }
        let (store, id) = (Arc::clone(&self.tools.store), unconfirmed.id);
        let row = async move { patience::store(store.instance(&id)).await };
        ctx.spawn(row.into_actor(self).map(move |row, actor, _| match row {
            Ok(Some(row)) => {
                if let InstanceState::Stopping(reason) = row.state {
                    actor.want(Claim::from(&row).ending(reason));
                    // The first try was somebody else's.
                    actor.endings.failed(&row.id, actor.tools.settings.reaper.retry_max, Instant::now());
                    actor.report();
                }
            }
            Ok(None) => {}
            Err(error) => actor.note_error(&error.to_string()),
        }));
    }
}

impl Handler<ExtendLease> for ReaperActor {
    type Result = ResponseActFuture<Self, Result<Instance, ExtendError>>;

    fn handle(&mut self, request: ExtendLease, _: &mut Self::Context) -> Self::Result {
        let (tools, feed) = (self.tools.clone(), self.peers.feed.clone());
        let extend = async move {
            let extended = extend::extend(&tools, &request).await?;
            feed.do_send(Publish(Fact::InstanceChanged { instance: (&extended).into() }));
            Ok(extended)
        };
        Box::pin(extend.into_actor(self))
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

    fn handle(&mut self, _: SweepNow, ctx: &mut Self::Context) -> Self::Result {
        self.review(ctx);
        Box::pin(self.sweep())
    }
}
