//! The room of the autoscaler: the pool of droplets.
//!
//! - **Owns** the rows of droplets, the end of builders' rows that are over, and what is bought from and given back to the cloud.
//! - **Decides**, by the pure plan in [`domain::scaling`](crate::domain::scaling), what is ordered, drained, taken back
//!   and deleted, and says why.
//! - **Must never** pay for anything whose intent is not in the database; delete a host that carries an instance, or one
//!   that could be given one; believe a list of the cloud before it had time to settle. It takes no orders: a message
//!   wakes it.
//! - **Tells** the scheduler after every pass what a create that finds no room may hope for, and the feed how it went, and
//!   writes down what it saw and decided, so that a decision can be made again later.
//! - **Forgets on restart** since when hosts have been empty, silent or away, and the provider's list without a droplet,
//!   so that all of these are given their time again; which hosts drain by its own plan, so that those are not taken back
//!   but deleted and bought anew; that the pool has just grown, so that the cool-down is over; how often in a row orders were
//!   refused and droplets failed, so that the next wait is the shortest; and for how long droplets boot, so that nobody is
//!   told until one has. Droplets are found again by their rows and their tag; how long orders wait and how many may be
//!   made, and a pause of the operator, are in the database.

mod boots;
mod builders;
pub mod messages;
mod pass;
mod pause;
mod setbacks;
mod state;
mod steps;

use std::{sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, Recipient, ResponseActFuture, WrapFuture,
};
use tokio::{sync::oneshot, time::Instant};

pub use self::pause::Pause;

use self::{
    messages::{
        DescribeScaling, GrowthForeseen, PauseScaling, PressureChanged, ResumeScaling, ScaleNow, ScalingStatus,
        ScalingTotals,
    },
    pass::{Passed, Tools},
    state::Memory,
};
use crate::{
    answers_probe,
    brain::Ports,
    discovery::messages::DescribeDirectory,
    domain::{DeploymentId, scaling::Stage},
    feed::messages::{Fact, Publish},
    scheduler::messages::{CordonHost, HostInventory, HostSilent, SurveyFleet},
    settings::Settings,
};

/// The shortest time between two passes that pressure causes: each reads the provider's list, which is counted.
const BREATH: Duration = Duration::from_secs(1);

/// Whom the autoscaler speaks to.
#[derive(Debug, Clone)]
pub struct Peers {
    /// The scheduler.
    pub fleet: Recipient<SurveyFleet>,
    /// The scheduler.
    pub cordon: Recipient<CordonHost>,
    /// The scheduler.
    pub inventory: Recipient<HostInventory>,
    /// Discovery: while the directory is away, no droplet is late.
    pub directory: Recipient<DescribeDirectory>,
    /// The scheduler: what a create may hope for.
    pub growth: Recipient<GrowthForeseen>,
    /// The reaper: a droplet is gone with what it carried.
    pub silent: Recipient<HostSilent>,
    /// The feed: how every pass went.
    pub feed: Recipient<Publish>,
}

/// Grows and shrinks the pool. See the module.
pub struct AutoscalerActor {
    /// `None` when there is no cloud or no policy.
    tools: Option<Tools>,
    every: Duration,
    memory: Memory,
    status: ScalingStatus,
    pause: Pause,
    passing: bool,
    /// When the last pass began.
    began: Option<Instant>,
    /// Until when the provider wants to be left alone.
    rest_until: Option<Instant>,
    /// Whether there was pressure since the last pass began.
    pressed: bool,
    /// Whether this server looked after the pool when it last looked.
    leads: bool,
    /// Who waits for a pass that begins from now on.
    waiting: Vec<oneshot::Sender<ScalingStatus>>,
    /// Told apart from the timers of passes that were made earlier because somebody asked.
    timer: u64,
}

impl AutoscalerActor {
    /// An autoscaler that has not looked at anything yet. It idles when there is no cloud in `ports`, or no policy in
    /// `settings`.
    #[must_use]
    pub fn new(deployment: DeploymentId, ports: Ports, settings: Arc<Settings>, pause: Pause, peers: Peers) -> Self {
        let tools = ports.cloud.zip(settings.scaling.clone()).map(|(cloud, policy)| Tools {
            deployment,
            clock: ports.clock,
            store: ports.store,
            cloud,
            journal: ports.journal,
            policy,
            pause: pause.clone(),
            inventory_patience: settings.host.longest_call(),
            peers,
        });
        let mut status = ScalingStatus { enabled: tools.is_some(), ..ScalingStatus::default() };
        if tools.is_none() {
            status.explanation.push("no cloud is configured, so the pool neither grows nor shrinks".to_owned());
        }
        Self {
            tools,
            every: settings.scaling_every,
            memory: Memory::default(),
            status,
            pause,
            passing: false,
            began: None,
            rest_until: None,
            pressed: false,
            leads: true,
            waiting: Vec::new(),
            timer: 0,
        }
    }

    /// Makes a pass, unless one is being made; the next one is armed when it is over.
    fn pass(&mut self, ctx: &mut Context<Self>) {
        let Some(tools) = self.tools.clone().filter(|_| !self.passing) else { return };
        self.passing = true;
        self.pressed = false;
        self.began = Some(Instant::now());
        let waiting = std::mem::take(&mut self.waiting);
        let peers = tools.peers.clone();
        let pass = tools.pass(std::mem::take(&mut self.memory), self.rests());
        ctx.spawn(pass.into_actor(self).map(move |passed, this, ctx| {
            let Passed { memory, status, rest, saw, leads, growth } = passed;
            this.passing = false;
            this.memory = memory;
            this.leads = if saw { leads } else { this.leads };
            this.take_in(status, saw);
            this.tell(&peers);
            for droplet in this.status.droplets.iter().filter(|droplet| droplet.stage == Stage::Gone) {
                peers.silent.do_send(HostSilent { host: droplet.name.clone() });
            }
            this.rest_until = rest.map(|rest| Instant::now() + rest);
            if let Some(growth) = growth {
                peers.growth.do_send(growth);
            }
            for whom in waiting {
                // Whoever stopped waiting needs no answer.
                let _ = whom.send(this.status.clone());
            }
            this.arm(this.every.max(rest.unwrap_or_default()), ctx);
            if !this.waiting.is_empty() {
                this.pass(ctx);
            } else if this.pressed {
                this.pass_soon(ctx);
            }
        }));
    }

    /// Takes in what came of a pass. One that `saw` no droplets, because something could not be read, tells nothing of them.
    fn take_in(&mut self, status: ScalingStatus, saw: bool) {
        let before = std::mem::take(&mut self.status);
        let ScalingTotals { ordered, deleted, failures } = before.totals;
        self.status = ScalingStatus {
            enabled: true,
            passes: before.passes + 1,
            // It may have been pressed or released meanwhile.
            paused: self.pause.is_set(),
            totals: ScalingTotals {
                ordered: ordered + status.created as u64,
                deleted: deleted + status.deleted as u64,
                failures: failures + status.errors.len() as u64,
            },
            droplets: if saw { status.droplets } else { before.droplets },
            // What was decided before is still being waited for.
            explanation: if saw || !status.explanation.is_empty() { status.explanation } else { before.explanation },
            ..status
        };
    }

    fn tell(&self, peers: &Peers) {
        peers.feed.do_send(Publish(Fact::ScalingChanged { scaling: self.status.clone() }));
    }

    /// Presses or releases the switch, and lets everybody see it at once.
    fn switch(&mut self, paused: bool) {
        self.pause.press(paused);
        self.status.paused = paused;
        if let Some(tools) = &self.tools {
            self.tell(&tools.peers);
        }
    }

    /// How long the provider still wants to be left alone, if it does.
    fn rests(&self) -> Option<Duration> {
        self.rest_until.map(|until| until.saturating_duration_since(Instant::now())).filter(|time| !time.is_zero())
    }

    /// Makes a pass as soon as the last one is long enough ago. While the provider rests, its end is soon enough; and
    /// where another server looks after the pool, the timer is: every pass is a request that this one would miss.
    fn pass_soon(&mut self, ctx: &mut Context<Self>) {
        if !self.passing && self.leads && self.rests().is_none() {
            self.arm(self.began.map_or(Duration::ZERO, |began| BREATH.saturating_sub(began.elapsed())), ctx);
        }
    }

    /// Makes a pass after this time, and not when it was armed for before.
    fn arm(&mut self, after: Duration, ctx: &mut Context<Self>) {
        self.timer += 1;
        let timer = self.timer;
        ctx.run_later(after, move |this, ctx| {
            if this.timer == timer {
                this.pass(ctx);
            }
        });
    }

    /// A pass that begins from now on, or how it stands where none is ever made. While the provider rests it is one that
    /// does not ask it anything, and says so.
    fn after_a_pass(&mut self, ctx: &mut Context<Self>) -> ResponseActFuture<Self, ScalingStatus> {
        let (sender, receiver) = oneshot::channel();
        if self.tools.is_some() {
            self.waiting.push(sender);
            self.pass(ctx);
        } else {
            drop(sender);
        }
        // No sender: no pass will be made, and how it stands is all there is to say.
        Box::pin(receiver.into_actor(self).map(|status, this, _| status.unwrap_or_else(|_| this.status.clone())))
    }
}

impl Actor for AutoscalerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.pass(ctx);
    }
}

answers_probe!(AutoscalerActor);

impl Handler<ScaleNow> for AutoscalerActor {
    type Result = ResponseActFuture<Self, ScalingStatus>;

    fn handle(&mut self, _: ScaleNow, ctx: &mut Context<Self>) -> Self::Result {
        self.after_a_pass(ctx)
    }
}

impl Handler<PauseScaling> for AutoscalerActor {
    type Result = ResponseActFuture<Self, ScalingStatus>;

    fn handle(&mut self, _: PauseScaling, ctx: &mut Context<Self>) -> Self::Result {
        tracing::warn!("scaling.paused");
        self.switch(true);
        self.after_a_pass(ctx)
    }
}

impl Handler<ResumeScaling> for AutoscalerActor {
    type Result = ResponseActFuture<Self, ScalingStatus>;

    fn handle(&mut self, _: ResumeScaling, ctx: &mut Context<Self>) -> Self::Result {
        tracing::info!("scaling.resumed");
        self.switch(false);
        self.after_a_pass(ctx)
    }
}

impl Handler<PressureChanged> for AutoscalerActor {
    type Result = ();

    fn handle(&mut self, _: PressureChanged, ctx: &mut Context<Self>) {
        if self.tools.is_some() && !std::mem::replace(&mut self.pressed, true) {
            self.pass_soon(ctx);
        }
    }
}

impl Handler<DescribeScaling> for AutoscalerActor {
    type Result = MessageResult<DescribeScaling>;

    fn handle(&mut self, _: DescribeScaling, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.status.clone())
    }
}
