//! A host: one actor for one container engine.
//!
//! Owns the engine's handle, how many starts it is given at once, and the knowledge whether it is well. Starts and
//! removes what the scheduler asks for, lists what is there, reports when a container stops and when the engine does
//! not answer.
//!
//! Must never: choose what to start or remove; know of slots, leases or rows; let a removal overtake the start of the
//! same instance, which would leave a container behind that nobody removes.
//!
//! Forgets on restart: starts in flight (their senders are told; the scheduler sends the removal), and how often the
//! engine failed. It asks the engine again at once.

pub mod messages;
mod starts;

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, ActorStreamExt, AsyncContext, Context, Handler, Recipient, ResponseActFuture, WrapFuture,
    fut::wrap_stream,
};
use tokio::time::timeout;

use self::{
    messages::{HostUnwell, HostWell, InstanceExited, Inventory, RemoveInstance, StartInstance},
    starts::Starts,
};
use crate::{
    answers_probe,
    domain::{Endpoint, HostName, MasterKey},
    ports::{Found, Removal, Runtime, RuntimeError, StartSpec},
    settings::HostSettings,
};

/// How long after the engine's stream of events broke it is opened again.
const REOPEN_EXITS_AFTER: Duration = Duration::from_secs(1);

/// Who a host speaks to.
#[derive(Clone)]
pub struct Peers {
    /// The scheduler.
    pub well: Recipient<HostWell>,
    /// The scheduler.
    pub unwell: Recipient<HostUnwell>,
    /// The reaper.
    pub exited: Recipient<InstanceExited>,
}

/// See the module's header.
pub struct HostActor {
    name: HostName,
    runtime: Arc<dyn Runtime>,
    settings: HostSettings,
    master_key: Arc<MasterKey>,
    peers: Peers,
    starts: Rc<Starts>,
}

impl HostActor {
    /// A host that has not been asked anything yet.
    #[must_use]
    pub fn new(
        name: HostName,
        runtime: Arc<dyn Runtime>,
        settings: HostSettings,
        master_key: Arc<MasterKey>,
        peers: Peers,
    ) -> Self {
        let starts = Rc::new(Starts::new(settings.parallel_starts));
        Self { name, runtime, settings, master_key, peers, starts }
    }

    /// Asks the engine whether it is well, tells the scheduler, and does so again after a while.
    fn probe(&mut self, ctx: &mut Context<Self>) {
        let (runtime, patience) = (Arc::clone(&self.runtime), self.settings.call_timeout);
        let probe = async move { bounded(patience, runtime.probe()).await };
        ctx.spawn(probe.into_actor(self).map(|outcome, actor, ctx| {
            let host = actor.name.clone();
            match outcome {
                Ok(()) => actor.peers.well.do_send(HostWell { host, unfit: None }),
                Err(error @ RuntimeError::Unfit(_)) => {
                    actor.peers.well.do_send(HostWell { host, unfit: Some(error.to_string()) });
                }
                Err(error) => actor.peers.unwell.do_send(HostUnwell { host, why: error.to_string() }),
            }
            ctx.run_later(actor.settings.probe_every, Self::probe);
        }));
    }

    /// Follows the engine's events, and opens their stream again whenever it breaks.
    fn watch_exits(&mut self, ctx: &mut Context<Self>) {
        let exits = wrap_stream::<_, Self>(self.runtime.exits()).map(|event, actor, _| match event {
            Ok(id) => actor.peers.exited.do_send(InstanceExited { host: actor.name.clone(), id }),
            // The probe finds out whether the engine is gone; here it is only worth a note.
            Err(error) => tracing::debug!(host = %actor.name, %error, "host.exits_interrupted"),
        });
        ctx.spawn(exits.finish().map(|(), _, ctx| {
            ctx.run_later(REOPEN_EXITS_AFTER, Self::watch_exits);
        }));
    }
}

impl Actor for HostActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.probe(ctx);
        self.watch_exits(ctx);
    }
}

answers_probe!(HostActor);

impl Handler<StartInstance> for HostActor {
    type Result = ResponseActFuture<Self, Result<Endpoint, RuntimeError>>;

    fn handle(&mut self, request: StartInstance, _: &mut Self::Context) -> Self::Result {
        let password = self.master_key.password(&request.id, request.rotation);
        let spec = StartSpec { id: request.id, flavour: request.flavour, password };
        let (runtime, starts, patience) =
            (Arc::clone(&self.runtime), Rc::clone(&self.starts), self.settings.longest_start());
        let start = async move {
            let _turn = starts.take_turn(&spec.id).await?;
            // A start that takes too long says something about the instance; whether the engine is well is the
            // probe's to say.
            timeout(patience, runtime.start(&spec)).await.unwrap_or_else(|_| {
                Err(RuntimeError::NotReady(format!("it took longer than {} ms", patience.as_millis())))
            })
        };
        Box::pin(start.into_actor(self).map(|outcome, actor, _| {
            // An engine that went away is not waited for until the next probe.
            if let Err(RuntimeError::Unreachable(why)) = &outcome {
                actor.peers.unwell.do_send(HostUnwell { host: actor.name.clone(), why: why.clone() });
            }
            outcome
        }))
    }
}

impl Handler<RemoveInstance> for HostActor {
    type Result = ResponseActFuture<Self, Result<Removal, RuntimeError>>;

    fn handle(&mut self, request: RemoveInstance, _: &mut Self::Context) -> Self::Result {
        let (runtime, starts, patience) =
            (Arc::clone(&self.runtime), Rc::clone(&self.starts), self.settings.call_timeout);
        let remove = async move {
            starts.call_off(&request.id).await;
            bounded(patience, runtime.remove(&request.id)).await
        };
        Box::pin(remove.into_actor(self))
    }
}

impl Handler<Inventory> for HostActor {
    type Result = ResponseActFuture<Self, Result<Vec<Found>, RuntimeError>>;

    fn handle(&mut self, _: Inventory, _: &mut Self::Context) -> Self::Result {
        let (runtime, patience) = (Arc::clone(&self.runtime), self.settings.call_timeout);
        Box::pin(async move { bounded(patience, runtime.inventory()).await }.into_actor(self))
    }
}

/// Awaits a call to the engine for so long and no longer: an engine may take a request and never answer.
async fn bounded<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    timeout(patience, call)
        .await
        .unwrap_or_else(|_| Err(RuntimeError::Unreachable(format!("no answer within {} ms", patience.as_millis()))))
}
