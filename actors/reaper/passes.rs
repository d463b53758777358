//! One look at the leases that are over, one at the hosts that fell silent, and one at the owners to be warned.
//!
//! Owns nothing that outlives it: what is found is written to the rows, and told to the feed, at once.

use std::cell::RefCell;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::{
    Peers, Tools, orphans,
    silence::{Hearsay, Silences, Steps},
    state::{self, Claim, Ending},
};
use crate::{
    autoscaler::messages::DescribeScaling,
    discovery::messages::DescribeDirectory,
    domain::{EndReason, Instance, InstanceEvent, InstanceId, scaling::Stage},
    feed::messages::{Fact, Publish},
    patience,
    ports::StoreError,
    scheduler::messages::{DescribeFleet, EndError, GiveUpInstance},
    supervision::ask,
};

/// Warnings that one look may find at once; when there are so many, the next look follows at once.
const WARNINGS_AT_ONCE: u32 = 100;

/// Rows that are written to at once, so that many of them do not take all connections to the database.
const WRITES_AT_ONCE: usize = 4;

/// Leases that one look may find over at once; the next look is not far.
const DUE_AT_ONCE: u32 = 500;

/// Leases that are over.
pub(super) struct Due {
    /// All that were found.
    pub(super) endings: Vec<Ending>,
    /// Those of which that is written down.
    pub(super) written: Vec<InstanceId>,
    /// Why it is not written of the others.
    pub(super) error: Option<StoreError>,
}

/// Finds the leases that are over and writes that down at once, however long their hosts take to remove what they have
/// of them: nobody is told any more that such an instance runs.
pub(super) async fn expire(tools: &Tools, peers: &Peers) -> Result<Due, StoreError> {
    let rows = patience::store(tools.store.due(tools.clock.now(), DUE_AT_ONCE)).await?;
    let endings = rows.iter().map(|row| Claim::from(row).ending(EndReason::Expired)).collect();
    let over = InstanceEvent::StopRequested { reason: EndReason::Expired };
    let writes = rows.into_iter().map(|row| {
        let over = &over;
        async move { note(tools, peers, &row.id, over).await.map(|_| row.id) }
    });
    let mut writes = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
    let mut due = Due { endings, written: Vec::new(), error: None };
    while let Some(outcome) = writes.next().await {
        match outcome {
            Ok(id) => due.written.push(id),
            // A store that fails is not asked again at once.
            Err(error) => {
                due.error = Some(error);
                break;
            }
        }
    }
    drop(writes);
    Ok(due)
}

/// What a look at the hosts led to.
#[derive(Default)]
pub(super) struct Review {
    /// Instances that were given up.
    pub(super) lost: u64,
    pub(super) errors: Vec<String>,
}

/// Looks at the hosts and the rows there, and writes down who fell silent, answers again, or is to be given up.
pub(super) async fn review(tools: &Tools, peers: &Peers, silences: &RefCell<Silences>) -> Review {
    let within = tools.settings.host.call_timeout;
    let directory = ask(&peers.directory, DescribeDirectory, within).await.unwrap_or_default();
    // Who cannot tell now what there is does not say that anything is gone.
    let pool = ask(&peers.pool, DescribeScaling, within).await.unwrap_or_default().droplets;
    // What is gone with its machine is nobody's any more, whether a row knew it or not.
    for machine in pool.iter().filter(|machine| machine.stage == Stage::Gone) {
        orphans::tell(peers, &machine.name, &[]);
    }
    let mut review = Review::default();
    let fleet = match ask(&peers.fleet, DescribeFleet, within).await {
        Ok(fleet) => fleet,
        Err(error) => {
            review.errors.push(format!("the scheduler did not answer: {error}"));
            return review;
        }
    };
    let rows = match state::claims(&*tools.store).await {
        Ok(rows) => rows,
        Err(error) => {
            review.errors.push(error.to_string());
            return review;
        }
    };
    let (hearsay, lost_after) = (Hearsay::of(&directory, &fleet, &pool), tools.settings.reaper.lost_after);
    let Steps { events, give_up } =
        silences.borrow_mut().look(&rows, &hearsay, lost_after, tools.clock.now(), Instant::now());
    let written = stream::iter(events).map(|(id, event)| async move { note(tools, peers, &id, &event).await });
    let lost = stream::iter(give_up).map(|id| async move {
        match ask(&peers.give_up, GiveUpInstance { id }, within).await {
            Ok(Ok(_)) => Ok(true),
            // It answers by now, or somebody else was quicker.
            Ok(Err(EndError::NotDue | EndError::AlreadyEnded(_) | EndError::NotFound)) => Ok(false),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(format!("the scheduler did not answer: {error}")),
        }
    });
    let written: Vec<_> = written.buffer_unordered(WRITES_AT_ONCE).collect().await;
    let lost: Vec<_> = lost.buffer_unordered(WRITES_AT_ONCE).collect().await;
    review.errors.extend(written.into_iter().filter_map(Result::err).map(|error| error.to_string()));
    for outcome in lost {
        match outcome {
            Ok(lost) => review.lost += u64::from(lost),
            Err(why) => review.errors.push(why),
        }
    }
    review
}

/// Warns the owners whose time has come; tells how many, whether there may be more, and what went wrong.
pub(super) async fn warn(tools: &Tools, peers: &Peers) -> (u64, bool, Option<String>) {
    let rows = match patience::store(tools.store.warnings_due(tools.clock.now(), WARNINGS_AT_ONCE)).await {
        Ok(rows) => rows,
        Err(error) => return (0, false, Some(error.to_string())),
    };
    let more = rows.len() >= WARNINGS_AT_ONCE as usize;
    let warnings =
        stream::iter(rows).map(|row| async move { note(tools, peers, &row.id, &InstanceEvent::Warned).await });
    let mut warnings = warnings.buffer_unordered(WRITES_AT_ONCE);
    let (mut warned, mut error) = (0, None);
    while let Some(outcome) = warnings.next().await {
        match outcome {
            Ok(Some(row)) => {
                warned += 1;
                let expires_at = row.lease.expires_at;
                peers.feed.do_send(Publish(Fact::InstanceExpiring { id: row.id, expires_at }));
            }
            Ok(None) => {}
            Err(why) => error = Some(why.to_string()),
        }
    }
    // A store that fails is not asked again at once.
    (warned, more && error.is_none(), error)
}

/// Writes what happened to a row and tells the feed of it; `None` when it cannot happen to it any more.
async fn note(
    tools: &Tools,
    peers: &Peers,
    id: &InstanceId,
    event: &InstanceEvent,
) -> Result<Option<Instance>, StoreError> {
    match patience::store(tools.store.apply(id, event, tools.clock.now())).await {
        Ok(row) => {
            peers.feed.do_send(Publish(Fact::InstanceChanged { instance: (&row).into() }));
            Ok(Some(row))
        }
        Err(StoreError::Illegal(_) | StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
