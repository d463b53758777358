//! Supervision of actors over the public API of actix 0.13.
//!
//! Owns: the future that drives a supervised actor ([`supervise`]), the decision when it is started again
//! ([`Spec`]), what everybody may see of it ([`Roster`]), the watchdog that cuts off an actor which stopped answering,
//! the heartbeat of the actors' thread ([`Pulse`]) and the one way to put a question to an actor ([`ask`]).
//!
//! What it guarantees:
//! - A panic in a handler, in a future or timer of the actor's context, in `started` or in the function that makes the
//!   actor, a stop, and a hang (nothing but a probe unanswered for too long) all end in the same place: the actor is
//!   replaced by a **fresh value** after a back-off, or given up.
//! - The address stays the same. Messages that were queued are served by the fresh value, the one that was being
//!   handled is lost and its sender is told at once ([`AskError::Restarting`]).
//! - Futures and timers of the dead one are dropped where it died; none of them ever runs on its successor.
//!
//! What it does not do:
//! - It does not see futures that an actor puts on the thread behind its context's back: `ResponseFuture` and
//!   `actix::spawn`. Use `ResponseActFuture` and `ctx.spawn`.
//! - It cannot interrupt a handler that never returns; such a handler stops the whole thread, and only [`Pulse`],
//!   read from another thread, shows it.
//! - No hook (`stopping`, `stopped`) runs on an actor that is cut off, given up or dropped by its parent: what must be
//!   released is released by `Drop`. The dead **value** is dropped when its successor takes its place, that is, after
//!   the back-off and after `make`; so start children in `started`, not in `make`.
//! - `AsyncContext::cancel_future` is forbidden (clippy.toml): actix numbers futures anew after a restart but keeps
//!   the cancellations not yet carried out, so an old one can cancel a future of the fresh actor.
//!
//! Everything here runs on the thread of the `actix::System`; `Roster`, `Pulse` and `Child` may be used from any.

mod ask;
mod child;
mod cradle;
mod exit;
mod policy;
mod pulse;
mod rebirth;
mod roster;
mod spec;
mod watchdog;

#[cfg(test)]
mod tests;

pub use crate::answers_probe;
pub use ask::{AskError, ask};
pub use child::supervise;
pub use cradle::{Child, Cradle};
pub use exit::{Exit, ExitSlot};
pub use pulse::Pulse;
pub use rebirth::Supervisable;
#[doc(hidden)]
pub use rebirth::take_over;
pub use roster::{Change, ChildReport, ExitRequest, Roster, Status};
pub use spec::{GaveUp, GiveUp, Restart, Spec};
pub use watchdog::Probe;
