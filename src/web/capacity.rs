//! `GET /v1/capacity`: how much room there is and what a visitor gets by default.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use getaredis_actors::{
    domain::Health,
    scheduler::messages::{DescribeFleet, FleetView},
    supervision::ask,
};
use serde_json::json;

use super::{Web, problem::Problem, tokens::caller};

/// The scheduler answers from memory.
pub(super) const FLEET_WITHIN: Duration = Duration::from_secs(2);

/// Everybody may ask this, so it says nothing about single hosts. Who shows an API token is told its own cap.
///
/// An instance counts from its reservation until its slot is free again: one that starts or stops is in the numbers.
pub(super) async fn show(web: Data<Web>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let caller = caller(&request, &web).await?;
    let fleet = ask(&web.doors.fleet, DescribeFleet, FLEET_WITHIN)
        .await
        .map_err(|error| Problem::of_ask(error, "scheduler"))?;
    let totals = web.stored(web.store.totals()).await?;
    let slots: u64 = fleet.hosts.iter().map(|host| u64::from(host.slots)).sum();
    let used: u64 = fleet.hosts.iter().map(|host| u64::from(host.used)).sum();
    let up = || fleet.hosts.iter().filter(|host| host.state == Health::Up);
    // Slots of a host that takes nothing are not free, so the three numbers need not add up.
    let open = up().filter(|host| host.cordon.is_none());
    let free: u64 = open.map(|host| u64::from(host.slots.saturating_sub(host.used))).sum();
    let refusal = refusal(&web, &fleet, used);
    let lease = &web.settings.lease;
    let flavour = web.settings.flavours.first();
    Ok(HttpResponse::Ok().json(json!({
        "slots_total": slots,
        "slots_used": used,
        "slots_free": free,
        "hosts": fleet.hosts.len(),
        "hosts_up": up().count(),
        "accepting": refusal.is_none(),
        "reason": refusal,
        "instances_started_total": totals.started,
        "instances_running": used,
        "isolated": web.settings.isolated && fleet.hosts.iter().all(|host| host.isolated),
        "defaults": {
            "ttl_s": lease.default_ttl.as_secs(),
            "min_ttl_s": lease.min_ttl.as_secs(),
            "max_ttl_s": lease.max_ttl.as_secs(),
            "max_lifetime_s": lease.max_lifetime.as_secs(),
            "memory_bytes": flavour.map(|flavour| flavour.memory_bytes),
            "connections": flavour.map(|flavour| flavour.connections),
            "per_creator": caller.per_creator,
        },
    })))
}

/// Why a create would be refused now, whoever asks.
fn refusal(web: &Web, fleet: &FleetView, used: u64) -> Option<String> {
    let cap = u64::from(web.settings.quotas.global);
    if !fleet.ready {
        Some("the server is starting".to_owned())
    } else if cap > 0 && used >= cap {
        Some(format!("{cap} instances are running, which is the most that the operator allows"))
    } else {
        fleet.refusal.clone()
    }
}
