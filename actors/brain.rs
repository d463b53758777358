//! The rooms put together: eight supervised actors, each with the doors to its peers.
//!
//! Owns the wiring inside the brain and what giving up means for each actor. Two phases: first every address, then every
//! actor, so that any two can know each other. Knows the ports as traits only; what stands behind them is chosen by the
//! edge, or by a test.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use actix::{Actor, Context, Recipient};
use tokio::{sync::broadcast::error::RecvError, task::JoinHandle};

use crate::{
    autoscaler::{
        self, AutoscalerActor, Pause,
        messages::{DescribeScaling, PauseScaling, ResumeScaling, ScaleNow},
    },
    discovery::{self, DiscoveryActor, messages::DescribeDirectory},
    domain::{DeploymentId, MasterKey, ServerId},
    feed::{
        self, FeedActor,
        messages::{ActorView, CountInstances, Fact, Publish, Subscribe},
    },
    ports::{Clock, Directory, HostProvider, Journal, Runtimes, Store, Webhooks},
    rate_limit::{
        RateLimitActor,
        messages::{Admit, WrongToken},
    },
    reaper::{
        self, ReaperActor,
        messages::{DescribeReaper, ExtendLease, SweepNow},
        steady::Steady,
    },
    scheduler::{
        self, SchedulerActor,
        messages::{CreateInstance, DeleteInstance, DescribeFleet, LetNobodyWait, OrderCordon, Retire},
    },
    settings::Settings,
    supervision::{Change, Child, Cradle, GiveUp, Roster, Spec, ask, supervise},
    webhooks::{self, WebhookActor, messages::DescribeWebhooks},
};

/// A process that is told to stop does not wait for long for a database that is away.
const RETIRE_WITHIN: Duration = Duration::from_secs(2);

/// What the brain reaches outside through.
#[derive(Clone)]
pub struct Ports {
    /// Time and ids.
    pub clock: Arc<dyn Clock>,
    /// The database.
    pub store: Arc<dyn Store>,
    /// Makes hosts' runtimes.
    pub runtimes: Arc<dyn Runtimes>,
    /// Where hosts announce themselves.
    pub directory: Arc<dyn Directory>,
    /// Where droplets are bought, if anywhere.
    pub cloud: Option<Arc<dyn HostProvider>>,
    /// Where the autoscaler writes down what it decided and why, if anywhere.
    pub journal: Option<Arc<dyn Journal>>,
    /// Where notices are posted.
    pub webhooks: Arc<dyn Webhooks>,
}

/// Every door into the brain: what the edge and the tests send messages through. Cheap to clone, and may be used from
/// any thread.
#[derive(Clone)]
pub struct Doors {
    /// To the rate limit.
    pub admit: Recipient<Admit>,
    /// To the rate limit.
    pub wrong_token: Recipient<WrongToken>,
    /// To the scheduler.
    pub create: Recipient<CreateInstance>,
    /// To the scheduler.
    pub delete: Recipient<DeleteInstance>,
    /// To the scheduler.
    pub fleet: Recipient<DescribeFleet>,
    /// To the scheduler.
    pub cordon: Recipient<OrderCordon>,
    /// To the reaper.
    pub extend: Recipient<ExtendLease>,
    /// To the reaper.
    pub reaper: Recipient<DescribeReaper>,
    /// To the reaper.
    pub sweep: Recipient<SweepNow>,
    /// To discovery.
    pub directory: Recipient<DescribeDirectory>,
    /// To the autoscaler.
    pub scale: Recipient<ScaleNow>,
    /// To the autoscaler.
    pub scaling: Recipient<DescribeScaling>,
    /// To the autoscaler.
    pub pause_scaling: Recipient<PauseScaling>,
    /// To the autoscaler.
    pub resume_scaling: Recipient<ResumeScaling>,
    /// To the feed.
    pub subscribe: Recipient<Subscribe>,
    /// To the feed.
    pub counts: Recipient<CountInstances>,
    /// To the webhooks.
    pub webhooks: Recipient<DescribeWebhooks>,
}

/// The living brain. Dropping it ends every actor where it stands, as a crash would.
pub struct Brain {
    /// The ways in.
    pub doors: Doors,
    /// How every actor is.
    pub roster: Roster,
    retire: Recipient<Retire>,
    let_nobody_wait: Recipient<LetNobodyWait>,
    _children: Children,
}

struct Children {
    _rate_limit: Child<RateLimitActor>,
    _scheduler: Child<SchedulerActor>,
    _discovery: Child<DiscoveryActor>,
    _reaper: Child<ReaperActor>,
    _autoscaler: Child<AutoscalerActor>,
    _feed: Child<FeedActor>,
    _webhooks: Child<WebhookActor>,
    roster_watch: JoinHandle<()>,
}

impl Drop for Children {
    fn drop(&mut self) {
        self.roster_watch.abort();
    }
}

/// The addresses of the first phase.
#[derive(Default)]
struct Cradles {
    rate_limit: Cradle<RateLimitActor>,
    scheduler: Cradle<SchedulerActor>,
    discovery: Cradle<DiscoveryActor>,
    reaper: Cradle<ReaperActor>,
    autoscaler: Cradle<AutoscalerActor>,
    feed: Cradle<FeedActor>,
    webhooks: Cradle<WebhookActor>,
}

fn to<A, M>(cradle: &Cradle<A>) -> Recipient<M>
where
    A: Actor<Context = Context<A>> + actix::Handler<M>,
    M: actix::Message + Send + 'static,
    M::Result: Send,
{
    cradle.addr().recipient()
}

impl Cradles {
    fn doors(&self) -> Doors {
        Doors {
            admit: to(&self.rate_limit),
            wrong_token: to(&self.rate_limit),
            create: to(&self.scheduler),
            delete: to(&self.scheduler),
            fleet: to(&self.scheduler),
            cordon: to(&self.scheduler),
            extend: to(&self.reaper),
            reaper: to(&self.reaper),
            sweep: to(&self.reaper),
            directory: to(&self.discovery),
            scale: to(&self.autoscaler),
            scaling: to(&self.autoscaler),
            pause_scaling: to(&self.autoscaler),
            resume_scaling: to(&self.autoscaler),
            subscribe: to(&self.feed),
            counts: to(&self.feed),
            webhooks: to(&self.webhooks),
        }
    }
}

impl Brain {
    /// Starts every actor on the calling thread, which must be that of an `actix::System`.
    #[must_use]
    pub fn start(deployment: DeploymentId, ports: Ports, settings: Arc<Settings>, master_key: Arc<MasterKey>) -> Self {
        let clock = Arc::clone(&ports.clock);
        let roster = Roster::new(Arc::new(move || clock.now()));
        let cradles = Cradles::default();
        let doors = cradles.doors();
        let publish: Recipient<Publish> = to(&cradles.feed);
        let roster_watch = actix::spawn(tell_of_actors(roster.clone(), publish.clone()));

        let scheduler_tools = scheduler::Tools {
            clock: Arc::clone(&ports.clock),
            store: Arc::clone(&ports.store),
            runtimes: Arc::clone(&ports.runtimes),
            master_key,
            settings: Arc::clone(&settings),
            roster: roster.clone(),
            server: ServerId::from_unused(&ports.clock.new_id()),
        };
        let scheduler_peers = scheduler::Peers {
            feed: publish.clone(),
            discovery: to(&cradles.discovery),
            pressure: to(&cradles.autoscaler),
            host_ready: to(&cradles.reaper),
            host_silent: to(&cradles.reaper),
            instance_exited: to(&cradles.reaper),
            ending_unconfirmed: to(&cradles.reaper),
            host_well: to(&cradles.scheduler),
            host_unwell: to(&cradles.scheduler),
            host_gave_up: to(&cradles.scheduler),
        };
        let reaper_tools = reaper::Tools {
            clock: Arc::clone(&ports.clock),
            store: Arc::clone(&ports.store),
            settings: Arc::clone(&settings),
            steady: Steady::begin(&*ports.clock),
        };
        let reaper_peers = reaper::Peers {
            delete: to(&cradles.scheduler),
            fleet: to(&cradles.scheduler),
            inventory: to(&cradles.scheduler),
            remove_orphan: to(&cradles.scheduler),
            orphans_kept: to(&cradles.scheduler),
            give_up: to(&cradles.scheduler),
            directory: to(&cradles.discovery),
            pool: to(&cradles.autoscaler),
            feed: publish.clone(),
        };
        let discovery_peers = discovery::Peers {
            joined: to(&cradles.scheduler),
            changed: to(&cradles.scheduler),
            lost: to(&cradles.scheduler),
            vitals: to(&cradles.scheduler),
            fleet: to(&cradles.scheduler),
        };
        let autoscaler_peers = autoscaler::Peers {
            fleet: to(&cradles.scheduler),
            cordon: to(&cradles.scheduler),
            inventory: to(&cradles.scheduler),
            directory: to(&cradles.discovery),
            growth: to(&cradles.scheduler),
            silent: to(&cradles.reaper),
            feed: publish,
        };
        let pause = Pause::default();
        let webhook_tools = webhooks::Tools {
            clock: Arc::clone(&ports.clock),
            store: Arc::clone(&ports.store),
            webhooks: Arc::clone(&ports.webhooks),
            settings: settings.webhooks.clone(),
        };
        let feed_peers = feed::Peers {
            fleet: to(&cradles.scheduler),
            scaling: to(&cradles.autoscaler),
            actors: actor_views(roster.clone()),
        };

        let (retire, let_nobody_wait) = (to(&cradles.scheduler), to(&cradles.scheduler));
        // Nothing can be created without the scheduler, so the process ends with it and its supervisor starts it anew.
        let spec = |name| Spec::permanent(name).watched_every(settings.watch_every);
        let scheduler = spec("scheduler").give_up(GiveUp::ExitProcess);
        let children = Children {
            _scheduler: supervise(cradles.scheduler, scheduler, &roster, move |_| {
                SchedulerActor::new(scheduler_tools.clone(), scheduler_peers.clone())
            }),
            _rate_limit: supervise(cradles.rate_limit, spec("rate_limit"), &roster, {
                let settings = Arc::clone(&settings);
                move |_| RateLimitActor::new(&settings)
            }),
            _reaper: supervise(cradles.reaper, spec("reaper"), &roster, move |_| {
                ReaperActor::new(reaper_tools.clone(), reaper_peers.clone())
            }),
            _discovery: supervise(cradles.discovery, spec("discovery"), &roster, {
                let (directory, poll) = (Arc::clone(&ports.directory), settings.directory_poll);
                move |_| DiscoveryActor::new(Arc::clone(&directory), poll, discovery_peers.clone())
            }),
            _feed: supervise(cradles.feed, spec("feed"), &roster, {
                let (clock, store) = (Arc::clone(&ports.clock), Arc::clone(&ports.store));
                move |_| FeedActor::new(Arc::clone(&clock), Arc::clone(&store), feed_peers.clone())
            }),
            _webhooks: supervise(cradles.webhooks, spec("webhooks"), &roster, move |_| {
                WebhookActor::new(webhook_tools.clone())
            }),
            _autoscaler: supervise(cradles.autoscaler, spec("autoscaler"), &roster, {
                let settings = Arc::clone(&settings);
                move |_| {
                    let (ports, settings) = (ports.clone(), Arc::clone(&settings));
                    AutoscalerActor::new(deployment.clone(), ports, settings, pause.clone(), autoscaler_peers.clone())
                }
            }),
            roster_watch,
        };
        Self { doors, roster, retire, let_nobody_wait, _children: children }
    }

    /// Says that the server is about to stop: what is being started is finished, and whoever waits for room is told.
    pub fn let_nobody_wait(&self) {
        self.let_nobody_wait.do_send(LetNobodyWait);
    }

    /// Stops in good order once nothing is under way any more: the other servers on the same database need not find out
    /// by themselves that this one is gone.
    pub async fn stop(self) {
        match ask(&self.retire, Retire, RETIRE_WITHIN).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "server.not_retired"),
            Err(error) => tracing::warn!(%error, "server.not_retired"),
        }
    }
}

/// What the feed reads when it rebuilds its view of the actors.
fn actor_views(roster: Roster) -> Arc<dyn Fn() -> Vec<ActorView> + Send + Sync> {
    Arc::new(move || roster.reports().into_iter().map(ActorView::from).collect())
}

/// Turns every change on the roster into a fact.
async fn tell_of_actors(roster: Roster, publish: Recipient<Publish>) {
    let mut changes = roster.subscribe();
    loop {
        match changes.recv().await {
            Ok(Change::Reported(report)) => {
                publish.do_send(Publish(Fact::ActorChanged { actor: report.into() }));
            }
            Ok(Change::Removed(name)) => publish.do_send(Publish(Fact::ActorRemoved { name })),
            // Too many at once to follow: say how all of them are now.
            Err(RecvError::Lagged(_)) => {
                for report in roster.reports() {
                    publish.do_send(Publish(Fact::ActorChanged { actor: report.into() }));
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}
