//! Hosts on which a start failed. They are chosen last for a while: a host may answer its engine's probes and start
//! nothing, or tenants may not reach it, and each create that is sent there waits for that. One on which start after start
//! failed is `failing`: it is no room any more, neither for creates that could wait nor for whoever plans the pool.
//!
//! Owns when starts failed where, and when one is tried again: a circuit breaker for each host that is half open after a
//! while, when one create tries the host and the others keep away until that one has its answer. Must never keep a host
//! from being chosen when no other has room and none is on the way.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::desk::Desk;
use crate::domain::{HostName, InstanceId};

/// How long the others keep away after a failed start, or after one that tries it again. As short as a host needs that
/// was restarted; one create in so long may wait in vain.
const DOUBT: Duration = Duration::from_secs(10);

/// After so many failed starts, with none that succeeded in between, a host is failing. Fewer may be bad luck.
const FAILING: u32 = 3;

/// How long the others keep away from a failing host at most; each failed trial doubles it until then.
const LONGEST_DOUBT: Duration = Duration::from_secs(60);

/// How long after its last failed start the other servers hear of a failing host. Where nobody starts anything any more,
/// nobody can know that it still fails.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Doubts(RefCell<HashMap<HostName, Doubt>>);

#[derive(Debug)]
struct Doubt {
    failures: u32,
    /// When a start failed last, or one was begun to try the host again.
    since: Instant,
    /// How long the others keep away from then on.
    pause: Duration,
    on_trial: bool,
}

impl Doubt {
    fn is_failing(&self) -> bool {
        self.failures >= FAILING
    }

    fn is_over(&self) -> bool {
        self.since.elapsed() >= self.pause
    }
}

impl Doubts {
    /// A start failed there. Tells how many did in a row, if the host is failing by that.
    fn raise(&self, host: &HostName) -> Option<u32> {
        let mut doubts = self.0.borrow_mut();
        let first = || Doubt { failures: 0, since: Instant::now(), pause: DOUBT, on_trial: false };
        let doubt = doubts.entry(host.clone()).or_insert_with(first);
        // Of starts that fail together none was to try it.
        if std::mem::take(&mut doubt.on_trial) && doubt.is_failing() {
            doubt.pause = (2 * doubt.pause).min(LONGEST_DOUBT);
        }
        doubt.failures += 1;
        doubt.since = Instant::now();
        doubt.is_failing().then_some(doubt.failures)
    }

    /// A start succeeded there, or the host is gone. Tells whether it was in doubt.
    pub(super) fn forget(&self, host: &HostName) -> bool {
        self.0.borrow_mut().remove(host).is_some()
    }

    /// Hosts to keep away from now while others have room.
    pub(super) fn doubted(&self) -> Vec<HostName> {
        self.those(|doubt| !doubt.is_failing() && !doubt.is_over())
    }

    /// Failing hosts that nobody has tried for long enough.
    pub(super) fn due(&self) -> Vec<HostName> {
        self.those(|doubt| doubt.is_failing() && doubt.is_over())
    }

    /// All failing hosts.
    pub(super) fn failing(&self) -> Vec<HostName> {
        self.those(Doubt::is_failing)
    }

    /// Failing hosts of which the other servers are to hear.
    pub(super) fn told(&self) -> BTreeSet<HostName> {
        self.those(|doubt| doubt.is_failing() && doubt.since.elapsed() < TOLD_FOR).into_iter().collect()
    }

    /// A create goes there; if it is the one that tries the host again, the others wait for what becomes of it.
    pub(super) fn try_out(&self, host: &HostName) {
        if let Some(doubt) = self.0.borrow_mut().get_mut(host) {
            doubt.since = Instant::now();
            doubt.on_trial = true;
        }
    }

    fn those(&self, which: impl Fn(&Doubt) -> bool) -> Vec<HostName> {
        let doubts = self.0.borrow();
        let mut those: Vec<_> = doubts.iter().filter(|(_, doubt)| which(doubt)).map(|(host, _)| host.clone()).collect();
        those.sort();
        those
    }
}

impl Desk {
    /// A start failed on a host.
    pub(super) fn doubt(&self, host: &HostName, why: &str) {
        let Some(failures) = self.doubts.raise(host) else { return };
        tracing::warn!(%host, failures, why, "host.failing");
        let why = format!("{failures} starts in a row failed there: {why}");
        self.ledger.borrow_mut().starts_fail(host, Some(why));
        self.publish_host(host);
    }

    /// A start succeeded on a host.
    pub(super) fn trust(&self, host: &HostName) {
        if self.doubts.forget(host) {
            self.ledger.borrow_mut().starts_fail(host, None);
            self.publish_host(host);
        }
    }

    /// Takes a slot on the first of these failing hosts that has one.
    pub(super) fn reserve_on_trial(&self, id: &InstanceId, failing: Vec<HostName>) -> Option<HostName> {
        let mut ledger = self.ledger.borrow_mut();
        failing.into_iter().find(|host| ledger.reserve_on_trial(id, host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn host() -> HostName {
        HostName::parse("h").unwrap()
    }

    const JUST_BEFORE: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn fewer_failures_than_three_are_bad_luck_for_ten_seconds() {
        let doubts = Doubts::default();
        for failures in 1..3 {
            assert_eq!(doubts.raise(&host()), None, "{failures}");
            assert_eq!((doubts.doubted(), doubts.failing()), (vec![host()], vec![]));
        }
        advance(DOUBT).await;
        assert_eq!(doubts.doubted(), []);
        doubts.try_out(&host());
        assert_eq!(doubts.doubted(), [host()], "somebody tries it");
        assert!(doubts.forget(&host()));
        assert!(!doubts.forget(&host()));
        assert_eq!(doubts.raise(&host()), None, "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_trial_of_a_failing_host_is_followed_by_a_longer_pause() {
        let doubts = Doubts::default();
        let failures: Vec<_> = (0..5).map(|_| doubts.raise(&host())).collect();
        assert_eq!(failures, [None, None, Some(3), Some(4), Some(5)], "none of these was a trial");
        for pause in [10, 20, 40, 60, 60].map(Duration::from_secs) {
            assert_eq!((doubts.failing(), doubts.due(), doubts.doubted()), (vec![host()], vec![], vec![]));
            advance(pause - JUST_BEFORE).await;
            assert_eq!(doubts.due(), [], "{pause:?}");
            advance(JUST_BEFORE).await;
            assert_eq!(doubts.due(), [host()], "{pause:?}");
            doubts.try_out(&host());
            assert_eq!(doubts.due(), [], "one at a time");
            doubts.raise(&host());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_others_hear_of_a_failing_host_until_no_start_has_failed_there_for_ten_minutes() {
        let doubts = Doubts::default();
        for told in [0, 0, 1] {
            doubts.raise(&host());
            assert_eq!(doubts.told().len(), told);
        }
        advance(TOLD_FOR - JUST_BEFORE).await;
        assert_eq!(doubts.told().len(), 1);
        advance(JUST_BEFORE).await;
        assert_eq!((doubts.told().len(), doubts.failing()), (0, vec![host()]));
        doubts.raise(&host());
        assert_eq!(doubts.told().len(), 1);
        doubts.forget(&host());
        assert_eq!(doubts.told().len(), 0);
    }
}
