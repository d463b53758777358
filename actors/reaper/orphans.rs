//! What is done with containers that no row claims.
//!
//! Owns which of them are nobody's, and are removed, and which may be somebody's. A row is written before its container is
//! made and kept for long after its end, so a container that has never had one was made while this was not the database:
//! it is an older copy, or another one that was given to the server by mistake. Whoever uses such a container must not
//! lose it for that, so it is left alone until no lease can be as long. Must not remove what it could not look up.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::{Peers, Tools, sweep::HOSTS_AT_ONCE};
use crate::{
    domain::{HostName, InstanceId, Timestamp},
    patience,
    ports::{Attended, Removal, StoreError},
    scheduler::messages::{OrphansKept, RemoveOrphan},
    supervision::ask,
};

/// Of how many containers it is looked up at once whether they ever had a row.
const LOOKED_UP_AT_ONCE: usize = 500;

/// By their hosts.
pub(super) type Orphans = BTreeMap<HostName, Vec<InstanceId>>;

/// Containers without a row, sorted out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Nobody's.
    pub(super) over: Orphans,
    /// From a time that this database knows nothing of. Also of hosts that have none.
    pub(super) unknown: Orphans,
    /// When no lease of those can last any longer, if there are any.
    pub(super) unknown_until: Option<Timestamp>,
}

/// What is left alone on a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) count: u64,
    /// When no lease of them can last any longer.
    pub(super) until: Timestamp,
}

/// What became of the containers without a row.
#[derive(Default)]
pub(super) struct Removals {
    pub(super) removed: u64,
    /// How many are left on each host.
    pub(super) left: BTreeMap<HostName, u64>,
    pub(super) errors: Vec<String>,
}

/// Sorts them out; the hosts of both kinds are those of `orphans`.
///
/// # Errors
/// The store's: then nothing is known of any of them.
pub(super) async fn judge(tools: &Tools, orphans: Orphans) -> Result<Judged, StoreError> {
    let (now, lifetime) = (tools.clock.now(), tools.settings.lease.max_lifetime);
    let all = orphans.values().flatten();
    let mut suspects: BTreeMap<_, _> =
        all.filter_map(|id| Some((id.clone(), may_live_until(id, lifetime, now)?))).collect();
    let ids: Vec<_> = suspects.keys().cloned().collect();
    for ids in ids.chunks(LOOKED_UP_AT_ONCE) {
        for known in patience::store(tools.store.known(ids)).await? {
            suspects.remove(&known);
        }
    }
    if !suspects.is_empty() {
        let attended = patience::store(tools.store.attended()).await?;
        // One of another time is enough to doubt that this is the database of all the others: it may be another one, beside
        // which a server works on the right one.
        if suspects.keys().all(|id| is_missed(id, &attended)) {
            suspects.clear();
        }
    }
    let mut judged = Judged { unknown_until: suspects.values().max().copied(), ..Judged::default() };
    for (host, ids) in orphans {
        let (unknown, over) = ids.into_iter().partition(|id| suspects.contains_key(id));
        judged.unknown.insert(host.clone(), unknown);
        judged.over.insert(host, over);
    }
    Ok(judged)
}

/// When the lease of what was made with this id is over at the latest, if that is still to come. `None` also of an id that
/// none of our servers made.
fn may_live_until(id: &InstanceId, lifetime: Duration, now: Timestamp) -> Option<Timestamp> {
    id.made_at()?.checked_add(lifetime).ok().filter(|until| *until > now)
}

/// Whether this database had a row of it, which is gone: it was made while a server was at work here.
fn is_missed(id: &InstanceId, attended: &[Attended]) -> bool {
    id.made_at().is_some_and(|made_at| attended.iter().any(|span| span.covers(made_at)))
}

/// Removes containers that no row claims. What could not be removed is found again by the next sweep.
pub(super) async fn remove_orphans(tools: &Tools, peers: &Peers, orphans: Orphans) -> Removals {
    let hosts = stream::iter(orphans).map(|(host, orphans)| async move {
        let removals = remove_from(tools, peers, &host, orphans).await;
        (host, removals)
    });
    let mut hosts = hosts.buffer_unordered(HOSTS_AT_ONCE);
    let mut all = Removals::default();
    while let Some((host, (removed, left, errors))) = hosts.next().await {
        all.removed += removed;
        all.left.insert(host, left);
        all.errors.extend(errors);
    }
    all
}

/// How many of a host's orphans were removed and how many are left, and why. A host that takes long is not asked for
/// all of them: the next sweep, which the other hosts wait for, goes on.
async fn remove_from(
    tools: &Tools,
    peers: &Peers,
    host: &HostName,
    orphans: Vec<InstanceId>,
) -> (u64, u64, Vec<String>) {
    let (mut removed, mut left, mut errors) = (0, orphans.len() as u64, Vec::new());
    let end = Instant::now() + tools.settings.host.longest_call();
    for id in orphans {
        if Instant::now() >= end {
            break;
        }
        tracing::warn!(%host, instance = %id, "reaper.orphan");
        let request = RemoveOrphan { host: host.clone(), id };
        let removal = ask(&peers.remove_orphan, request, tools.settings.host.longest_call() * 2).await;
        match removal.map_err(|e| e.to_string()).and_then(|removal| removal.map_err(|e| e.to_string())) {
            Ok(removal) => {
                removed += u64::from(removal == Removal::Removed);
                left -= 1;
            }
            // The others are not kept waiting for this one.
            Err(why) => errors.push(format!("{host}: {why}")),
        }
    }
    (removed, left, errors)
}

/// Lets the scheduler know what else takes slots on a host, or that nothing does any more.
pub(super) fn tell(peers: &Peers, host: &HostName, ids: &[InstanceId]) {
    peers.orphans_kept.do_send(OrphansKept { host: host.clone(), ids: ids.to_vec() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::samples::{later, now};

    const LIFETIME: Duration = Duration::from_secs(1000);

    fn made(at: Timestamp) -> InstanceId {
        let milliseconds = u64::try_from(at.as_millisecond()).unwrap();
        InstanceId::from_uuid(uuid::Builder::from_unix_timestamp_millis(milliseconds, &[7; 10]).into_uuid())
    }

    #[test]
    fn what_was_made_while_a_server_was_at_work_here_is_missed() {
        let spans = [(100, 200), (300, 300)];
        let spans = spans.map(|(begins, ends)| Attended { begins_at: later(begins), ends_at: later(ends) });
        for (at, missed) in
            [(99, false), (100, true), (150, true), (200, true), (201, false), (300, true), (301, false)]
        {
            assert_eq!(is_missed(&made(later(at)), &spans), missed, "{at}");
        }
    }

    #[test]
    fn what_one_of_our_servers_made_may_live_for_the_longest_lifetime() {
        let until = |id: &InstanceId, now| may_live_until(id, LIFETIME, later(now));
        assert_eq!((until(&made(now()), 999), until(&made(now()), 1000)), (Some(later(1000)), None));
        for n in [7, u128::MAX] {
            assert_eq!(until(&crate::sim::samples::id(n), 0), None);
        }
    }
}
