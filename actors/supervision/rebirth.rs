//! How a fresh value takes the place of a dead actor behind the same address.
//!
//! actix keeps an actor's mailbox and its value in one future and lets go of neither: the only way to the value is
//! `Supervised::restarting(&mut self)`, which takes no argument. So the fresh value is laid into a thread-local place
//! right before that call and taken from it inside, in one synchronous stretch on one thread.

use std::{
    any::Any,
    cell::Cell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use actix::{Actor, Context, Handler, Supervised};

use super::{Exit, Probe};

thread_local! {
    static SUCCESSOR: Cell<Option<Box<dyn Any>>> = const { Cell::new(None) };
}

/// An actor that can be supervised. Implemented by [`answers_probe!`](crate::answers_probe) and by nothing else: the
/// fresh start that supervision promises needs the macro's `Supervised`.
pub trait Supervisable: Actor<Context = Context<Self>> + Supervised + Handler<Probe> {}

/// Makes an actor supervisable: `answers_probe!(ReaperActor);`
///
/// It answers the watchdog's [`Probe`](crate::supervision::Probe) and gives way to a fresh value when it is restarted.
#[macro_export]
macro_rules! answers_probe {
    ($actor:ty) => {
        impl ::actix::Supervised for $actor {
            fn restarting(&mut self, _: &mut Self::Context) {
                $crate::supervision::take_over(self);
            }
        }

        impl ::actix::Handler<$crate::supervision::Probe> for $actor {
            type Result = ();

            fn handle(&mut self, _: $crate::supervision::Probe, _: &mut Self::Context) {}
        }

        impl $crate::supervision::Supervisable for $actor {}
    };
}

/// Runs `restart`, in which the dead actor must call [`take_over`], and says whether it did.
pub(super) fn hand_over<A: 'static>(fresh: A, restart: impl FnOnce()) -> bool {
    SUCCESSOR.set(Some(Box::new(fresh)));
    // Cannot panic with the macro's `Supervised`; with another one, the successor must not stay behind.
    let restarted = catch_unwind(AssertUnwindSafe(restart));
    SUCCESSOR.take().is_none() && restarted.is_ok()
}

/// Replaces a dead actor by its successor, if there is one yet: supervision also restarts the context at the moment
/// of death, to drop the dead one's futures, and then there is none.
#[doc(hidden)]
pub fn take_over<A: 'static>(dead: &mut A) {
    let Some(successor) = SUCCESSOR.take() else {
        return;
    };
    match successor.downcast::<A>() {
        Ok(fresh) => {
            let dead = mem::replace(dead, *fresh);
            // A dead actor's clean-up must not count against the fresh one.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(dead))) {
                tracing::error!(cause = %Exit::panicked(payload), "child.drop_panicked");
            }
        }
        // Not ours: leave it, so that the supervisor notices.
        Err(successor) => SUCCESSOR.set(Some(successor)),
    }
}
