//! What everybody may see of the children, and the request to end the process.
//!
//! Owns the reports; only supervision writes them. Must not decide anything.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::{broadcast, watch};

use super::Exit;

/// How many changes a slow subscriber may fall behind; a crash of the whole fleet's hosts fits in.
const CHANGES_KEPT: usize = 1024;

/// How a child is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Up,
    /// It ended and is started again after `wait`. Its messages queue up.
    BackingOff {
        /// The wait, counted from [`ChildReport::since`].
        wait: Duration,
    },
    /// It ended and stays so. Its address is closed.
    Down,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::BackingOff { .. } => "backing_off",
            Self::Down => "down",
        })
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known of one child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChildReport {
    /// Its name.
    pub name: String,
    /// How it is.
    pub status: Status,
    /// How often it was started again, the restart that it waits for included.
    pub restarts: usize,
    /// When its status last changed.
    pub since: Timestamp,
    /// Its last exit, kept while it is up again.
    pub last_cause: Option<Exit>,
}

/// What subscribers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The child's report is this now.
    Reported(ChildReport),
    /// The child of this name was dropped by its parent.
    Removed(String),
}

/// A child without which the process cannot do its work was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitRequest {
    /// The child's name.
    pub name: String,
    /// Its last exit.
    pub cause: Exit,
    /// The exit code that the process should end with.
    pub code: u8,
}

/// All children's reports. Clones are the same roster.
///
/// If two children bear one name (a parent that is rebuilt starts new children before the old ones are dropped), the
/// younger one speaks for it.
#[derive(Clone)]
pub struct Roster(Arc<Inner>);

struct Inner {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    children: Mutex<Children>,
    /// Sent to while `children` is locked, so that the order of changes is the order of events.
    changes: broadcast::Sender<Change>,
    exit: watch::Sender<Option<ExitRequest>>,
}

#[derive(Default)]
struct Children {
    next: u64,
    reports: BTreeMap<u64, Arc<Mutex<ChildReport>>>,
}

impl Children {
    /// The youngest child of this name.
    fn youngest(&self, name: &str) -> Option<(u64, ChildReport)> {
        let mut children = self.reports.iter().rev().map(|(id, report)| (*id, lock(report).clone()));
        children.find(|(_, report)| report.name == name)
    }
}

impl Roster {
    /// An empty roster that takes the time of day from `now`.
    pub fn new(now: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Self {
        Self(Arc::new(Inner {
            now,
            children: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            exit: watch::Sender::new(None),
        }))
    }

    /// The report of the child of this name.
    pub fn report(&self, name: &str) -> Option<ChildReport> {
        lock(&self.0.children).youngest(name).map(|(_, report)| report)
    }

    /// All reports, sorted by name.
    pub fn reports(&self) -> Vec<ChildReport> {
        let children = lock(&self.0.children);
        let youngest_last = children.reports.values().map(|report| lock(report).clone());
        let by_name: BTreeMap<_, _> = youngest_last.map(|report| (report.name.clone(), report)).collect();
        by_name.into_values().collect()
    }

    /// Every change from now on, in order. Subscribe first, then read [`reports`](Self::reports), so that nothing is
    /// missed; do the same again after `RecvError::Lagged`.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    /// Waits until a child asks for the end of the process ([`GiveUp::ExitProcess`](super::GiveUp::ExitProcess)).
    /// The first request counts. `main` waits here, shuts down in order and ends with the code.
    pub async fn exit_requested(&self) -> ExitRequest {
        let mut exit = self.0.exit.subscribe();
        loop {
            if let Some(request) = exit.borrow_and_update().clone() {
                return request;
            }
            if exit.changed().await.is_err() {
                // Cannot happen: the sender lives as long as this roster, which is borrowed.
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) fn request_exit(&self, request: ExitRequest) {
        self.0.exit.send_if_modified(|exit| {
            let first = exit.is_none();
            exit.get_or_insert(request);
            first
        });
    }

    /// A child is born.
    pub(super) fn seat(&self, name: String) -> Seat {
        let since = (self.0.now)();
        let report = ChildReport { name, status: Status::Up, restarts: 0, since, last_cause: None };
        let mut children = lock(&self.0.children);
        let id = children.next;
        children.next += 1;
        let cell = Arc::new(Mutex::new(report.clone()));
        children.reports.insert(id, cell.clone());
        self.announce(Change::Reported(report));
        Seat { roster: self.clone(), id, report: cell }
    }

    /// Nobody listening is no fault.
    fn announce(&self, change: Change) {
        let _ = self.0.changes.send(change);
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.reports()).finish()
    }
}

/// One child's place in the roster. Not its life: only [`leave`](Self::leave) gives it up.
#[derive(Clone)]
pub(super) struct Seat {
    roster: Roster,
    id: u64,
    report: Arc<Mutex<ChildReport>>,
}

impl Seat {
    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(super) fn report(&self) -> ChildReport {
        lock(&self.report).clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut ChildReport)) {
        let since = (self.roster.0.now)();
        let children = lock(&self.roster.0.children);
        let (name, report) = {
            let mut report = lock(&self.report);
            change(&mut report);
            report.since = since;
            (report.name.clone(), report.clone())
        };
        // Gone, or an elder of the same name: it no longer speaks for the name.
        if children.youngest(&name).is_some_and(|(youngest, _)| youngest == self.id) {
            self.roster.announce(Change::Reported(report));
        }
    }

    pub(super) fn leave(&self) {
        let mut children = lock(&self.roster.0.children);
        let name = lock(&self.report).name.clone();
        let spoke = children.youngest(&name).is_some_and(|(youngest, _)| youngest == self.id);
        children.reports.remove(&self.id);
        if spoke {
            self.roster.announce(match children.youngest(&name) {
                Some((_, report)) => Change::Reported(report),
                None => Change::Removed(name),
            });
        }
    }
}

/// A panic while a lock was held leaves whole values behind, so there is nothing to distrust.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
