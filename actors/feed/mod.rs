//! The room of the feed: what operators watch.
//!
//! - **Owns** the read model (hosts, live instances, actors, totals, the pool), the numbers of the facts, and the
//!   subscribers.
//! - **Decides** what is news. A fact that changes nothing in the model gets no number and is told to nobody.
//! - **Must never** wait for a subscriber: one whose channel is full is dropped there and then. It is no source of
//!   truth either; nobody decides by it.
//! - **Forgets on restart** everything: numbers begin anew and every subscriber's channel ends, so that it subscribes
//!   again and gets a snapshot that is as good as the store, the scheduler and the roster. It also does so on purpose
//!   when the scheduler was restarted, because hosts that went with the old ledger are mentioned by no fact.
//!
//! # Rebuilding
//! Whoever publishes a fact has made it true first. So a reading of the sources includes every fact that was heard before
//! it began; those heard while it goes on are kept and applied on top of it. A fact says what is, not what is different,
//! so it does no harm that the reading may include some of them already. Subscribers wait until the model stands.

pub mod messages;
mod state;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, Recipient, ResponseActFuture, WrapFuture,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use self::{
    messages::{
        ActorView, CountInstances, Delta, Fact, InstanceCounts, InstanceView, Publish, Subscribe, Subscription,
    },
    state::Model,
};
use crate::{
    answers_probe,
    autoscaler::messages::DescribeScaling,
    domain::Timestamp,
    patience,
    ports::{Clock, Store},
    scheduler::messages::DescribeFleet,
    supervision::{Status, ask},
};

/// Deltas that a subscriber may fall behind. A burst of a few dozen creates, each some facts, fits in; somebody who is
/// further behind is better served with a new snapshot.
const BACKLOG: usize = 256;

/// How long another actor may take to describe what it knows, which it does from memory.
const PEER_PATIENCE: Duration = Duration::from_secs(2);

/// How long after a failed rebuild the next one is tried.
const REBUILD_AGAIN: Duration = Duration::from_secs(1);

/// The actor with whose restart the hosts that the feed knows are out of date.
const SOURCE_OF_HOSTS: &str = "scheduler";

/// What the feed rebuilds itself from, beside the store.
#[derive(Clone)]
pub struct Peers {
    /// The scheduler.
    pub fleet: Recipient<DescribeFleet>,
    /// The autoscaler. Nobody waits for it: it tells how it is after its next pass.
    pub scaling: Recipient<DescribeScaling>,
    /// How the supervised actors are.
    pub actors: Arc<dyn Fn() -> Vec<ActorView> + Send + Sync>,
}

/// Who may wait for a rebuild at once. They ask again when they have waited too long, and while the store is away
/// nobody but this number would ever tell them apart from those who still wait.
const MOST_WAITING: usize = 64;

/// Numbers facts and passes them on. See the module.
pub struct FeedActor {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    peers: Peers,
    stage: Stage,
    subscribers: Vec<mpsc::Sender<Arc<Delta>>>,
    /// Counts rebuilds, so that the result of one that was overtaken can be told from the current one's.
    rebuild: u64,
    /// Instances whose end was heard of, by reason.
    ended: BTreeMap<&'static str, u64>,
}

enum Stage {
    Rebuilding { heard: Vec<Fact>, waiting: Vec<oneshot::Sender<Subscription>>, complained: bool },
    Live(Box<Model>),
}

impl FeedActor {
    /// A feed that knows nothing yet. It reads where things stand when it is started.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, store: Arc<dyn Store>, peers: Peers) -> Self {
        let stage = Stage::Rebuilding { heard: Vec::new(), waiting: Vec::new(), complained: false };
        Self { clock, store, peers, stage, subscribers: Vec::new(), rebuild: 0, ended: BTreeMap::new() }
    }

    /// Throws the model away, if there is one, and reads a new one.
    fn rebuild(&mut self, ctx: &mut Context<Self>) {
        self.rebuild += 1;
        self.subscribers.clear();
        match &mut self.stage {
            Stage::Rebuilding { heard, .. } => heard.clear(),
            stage @ Stage::Live(_) => {
                *stage = Stage::Rebuilding { heard: Vec::new(), waiting: Vec::new(), complained: false };
            }
        }
        let rebuild = self.rebuild;
        let reading = read(self.store.clone(), self.peers.clone());
        ctx.spawn(reading.into_actor(self).map(move |read, this, ctx| {
            if this.rebuild != rebuild {
                return;
            }
            match read {
                Ok(model) => this.go_live(model),
                Err(why) => this.complain(&why, ctx),
            }
        }));
    }

    fn complain(&mut self, why: &str, ctx: &mut Context<Self>) {
        if let Stage::Rebuilding { complained, .. } = &mut self.stage
            && !std::mem::replace(complained, true)
        {
            tracing::warn!(error = why, "feed.rebuild_failed");
        }
        let rebuild = self.rebuild;
        ctx.run_later(REBUILD_AGAIN, move |this, ctx| {
            if this.rebuild == rebuild {
                this.rebuild(ctx);
            }
        });
    }

    fn go_live(&mut self, mut model: Model) {
        let now = self.clock.now();
        if let Stage::Rebuilding { heard, waiting, .. } = &mut self.stage {
            for fact in heard.drain(..) {
                model.apply(fact, now);
            }
            for whom in waiting.drain(..) {
                admit(&model, &mut self.subscribers, whom, now);
            }
        }
        self.stage = Stage::Live(Box::new(model));
    }

    fn fan_out(&mut self, delta: Delta) {
        let delta = Arc::new(delta);
        self.subscribers.retain(|subscriber| match subscriber.try_send(delta.clone()) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(_)) => {
                tracing::info!(seq = delta.seq, "feed.slow_subscriber_dropped");
                false
            }
        });
    }
}

/// Gives somebody who wants to watch where things stand, and everything from there on.
fn admit(
    model: &Model,
    subscribers: &mut Vec<mpsc::Sender<Arc<Delta>>>,
    whom: oneshot::Sender<Subscription>,
    now: Timestamp,
) {
    let (sender, deltas) = mpsc::channel(BACKLOG);
    if whom.send(Subscription { snapshot: model.snapshot(now), deltas }).is_ok() {
        subscribers.push(sender);
    }
}

/// Reads where things stand.
async fn read(store: Arc<dyn Store>, peers: Peers) -> Result<Model, String> {
    let (fleet, scaling) = futures_util::join!(
        ask(&peers.fleet, DescribeFleet, PEER_PATIENCE),
        ask(&peers.scaling, DescribeScaling, PEER_PATIENCE),
    );
    let fleet = fleet.map_err(|error| format!("scheduler: {error}"))?;
    if !fleet.ready {
        return Err("scheduler: it is starting".to_owned());
    }
    let mut live = Vec::new();
    let read = patience::live_rows(&*store, |rows| live.extend(rows.iter().map(InstanceView::from)));
    read.await.map_err(|error| error.to_string())?;
    let totals = patience::store(store.totals()).await.map_err(|error| error.to_string())?;
    let model = Model::new(fleet.hosts, live, (peers.actors)(), totals);
    Ok(model.with_scaling(scaling.ok()))
}

impl Actor for FeedActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.rebuild(ctx);
    }
}

answers_probe!(FeedActor);

impl Handler<Publish> for FeedActor {
    type Result = ();

    fn handle(&mut self, Publish(fact): Publish, ctx: &mut Context<Self>) {
        let source_restarted = matches!(&fact, Fact::ActorChanged { actor }
            if actor.name == SOURCE_OF_HOSTS && actor.status == Status::Up && actor.restarts > 0);
        // Told once, by whoever wrote the end.
        if let Fact::InstanceEnded { reason, .. } = &fact {
            *self.ended.entry(reason.as_str()).or_default() += 1;
        }
        match &mut self.stage {
            Stage::Rebuilding { heard, .. } => heard.push(fact),
            Stage::Live(model) => match model.apply(fact, self.clock.now()) {
                Some(delta) => self.fan_out(delta),
                None => return,
            },
        }
        if source_restarted {
            self.rebuild(ctx);
        }
    }
}

impl Handler<Subscribe> for FeedActor {
    type Result = ResponseActFuture<Self, Subscription>;

    fn handle(&mut self, _: Subscribe, _: &mut Context<Self>) -> Self::Result {
        let (sender, receiver) = oneshot::channel();
        match &mut self.stage {
            // Beyond that many the sender is dropped, and its owner comes back.
            Stage::Rebuilding { waiting, .. } if waiting.len() >= MOST_WAITING => {}
            Stage::Rebuilding { waiting, .. } => waiting.push(sender),
            Stage::Live(model) => admit(model, &mut self.subscribers, sender, self.clock.now()),
        }
        Box::pin(receiver.into_actor(self).map(|subscription, this, _| {
            // The sender lives in this actor until it has sent. Were it not so, a subscription that is over makes its
            // owner come back for another one.
            subscription.unwrap_or_else(|_| Subscription {
                snapshot: Model::default().snapshot(this.clock.now()),
                deltas: mpsc::channel(1).1,
            })
        }))
    }
}

impl Handler<CountInstances> for FeedActor {
    type Result = MessageResult<CountInstances>;

    fn handle(&mut self, _: CountInstances, _: &mut Context<Self>) -> Self::Result {
        let live = match &self.stage {
            Stage::Rebuilding { .. } => None,
            Stage::Live(model) => Some(model.live()),
        };
        MessageResult(InstanceCounts { live, ended: self.ended.clone() })
    }
}
