//! The two handles of a child: the cradle before it lives, [`Child`] from then on.

use actix::{Actor, Addr, AsyncContext, Context};
use tokio::sync::mpsc;

use super::{ChildReport, Supervisable, roster::Seat};

/// An address whose actor does not live yet. Messages queue up until [`supervise`](super::supervise) starts it, so
/// actors can be given each other's addresses. Dropping it closes the address.
#[derive(Debug)]
pub struct Cradle<A: Actor<Context = Context<A>>> {
    context: Context<A>,
}

impl<A: Actor<Context = Context<A>>> Cradle<A> {
    /// A new address.
    pub fn new() -> Self {
        Self { context: Context::new() }
    }

    /// The address, the same for the actor's whole life.
    pub fn addr(&self) -> Addr<A> {
        self.context.address()
    }

    pub(super) fn into_context(self) -> Context<A> {
        self.context
    }
}

impl<A: Actor<Context = Context<A>>> Default for Cradle<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// What the holder of a child tells its supervising future.
#[derive(Debug)]
pub(super) enum Order {
    /// Cut the incarnation off, as if it hung.
    Cut,
    /// End it for good.
    End,
}

/// A supervised actor, held by its parent. Dropping it ends the actor for good, before its next message, and takes it
/// off the roster at once.
pub struct Child<A: Supervisable> {
    addr: Addr<A>,
    orders: mpsc::UnboundedSender<Order>,
    seat: Seat,
    detached: bool,
}

impl<A: Supervisable> Child<A> {
    pub(super) fn new(addr: Addr<A>, orders: mpsc::UnboundedSender<Order>, seat: Seat) -> Self {
        Self { addr, orders, seat, detached: false }
    }

    /// Its address, the same after every restart.
    pub fn addr(&self) -> Addr<A> {
        self.addr.clone()
    }

    /// What is known of it.
    pub fn report(&self) -> ChildReport {
        self.seat.report()
    }

    /// Cuts the running incarnation off as the watchdog does: it counts as hung and is restarted as its policy says.
    /// Does nothing while it backs off or is down.
    pub fn cut(&self) {
        // Refused only if the supervising future has ended, that is, if the child is down.
        let _ = self.orders.send(Order::Cut);
    }

    /// Lets the actor live, and stay on the roster, as long as the process does.
    pub fn detach(mut self) -> Addr<A> {
        self.detached = true;
        self.addr.clone()
    }
}

impl<A: Supervisable> Drop for Child<A> {
    fn drop(&mut self) {
        if !self.detached {
            let _ = self.orders.send(Order::End);
            self.seat.leave();
        }
    }
}

impl<A: Supervisable> std::fmt::Debug for Child<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Child").field(&self.report()).finish()
    }
}
