//! The one check that every fault must leave true: clients, rows, ledger and engine tell the same story.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    api::{Api, Instance},
    eventually,
    server::Server,
    tenant::ping,
};

/// Longer than a dead server is waited for, and then some.
pub const RECOVERY: Duration = Duration::from_secs(90);

/// After this time a lease that is over must have ended, in seconds; the promise is one, the machine is busy.
const LATE_S: i64 = 5;

/// What the reaper has yet to do, in the metrics.
const LEFT_TO_DO: [&str; 5] =
    ["getaredis_reaper_pending", "getaredis_reap_lag_seconds", ORPHAN_CONTAINERS, ORPHANS_UNKNOWN, ORPHAN_ROWS];

pub const ORPHAN_CONTAINERS: &str = r#"getaredis_orphans{kind="container"}"#;
/// Containers of which the database has never heard.
pub const ORPHANS_UNKNOWN: &str = r#"getaredis_orphans{kind="unknown"}"#;
pub const ORPHAN_ROWS: &str = r#"getaredis_orphans{kind="row"}"#;

/// Waits until everything that was ever `answered` with a 201 is a working instance or ended with a reason, until rows,
/// slots and the engine's containers are the same, all of them running, and until the reaper has nothing left to do.
/// Returns the ids of what lives.
pub async fn everything_agrees(server: &Server, answered: &[Instance]) -> BTreeSet<String> {
    eventually("everything agrees", RECOVERY, async || {
        let alive = agreed(server).await?;
        for instance in answered {
            honest(&server.api(), instance, &alive).await?;
        }
        // Nothing has changed while that was looked at.
        if agreed(server).await? == alive { Ok(alive) } else { Err("it changes".to_owned()) }
    })
    .await
}

/// What rows, slots and containers say, if that is the same.
async fn agreed(server: &Server) -> Result<BTreeSet<String>, String> {
    let containers = server.containers().await;
    let snapshot = server.feed().await.snapshot().await;
    let rows = snapshot["instances"].as_array().ok_or("no rows")?;
    let capacity = server.api().get("/v1/capacity").await;
    let slots = capacity.body["slots_used"].as_u64().ok_or_else(|| format!("{capacity:?}"))?;
    let on_engine: BTreeSet<_> = containers.iter().map(|c| c.instance.clone()).collect();
    let recorded: BTreeSet<_> = rows.iter().filter_map(|row| row["id"].as_str()).map(str::to_owned).collect();
    let running = containers.iter().all(|c| c.running) && rows.iter().all(|row| row["state"] == "running");
    let same = on_engine == recorded && containers.len() == recorded.len() && slots == recorded.len() as u64;
    let numbers = numbers(&server.api()).await?;
    let left: Vec<_> = LEFT_TO_DO.into_iter().filter(|name| numbers.get(*name) != Some(&0.0)).collect();
    if running && same && left.is_empty() {
        Ok(recorded)
    } else {
        Err(format!("{slots} slots, {containers:?}, {rows:?}, not done: {left:?}"))
    }
}

/// Fails where a client was lied to.
async fn honest(api: &Api, instance: &Instance, alive: &BTreeSet<String>) -> Result<(), String> {
    let answer = api.show(instance).await;
    let lives = alive.contains(&instance.id);
    match answer.status {
        200 if lives && answer.body["state"] == "running" => {
            let now = answer.clone().instance();
            if now.expires_at.as_second() + LATE_S < Timestamp::now().as_second() {
                return Err(format!("its time is over: {answer:?}"));
            }
            ping(&now.redis_url).await.map(drop).map_err(|e| format!("{}: {e}", instance.id))
        }
        410 if !lives && answer.body["reason"].is_string() => Ok(()),
        _ => Err(format!("lives: {lives}; {answer:?}")),
    }
}

/// A scrape: the value of each metric, by its name with its labels.
pub async fn numbers(api: &Api) -> Result<BTreeMap<String, f64>, String> {
    let answer = api.request(reqwest::Method::GET, "/metrics").send().await.map_err(|e| e.to_string())?;
    let text = answer.text().await.map_err(|e| e.to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    lines.map(|(name, value)| Ok((name.to_owned(), value.parse().map_err(|e| format!("{name}: {e}"))?))).collect()
}
