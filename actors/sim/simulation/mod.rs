//! Days of arrivals on the real actors, simulated ports and virtual time: what a policy would cost and how long people
//! would wait.
//!
//! Owns the run and its figures. It runs the same brain as the server does; only what is done periodically and decides
//! nothing here is done less often. It must be called on paused time, and gives the same figures for the same scenario.

pub mod arrivals;
pub mod optimum;

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use self::{arrivals::Arrival, optimum::hours};
use super::{
    clock::SimClock,
    cloud::SimCloud,
    directory::SimDirectory,
    faults::Faults,
    harness,
    runtime::{Pace, SimRuntimes},
    store::SimStore,
    webhooks::SimWebhooks,
};
use crate::{
    brain::{Brain, Ports},
    domain::{DeploymentId, LeasePolicy, MasterKey, Strategy, scaling::ScalingPolicy},
    ports::{Clock, Store},
    scheduler::messages::{CreateInstance, DescribeFleet},
    settings::{HostSettings, QueueSettings, ReaperSettings, Settings},
    supervision::ask,
};

/// How long a heartbeat lives.
const TTL: Duration = Duration::from_secs(10);

/// How often what has ended is forgotten, so that a year fits into memory.
const TIDY: Duration = Duration::from_secs(3600);

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Who asks, in order.
    pub arrivals: Vec<Arrival>,
    /// How long it is watched.
    pub length: Duration,
    /// How the pool grows and shrinks.
    pub policy: ScalingPolicy,
    /// How hosts are filled.
    pub strategy: Strategy,
    /// How creates wait.
    pub queue: QueueSettings,
    /// From the order of a droplet to its first heartbeat.
    pub boot: Duration,
    /// From the order of a container to its first answer.
    pub start: Duration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Requests.
    pub creates: usize,
    /// Those that were served, each from when its life began: what somebody who knows the future has to serve too, to be
    /// compared with it.
    pub served: Vec<Arrival>,
    /// Those that were refused.
    pub refused: usize,
    /// Those that waited for a droplet to boot, whatever came of it.
    pub waited: u64,
    /// The most droplets at once.
    pub most_hosts: usize,
    /// Droplets that were ordered.
    pub ordered: u32,
    /// Hours of all droplets together.
    pub droplet_hours: f64,
    /// Share of the slots of all droplets that was used.
    pub utilisation: f64,
    /// Seconds until half, 95 and 99 percent of those that were served were answered, and the last one.
    pub answered_in_s: [f64; 4],
}

impl Outcome {
    /// Share of the requests that waited for a boot.
    #[must_use]
    pub fn share_waited(&self) -> f64 {
        ratio(self.waited as f64, self.creates as f64)
    }
}

/// The rule of the program of 2015: one empty host always, ordered and given back at once.
#[must_use]
pub fn seed_rule(policy: &ScalingPolicy) -> ScalingPolicy {
    ScalingPolicy {
        standby: 1,
        standby_slots: 0,
        standby_percent: 0,
        min_hosts: 0,
        idle: Duration::ZERO,
        min_age: Duration::ZERO,
        cooldown: Duration::ZERO,
        creates_per_hour: 0,
        ..policy.clone()
    }
}

/// What the tasks of a run find out.
#[derive(Default)]
struct Notes {
    answered: Vec<Duration>,
    served: Vec<Arrival>,
    refused: usize,
}

/// Runs the scenario. To be called on paused time, in an `actix::System`. `progress` is told again and again how much of its
/// time has passed.
///
/// # Errors
/// When an actor died, which makes the figures worthless.
pub async fn run(scenario: &Scenario, progress: impl Fn(Duration)) -> Result<Outcome, String> {
    let (faults, clock) = (Faults::new(), SimClock::new());
    let directory = SimDirectory::new(Some(TTL), faults.clone());
    let runtimes = SimRuntimes::new(Pace { start: scenario.start, ..Pace::default() }, faults.clone());
    let store = SimStore::new(faults.clone());
    let (boot, slots) = (scenario.boot, scenario.policy.slots);
    let cloud = SimCloud::new(boot, slots, clock.clone(), directory.clone(), runtimes.clone(), faults.clone());
    let settings = settings(scenario);
    let patience = settings.longest_create() + Duration::from_secs(60);
    let ports = Ports {
        clock: Arc::new(clock.clone()),
        store: Arc::new(store.clone()),
        runtimes: Arc::new(runtimes),
        directory: Arc::new(directory),
        cloud: Some(Arc::new(cloud.clone())),
        journal: None,
        webhooks: Arc::new(SimWebhooks::default()),
    };
    let deployment = DeploymentId::parse("sim").map_err(|error| error.to_string())?;
    let brain = Brain::start(deployment, ports, Arc::new(settings), Arc::new(MasterKey::new([7; 32])));

    let (begin, begun, notes) = (Instant::now(), clock.now(), Rc::new(RefCell::new(Notes::default())));
    let tidy = actix::spawn(async move {
        loop {
            sleep(TIDY).await;
            // What is left is forgotten the next time.
            let _ = store.purge(clock.now(), u32::MAX).await;
            faults.forget_log();
        }
    });
    for arrival in &scenario.arrivals {
        if arrival.at >= scenario.length {
            break;
        }
        sleep_until(begin + arrival.at).await;
        progress(arrival.at);
        let request = CreateInstance { ttl: Some(arrival.ttl), ..harness::request(harness::creator(arrival.creator)) };
        let (door, notes) = (brain.doors.create.clone(), Rc::clone(&notes));
        let arrival = *arrival;
        actix::spawn(async move {
            let asked = Instant::now();
            let answer = ask(&door, request, patience).await;
            let mut notes = notes.borrow_mut();
            match answer {
                Ok(Ok(created)) => {
                    notes.answered.push(asked.elapsed());
                    let began = created.instance.created_at.duration_since(begun);
                    notes.served.push(Arrival { at: began.try_into().unwrap_or_default(), ..arrival });
                }
                _ => notes.refused += 1,
            }
        });
    }
    sleep_until(begin + scenario.length).await;
    let droplet_time = cloud.machine_time();
    let fleet = ask(&brain.doors.fleet, DescribeFleet, patience).await.map_err(|error| error.to_string())?;
    // Those that came last are answered too.
    sleep(patience).await;
    tidy.abort();
    if let Some(report) = brain.roster.reports().into_iter().find(|report| report.restarts > 0) {
        return Err(format!("an actor died: {report:?}"));
    }
    let mut notes = notes.take();
    notes.answered.sort_unstable();
    notes.served.sort_by_key(|arrival| arrival.at);
    let quantile = |share: f64| {
        let at = (share * notes.answered.len() as f64).ceil() as usize;
        notes.answered.get(at.saturating_sub(1)).map_or(0.0, Duration::as_secs_f64)
    };
    let served_for =
        notes.served.iter().map(|arrival| arrival.ttl.min(scenario.length.saturating_sub(arrival.at))).sum();
    let slot_hours = hours(droplet_time) * f64::from(slots);
    Ok(Outcome {
        creates: notes.answered.len() + notes.refused,
        refused: notes.refused,
        waited: fleet.waited + u64::from(fleet.waiting),
        most_hosts: cloud.most_ever(),
        ordered: cloud.ordered(),
        droplet_hours: hours(droplet_time),
        utilisation: ratio(hours(served_for), slot_hours),
        answered_in_s: [0.5, 0.95, 0.99, 1.0].map(quantile),
        served: notes.served,
    })
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The product's own, less often where nothing is decided by it, and without caps.
fn settings(scenario: &Scenario) -> Settings {
    let usual = harness::settings();
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    Settings {
        strategy: scenario.strategy,
        lease: LeasePolicy { max_ttl: century, max_lifetime: century, warn_before: Duration::ZERO, ..usual.lease },
        max_in_flight: usize::MAX,
        queue: scenario.queue,
        host: HostSettings { probe_every: Duration::from_secs(60), ..usual.host },
        reaper: ReaperSettings { poll: Duration::from_secs(10), sweep: TIDY, ..usual.reaper },
        scaling: Some(scenario.policy.clone()),
        watch_every: TIDY,
        ..usual
    }
}
