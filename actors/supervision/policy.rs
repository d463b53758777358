//! The arithmetic of restarts: pure, `now` and chance are arguments.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{Exit, Restart, Spec};

/// Doubling any longer passes every sensible maximum and would overflow.
const MAX_DOUBLINGS: usize = 16;

/// What to do about an exit.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Start again after this wait.
    Restart { wait: Duration },
    /// It ended as it may.
    Ended,
    /// The limit is reached.
    GiveUp,
}

/// The restarts in the sliding window.
#[derive(Debug, Default)]
pub(super) struct History {
    recent: VecDeque<Instant>,
}

impl History {
    /// Judges an exit at `now` and remembers the restart if there is to be one. `chance` is from 0.0 to 1.0.
    pub(super) fn judge(&mut self, spec: &Spec, cause: &Exit, now: Instant, chance: f64) -> Verdict {
        let wanted = match spec.restart {
            Restart::Permanent => true,
            Restart::Transient => *cause != Exit::Stopped,
            Restart::Temporary => false,
        };
        if !wanted {
            return Verdict::Ended;
        }
        while self.recent.front().is_some_and(|then| now.duration_since(*then) > spec.within) {
            self.recent.pop_front();
        }
        if self.recent.len() >= spec.max_restarts {
            return Verdict::GiveUp;
        }
        let wait = wait(spec, self.recent.len(), chance);
        self.recent.push_back(now);
        Verdict::Restart { wait }
    }
}

/// The wait after `before` other restarts in the window. Jitter only shortens it, so the maximum is a maximum.
fn wait(spec: &Spec, before: usize, chance: f64) -> Duration {
    let full = spec.backoff_initial.saturating_mul(1 << before.min(MAX_DOUBLINGS)).min(spec.backoff_max);
    let share = 1.0 - spec.jitter.clamp(0.0, 1.0) * chance.clamp(0.0, 1.0);
    full.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec() -> Spec {
        Spec::permanent("child")
    }

    fn crash() -> Exit {
        Exit::Panicked("poison".into())
    }

    #[test]
    fn waits_double_up_to_the_maximum() {
        let spec = spec().no_jitter();
        let waits: Vec<_> = (0..10).map(|n| wait(&spec, n, 0.7).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn a_child_that_dies_at_once_reaches_the_default_limit() {
        for chance in [0.0, 1.0] {
            let (spec, mut history, mut now) = (spec(), History::default(), Instant::now());
            let mut restarts = 0;
            while let Verdict::Restart { wait } = history.judge(&spec, &crash(), now, chance) {
                now += wait;
                restarts += 1;
                assert!(restarts <= spec.max_restarts, "the window ran away from the back-off");
            }
            assert_eq!(restarts, 10);
        }
    }

    #[test]
    fn a_restart_that_left_the_window_is_forgotten() {
        let spec = spec().limits(1, Duration::from_secs(60)).no_jitter();
        let (mut history, start) = (History::default(), Instant::now());
        let first = Verdict::Restart { wait: Duration::from_millis(100) };
        assert_eq!(history.judge(&spec, &crash(), start, 0.0), first);
        assert_eq!(history.judge(&spec, &crash(), start + Duration::from_secs(60), 0.0), Verdict::GiveUp);
        assert_eq!(history.judge(&spec, &crash(), start + Duration::from_millis(60_001), 0.0), first);
    }

    #[test]
    fn the_kind_of_child_decides_which_exits_are_repaired() {
        let causes = [crash(), Exit::Failed("store".into()), Exit::Hung, Exit::Stopped];
        let kinds = [
            (Restart::Permanent, [true, true, true, true]),
            (Restart::Transient, [true, true, true, false]),
            (Restart::Temporary, [false, false, false, false]),
        ];
        for (restart, expected) in kinds {
            let spec = Spec { restart, ..spec() };
            for (cause, expected) in causes.iter().zip(expected) {
                let verdict = History::default().judge(&spec, cause, Instant::now(), 0.0);
                assert_eq!(matches!(verdict, Verdict::Restart { .. }), expected, "{restart:?} after {cause}");
                assert!(expected || verdict == Verdict::Ended);
            }
        }
    }

    proptest! {
        #[test]
        fn jitter_shortens_a_wait_by_a_fifth_at_most(before in 0usize..200, chance in 0.0f64..1.0) {
            let exact = wait(&spec().no_jitter(), before, chance);
            let waited = wait(&spec(), before, chance);
            prop_assert!(waited <= exact);
            prop_assert!(waited.as_secs_f64() >= exact.as_secs_f64() * 0.8 - 1e-6);
        }

        #[test]
        fn no_window_ever_holds_more_restarts_than_allowed(
            gaps in prop::collection::vec(0u64..30_000, 1..200), max in 0usize..8, chance in 0.0f64..1.0,
        ) {
            let spec = spec().limits(max, Duration::from_secs(60));
            let (mut history, mut now, mut restarts) = (History::default(), Instant::now(), Vec::new());
            for gap in gaps {
                now += Duration::from_millis(gap);
                if let Verdict::Restart { .. } = history.judge(&spec, &crash(), now, chance) {
                    restarts.push(now);
                }
                let in_window = restarts.iter().filter(|then| now.duration_since(**then) <= spec.within).count();
                prop_assert!(in_window <= max);
            }
        }
    }
}
