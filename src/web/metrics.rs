//! `GET /metrics`: how the server does, in numbers, as Prometheus reads them.
//!
//! Everybody who may ask `/livez` may ask this, so no label names a creator, an instance or a host. A scrape reads the
//! actors' memory, makes one indexed query and tries whether the database takes writes; an actor that does not answer leaves
//! its numbers out.

mod creates;
mod process;

use std::time::Duration;

use actix_web::{HttpResponse, web::Data};
use getaredis_actors::{
    autoscaler::messages::{DescribeScaling, ScalingStatus},
    domain::{Cordon, EndReason, Health, InstanceState, scaling::Stage},
    feed::messages::{ActorView, CountInstances, InstanceCounts},
    ports::{HostVitals, Totals},
    reaper::messages::{DescribeReaper, Orphans, ReaperStatus},
    scheduler::messages::{DescribeFleet, FleetView},
    supervision::{Status, ask},
    webhooks::messages::{DescribeWebhooks, SinkStatus},
};
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::{Web, nothing_here, problem::Problem};

pub(super) use creates::Creates;

/// The actors answer from memory.
const ACTOR_WITHIN: Duration = Duration::from_secs(2);

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a scrape, or that there is no such address.
pub(super) async fn show(web: Data<Web>) -> Result<HttpResponse, Problem> {
    if !web.settings.metrics {
        return Err(nothing_here());
    }
    let (totals, takes_writes, fleet, counts, reaper, sinks, scaling) = futures_util::join!(
        web.stored(web.store.totals()),
        web.stored(web.store.ping()),
        ask(&web.doors.fleet, DescribeFleet, ACTOR_WITHIN),
        ask(&web.doors.counts, CountInstances, ACTOR_WITHIN),
        ask(&web.doors.reaper, DescribeReaper, ACTOR_WITHIN),
        ask(&web.doors.webhooks, DescribeWebhooks, ACTOR_WITHIN),
        ask(&web.doors.scaling, DescribeScaling, ACTOR_WITHIN),
    );
    let actors = (web.vitals.actors)();
    // One of its own for every scrape: what is no longer there is not shown, and no test sees another one's numbers.
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, || {
        build();
        process::measure();
        store(totals.ok(), takes_writes.is_ok());
        of_actors(&actors);
        fleet.iter().for_each(of_fleet);
        counts.iter().for_each(of_instances);
        reaper.iter().for_each(of_reaper);
        sinks.iter().flatten().for_each(of_sink);
        scaling.iter().filter(|pool| pool.enabled).for_each(of_pool);
    });
    let text = recorder.handle().render() + &web.creates.render();
    Ok(HttpResponse::Ok().insert_header(("content-type", CONTENT_TYPE)).body(text))
}

/// A number that may fall. Beyond 2^53 it would be rounded, which nothing here comes near.
#[allow(clippy::cast_precision_loss)]
fn float(number: u64) -> f64 {
    number as f64
}

fn yes(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn build() {
    describe_gauge!("getaredis_build_info", "Always 1; the version that runs is its label.");
    gauge!("getaredis_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
}

fn store(totals: Option<Totals>, takes_writes: bool) {
    describe_gauge!("getaredis_store_up", "Whether the database answers and takes writes.");
    gauge!("getaredis_store_up").set(yes(totals.is_some() && takes_writes));
    if let Some(totals) = totals {
        describe_counter!("getaredis_instances_started_total", "Instances that ever became running, of all servers.");
        counter!("getaredis_instances_started_total").absolute(totals.started);
    }
}

/// The actors of hosts are one together, because they bear the names of the hosts.
fn of_actors(actors: &[ActorView]) {
    describe_gauge!("getaredis_actor_up", "Whether the actor runs; of the hosts' actors, whether all do.");
    describe_counter!("getaredis_actor_restarts_total", "How often the actor was restarted.");
    let role = |actor: &ActorView| actor.name.split(':').next().unwrap_or_default().to_owned();
    let mut roles: Vec<String> = actors.iter().map(role).collect();
    roles.sort();
    roles.dedup();
    for name in roles {
        let of_it = || actors.iter().filter(|actor| role(actor) == name);
        let up = of_it().all(|actor| actor.status == Status::Up);
        let restarts = of_it().map(|actor| actor.restarts as u64).sum();
        gauge!("getaredis_actor_up", "actor" => name.clone()).set(yes(up));
        counter!("getaredis_actor_restarts_total", "actor" => name.clone()).absolute(restarts);
    }
}

fn of_fleet(fleet: &FleetView) {
    describe_gauge!("getaredis_hosts", "Hosts by state.");
    let states = [
        (Health::Joining, "joining"),
        (Health::Up, "up"),
        (Health::Unreachable, "unreachable"),
        (Health::Unannounced, "unannounced"),
        (Health::Failing, "failing"),
    ];
    for (state, word) in states {
        let hosts = fleet.hosts.iter().filter(|host| host.state == state).count();
        gauge!("getaredis_hosts", "state" => word).set(float(hosts as u64));
    }
    describe_gauge!("getaredis_slots", "Places for instances on all hosts.");
    let total = fleet.hosts.iter().map(|host| u64::from(host.slots)).sum();
    let used = fleet.hosts.iter().map(|host| u64::from(host.used)).sum();
    gauge!("getaredis_slots", "kind" => "total").set(float(total));
    gauge!("getaredis_slots", "kind" => "used").set(float(used));
    describe_gauge!("getaredis_accepting", "Whether a create would find a place now.");
    gauge!("getaredis_accepting").set(yes(fleet.ready && fleet.refusal.is_none()));
    describe_gauge!("getaredis_hosts_cordoned", "Hosts that are kept from taking new instances, by how.");
    for (cordon, word) in [(Cordon::Cordoned, "cordoned"), (Cordon::Draining, "draining")] {
        let hosts = fleet.hosts.iter().filter(|host| host.cordon == Some(cordon)).count();
        gauge!("getaredis_hosts_cordoned", "cordon" => word).set(float(hosts as u64));
    }
    describe_gauge!("getaredis_creates_waiting", "Creates that wait for room.");
    gauge!("getaredis_creates_waiting").set(f64::from(fleet.waiting));
    describe_counter!("getaredis_creates_waited_total", "Creates that had to wait for room, whatever came of it.");
    counter!("getaredis_creates_waited_total").absolute(fleet.waited);
    describe_counter!("getaredis_create_wait_seconds_total", "How long those have waited, all together.");
    counter!("getaredis_create_wait_seconds_total").absolute(fleet.waited_for.as_secs());
    of_vitals(fleet);
}

/// Of all hosts the one that has least left: whatever is alerted on is alerted on for every host.
fn of_vitals(fleet: &FleetView) {
    let most = |share: fn(&HostVitals) -> Option<f64>| {
        fleet.hosts.iter().filter_map(|host| share(host.vitals.as_deref()?)).reduce(f64::max)
    };
    describe_gauge!(
        "getaredis_host_memory_used_ratio",
        "Memory in use on the host that has the largest share of its own in use."
    );
    if let Some(ratio) = most(|v| used(v.memory_total_bytes, v.memory_available_bytes)) {
        gauge!("getaredis_host_memory_used_ratio").set(ratio);
    }
    describe_gauge!("getaredis_host_disk_used_ratio", "The same of the disk that holds images and containers.");
    if let Some(ratio) = most(|v| used(v.disk_total_bytes, v.disk_free_bytes)) {
        gauge!("getaredis_host_disk_used_ratio").set(ratio);
    }
    describe_gauge!(
        "getaredis_host_restarts",
        "How often programs of the host that has most of it had to be started again since it booted."
    );
    if let Some(times) = most(|v| v.restarts.values().copied().map(f64::from).reduce(|a, b| a + b)) {
        gauge!("getaredis_host_restarts").set(times);
    }
}

fn used(total: Option<u64>, left: Option<u64>) -> Option<f64> {
    Some(1.0 - float(left?) / float(total.filter(|total| *total > 0)?))
}

fn of_pool(pool: &ScalingStatus) {
    describe_gauge!("getaredis_droplets", "Hosts that are paid for, by where they stand.");
    for stage in Stage::ALL {
        let droplets = pool.droplets.iter().filter(|droplet| droplet.stage == stage).count();
        gauge!("getaredis_droplets", "stage" => stage.as_str()).set(float(droplets as u64));
    }
    describe_gauge!("getaredis_droplets_allowed", "Hosts that may be paid for, which is fleet.max_hosts.");
    gauge!("getaredis_droplets_allowed").set(f64::from(pool.max_hosts));
    describe_gauge!("getaredis_scaling_paused", "Whether the operator has paused the autoscaler.");
    gauge!("getaredis_scaling_paused").set(yes(pool.paused));
    describe_counter!("getaredis_scaling_passes_total", "Looks at the pool that came to an end, well or not.");
    counter!("getaredis_scaling_passes_total").absolute(pool.passes);
    describe_counter!("getaredis_droplets_ordered_total", "Hosts that were ordered.");
    counter!("getaredis_droplets_ordered_total").absolute(pool.totals.ordered);
    describe_counter!("getaredis_droplets_deleted_total", "Hosts that were given back.");
    counter!("getaredis_droplets_deleted_total").absolute(pool.totals.deleted);
    describe_counter!(
        "getaredis_scaling_failures_total",
        "Readings, orders and other steps of the autoscaler that failed."
    );
    counter!("getaredis_scaling_failures_total").absolute(pool.totals.failures);
}

fn of_instances(counts: &InstanceCounts) {
    describe_counter!("getaredis_ended_total", "Instances that this server ended, by reason.");
    for reason in EndReason::ALL.map(EndReason::as_str) {
        let ended = counts.ended.get(reason).copied().unwrap_or_default();
        counter!("getaredis_ended_total", "reason" => reason).absolute(ended);
    }
    let Some(live) = &counts.live else { return };
    describe_gauge!("getaredis_instances", "Instances that have not ended, by state.");
    let stopping = InstanceState::Stopping(EndReason::Expired);
    let states = [InstanceState::Creating, InstanceState::Running, InstanceState::Unreachable, stopping];
    for state in states.map(InstanceState::as_str) {
        gauge!("getaredis_instances", "state" => state).set(float(live.get(state).copied().unwrap_or_default()));
    }
}

fn of_reaper(reaper: &ReaperStatus) {
    describe_gauge!("getaredis_reaper_pending", "Instances whose end is written and not confirmed yet.");
    gauge!("getaredis_reaper_pending").set(float(reaper.pending));
    describe_gauge!(
        "getaredis_reap_lag_seconds",
        "For how long the longest overdue ending has been due; 0 when none is."
    );
    gauge!("getaredis_reap_lag_seconds").set(float(reaper.reap_lag_s));
    describe_gauge!("getaredis_orphans", "What the last sweep found on one side only and nobody has settled yet.");
    let Orphans { container, unknown, row } = reaper.orphans;
    for (kind, orphans) in [("container", container), ("unknown", unknown), ("row", row)] {
        gauge!("getaredis_orphans", "kind" => kind).set(float(orphans));
    }
    describe_counter!("getaredis_sweeps_total", "Comparisons of rows and containers that were finished.");
    counter!("getaredis_sweeps_total").absolute(reaper.sweeps);
    describe_counter!("getaredis_orphans_removed_total", "Containers without a row that were removed.");
    counter!("getaredis_orphans_removed_total").absolute(reaper.orphans_removed);
}

fn of_sink(sink: &SinkStatus) {
    describe_counter!("getaredis_webhook_deliveries_total", "Posts of notices by sink and what became of them.");
    let outcomes = [
        ("accepted", sink.accepted),
        ("failed", sink.failed),
        ("unwanted", sink.unwanted),
        ("given_up", sink.given_up),
    ];
    let name = sink.sink.to_string();
    for (outcome, posts) in outcomes {
        let labels = [("sink", name.clone()), ("outcome", outcome.to_owned())];
        counter!("getaredis_webhook_deliveries_total", &labels).absolute(posts);
    }
    if let Some(backlog) = sink.backlog {
        describe_gauge!("getaredis_webhook_backlog", "Notices that wait for their sink to accept them.");
        gauge!("getaredis_webhook_backlog", "sink" => name).set(float(backlog));
    }
}
