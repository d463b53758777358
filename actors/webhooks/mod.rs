//! The room of the webhooks: tells the sinks what happened to instances.
//!
//! - **Owns** the way of a delivery from the store to its sink. The store writes a delivery in the transaction of what it
//!   tells of, so that nothing that happened goes untold and nothing is told that did not happen.
//! - **Decides** when a delivery is posted again and when it is given up, be it without a post: see `post`.
//! - **Must never** make anybody wait: nobody asks it to tell anything. It looks into the store twice a second, which is
//!   soon enough and also finds what another server has left.
//! - **Forgets on restart** what it has in hand, and its counts. A delivery is claimed for a while before it is posted,
//!   so that two servers do not post the same one; what was claimed by one that died is due again when the claim ends.
//!
//! # What a sink can rely on
//! Every notice is posted at least once, with the same id whenever it is posted again. The notices of one instance that
//! are due together are posted in their order, one after the other, and one that fails holds back those behind it. A
//! notice that became due while an earlier one waits for another try may overtake it: every notice says when it happened
//! and how the instance was then.
//!
//! Every sink has a hand of its own, so that one that is down, slow or hanging costs the others nothing.

pub mod messages;
mod state;

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, WrapFuture};
use tokio::time::timeout;

use self::{
    messages::{DescribeWebhooks, SinkStatus},
    state::{Hand, Verdict, is_too_old, judge},
};
use crate::{
    answers_probe,
    domain::SinkName,
    patience,
    ports::{Clock, Delivery, Store, StoreError, WebhookError, Webhooks},
    settings::WebhookSettings,
};

/// How often due deliveries are looked for: something that happened is told within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often the waiting deliveries are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// What a post may take beyond its own limit, so that it is the port that says why it failed.
const POST_MARGIN: Duration = Duration::from_secs(1);

/// What the store may take to take and to settle a delivery.
const STORE_MARGIN: Duration = Duration::from_secs(15);

/// What the webhooks work with.
#[derive(Clone)]
pub struct Tools {
    /// Whose time counts.
    pub clock: Arc<dyn Clock>,
    /// Where the deliveries are.
    pub store: Arc<dyn Store>,
    /// Where they go.
    pub webhooks: Arc<dyn Webhooks>,
    /// The sinks, and the patience with them.
    pub settings: WebhookSettings,
}

impl Tools {
    fn longest_post(&self) -> Duration {
        self.settings.timeout + POST_MARGIN
    }

    /// How long a delivery that was taken is kept from others: its turn may come after another one's post. As late may the
    /// last post be that [`judge`] grants one.
    fn claim(&self) -> Duration {
        2 * self.longest_post() + STORE_MARGIN
    }
}

/// See the module's header.
pub struct WebhookActor {
    tools: Tools,
    sinks: Vec<Sink>,
}

/// One sink.
struct Sink {
    name: SinkName,
    hand: Hand,
    status: SinkStatus,
    taking: bool,
    /// Whether the store had more than the hand could take.
    more: bool,
}

impl WebhookActor {
    /// One that has posted nothing yet. It idles when there are no sinks.
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        let sinks = tools.settings.sinks.iter().map(|name| Sink {
            name: name.clone(),
            hand: Hand::default(),
            status: SinkStatus::new(name.clone()),
            taking: false,
            more: false,
        });
        Self { sinks: sinks.collect(), tools }
    }

    /// Looks for due deliveries now and from now on.
    fn look(&mut self, sink: usize, ctx: &mut Context<Self>) {
        self.take(sink, ctx);
        ctx.run_later(LOOK_EVERY, move |actor, ctx| actor.look(sink, ctx));
    }

    /// Takes as many due deliveries as the sink's hand has room for, and posts them.
    fn take(&mut self, at: usize, ctx: &mut Context<Self>) {
        let Some(sink) = self.sinks.get_mut(at) else { return };
        let room = sink.hand.room();
        if sink.taking || room == 0 {
            return;
        }
        sink.taking = true;
        let (tools, name) = (self.tools.clone(), sink.name.clone());
        let taken = async move {
            let now = tools.clock.now();
            let until = now + tools.claim();
            let limit = u32::try_from(room).unwrap_or(u32::MAX);
            patience::store(tools.store.take_deliveries(&name, now, until, limit)).await.map(|taken| (taken, until))
        };
        ctx.spawn(taken.into_actor(self).map(move |taken, actor, ctx| {
            let Some(sink) = actor.sinks.get_mut(at) else { return };
            sink.taking = false;
            match taken {
                Ok((deliveries, until)) => {
                    sink.more = deliveries.len() == room;
                    for delivery in sink.hand.add(deliveries, until) {
                        actor.post(at, delivery, ctx);
                    }
                }
                // The next look tries again; the readiness check says that the store is away.
                Err(error) => tracing::debug!(sink = %sink.name, %error, "webhook.not_taken"),
            }
        }));
    }

    /// Posts a delivery and does what is to be done then. One that is too old by now is not posted to a sink that fails:
    /// what waits for it would become more and more for as long as it does, because each post takes its time to fail.
    fn post(&mut self, at: usize, delivery: Delivery, ctx: &mut Context<Self>) {
        let tools = self.tools.clone();
        let Some(sink) = self.sinks.get_mut(at) else { return };
        if let Some(why) = sink.status.last_error.clone()
            && is_too_old(&delivery, tools.settings.give_up_after + tools.claim(), tools.clock.now())
        {
            sink.note(&delivery, Verdict::GiveUp, Some(why));
            self.settle(at, delivery, Verdict::GiveUp, Vec::new(), ctx);
            return;
        }
        let post = async move {
            let post = tools.webhooks.post(&delivery, tools.clock.now());
            let late = |_| Err(WebhookError::Unreachable("no answer in time".to_owned()));
            let outcome = timeout(tools.longest_post(), post).await.unwrap_or_else(late);
            (delivery, outcome)
        };
        ctx.spawn(post.into_actor(self).map(move |(delivery, outcome), actor, ctx| {
            let now = actor.tools.clock.now();
            let verdict = judge(&delivery, &outcome, actor.tools.settings.give_up_after, now, rand::random());
            let Some(sink) = actor.sinks.get_mut(at) else { return };
            sink.note(&delivery, verdict, outcome.err().map(|error| error.to_string()));
            let behind = sink.hand.behind(&delivery);
            actor.settle(at, delivery, verdict, behind, ctx);
        }));
    }

    /// Writes down what became of a delivery, and goes on with the next one.
    fn settle(
        &mut self,
        at: usize,
        delivery: Delivery,
        verdict: Verdict,
        behind: Vec<Delivery>,
        ctx: &mut Context<Self>,
    ) {
        let tools = self.tools.clone();
        let written = async move {
            let written = write(&tools, &delivery, verdict, &behind).await;
            (delivery, written)
        };
        ctx.spawn(written.into_actor(self).map(move |(delivery, written), actor, ctx| {
            let Some(sink) = actor.sinks.get_mut(at) else { return };
            if let Err(error) = written {
                // It is due again when its claim ends, and its sink will know it by its id.
                tracing::warn!(sink = %sink.name, notice = delivery.notice.id, %error, "webhook.not_settled");
            }
            let end = actor.tools.clock.now() + actor.tools.longest_post();
            let next = match verdict {
                Verdict::Again(_) => {
                    sink.hand.put_back(&delivery);
                    None
                }
                Verdict::Accepted | Verdict::Unwanted | Verdict::GiveUp => sink.hand.settled(&delivery, end),
            };
            let more = sink.more;
            if let Some(next) = next {
                actor.post(at, next, ctx);
            }
            if more {
                actor.take(at, ctx);
            }
        }));
    }

    /// Counts the waiting deliveries now and from now on.
    fn count(&mut self, at: usize, ctx: &mut Context<Self>) {
        let Some(sink) = self.sinks.get(at) else { return };
        let (store, name) = (Arc::clone(&self.tools.store), sink.name.clone());
        let count = async move { patience::store(store.waiting_deliveries(&name)).await };
        ctx.spawn(count.into_actor(self).map(move |waiting, actor, ctx| {
            if let Some(sink) = actor.sinks.get_mut(at) {
                sink.status.backlog = waiting.ok();
            }
            ctx.run_later(COUNT_EVERY, move |actor, ctx| actor.count(at, ctx));
        }));
    }
}

impl Sink {
    /// Counts what became of a delivery, and says so when the sink begins or ceases to accept.
    fn note(&mut self, delivery: &Delivery, verdict: Verdict, why: Option<String>) {
        let (sink, notice) = (&self.name, &delivery.notice.id);
        match verdict {
            Verdict::Accepted => {
                self.status.accepted += 1;
                if self.status.last_error.is_some() {
                    tracing::info!(%sink, "webhook.sink_accepts_again");
                }
            }
            Verdict::Unwanted => {
                self.status.unwanted += 1;
                tracing::info!(%sink, notice, "webhook.unwanted");
            }
            Verdict::GiveUp => {
                self.status.given_up += 1;
                tracing::warn!(%sink, notice, attempts = delivery.attempts, why, "webhook.given_up");
            }
            Verdict::Again(wait) => {
                self.status.failed += 1;
                if self.status.last_error.is_none() {
                    tracing::warn!(%sink, notice, ?wait, why, "webhook.sink_fails");
                } else {
                    tracing::debug!(%sink, notice, ?wait, why, "webhook.failed");
                }
            }
        }
        self.status.last_error = why.filter(|_| verdict != Verdict::Unwanted);
    }
}

async fn write(tools: &Tools, delivery: &Delivery, verdict: Verdict, behind: &[Delivery]) -> Result<(), StoreError> {
    let Verdict::Again(wait) = verdict else {
        return patience::store(tools.store.close_delivery(delivery)).await;
    };
    let until = tools.clock.now() + wait;
    // Those behind come back with it, so that they are still told in their order.
    for delivery in std::iter::once(delivery).chain(behind) {
        patience::store(tools.store.postpone_delivery(delivery, until)).await?;
    }
    Ok(())
}

impl Actor for WebhookActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for sink in 0..self.sinks.len() {
            self.look(sink, ctx);
            self.count(sink, ctx);
        }
    }
}

answers_probe!(WebhookActor);

impl Handler<DescribeWebhooks> for WebhookActor {
    type Result = MessageResult<DescribeWebhooks>;

    fn handle(&mut self, _: DescribeWebhooks, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.sinks.iter().map(|sink| sink.status.clone()).collect())
    }
}
