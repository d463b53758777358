//! One sweep: rows and containers of every host that answers, compared in both directions.
//!
//! Owns nothing that outlives it. What must end, and which containers no row claims, it only finds.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use super::{
    Peers, Tools,
    state::{self, Ending, Findings},
};
use crate::{
    domain::{EndReason, HostName, InstanceId},
    patience,
    ports::{Attended, Found},
    scheduler::messages::{DescribeFleet, HostInventory},
    supervision::ask,
};

/// Hosts that are asked at once, or of which orphans are removed at once.
pub(super) const HOSTS_AT_ONCE: usize = 64;

/// What a look at all hosts found.
#[derive(Default)]
pub(super) struct Sweep {
    pub(super) to_end: Vec<Ending>,
    /// Rows without a container, which are among those to end.
    pub(super) rows_alone: BTreeSet<InstanceId>,
    /// Containers without a row, of every host that was looked at, also where there are none.
    pub(super) orphans: BTreeMap<HostName, Vec<InstanceId>>,
    /// Since when, and until when, this server is at work on the database, if it could write that down.
    pub(super) attended: Option<Attended>,
    /// The hosts that there are; `None` when nobody could say.
    pub(super) fleet: Option<BTreeSet<HostName>>,
    pub(super) errors: Vec<String>,
}

/// Looks at everything once: the rows for what was left behind, and every host that answers in both directions. Before
/// that it is written down that this server is at work, and has been since `last` began.
pub(super) async fn look_everywhere(tools: &Tools, peers: &Peers, last: Option<Attended>) -> Sweep {
    let mut sweep = Sweep::default();
    match patience::store(tools.store.attend(last, tools.clock.now())).await {
        Ok(attended) => sweep.attended = Some(attended),
        Err(error) => sweep.errors.push(error.to_string()),
    }
    let before = match state::claims(&*tools.store).await {
        Ok(rows) => rows,
        Err(error) => {
            sweep.errors.push(error.to_string());
            return sweep;
        }
    };
    sweep.to_end = state::left_behind(&before);
    let fleet = match ask(&peers.fleet, DescribeFleet, tools.settings.host.call_timeout).await {
        Ok(fleet) => fleet,
        Err(error) => {
            sweep.errors.push(format!("the scheduler did not answer: {error}"));
            return sweep;
        }
    };
    sweep.fleet = Some(fleet.hosts.iter().map(|host| host.name.clone()).collect());
    // Also what starts nothing or has lost its heart: what is left on it keeps it from being given back.
    let answering = fleet.hosts.into_iter().filter(|host| host.state.answers()).map(|host| host.name);
    // So many that a host that hangs costs the others little, and no more, because the scheduler looks at all of them
    // whenever one answers.
    let inventories = stream::iter(answering).map(|host| inventory_of(tools, peers, host));
    let inventories: Vec<_> = inventories.buffer_unordered(HOSTS_AT_ONCE).collect().await;
    let after = match state::claims(&*tools.store).await {
        Ok(rows) => rows,
        Err(error) => {
            sweep.errors.push(error.to_string());
            return sweep;
        }
    };
    let (rows_before, rows_after) = (state::by_host(&before), state::by_host(&after));
    for (host, inventory) in inventories {
        let before = rows_before.get(&host).cloned().unwrap_or_default();
        let after = rows_after.get(&host).cloned().unwrap_or_default();
        match inventory {
            Ok(inventory) => {
                let Findings { orphans, to_end } = state::compare(&before, &inventory, &after);
                let alone = to_end.iter().filter(|ending| ending.reason == EndReason::Lost);
                sweep.rows_alone.extend(alone.map(|ending| ending.id.clone()));
                sweep.to_end.extend(to_end);
                sweep.orphans.insert(host, orphans);
            }
            Err(why) => sweep.errors.push(format!("{host}: {why}")),
        }
    }
    sweep
}

async fn inventory_of(tools: &Tools, peers: &Peers, host: HostName) -> (HostName, Result<Vec<Found>, String>) {
    let request = HostInventory { host: host.clone() };
    let inventory = match ask(&peers.inventory, request, tools.settings.host.longest_call() * 2).await {
        Ok(Ok(inventory)) => Ok(inventory),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    (host, inventory)
}
