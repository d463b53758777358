//! The answer to a create: lets the create know when nobody waits for it any more, and takes back what nobody was told of.

use std::{future::Future, pin::Pin, rc::Rc};

use actix::{
    AsyncContext,
    dev::{MessageResponse, OneshotSender},
    fut::ActorFutureExt,
};

use super::{
    SchedulerActor,
    desk::Desk,
    messages::{CreateError, CreateInstance, Created},
    queue::Left,
};

type Answer = Result<Created, CreateError>;

/// A create under way, and what to notify when its requester has left.
pub struct Attended {
    pub(super) create: Pin<Box<dyn Future<Output = Answer>>>,
    pub(super) left: Left,
    pub(super) desk: Rc<Desk>,
}

impl MessageResponse<SchedulerActor, CreateInstance> for Attended {
    fn handle(self, ctx: &mut actix::Context<SchedulerActor>, requester: Option<OneshotSender<Answer>>) {
        let Self { mut create, left, desk } = self;
        let attend = async move {
            let Some(mut requester) = requester else { return drop(create.await) };
            let answer = tokio::select! {
                biased;
                answer = &mut create => answer,
                () = requester.closed() => {
                    left.notify_one();
                    create.await
                }
            };
            if let Err(Ok(created)) = requester.send(answer) {
                desk.take_back(created).await;
            }
        };
        ctx.spawn(
            actix::fut::wrap_future::<_, SchedulerActor>(attend)
                .map(|(), actor: &mut SchedulerActor, ctx| actor.finish_what_was_given_up(ctx)),
        );
    }
}
