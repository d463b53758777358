//! One sweep: rows and containers of every host that answers, compared in both directions.
//!
//! Owns nothing that outlives it. Removes containers that no row claims; what else must end it only finds.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use super::{
    Peers, Tools,
    state::{self, Ending, Findings},
};
use crate::{
    domain::{EndReason, Health, HostName, InstanceId},
    ports::{Found, Removal},
    scheduler::messages::{DescribeFleet, HostInventory, RemoveOrphan},
    supervision::ask,
};

/// Hosts that are asked at once, and of which orphans are removed at once.
const HOSTS_AT_ONCE: usize = 64;

/// What one sweep over all hosts found.
#[derive(Default)]
pub(super) struct Sweep {
    pub(super) to_end: Vec<Ending>,
    /// Rows without a container, which are among those to end.
    pub(super) rows_alone: BTreeSet<InstanceId>,
    pub(super) orphans_removed: u64,
    /// Containers without a row that could not be removed.
    pub(super) orphans_left: u64,
    pub(super) errors: Vec<String>,
}

impl Sweep {
    fn failed(why: String) -> Self {
        Self { errors: vec![why], ..Self::default() }
    }

    fn add(&mut self, other: Self) {
        self.to_end.extend(other.to_end);
        self.rows_alone.extend(other.rows_alone);
        self.orphans_removed += other.orphans_removed;
        self.orphans_left += other.orphans_left;
        self.errors.extend(other.errors);
    }
}

/// Looks at everything once: the rows for what was left behind, and every host that answers in both directions.
pub(super) async fn sweep(tools: &Tools, peers: &Peers) -> Sweep {
    let before = match state::claims(&*tools.store).await {
        Ok(rows) => rows,
        Err(error) => return Sweep::failed(error.to_string()),
    };
    let mut sweep = Sweep { to_end: state::left_behind(&before), ..Sweep::default() };
    let fleet = match ask(&peers.fleet, DescribeFleet, tools.settings.host.call_timeout).await {
        Ok(fleet) => fleet,
        Err(error) => {
            sweep.errors.push(format!("the scheduler did not answer: {error}"));
            return sweep;
        }
    };
    let answering = fleet.hosts.into_iter().filter(|host| host.state == Health::Up).map(|host| host.name);
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
    let settled = inventories.into_iter().map(|(host, inventory)| {
        let before = rows_before.get(&host).cloned().unwrap_or_default();
        let after = rows_after.get(&host).cloned().unwrap_or_default();
        async move {
            match inventory {
                Ok(inventory) => settle_host(tools, peers, &host, state::compare(&before, &inventory, &after)).await,
                Err(why) => Sweep::failed(format!("{host}: {why}")),
            }
        }
    });
    let mut settled = stream::iter(settled).buffer_unordered(HOSTS_AT_ONCE);
    while let Some(host) = settled.next().await {
        sweep.add(host);
    }
    drop(settled);
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

/// Says what must end on a host, and removes its orphans.
async fn settle_host(tools: &Tools, peers: &Peers, host: &HostName, findings: Findings) -> Sweep {
    let Findings { orphans, to_end } = findings;
    let alone = to_end.iter().filter(|ending| ending.reason == EndReason::Lost).map(|ending| ending.id.clone());
    let mut sweep = Sweep { rows_alone: alone.collect(), to_end, ..Sweep::default() };
    for id in orphans {
        tracing::warn!(%host, instance = %id, "reaper.orphan");
        let request = RemoveOrphan { host: host.clone(), id };
        let removal = ask(&peers.remove_orphan, request, tools.settings.host.longest_call() * 2).await;
        match removal.map_err(|e| e.to_string()).and_then(|removal| removal.map_err(|e| e.to_string())) {
            Ok(Removal::Removed) => sweep.orphans_removed += 1,
            Ok(Removal::AlreadyGone) => {}
            // The others are not kept waiting for this one; the next sweep finds it again.
            Err(why) => {
                sweep.orphans_left += 1;
                sweep.errors.push(format!("{host}: {why}"));
            }
        }
    }
    sweep
}
