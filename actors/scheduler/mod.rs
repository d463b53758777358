//! The scheduler: who gets a slot on which host.
//!
//! Owns the ledger of hosts, slots and reservations, and the HostActors, whose parent it is. Decides where an instance
//! goes, tries the next host when one fails, and explains why there is no room. Every instance begins and ends here, so
//! that its row, its container and its slot change hands in one place.
//!
//! Must never: place by anything but the ledger; hold two slots for one instance; call something done that the store
//! did not confirm; touch a container engine itself (its HostActors do).
//!
//! Other servers may work on the same database: it gives signs of life to them, ends what a dead one was creating, and
//! lets its ledger follow the rows. The database decides when two of them want the last slot.
//!
//! Forgets on restart: the whole ledger, reservations, and creates in flight. Slots come back from the store's live rows,
//! the operator's cordons from the orders there, hosts from discovery; a row whose create was forgotten is ended, because
//! nobody waits for it any more. The autoscaler renews the cordons of hosts that it drains with every pass.

mod attend;
mod cordons;
mod create;
mod desk;
mod doubts;
mod end;
mod hosts;
mod line;
pub mod messages;
mod neighbours;
mod queue;
mod refresh;
pub mod state;
mod turns;

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Recipient, ResponseActFuture, WrapFuture, fut::ActorFuture,
};
use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep};

use crate::{
    answers_probe,
    autoscaler::messages::{GrowthForeseen, PressureChanged},
    discovery::messages::{DescribeDirectory, HostChanged, HostJoined, HostLost, VitalsSeen},
    domain::{Instance, MasterKey, ServerId},
    feed::messages::Publish,
    host::messages::{HostUnwell, HostWell, InstanceExited},
    patience,
    ports::{Clock, Found, Removal, Runtimes, Store, StoreError},
    settings::Settings,
    supervision::{GaveUp, Roster},
};
use attend::Attended;
use desk::Desk;
use messages::{
    CordonError, CordonHost, CreateInstance, DeleteInstance, DescribeFleet, EndError, Ending, EndingUnconfirmed,
    FleetView, GiveUpInstance, HostError, HostInventory, HostReady, HostSilent, HostView, LetNobodyWait, OrderCordon,
    OrphansKept, RemoveOrphan, Retire, SurveyFleet,
};
use neighbours::BEAT_EVERY;
use queue::Left;

/// The rebuild holds the mailbox for this long at most, so that creates that were queued over a restart are served by
/// the fresh ledger instead of being sent away.
const REBUILD_PATIENCE: Duration = Duration::from_secs(2);

/// How long after a failed rebuild the next one is tried.
const REBUILD_AGAIN: Duration = Duration::from_secs(1);

/// How long after its actor was given up a host gets a new one. The cordon stays, but what it carries must end.
const REVIVE_HOST_AFTER: Duration = Duration::from_secs(60);

/// Who the scheduler speaks to.
#[derive(Clone)]
pub struct Peers {
    /// Is told every change of a host or an instance.
    pub feed: Recipient<Publish>,
    /// Is asked for the hosts on a start.
    pub discovery: Recipient<DescribeDirectory>,
    /// Is woken when there is more or less room: the autoscaler.
    pub pressure: Recipient<PressureChanged>,
    /// Is woken when a host begins to answer.
    pub host_ready: Recipient<HostReady>,
    /// Is woken when a host falls silent.
    pub host_silent: Recipient<HostSilent>,
    /// Is told by the HostActors.
    pub instance_exited: Recipient<InstanceExited>,
    /// Is woken when a container is not confirmed gone: the reaper.
    pub ending_unconfirmed: Recipient<EndingUnconfirmed>,
    /// The scheduler's own address, for its HostActors.
    pub host_well: Recipient<HostWell>,
    /// The scheduler's own address, for its HostActors.
    pub host_unwell: Recipient<HostUnwell>,
    /// The scheduler's own address, for its HostActors' supervision.
    pub host_gave_up: Recipient<GaveUp>,
}

/// What the scheduler works with.
#[derive(Clone)]
pub struct Tools {
    /// Time and ids.
    pub clock: Arc<dyn Clock>,
    /// The rows.
    pub store: Arc<dyn Store>,
    /// Makes the runtime of a host that joined.
    pub runtimes: Arc<dyn Runtimes>,
    /// Passwords come from it.
    pub master_key: Arc<MasterKey>,
    /// The tunable numbers.
    pub settings: Arc<Settings>,
    /// Where its HostActors are listed.
    pub roster: Roster,
    /// This run of this server, which rows that are being created name.
    pub server: ServerId,
}

/// See the module's header.
pub struct SchedulerActor {
    desk: Rc<Desk>,
}

impl SchedulerActor {
    /// A scheduler that knows nothing yet; it rebuilds its ledger when it is started.
    #[must_use]
    pub fn new(tools: Tools, peers: Peers) -> Self {
        Self { desk: Rc::new(Desk::new(tools, peers)) }
    }

    /// Rebuilds the ledger. When that takes long, the mailbox is served meanwhile, by an actor that says that it starts.
    fn rebuild(&self) -> impl ActorFuture<Self, Output = ()> + use<> {
        let desk = Rc::clone(&self.desk);
        let rebuild = Box::pin(async move { desk.rebuild().await });
        select(rebuild, Box::pin(sleep(REBUILD_PATIENCE))).into_actor(self).map(|first, actor, ctx| match first {
            Either::Left((outcome, _)) => actor.rebuilt(outcome, ctx),
            Either::Right(((), rebuild)) => {
                tracing::warn!("scheduler.rebuild_takes_long");
                ctx.spawn(rebuild.into_actor(actor).map(|outcome, actor, ctx| actor.rebuilt(outcome, ctx)));
            }
        })
    }

    /// The ledger is rebuilt, or that is tried again later.
    fn rebuilt(&mut self, outcome: Result<(), StoreError>, ctx: &mut Context<Self>) {
        if let Err(error) = outcome {
            tracing::warn!(%error, "scheduler.rebuild_failed");
            ctx.run_later(REBUILD_AGAIN, |actor, ctx| ctx.wait(actor.rebuild()));
            return;
        }
        self.ask_for_hosts(ctx);
        if self.desk.tools.store.is_shared() {
            ctx.run_later(BEAT_EVERY, Self::beat);
        }
        ctx.run_later(self.desk.refresh_every(), Self::refresh);
    }
}

impl SchedulerActor {
    /// Asks discovery for its hosts until it answers: without them nothing can be placed.
    fn ask_for_hosts(&mut self, ctx: &mut Context<Self>) {
        // What it told the one before, nobody remembers.
        self.desk.peers.pressure.do_send(PressureChanged);
        let desk = Rc::clone(&self.desk);
        ctx.spawn(async move { desk.ask_for_hosts().await }.into_actor(self).map(|answered, _, ctx| {
            if !answered {
                ctx.run_later(REBUILD_AGAIN, Self::ask_for_hosts);
            }
        }));
    }

    /// Gives a sign of life, and again after a while, until this server retires.
    fn beat(&mut self, ctx: &mut Context<Self>) {
        if !self.desk.ready.get() {
            return;
        }
        let desk = Rc::clone(&self.desk);
        ctx.spawn(async move { desk.beat().await }.into_actor(self).map(|outcome, _, ctx| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "server.beat_failed");
            }
            ctx.run_later(BEAT_EVERY, Self::beat);
        }));
    }

    /// Compares the ledger with the rows and the orders, and again after a while.
    fn refresh(&mut self, ctx: &mut Context<Self>) {
        let desk = Rc::clone(&self.desk);
        let compare = async move {
            desk.refresh(Instant::now()).await?;
            desk.follow_orders().await
        };
        ctx.spawn(compare.into_actor(self).map(|outcome, actor, ctx| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "scheduler.refresh_failed");
            }
            ctx.run_later(actor.desk.refresh_every(), Self::refresh);
        }));
    }

    /// Goes on ending what could not be ended when it was given up.
    fn finish_what_was_given_up(&mut self, ctx: &mut Context<Self>) {
        for id in self.desk.unfinished.take() {
            let desk = Rc::clone(&self.desk);
            ctx.spawn(async move { desk.end_until_it_is_written(&id).await }.into_actor(self));
        }
    }
}

impl Actor for SchedulerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.wait(self.rebuild());
    }
}

answers_probe!(SchedulerActor);

impl Handler<CreateInstance> for SchedulerActor {
    type Result = Attended;

    fn handle(&mut self, request: CreateInstance, _: &mut Self::Context) -> Self::Result {
        let (desk, left) = (Rc::clone(&self.desk), Left::default());
        Attended { create: Box::pin(Rc::clone(&desk).create(request, Rc::clone(&left))), left, desk }
    }
}

impl Handler<GrowthForeseen> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, growth: GrowthForeseen, _: &mut Self::Context) {
        self.desk.growth_foreseen(growth);
    }
}

impl Handler<DeleteInstance> for SchedulerActor {
    type Result = ResponseActFuture<Self, Result<Ending, EndError>>;

    fn handle(&mut self, request: DeleteInstance, _: &mut Self::Context) -> Self::Result {
        let desk = Rc::clone(&self.desk);
        Box::pin(async move { desk.end(&request.id, request.reason).await }.into_actor(self))
    }
}

impl Handler<GiveUpInstance> for SchedulerActor {
    type Result = ResponseActFuture<Self, Result<Instance, EndError>>;

    fn handle(&mut self, request: GiveUpInstance, _: &mut Self::Context) -> Self::Result {
        let desk = Rc::clone(&self.desk);
        Box::pin(async move { desk.give_up_lost(&request.id).await }.into_actor(self))
    }
}

impl Handler<LetNobodyWait> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, _: LetNobodyWait, _: &mut Self::Context) {
        self.desk.let_nobody_wait();
    }
}

impl Handler<Retire> for SchedulerActor {
    type Result = ResponseActFuture<Self, Result<(), StoreError>>;

    fn handle(&mut self, _: Retire, _: &mut Self::Context) -> Self::Result {
        // Neither creates nor signs of life from here on.
        self.desk.ready.set(false);
        self.desk.send_away();
        let (store, server) = (Arc::clone(&self.desk.tools.store), self.desk.tools.server.clone());
        let retire =
            async move { if store.is_shared() { patience::store(store.retire(&server)).await } else { Ok(()) } };
        Box::pin(retire.into_actor(self))
    }
}

impl Handler<DescribeFleet> for SchedulerActor {
    type Result = actix::MessageResult<DescribeFleet>;

    fn handle(&mut self, _: DescribeFleet, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.desk.fleet())
    }
}

impl Handler<SurveyFleet> for SchedulerActor {
    type Result = ResponseActFuture<Self, Result<FleetView, StoreError>>;

    fn handle(&mut self, _: SurveyFleet, _: &mut Self::Context) -> Self::Result {
        let desk = Rc::clone(&self.desk);
        let survey = async move {
            if desk.neighbours.borrow().waiting() > 0 {
                desk.beat().await?;
            }
            desk.queue.survey();
            Ok(desk.surveyed())
        };
        Box::pin(survey.into_actor(self))
    }
}

impl Handler<CordonHost> for SchedulerActor {
    type Result = Result<HostView, CordonError>;

    fn handle(&mut self, request: CordonHost, _: &mut Self::Context) -> Self::Result {
        self.desk.cordon(&request.name, request.cordon)
    }
}

impl Handler<OrderCordon> for SchedulerActor {
    type Result = ResponseActFuture<Self, Result<HostView, CordonError>>;

    fn handle(&mut self, request: OrderCordon, _: &mut Self::Context) -> Self::Result {
        let desk = Rc::clone(&self.desk);
        Box::pin(async move { desk.order_cordon(&request.name, request.cordon).await }.into_actor(self))
    }
}

impl Handler<HostInventory> for SchedulerActor {
    type Result = ResponseActFuture<Self, Result<Vec<Found>, HostError>>;

    fn handle(&mut self, request: HostInventory, _: &mut Self::Context) -> Self::Result {
        let desk = Rc::clone(&self.desk);
        Box::pin(async move { desk.inventory_of(&request.host).await }.into_actor(self))
    }
}

impl Handler<RemoveOrphan> for SchedulerActor {
    type Result = ResponseActFuture<Self, Result<Removal, HostError>>;

    fn handle(&mut self, request: RemoveOrphan, _: &mut Self::Context) -> Self::Result {
        let desk = Rc::clone(&self.desk);
        Box::pin(async move { desk.remove_from(&request.host, &request.id).await }.into_actor(self))
    }
}

impl Handler<OrphansKept> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, kept: OrphansKept, _: &mut Self::Context) {
        self.desk.orphans_are_kept(&kept);
    }
}

impl Handler<HostJoined> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, HostJoined(record): HostJoined, _: &mut Self::Context) {
        self.desk.join(record);
    }
}

impl Handler<HostChanged> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, HostChanged(record): HostChanged, _: &mut Self::Context) {
        self.desk.join(record);
    }
}

impl Handler<HostLost> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, lost: HostLost, _: &mut Self::Context) {
        self.desk.lose(&lost.name);
    }
}

impl Handler<VitalsSeen> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, seen: VitalsSeen, _: &mut Self::Context) {
        self.desk.host_fares(&seen.name, seen.vitals);
    }
}

impl Handler<HostWell> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, well: HostWell, _: &mut Self::Context) {
        self.desk.host_answered(&well.host, well.unfit);
    }
}

impl Handler<HostUnwell> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, unwell: HostUnwell, _: &mut Self::Context) {
        self.desk.host_stayed_away(&unwell.host, unwell.why);
    }
}

impl Handler<GaveUp> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, gave_up: GaveUp, ctx: &mut Self::Context) {
        if let Some(host) = self.desk.host_gave_up(&gave_up) {
            ctx.run_later(REVIVE_HOST_AFTER, move |actor, _| actor.desk.revive(&host));
        }
    }
}
