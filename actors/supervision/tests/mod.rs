//! Supervision driven through real actors on paused time. Here: the actor that can be told to do anything wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod asking;
mod chaos;
mod crashes;
mod giving_up;
mod hangs;
mod parents;

use std::{cell::RefCell, future::pending, rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, AtomicResponse, Context, Handler, Message,
    ResponseActFuture, WrapFuture,
};
use tokio::time::{Instant, sleep, timeout};

use super::{Change, Child, Cradle, Exit, ExitSlot, Roster, Spec, Status, answers_probe, supervise};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Things that can go wrong once, before the actor handles anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flaw {
    PanicInMake,
    PanicInStarted,
    StopInStarted,
}

/// What the test and all incarnations share.
#[derive(Clone, Default)]
pub(super) struct World {
    /// Used up from the end, one at each start.
    pub(super) flaws: Rc<RefCell<Vec<Flaw>>>,
    /// What happened, in order.
    pub(super) log: Rc<RefCell<Vec<String>>>,
}

impl World {
    fn note(&self, what: impl Into<String>) {
        self.log.borrow_mut().push(what.into());
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// The next start meets this flaw.
    fn flawed(&self, flaw: Flaw) {
        self.flaws.borrow_mut().push(flaw);
    }
}

pub(super) struct Toy {
    sum: u32,
    slot: ExitSlot,
    world: World,
    flaw: Option<Flaw>,
}

impl Toy {
    fn new(world: &World, slot: ExitSlot) -> Self {
        let flaw = world.flaws.borrow_mut().pop();
        assert_ne!(flaw, Some(Flaw::PanicInMake), "make");
        Self { sum: 0, slot, world: world.clone(), flaw }
    }
}

impl Actor for Toy {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.flaw {
            Some(Flaw::PanicInStarted) => {
                ctx.run_later(Duration::ZERO, |toy, _| toy.world.note("a timer of a failed start ran"));
                panic!("started")
            }
            Some(Flaw::StopInStarted) => ctx.stop(),
            _ => self.world.note("started"),
        }
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.world.note(format!("dropped with {}", self.sum));
    }
}

answers_probe!(Toy);

#[derive(Message)]
#[rtype(result = "u32")]
pub(super) struct Add(pub(super) u32);

impl Handler<Add> for Toy {
    type Result = u32;

    fn handle(&mut self, add: Add, _: &mut Self::Context) -> u32 {
        self.sum += add.0;
        self.sum
    }
}

/// A closure to run in the actor: lets each test say what it does next to what it expects.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Do(Deed);

type Deed = Box<dyn FnOnce(&mut Toy, &mut Context<Toy>) + Send>;

pub(super) fn act(deed: impl FnOnce(&mut Toy, &mut Context<Toy>) + Send + 'static) -> Do {
    Do(Box::new(deed))
}

pub(super) fn poison() -> Do {
    act(|_, _| panic!("poison"))
}

impl Handler<Do> for Toy {
    type Result = ();

    fn handle(&mut self, deed: Do, ctx: &mut Self::Context) {
        (deed.0)(self, ctx);
    }
}

/// Panics in a future that answers the message.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct PanicAfter(pub(super) Duration);

impl Handler<PanicAfter> for Toy {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, after: PanicAfter, _: &mut Self::Context) -> Self::Result {
        Box::pin(sleep(after.0).into_actor(self).map(|(), _, _| panic!("response future")))
    }
}

/// Holds the mailbox for so long, saying once a second that it is at work if it `tells`; for ever if `None`.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Hold {
    pub(super) how_long: Option<Duration>,
    pub(super) tells: bool,
}

impl Handler<Hold> for Toy {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, hold: Hold, _: &mut Self::Context) -> Self::Result {
        let slot = self.slot.clone();
        let work = async move {
            let Some(how_long) = hold.how_long else {
                return pending().await;
            };
            let begin = Instant::now();
            while begin.elapsed() < how_long {
                sleep(SECOND).await;
                if hold.tells {
                    slot.still_working();
                }
            }
        };
        AtomicResponse::new(Box::pin(work.into_actor(self)))
    }
}

pub(super) fn new_roster() -> Roster {
    let start = Instant::now();
    Roster::new(Arc::new(move || jiff::Timestamp::UNIX_EPOCH + start.elapsed()))
}

/// Waits a second before each restart, doubling, three times in a minute.
pub(super) fn spec() -> Spec {
    Spec::permanent("toy").limits(3, 60 * SECOND).backoff(SECOND, 30 * SECOND).no_jitter()
}

/// A toy under supervision, and all that is to be seen of it.
pub(super) struct Nursery {
    pub(super) roster: Roster,
    pub(super) world: World,
    pub(super) child: Child<Toy>,
    pub(super) addr: Addr<Toy>,
}

impl Nursery {
    pub(super) fn new(spec: Spec) -> Self {
        Self::with_flaws(spec, &[])
    }

    /// The first start meets the first flaw, and so on.
    pub(super) fn with_flaws(spec: Spec, flaws: &[Flaw]) -> Self {
        tokio::time::pause();
        let (roster, world) = (new_roster(), World::default());
        flaws.iter().rev().for_each(|flaw| world.flawed(*flaw));
        let of_child = world.clone();
        let child = supervise(Cradle::new(), spec, &roster, move |slot| Toy::new(&of_child, slot));
        let addr = child.addr();
        Self { roster, world, child, addr }
    }

    /// Waits until the child's status is this.
    pub(super) async fn until(&self, status: Status) {
        let mut changes = self.roster.subscribe();
        let reached = async {
            while self.child.report().status != status {
                changes.recv().await.unwrap();
            }
        };
        let reached = timeout(3600 * SECOND, reached).await;
        assert!(reached.is_ok(), "waited for {status:?}, it is {:?}", self.child.report());
    }

    pub(super) fn cause(&self) -> Exit {
        self.child.report().last_cause.expect("it never ended")
    }
}

/// The changes so far as `status: cause`.
pub(super) fn seen(changes: &mut tokio::sync::broadcast::Receiver<Change>) -> Vec<String> {
    let mut seen = Vec::new();
    while let Ok(change) = changes.try_recv() {
        seen.push(match change {
            Change::Reported(report) => {
                let cause = report.last_cause.map_or("-".to_owned(), |cause| cause.to_string());
                format!("{} {} after {}: {cause}", report.name, report.status, report.restarts)
            }
            Change::Removed(name) => format!("{name} removed"),
        });
    }
    seen
}
