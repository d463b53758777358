//! The reaper's plain parts: what a sweep finds, when a failed ending is tried again, and how late it is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{EndReason, HostName, Instance, InstanceId, InstanceState, Timestamp},
    patience,
    ports::{Found, Store, StoreError},
};

/// The wait before a failed ending is tried again; it doubles with every failure up to the configured maximum.
const RETRY_INITIAL: Duration = Duration::from_secs(1);

/// An instance that must end, on which host, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Which.
    pub id: InstanceId,
    /// Where its container is, or was.
    pub host: HostName,
    /// Why.
    pub reason: EndReason,
    /// Since when it is due, where the row says so.
    pub due: Option<Timestamp>,
}

/// What the reaper needs of a live row. Of a large fleet it holds all rows twice while the hosts are asked.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Which instance.
    pub id: InstanceId,
    /// Where its container is, shall be or was.
    pub host: HostName,
    /// Where it stands.
    pub state: InstanceState,
    /// When its lease ends.
    pub expires_at: Timestamp,
    /// Since when its host has been silent, if it is.
    pub unreachable_since: Option<Timestamp>,
}

impl From<&Instance> for Claim {
    fn from(row: &Instance) -> Self {
        let Instance { id, host, state, lease, unreachable_since, .. } = row;
        let (id, host) = (id.clone(), host.clone());
        Self { id, host, state: *state, expires_at: lease.expires_at, unreachable_since: *unreachable_since }
    }
}

impl Claim {
    /// Its ending.
    #[must_use]
    pub fn ending(&self, reason: EndReason) -> Ending {
        let due = (reason == EndReason::Expired).then_some(self.expires_at);
        Ending { id: self.id.clone(), host: self.host.clone(), reason, due }
    }
}

/// All of them, read step by step.
///
/// # Errors
/// The store's.
pub(super) async fn claims(store: &dyn Store) -> Result<Vec<Claim>, StoreError> {
    let mut claims = Vec::new();
    patience::live_rows(store, |rows| claims.extend(rows.iter().map(Claim::from))).await?;
    Ok(claims)
}

/// What a comparison of one host's rows and containers calls for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Containers that no live row claims on this host.
    pub orphans: Vec<InstanceId>,
    /// Rows whose owner has them in hand and whose container is gone, or is there and stopped.
    pub to_end: Vec<Ending>,
}

/// Rows by the host that they name.
#[must_use]
pub fn by_host(rows: &[Claim]) -> HashMap<&HostName, Vec<&Claim>> {
    let mut hosts: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        hosts.entry(&row.host).or_default().push(row);
    }
    hosts
}

/// Compares one host's rows and containers.
///
/// `before` are its live rows read before the inventory was taken, `after` those read after it. A row is written before
/// its container is made and ended after it is gone, so a container is an orphan only if no row **after** claims it,
/// and a row has lost its container only if it ran **before** already and still does.
#[must_use]
pub fn compare(before: &[&Claim], inventory: &[Found], after: &[&Claim]) -> Findings {
    let ids: BTreeSet<&InstanceId> = after.iter().map(|row| &row.id).collect();
    let orphans = inventory.iter().filter(|found| !ids.contains(&found.id)).map(|found| found.id.clone()).collect();

    let ran_before: BTreeSet<&InstanceId> =
        before.iter().filter(|row| row.state.is_lent()).map(|row| &row.id).collect();
    let found: BTreeMap<&InstanceId, bool> = inventory.iter().map(|found| (&found.id, found.running)).collect();
    let runs_still = |row: &&&Claim| row.state.is_lent() && ran_before.contains(&row.id);
    let to_end = after.iter().filter(runs_still).filter_map(|row| match found.get(&row.id) {
        None => Some(row.ending(EndReason::Lost)),
        Some(false) => Some(row.ending(EndReason::Exited)),
        Some(true) => None,
    });
    Findings { orphans, to_end: to_end.collect() }
}

/// Rows that a crash, or an ending that could not be confirmed, left behind. What is still being created is the
/// scheduler's to judge, who knows which servers live.
#[must_use]
pub fn left_behind(rows: &[Claim]) -> Vec<Ending> {
    let stopping = |row: &Claim| match row.state {
        InstanceState::Stopping(reason) => Some(row.ending(reason)),
        _ => None,
    };
    rows.iter().filter_map(stopping).collect()
}

/// An ending that is to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    ending: Ending,
    /// Since when it is due, by this process' own clock.
    due: Instant,
    failures: u32,
    not_before: Instant,
}

/// Endings that are wanted, under way, or waiting for their next try. In memory only: what is in it can be found again
/// in the rows.
#[derive(Debug, Default)]
pub struct Endings {
    wanted: HashMap<InstanceId, Wanted>,
    under_way: BTreeMap<InstanceId, HostName>,
}

impl Endings {
    /// Wants an instance ended. One that is wanted already keeps its turn and its first reason. `wall` is the time of
    /// day at `now`.
    pub fn want(&mut self, ending: Ending, now: Instant, wall: Timestamp) {
        let overdue = ending.due.map(|due| Duration::try_from(wall.duration_since(due)).unwrap_or_default());
        let due = overdue.and_then(|by| now.checked_sub(by)).unwrap_or(now);
        self.wanted.entry(ending.id.clone()).or_insert(Wanted { ending, due, failures: 0, not_before: now });
    }

    /// How long the longest overdue ending has been due; nothing when there is none.
    #[must_use]
    pub fn lag(&self, now: Instant) -> Duration {
        let overdue = self.wanted.values().map(|wanted| now.saturating_duration_since(wanted.due));
        overdue.max().unwrap_or_default()
    }

    /// Takes the endings whose time has come, the longest waiting first, so that no host has more than `at_once` of
    /// them under way: a host that does not answer delays nobody but itself.
    pub fn take(&mut self, at_once: usize, now: Instant) -> Vec<Ending> {
        let mut busy: HashMap<HostName, usize> = HashMap::new();
        for host in self.under_way.values() {
            *busy.entry(host.clone()).or_default() += 1;
        }
        let is_ready = |wanted: &&Wanted| wanted.not_before <= now && !self.under_way.contains_key(&wanted.ending.id);
        let mut ready: Vec<&Wanted> = self.wanted.values().filter(is_ready).collect();
        ready.sort_by(|a, b| (a.not_before, &a.ending.id).cmp(&(b.not_before, &b.ending.id)));
        let mut taken = Vec::new();
        for Wanted { ending, .. } in ready {
            let busy = busy.entry(ending.host.clone()).or_default();
            if *busy < at_once {
                *busy += 1;
                taken.push(ending.clone());
            }
        }
        self.under_way.extend(taken.iter().map(|ending| (ending.id.clone(), ending.host.clone())));
        taken
    }

    /// Whether this one is wanted.
    #[must_use]
    pub fn wants(&self, id: &InstanceId) -> bool {
        self.wanted.contains_key(id)
    }

    /// What stood in the way of an ending is over: it is tried at once.
    pub fn may_go_on(&mut self, id: &InstanceId, now: Instant) {
        if let Some(wanted) = self.wanted.get_mut(id) {
            wanted.not_before = wanted.not_before.min(now);
        }
    }

    /// A host answers again: what waits for it is tried at once.
    pub fn host_is_back(&mut self, host: &HostName, now: Instant) {
        for wanted in self.wanted.values_mut().filter(|wanted| &wanted.ending.host == host) {
            wanted.not_before = wanted.not_before.min(now);
        }
    }

    /// The ending is done, or there is nothing to end.
    pub fn done(&mut self, id: &InstanceId) {
        self.under_way.remove(id);
        self.wanted.remove(id);
    }

    /// The ending failed; it is tried again after a back-off of `max` at most, for ever.
    pub fn failed(&mut self, id: &InstanceId, max: Duration, now: Instant) {
        self.under_way.remove(id);
        if let Some(wanted) = self.wanted.get_mut(id) {
            let wait = RETRY_INITIAL.saturating_mul(1 << wanted.failures.min(16)).min(max);
            wanted.failures += 1;
            wanted.not_before = now + wait;
        }
    }

    /// How many endings have failed at least once and are not done.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.wanted.values().filter(|wanted| wanted.failures > 0).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> InstanceId {
        InstanceId::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn host(n: u8) -> HostName {
        HostName::parse(&format!("h{n}")).unwrap()
    }

    fn row(n: u128, on: u8, state: InstanceState) -> Claim {
        Claim { id: id(n), host: host(on), state, expires_at: Timestamp::UNIX_EPOCH, unreachable_since: None }
    }

    fn ending(n: u128, on: u8, reason: EndReason) -> Ending {
        Ending { id: id(n), host: host(on), reason, due: None }
    }

    /// What is found on host 1.
    fn on_one(before: &[Claim], inventory: &[Found], after: &[Claim]) -> Findings {
        let here = |rows| by_host(rows).remove(&host(1)).unwrap_or_default();
        compare(&here(before), inventory, &here(after))
    }

    fn found(n: u128, running: bool) -> Found {
        Found { id: id(n), running }
    }

    use InstanceState::{Creating, Running, Stopping, Unreachable};

    #[test]
    fn rows_and_containers_that_agree_call_for_nothing() {
        let rows = [row(1, 1, Running), row(2, 2, Running)];
        assert_eq!(on_one(&rows, &[found(1, true)], &rows), Findings::default());
    }

    #[test]
    fn a_container_is_an_orphan_unless_a_row_claims_it_on_this_very_host() {
        let rows = [row(1, 2, Running)];
        let findings = on_one(&rows, &[found(1, true), found(9, false)], &rows);
        assert_eq!(findings.orphans, [id(1), id(9)]);
    }

    #[test]
    fn a_container_whose_row_was_written_after_the_first_look_is_no_orphan() {
        let findings = on_one(&[], &[found(1, true)], &[row(1, 1, Creating)]);
        assert_eq!(findings, Findings::default());
    }

    #[test]
    fn a_row_lost_its_container_only_if_it_was_running_throughout() {
        let running = [row(1, 1, Running)];
        assert_eq!(on_one(&running, &[], &running).to_end, [ending(1, 1, EndReason::Lost)]);
        assert_eq!(on_one(&[row(1, 1, Creating)], &[], &running).to_end, []);
        assert_eq!(on_one(&running, &[], &[row(1, 1, Stopping(EndReason::Deleted))]).to_end, []);
    }

    #[test]
    fn a_container_that_stopped_has_exited() {
        let running = [row(1, 1, Running)];
        assert_eq!(on_one(&running, &[found(1, false)], &running).to_end, [ending(1, 1, EndReason::Exited)]);
    }

    #[test]
    fn a_row_whose_host_fell_silent_meanwhile_has_lost_its_container_all_the_same() {
        let (before, after) = ([row(1, 1, Running)], [row(1, 1, Unreachable)]);
        assert_eq!(on_one(&before, &[], &after).to_end, [ending(1, 1, EndReason::Lost)]);
    }

    #[test]
    fn what_is_stopping_is_ended_whatever_the_clock_says_of_what_is_being_created() {
        let rows = [row(1, 1, Creating), row(2, 1, Running), row(3, 1, Stopping(EndReason::Deleted))];
        assert_eq!(left_behind(&rows), [ending(3, 1, EndReason::Deleted)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_lag_is_that_of_the_longest_overdue_ending() {
        let (mut endings, start) = (Endings::default(), Instant::now() + Duration::from_secs(100));
        assert_eq!(endings.lag(start), Duration::ZERO);
        let wall = Timestamp::UNIX_EPOCH + Duration::from_secs(100);
        endings.want(ending(1, 1, EndReason::Deleted), start, wall);
        assert_eq!(endings.lag(start + Duration::from_secs(3)), Duration::from_secs(3));
        let due = Some(wall - Duration::from_secs(40));
        endings.want(Ending { due, ..ending(2, 1, EndReason::Expired) }, start, wall);
        assert_eq!(endings.lag(start + Duration::from_secs(3)), Duration::from_secs(43));
        endings.done(&id(2));
        assert_eq!(endings.lag(start + Duration::from_secs(3)), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_ending_is_tried_again_after_a_growing_wait_for_ever() {
        let mut endings = Endings::default();
        endings.want(ending(1, 1, EndReason::Expired), Instant::now(), Timestamp::UNIX_EPOCH);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let begun = Instant::now();
            while endings.take(8, Instant::now()).is_empty() {
                tokio::time::advance(Duration::from_millis(100)).await;
            }
            waits.push(begun.elapsed().as_secs());
            endings.failed(&id(1), Duration::from_secs(8), Instant::now());
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 8]);
        assert_eq!(endings.pending(), 1);
        endings.done(&id(1));
        assert_eq!(endings.pending(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_endings_of_one_host_are_under_way_and_none_twice() {
        let mut endings = Endings::default();
        for n in 0..5 {
            endings.want(ending(n, 1, EndReason::Expired), Instant::now(), Timestamp::UNIX_EPOCH);
        }
        assert_eq!(endings.take(2, Instant::now()).len(), 2);
        assert_eq!(endings.take(3, Instant::now()), [ending(2, 1, EndReason::Expired)]);
        endings.want(ending(9, 2, EndReason::Expired), Instant::now(), Timestamp::UNIX_EPOCH);
        assert_eq!(endings.take(3, Instant::now()), [ending(9, 2, EndReason::Expired)], "another host has room");
        endings.done(&id(0));
        endings.want(ending(1, 1, EndReason::Deleted), Instant::now(), Timestamp::UNIX_EPOCH);
        let rest = [ending(3, 1, EndReason::Expired), ending(4, 1, EndReason::Expired)];
        assert_eq!(endings.take(9, Instant::now()), rest);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_host_is_tried_at_once_when_it_is_back() {
        let mut endings = Endings::default();
        for (n, on) in [(1, 1), (2, 2)] {
            endings.want(ending(n, on, EndReason::Expired), Instant::now(), Timestamp::UNIX_EPOCH);
        }
        for Ending { id, .. } in endings.take(8, Instant::now()) {
            endings.failed(&id, Duration::from_secs(60), Instant::now());
        }
        assert_eq!(endings.take(8, Instant::now()), []);
        endings.host_is_back(&host(2), Instant::now());
        assert_eq!(endings.take(8, Instant::now()), [ending(2, 2, EndReason::Expired)]);
    }
}
