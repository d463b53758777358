//! The watchdog of one incarnation: sends a probe through the mailbox and loses patience when it is not answered.
//!
//! Polled by the supervising future, so it needs no task of its own and dies with the incarnation.

use std::{
    future::Future,
    pin::Pin,
    task::{Context as Cx, Poll, ready},
    time::Duration,
};

use actix::{Addr, Message, dev::Request};
use tokio::time::{Sleep, sleep};

use super::{ExitSlot, Spec, Supervisable};

/// Sent by the watchdog through the mailbox of every supervised actor; whoever answers is alive. Harmless if lost or
/// repeated.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Probe;

pub(super) struct Watchdog<A: Supervisable> {
    addr: Addr<A>,
    slot: ExitSlot,
    every: Duration,
    timeout: Duration,
    state: State<A>,
}

enum State<A: Supervisable> {
    Resting(Pin<Box<Sleep>>),
    Waiting { answer: Pin<Box<Request<A, Probe>>>, patience: Pin<Box<Sleep>>, progress: u64 },
}

impl<A: Supervisable> Watchdog<A> {
    pub(super) fn new(addr: Addr<A>, slot: ExitSlot, spec: &Spec) -> Self {
        let (every, timeout) = (spec.probe_every, spec.probe_timeout);
        Self { addr, slot, every, timeout, state: State::Resting(Box::pin(sleep(every))) }
    }

    /// Ready when the child hangs.
    pub(super) fn poll(&mut self, cx: &mut Cx<'_>) -> Poll<()> {
        loop {
            let next = match &mut self.state {
                State::Resting(rest) => {
                    ready!(rest.as_mut().poll(cx));
                    State::Waiting {
                        answer: Box::pin(self.addr.send(Probe)),
                        patience: Box::pin(sleep(self.timeout)),
                        progress: self.slot.progress(),
                    }
                }
                State::Waiting { answer, patience, progress } => {
                    if answer.as_mut().poll(cx).is_ready() {
                        State::Resting(Box::pin(sleep(self.every)))
                    } else {
                        ready!(patience.as_mut().poll(cx));
                        let seen = self.slot.progress();
                        if seen == *progress {
                            return Poll::Ready(());
                        }
                        *progress = seen;
                        *patience = Box::pin(sleep(self.timeout));
                        continue;
                    }
                }
            };
            self.state = next;
        }
    }
}
