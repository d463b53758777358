//! The supervising future of one child: makes it, drives it, catches its end, and does what the policy says.
//!
//! It must never panic itself: everything of the child's that runs, runs inside `catch_unwind`.

use std::{
    future::Future,
    mem,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context as Cx, Poll, ready},
};

use actix::{ActorContext, Addr, Context, dev::ContextFut};
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep},
};

use super::{
    Child, Cradle, Exit, ExitRequest, ExitSlot, GaveUp, GiveUp, Roster, Spec, Status, Supervisable,
    cradle::Order,
    policy::{History, Verdict},
    rebirth::hand_over,
    roster::Seat,
    watchdog::Watchdog,
};

/// Ends the process in order because a child without which it cannot work was given up.
const EXIT_GAVE_UP: u8 = 1;

/// Starts the cradle's actor on this thread and keeps it alive as `spec` says. `make` builds a fresh value at the
/// start and after every exit, so that no state survives a restart. Dropping the returned [`Child`] ends it.
///
/// Must be called on the thread of an `actix::System`.
pub fn supervise<A>(cradle: Cradle<A>, spec: Spec, roster: &Roster, make: impl Fn(ExitSlot) -> A + 'static) -> Child<A>
where
    A: Supervisable,
{
    let addr = cradle.addr();
    let seat = roster.seat(spec.name.clone());
    let (orders, receiver) = mpsc::unbounded_channel();
    actix::spawn(Supervision {
        addr: addr.clone(),
        body: Body::Unborn(cradle.into_context()),
        phase: Phase::Due,
        make: Box::new(make),
        slot: ExitSlot::default(),
        spec,
        history: History::default(),
        seat: seat.clone(),
        reported_up: true,
        orders: Some(receiver),
    });
    Child::new(addr, orders, seat)
}

struct Supervision<A: Supervisable> {
    /// Also keeps the mailbox open, without which actix would refuse to restart the context.
    addr: Addr<A>,
    body: Body<A>,
    phase: Phase<A>,
    make: Box<dyn Fn(ExitSlot) -> A>,
    slot: ExitSlot,
    spec: Spec,
    history: History,
    seat: Seat,
    reported_up: bool,
    /// `None` once the child was detached.
    orders: Option<mpsc::UnboundedReceiver<Order>>,
}

enum Phase<A: Supervisable> {
    Due,
    Running(Watchdog<A>),
    BackingOff(Pin<Box<Sleep>>),
}

/// The mailbox, and the actor's value as soon as there has been one.
enum Body<A: Supervisable> {
    Unborn(Context<A>),
    Born(ContextFut<A, Context<A>>),
    Buried,
}

impl<A: Supervisable> Body<A> {
    /// Puts a fresh value in, in place of a dead one if there was one.
    fn embody(&mut self, fresh: A) -> Result<(), Exit> {
        match mem::replace(self, Self::Buried) {
            Self::Unborn(context) => *self = Self::Born(context.into_future(fresh)),
            Self::Born(mut future) => {
                let taken = hand_over(fresh, || {
                    future.restart();
                });
                *self = Self::Born(future);
                if !taken {
                    return Err(Exit::Failed("it does not give way to a fresh value: use answers_probe!".to_owned()));
                }
            }
            Self::Buried => {}
        }
        Ok(())
    }

    fn run(&mut self, slot: &ExitSlot, cx: &mut Cx<'_>) -> Poll<Exit> {
        let Self::Born(future) = self else {
            return Poll::Pending;
        };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx))) {
            Ok(polled) => polled.map(|()| slot.cause()),
            Err(payload) => Poll::Ready(Exit::panicked(payload)),
        }
    }

    /// Drops the dead incarnation's futures and timers now, so that whoever waits for them is told now and not after
    /// the back-off.
    fn shed(&mut self) {
        let Self::Born(future) = self else { return };
        // Dropping a future may panic and leave the rest of them for the next attempt; actix keeps them in four lists.
        for _ in 0..=4 {
            match catch_unwind(AssertUnwindSafe(|| future.restart())) {
                Ok(_) => return,
                Err(payload) => {
                    tracing::error!(cause = %Exit::panicked(payload), "child.drop_panicked")
                }
            }
        }
    }

    /// Drops everything and thereby closes the address.
    fn bury(&mut self) {
        let mut body = mem::replace(self, Self::Buried);
        let buried = catch_unwind(AssertUnwindSafe(move || {
            if let Self::Born(future) = &mut body {
                // Else actix would poll it once more while dropping it, and even start it if it was just shed.
                future.ctx().terminate();
            }
            drop(body);
        }));
        if let Err(payload) = buried {
            tracing::error!(cause = %Exit::panicked(payload), "child.drop_panicked");
        }
    }
}

impl<A: Supervisable> Supervision<A> {
    fn next_order(&mut self, cx: &mut Cx<'_>) -> Option<Order> {
        match self.orders.as_mut()?.poll_recv(cx) {
            Poll::Ready(Some(order)) => Some(order),
            Poll::Ready(None) => {
                self.orders = None;
                None
            }
            Poll::Pending => None,
        }
    }

    fn incarnate(&mut self) -> Result<(), Exit> {
        let slot = ExitSlot::default();
        let made = catch_unwind(AssertUnwindSafe(|| (self.make)(slot.clone())));
        self.body.embody(made.map_err(Exit::panicked)?)?;
        self.phase = Phase::Running(Watchdog::new(self.addr.clone(), slot.clone(), &self.spec));
        self.slot = slot;
        Ok(())
    }

    /// It is up again only when it survived its first turn, in which `started` runs.
    fn survived(&mut self) {
        if !mem::replace(&mut self.reported_up, true) {
            self.seat.update(|report| report.status = Status::Up);
            tracing::info!(child = %self.spec.name, restarts = self.seat.report().restarts, "child.up");
        }
    }

    fn died(&mut self, cause: Exit) -> ControlFlow<()> {
        let verdict = self.history.judge(&self.spec, &cause, Instant::now(), rand::random());
        let name = &self.spec.name;
        self.reported_up = false;
        match verdict {
            Verdict::Restart { wait } => {
                self.seat.update(|report| {
                    report.status = Status::BackingOff { wait };
                    report.restarts += 1;
                    report.last_cause = Some(cause.clone());
                });
                let (restarts, wait_ms) = (self.seat.report().restarts, wait.as_millis());
                tracing::warn!(child = %name, %cause, restarts, %wait_ms, "child.restarting");
                self.body.shed();
                self.phase = Phase::BackingOff(Box::pin(sleep(wait)));
                return ControlFlow::Continue(());
            }
            Verdict::Ended => {
                tracing::info!(child = %name, %cause, "child.ended");
                self.down(cause);
            }
            Verdict::GiveUp => {
                tracing::error!(child = %name, %cause, "child.gave_up");
                let name = name.clone();
                self.down(cause.clone());
                match &self.spec.give_up {
                    GiveUp::Alarm => {}
                    GiveUp::ExitProcess => {
                        self.seat.roster().request_exit(ExitRequest { name, cause, code: EXIT_GAVE_UP });
                    }
                    GiveUp::Tell(parent) => parent.do_send(GaveUp { name, cause }),
                }
            }
        }
        ControlFlow::Break(())
    }

    fn down(&mut self, cause: Exit) {
        self.seat.update(|report| {
            report.status = Status::Down;
            report.last_cause = Some(cause);
        });
        self.body.bury();
    }
}

impl<A: Supervisable> Future for Supervision<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let order = this.next_order(cx);
            let cause = match (order, &mut this.phase) {
                (Some(Order::End), _) => {
                    this.body.bury();
                    return Poll::Ready(());
                }
                (Some(Order::Cut), Phase::Running(_)) => Exit::Hung,
                (Some(Order::Cut), _) => continue,
                (None, Phase::BackingOff(wait)) => {
                    ready!(wait.as_mut().poll(cx));
                    this.phase = Phase::Due;
                    continue;
                }
                (None, Phase::Due) => match this.incarnate() {
                    Ok(()) => continue,
                    Err(cause) => cause,
                },
                (None, Phase::Running(watchdog)) => match this.body.run(&this.slot, cx) {
                    Poll::Ready(cause) => cause,
                    Poll::Pending => {
                        let hangs = watchdog.poll(cx);
                        this.survived();
                        ready!(hangs);
                        Exit::Hung
                    }
                },
            };
            if this.died(cause).is_break() {
                return Poll::Ready(());
            }
        }
    }
}

impl<A: Supervisable> Drop for Supervision<A> {
    /// Also when the thread's whole runtime goes away, no dead or half-made actor is polled once more.
    fn drop(&mut self) {
        self.body.bury();
    }
}
