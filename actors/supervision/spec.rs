//! What a parent decides about one child: when it is started again, how fast, how often, and what giving up means.
//!
//! Only data; the arithmetic is in `policy`, the acting in `child`.

use std::time::Duration;

use actix::{Message, Recipient};

use super::Exit;

/// After which exits a child is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// After every exit. For actors that have no reason to end.
    Permanent,
    /// After a crash, a failure or a hang, but not after it stopped by itself.
    Transient,
    /// Never.
    Temporary,
}

/// What happens when a child used up its restarts. In every case its address closes, so that whoever asks it is told
/// [`Down`](super::AskError::Down), and it stays visible as `Down` in the roster until its parent drops it.
#[derive(Clone, Debug)]
pub enum GiveUp {
    /// The process cannot do its work without this child: request an ordered exit with code 1
    /// (see [`Roster::exit_requested`](super::Roster::exit_requested)).
    ExitProcess,
    /// Nothing but an error in the log and `Down` in the roster. The rest of the process goes on; for a child whose
    /// permission others must have, a closed address already means that it fails closed.
    Alarm,
    /// As `Alarm`, and its parent is told, which decides (the scheduler cordons the host).
    Tell(Recipient<GaveUp>),
}

/// Sent by supervision to the recipient in [`GiveUp::Tell`] when a child was given up. Sent once; lost only if the
/// parent is down itself. It may speak of a child of an earlier incarnation of the parent, which finds the truth in
/// the report of the [`Child`](super::Child) that it holds now.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct GaveUp {
    /// The child's name.
    pub name: String,
    /// Its last exit.
    pub cause: Exit,
}

/// Restart policy and watchdog settings of one child.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Unique among the living; shown to operators, for instance `scheduler` or `host:alpha`.
    pub name: String,
    /// After which exits it is started again.
    pub restart: Restart,
    /// So many restarts within [`within`](Self::within) are allowed; the next exit is one too many.
    pub max_restarts: usize,
    /// The sliding window in which restarts are counted.
    pub within: Duration,
    /// The wait before the first restart in the window; it doubles with each further one.
    pub backoff_initial: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// A wait is shortened by a random share of up to this much (0.0 to 1.0), so that children that died of the same
    /// cause do not come back in step.
    pub jitter: f64,
    /// How long after an answer the next probe is sent.
    pub probe_every: Duration,
    /// How long a probe may wait for its turn in the mailbox before the child counts as hung.
    pub probe_timeout: Duration,
    /// What giving up means.
    pub give_up: GiveUp,
}

impl Spec {
    /// A child that is restarted after every exit, up to 10 times in a minute with waits from 100 ms to 10 s, probed
    /// every 10 s with 30 s to answer, and raising an alarm when it is given up.
    ///
    /// Ten waits take about 43 s, less than the window, so a child that dies at once does reach the limit.
    pub fn permanent(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            restart: Restart::Permanent,
            max_restarts: 10,
            within: Duration::from_secs(60),
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            jitter: 0.2,
            probe_every: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(30),
            give_up: GiveUp::Alarm,
        }
    }

    /// As [`permanent`](Self::permanent), but it may stop by itself.
    pub fn transient(name: impl Into<String>) -> Self {
        Self { restart: Restart::Transient, ..Self::permanent(name) }
    }

    /// As [`permanent`](Self::permanent), but never started again.
    pub fn temporary(name: impl Into<String>) -> Self {
        Self { restart: Restart::Temporary, ..Self::permanent(name) }
    }

    /// Sets what giving up means.
    #[must_use]
    pub fn give_up(mut self, give_up: GiveUp) -> Self {
        self.give_up = give_up;
        self
    }

    /// Allows `max_restarts` in every stretch of `within`.
    #[must_use]
    pub fn limits(mut self, max_restarts: usize, within: Duration) -> Self {
        self.max_restarts = max_restarts;
        self.within = within;
        self
    }

    /// Waits `initial` before the first restart, twice as long before each further one, never longer than `max`.
    #[must_use]
    pub fn backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.backoff_initial = initial;
        self.backoff_max = max;
        self
    }

    /// Probes `every` so often.
    #[must_use]
    pub fn watched_every(mut self, every: Duration) -> Self {
        self.probe_every = every;
        self
    }

    /// Probes `every` so often and gives the child `timeout` to answer.
    #[must_use]
    pub fn probe(mut self, every: Duration, timeout: Duration) -> Self {
        self.probe_every = every;
        self.probe_timeout = timeout;
        self
    }

    /// Makes the waits exact, for tests that measure them.
    #[must_use]
    pub fn no_jitter(mut self) -> Self {
        self.jitter = 0.0;
        self
    }
}
