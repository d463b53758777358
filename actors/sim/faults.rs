//! Faults on demand, one set for all simulated ports of a world.
//!
//! Owns which call goes wrong and how, and the log of all calls. Knows no port: an operation is a name,
//! `"<port>.<method>"`, such as `"store.admit"`, `"runtime.start"`, `"directory.read"` or `"cloud.create"`.
//!
//! # For who writes a simulated port
//! Each method passes the gate once, before it does anything, and obeys. With an effect that needs no `.await`,
//! [`Faults::around`] is all there is to call:
//!
//! ```
//! # use getaredis_actors::{ports::ProviderError, sim::faults::Faults};
//! # async fn delete(faults: &Faults, machines: &std::sync::Mutex<Vec<String>>, name: &str) -> Result<(), ProviderError> {
//! faults
//!     .around("cloud.delete", ProviderError::Unknown, || {
//!         machines.lock().unwrap().retain(|m| m != name);
//!         Ok(())
//!     })
//!     .await
//! # }
//! ```
//!
//! # For who writes a test
//! Planned faults of one operation are used up in the order they were planned, one a call. A crash of the whole
//! process is [`Faults::freeze_at`]: run a scenario once and read [`Faults::total_calls`], then run it again for every
//! `n` up to that, frozen at `n`; drop the actors, [`Faults::thaw`], start new ones on the same ports and look at what
//! they make of it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

/// The name of an operation: `"<port>.<method>"`.
pub type Op = &'static str;

/// What a simulated port must do with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Gate {
    /// Do it and answer.
    Proceed,
    /// Do nothing and answer with an error.
    Fail,
    /// Do it and answer with an error all the same.
    AfterEffectFail,
    /// Do it as the last thing this process does: answer with [`Faults::die`].
    LastBreath,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Fail,
    Hang,
    Slow(Duration),
    Lie,
    Panic,
    DieBefore,
    DieAfter,
    None,
}

#[derive(Debug, Default)]
struct Plan {
    next: HashMap<Op, VecDeque<Fault>>,
    broken: HashMap<Op, Fault>,
    calls_left: Option<u64>,
    deaths: u64,
    log: Vec<Op>,
}

/// The faults of one simulated world. Clones are the same set.
#[derive(Debug, Clone)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
    frozen: watch::Sender<bool>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { plan: Arc::default(), frozen: watch::Sender::new(false) }
    }
}

impl Faults {
    /// No fault planned.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next `times` calls of `op` do nothing and answer with an error.
    pub fn fail_next(&self, op: Op, times: usize) {
        self.plan_next(op, Fault::Fail, times);
    }

    /// The next call of `op` does nothing and never answers.
    pub fn hang_next(&self, op: Op) {
        self.plan_next(op, Fault::Hang, 1);
    }

    /// The next call of `op` waits this long (of tokio's time) and then does what it should. A caller that gives up
    /// before that has caused nothing.
    pub fn slow_next(&self, op: Op, delay: Duration) {
        self.plan_next(op, Fault::Slow(delay), 1);
    }

    /// The next call of `op` does what it should and answers with an error.
    pub fn lie_next(&self, op: Op) {
        self.plan_next(op, Fault::Lie, 1);
    }

    /// The next call of `op` panics, and with it whoever made the call.
    pub fn panic_next(&self, op: Op) {
        self.plan_next(op, Fault::Panic, 1);
    }

    /// The process dies at the next call of `op`, which does nothing any more.
    pub fn die_before_next(&self, op: Op) {
        self.plan_next(op, Fault::DieBefore, 1);
    }

    /// The process dies right after the next call of `op` has done what it should, before anybody hears of it.
    pub fn die_after_next(&self, op: Op) {
        self.plan_next(op, Fault::DieAfter, 1);
    }

    /// The process is dead to the outside from now on; never returns.
    pub async fn die<T>(&self) -> T {
        self.plan().deaths += 1;
        self.frozen.send_replace(true);
        std::future::pending().await
    }

    /// The next `times` calls of `op` go well: what is planned after this strikes later.
    pub fn pass_next(&self, op: Op, times: usize) {
        self.plan_next(op, Fault::None, times);
    }

    /// Every call of `op` that nothing else is planned for fails, until [`heal`](Self::heal).
    pub fn fail_always(&self, op: Op) {
        self.plan().broken.insert(op, Fault::Fail);
    }

    /// Every call of `op` that nothing else is planned for hangs, until [`heal`](Self::heal). What hangs stays so.
    pub fn hang_always(&self, op: Op) {
        self.plan().broken.insert(op, Fault::Hang);
    }

    /// Forgets everything that is planned for `op`.
    pub fn heal(&self, op: Op) {
        let mut plan = self.plan();
        plan.next.remove(op);
        plan.broken.remove(op);
    }

    /// Kills the process at its `n`-th call from now on, counted over all ports: that call and every later one does
    /// nothing and never answers. The first call is 1; 0 is the same as 1.
    ///
    /// The `n`-th call is the last in the [`log`](Self::log); later ones never left the process and are not.
    pub fn freeze_at(&self, n: u64) {
        self.plan().calls_left = Some(n.saturating_sub(1));
        self.frozen.send_replace(false);
    }

    /// Ends the freeze and forgets a planned one: for the process that is started next. Calls that hang go on hanging,
    /// because the process that made them is dead.
    pub fn thaw(&self) {
        self.plan().calls_left = None;
        self.frozen.send_replace(false);
    }

    /// Whether the process is dead to the outside.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        *self.frozen.borrow()
    }

    /// Waits until the freeze has set in.
    pub async fn until_frozen(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.frozen.subscribe().wait_for(|frozen| *frozen).await;
    }

    /// Calls of `op` so far.
    #[must_use]
    pub fn calls(&self, op: Op) -> usize {
        self.plan().log.iter().filter(|called| **called == op).count()
    }

    /// Calls of all operations so far.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.plan().log.len() as u64
    }

    /// Every call so far, in order.
    #[must_use]
    pub fn log(&self) -> Vec<Op> {
        self.plan().log.clone()
    }

    /// Forgets the calls so far, for a world that lives longer than its memory is large.
    pub fn forget_log(&self) {
        self.plan().log.clear();
    }

    /// Passes a call of `op`: logs it, waits or hangs if so planned, and says what to do. To be called exactly once
    /// a call, before any effect.
    pub async fn gate(&self, op: Op) -> Gate {
        match self.admit(op) {
            None | Some(Fault::None) => Gate::Proceed,
            Some(Fault::Panic) => panic!("simulated panic in {op}"),
            Some(Fault::Fail) => Gate::Fail,
            Some(Fault::Lie) => Gate::AfterEffectFail,
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::DieBefore) => self.die().await,
            Some(Fault::DieAfter) => Gate::LastBreath,
            Some(Fault::Slow(delay)) => {
                let deaths = self.plan().deaths;
                tokio::time::sleep(delay).await;
                // If the process died while it waited, another one may be alive by now; this call is not its.
                if self.plan().deaths == deaths { Gate::Proceed } else { std::future::pending().await }
            }
        }
    }

    /// A whole call of `op`: the gate, the effect, and `error` (given a text for people) in place of its answer where
    /// that is planned.
    pub async fn around<T, E>(
        &self,
        op: Op,
        error: impl FnOnce(String) -> E,
        effect: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        match self.gate(op).await {
            Gate::Proceed => effect(),
            Gate::Fail => Err(error(format!("simulated failure of {op}"))),
            Gate::AfterEffectFail => {
                effect()?;
                Err(error(format!("simulated loss of the answer of {op}")))
            }
            Gate::LastBreath => {
                let _ = effect();
                self.die().await
            }
        }
    }

    fn plan_next(&self, op: Op, fault: Fault, times: usize) {
        self.plan().next.entry(op).or_default().extend(std::iter::repeat_n(fault, times));
    }

    fn admit(&self, op: Op) -> Option<Fault> {
        let mut plan = self.plan();
        if self.is_frozen() {
            return Some(Fault::Hang);
        }
        plan.log.push(op);
        match plan.calls_left.as_mut() {
            Some(0) => {
                plan.deaths += 1;
                self.frozen.send_replace(true);
                return Some(Fault::Hang);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        plan.next.get_mut(op).and_then(VecDeque::pop_front).or_else(|| plan.broken.get(op).copied())
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const A: Op = "a.one";
    const B: Op = "b.two";

    #[tokio::test]
    async fn planned_faults_are_used_up_in_order_and_touch_no_other_operation() {
        let faults = Faults::new();
        faults.fail_next(A, 2);
        faults.lie_next(A);
        assert_eq!(faults.gate(B).await, Gate::Proceed);
        let mut gates = Vec::new();
        for _ in 0..4 {
            gates.push(faults.gate(A).await);
        }
        assert_eq!(gates, [Gate::Fail, Gate::Fail, Gate::AfterEffectFail, Gate::Proceed]);
        assert_eq!((faults.calls(A), faults.calls(B), faults.total_calls()), (4, 1, 5));
    }

    #[tokio::test]
    async fn a_broken_operation_fails_until_it_is_healed() {
        let faults = Faults::new();
        faults.fail_always(A);
        assert_eq!((faults.gate(A).await, faults.gate(A).await), (Gate::Fail, Gate::Fail));
        faults.heal(A);
        assert_eq!(faults.gate(A).await, Gate::Proceed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_takes_its_time_and_succeeds() {
        let faults = Faults::new();
        faults.slow_next(A, Duration::from_secs(7));
        let before = tokio::time::Instant::now();
        assert_eq!(faults.gate(A).await, Gate::Proceed);
        assert_eq!(before.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_call_never_answers_and_the_next_one_does() {
        let faults = Faults::new();
        faults.hang_next(A);
        assert!(tokio::time::timeout(Duration::from_secs(86_400), faults.gate(A)).await.is_err());
        assert_eq!(faults.gate(A).await, Gate::Proceed);
    }

    #[tokio::test]
    async fn a_call_that_lies_has_its_effect() {
        let faults = Faults::new();
        faults.lie_next(A);
        faults.fail_next(A, 1);
        let mut effects = 0;
        for _ in 0..2 {
            let answer: Result<(), String> = faults
                .around(
                    A,
                    |why| why,
                    || {
                        effects += 1;
                        Ok(())
                    },
                )
                .await;
            assert!(answer.is_err());
        }
        assert_eq!(effects, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_dies_before_a_call_has_not_done_it_and_one_that_dies_after_it_has() {
        for (after, effects) in [(false, 0), (true, 1)] {
            let (faults, done) = (Faults::new(), std::cell::Cell::new(0));
            if after {
                faults.die_after_next(A)
            } else {
                faults.die_before_next(A)
            }
            let effect = || {
                done.set(done.get() + 1);
                Ok::<(), String>(())
            };
            let call = faults.around(A, |why| why, effect);
            assert!(tokio::time::timeout(Duration::from_secs(9), call).await.is_err());
            assert_eq!((done.get(), faults.is_frozen()), (effects, true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_of_a_process_that_died_meanwhile_has_no_effect() {
        let faults = Faults::new();
        faults.slow_next(A, Duration::from_secs(7));
        let mut slow = Box::pin(faults.gate(A));
        assert_eq!((&mut slow).now_or_never(), None);
        faults.freeze_at(1);
        assert_eq!(faults.gate(B).now_or_never(), None);
        faults.thaw();
        assert!(tokio::time::timeout(Duration::from_secs(8), slow).await.is_err());
    }

    #[tokio::test]
    async fn from_the_frozen_call_on_nothing_answers_until_thawed_and_the_dead_stay_dead() {
        let faults = Faults::new();
        assert_eq!(faults.gate(A).await, Gate::Proceed);
        faults.freeze_at(2);
        assert_eq!(faults.gate(A).await, Gate::Proceed);
        assert!(!faults.is_frozen());
        let mut dead = Box::pin(faults.gate(B));
        assert_eq!((&mut dead).now_or_never(), None);
        faults.until_frozen().await;
        assert_eq!(faults.gate(A).now_or_never(), None);
        assert_eq!(faults.log(), [A, A, B]);
        faults.thaw();
        assert_eq!((&mut dead).now_or_never(), None);
        assert_eq!(faults.gate(A).now_or_never(), Some(Gate::Proceed));
    }
}
