//! The room of the autoscaler: the pool of droplets.
//!
//! - **Owns** the rows of droplets, and what is bought from and given back to the cloud.
//! - **Decides**, by the pure plan in [`domain::scaling`](crate::domain::scaling), what is ordered, drained, taken back
//!   and deleted, and says why.
//! - **Must never** pay for anything whose intent is not in the database; delete a host that carries an instance, or one
//!   that could be given one; believe a list of the cloud before it had time to settle. It takes no orders: a message
//!   wakes it.
//! - **Forgets on restart** since when hosts have been empty, so that they are kept a little longer, and which hosts
//!   drain by its own plan, so that those are not taken back but deleted and bought anew. Droplets are found again by
//!   their rows and their tag.

pub mod messages;
mod pass;
mod state;

use std::{sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, Recipient, ResponseActFuture, WrapFuture,
};
use tokio::sync::oneshot;

use self::{
    messages::{DescribeScaling, ScaleNow, ScalingStatus},
    pass::{Passed, Tools},
    state::Memory,
};
use crate::{
    answers_probe,
    brain::Ports,
    discovery::messages::DescribeDirectory,
    domain::DeploymentId,
    scheduler::messages::{CordonHost, DescribeFleet, HostInventory},
    settings::Settings,
};

/// Whom the autoscaler speaks to.
#[derive(Debug, Clone)]
pub struct Peers {
    /// The scheduler.
    pub fleet: Recipient<DescribeFleet>,
    /// The scheduler.
    pub cordon: Recipient<CordonHost>,
    /// The scheduler.
    pub inventory: Recipient<HostInventory>,
    /// Discovery: while the directory is away, no droplet is late.
    pub directory: Recipient<DescribeDirectory>,
}

/// Grows and shrinks the pool. See the module.
pub struct AutoscalerActor {
    /// `None` when there is no cloud or no policy.
    tools: Option<Tools>,
    every: Duration,
    memory: Memory,
    status: ScalingStatus,
    passing: bool,
    /// Who waits for a pass that begins from now on.
    waiting: Vec<oneshot::Sender<ScalingStatus>>,
    /// Told apart from the timers of passes that were made earlier because somebody asked.
    timer: u64,
}

impl AutoscalerActor {
    /// An autoscaler that has not looked at anything yet. It idles when there is no cloud in `ports`, or no policy in
    /// `settings`.
    #[must_use]
    pub fn new(deployment: DeploymentId, ports: Ports, settings: Arc<Settings>, peers: Peers) -> Self {
        let tools = ports.cloud.zip(settings.scaling.clone()).map(|(cloud, policy)| Tools {
            deployment,
            clock: ports.clock,
            store: ports.store,
            cloud,
            policy,
            inventory_patience: settings.host.longest_call(),
            peers,
        });
        let mut status = ScalingStatus::default();
        if tools.is_none() {
            status.explanation.push("no cloud is configured, so the pool neither grows nor shrinks".to_owned());
        }
        Self {
            tools,
            every: settings.scaling_every,
            memory: Memory::default(),
            status,
            passing: false,
            waiting: Vec::new(),
            timer: 0,
        }
    }

    /// Makes a pass, unless one is being made; the next one is armed when it is over.
    fn pass(&mut self, ctx: &mut Context<Self>) {
        let Some(tools) = self.tools.clone().filter(|_| !self.passing) else { return };
        self.passing = true;
        self.timer += 1;
        let waiting = std::mem::take(&mut self.waiting);
        let pass = tools.pass(std::mem::take(&mut self.memory));
        ctx.spawn(pass.into_actor(self).map(|Passed { memory, status, rest }, this, ctx| {
            this.passing = false;
            this.memory = memory;
            this.status = ScalingStatus { passes: this.status.passes + 1, ..status };
            for whom in waiting {
                // Whoever stopped waiting needs no answer.
                let _ = whom.send(this.status.clone());
            }
            this.arm(this.every.max(rest.unwrap_or_default()), ctx);
            if rest.is_none() && !this.waiting.is_empty() {
                this.pass(ctx);
            }
        }));
    }

    fn arm(&self, after: Duration, ctx: &mut Context<Self>) {
        let timer = self.timer;
        ctx.run_later(after, move |this, ctx| {
            if this.timer == timer {
                this.pass(ctx);
            }
        });
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

impl Handler<DescribeScaling> for AutoscalerActor {
    type Result = MessageResult<DescribeScaling>;

    fn handle(&mut self, _: DescribeScaling, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.status.clone())
    }
}
