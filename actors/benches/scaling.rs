//! A thousand hosts and forty thousand instances: how long a plan and a reading of the directory take, and how much
//! memory the brain then has. Prints one line for each; `script/lib/bench-scaling` adds the simulated week.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler, Message, MessageResult};
use async_trait::async_trait;
use getaredis_actors::{
    autoscaler::messages::ScaleNow,
    brain::{Brain, Ports},
    discovery::{self, DiscoveryActor},
    domain::{
        DeploymentId, Health, HostName, HostState, InstanceState, MasterKey,
        scaling::{Droplet, DropletHost, DropletState, FleetSnapshot, ScalingPolicy, plan},
    },
    ports::{Directory, DirectoryError, DirectoryReading, HostRecord},
    scheduler::messages::{DescribeFleet, FleetView},
    settings::Settings,
    sim::{
        clock::SimClock,
        cloud::SimCloud,
        directory::SimDirectory,
        faults::Faults,
        harness,
        runtime::{Pace, SimRuntimes},
        samples::{self, a_request, id, now, scaling_policy},
        store::SimStore,
        webhooks::SimWebhooks,
    },
    supervision::ask,
};

const HOSTS: u32 = 1000;
const SLOTS: u32 = 40;

fn name(n: u32) -> HostName {
    HostName::parse(&format!("bench-{n:04}")).unwrap()
}

fn record(n: u32, slots: u32) -> HostRecord {
    let [_, _, high, low] = n.to_be_bytes();
    HostRecord { name: name(n), public_address: [10, 0, high, low].into(), engine: String::new(), slots }
}

fn policy() -> ScalingPolicy {
    ScalingPolicy { max_hosts: 2 * HOSTS, standby_percent: 5, ..scaling_policy() }
}

fn report(what: &str, took: Duration, target_ms: f64) {
    let took = took.as_secs_f64() * 1000.0;
    let word = if took <= target_ms { "met" } else { "MISSED" };
    println!("{what:<52} {took:>9.2} ms   target {target_ms} ms: {word}");
}

/// The median of some runs.
fn median(mut runs: Vec<Duration>) -> Duration {
    runs.sort_unstable();
    runs[runs.len() / 2]
}

fn a_plan() {
    let droplet = |n| Droplet {
        name: name(n),
        row: Some((DropletState::Created, now())),
        listed: Some(now()),
        host: Some(DropletHost {
            state: HostState { health: Health::Up, cordon: None },
            slots: SLOTS,
            used: if n % 10 == 0 { 0 } else { SLOTS },
            since: now(),
            was_up: true,
            empty_since: (n % 10 == 0).then(now),
        }),
        absent_since: None,
        instances: SLOTS,
        drained_by_plan: false,
    };
    let snapshot = FleetSnapshot {
        droplets: (0..HOSTS).map(droplet).collect(),
        directory_well_since: Some(now()),
        ..FleetSnapshot::default()
    };
    let runs = (0..101).map(|_| {
        let start = Instant::now();
        std::hint::black_box(plan(&snapshot, &policy(), samples::later(86_400)));
        start.elapsed()
    });
    report("a plan, 1,000 droplets", median(runs.collect()), 5.0);
}

/// A directory that notes when it was read last.
struct Timed {
    directory: SimDirectory,
    read_at: Arc<Mutex<Option<Instant>>>,
}

#[async_trait]
impl Directory for Timed {
    async fn read(&self) -> Result<DirectoryReading, DirectoryError> {
        let reading = self.directory.read().await;
        *self.read_at.lock().unwrap() = Some(Instant::now());
        reading
    }

    fn ttl(&self) -> Option<Duration> {
        self.directory.ttl()
    }
}

struct Hears(Box<dyn FnMut()>);

impl Actor for Hears {
    type Context = Context<Self>;
}

impl<M: Message<Result = ()>> Handler<M> for Hears {
    type Result = ();

    fn handle(&mut self, _: M, _: &mut Context<Self>) {
        (self.0)();
    }
}

struct NoFleet;

impl Actor for NoFleet {
    type Context = Context<Self>;
}

impl Handler<DescribeFleet> for NoFleet {
    type Result = MessageResult<DescribeFleet>;

    fn handle(&mut self, _: DescribeFleet, _: &mut Context<Self>) -> Self::Result {
        MessageResult(FleetView { ready: true, leads: true, ..FleetView::default() })
    }
}

/// Every host announces something else: from the end of the reading to the last of the thousand messages.
async fn a_reading_of_the_directory() {
    let directory = SimDirectory::new(Some(Duration::from_secs(10)), Faults::new());
    (0..HOSTS).for_each(|n| directory.announce(record(n, SLOTS)));
    let (read_at, heard) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new((0u32, None))));
    let counts = Arc::clone(&heard);
    let hears = Hears(Box::new(move || {
        let mut heard = counts.lock().unwrap();
        *heard = (heard.0 + 1, Some(Instant::now()));
    }))
    .start();
    let peers = discovery::Peers {
        joined: hears.clone().recipient(),
        changed: hears.clone().recipient(),
        lost: hears.clone().recipient(),
        vitals: hears.clone().recipient(),
        fleet: NoFleet.start().recipient(),
    };
    let port = Arc::new(Timed { directory: directory.clone(), read_at: Arc::clone(&read_at) });
    let actor = DiscoveryActor::new(port, Duration::from_millis(200), peers).start();
    let mut runs = Vec::new();
    for round in 0..12 {
        while heard.lock().unwrap().0 < HOSTS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (read, last) = (read_at.lock().unwrap().unwrap(), heard.lock().unwrap().1.unwrap());
        runs.push(last.saturating_duration_since(read));
        *heard.lock().unwrap() = (0, None);
        (0..HOSTS).for_each(|n| directory.announce(record(n, SLOTS + 1 + round)));
    }
    drop(actor);
    report("a reading that changes all of 1,000 hosts", median(runs), 50.0);
}

/// A whole brain that has a thousand hosts with forty instances each.
async fn a_whole_brain() {
    let (faults, clock) = (Faults::new(), SimClock::new());
    let directory = SimDirectory::new(Some(Duration::from_secs(10)), faults.clone());
    let runtimes = SimRuntimes::new(Pace::default(), faults.clone());
    let store = SimStore::new(faults.clone());
    let cloud = SimCloud::new(Duration::ZERO, SLOTS, clock.clone(), directory.clone(), runtimes.clone(), faults);
    for n in 0..HOSTS {
        runtimes.switch_on(&name(n));
        directory.announce(record(n, SLOTS));
        for slot in 0..SLOTS {
            let number = u128::from(n * SLOTS + slot + 1);
            let mut instance = a_request(1).instance;
            (instance.id, instance.host, instance.state) = (id(number), name(n), InstanceState::Running);
            instance.server = None;
            instance.lease.expires_at = samples::later(100_000_000);
            instance.lease.warn_at = None;
            runtimes.plant(&name(n), &instance.id);
            store.seed(instance);
        }
    }
    let ports = Ports {
        clock: Arc::new(clock),
        store: Arc::new(store),
        runtimes: Arc::new(runtimes),
        directory: Arc::new(directory),
        cloud: Some(Arc::new(cloud)),
        journal: None,
        webhooks: Arc::new(SimWebhooks::default()),
    };
    let settings =
        Settings { scaling: Some(ScalingPolicy { standby: 0, max_hosts: 0, ..policy() }), ..harness::settings() };
    let deployment = DeploymentId::parse("bench").unwrap();
    let brain = Brain::start(deployment, ports, Arc::new(settings), Arc::new(MasterKey::new([7; 32])));
    loop {
        let fleet = ask(&brain.doors.fleet, DescribeFleet, Duration::from_secs(30)).await.unwrap();
        let up = fleet.hosts.iter().filter(|host| host.state == Health::Up && host.used == SLOTS).count();
        if up == HOSTS as usize {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut runs = Vec::new();
    for _ in 0..9 {
        let start = Instant::now();
        ask(&brain.doors.scale, ScaleNow, Duration::from_secs(30)).await.unwrap();
        runs.push(start.elapsed());
    }
    let pass = median(runs).as_secs_f64() * 1000.0;
    println!("{:<52} {pass:>9.2} ms", "a pass: read all, look, plan");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let megabytes = rss.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0;
    let word = if megabytes <= 150.0 { "met" } else { "MISSED" };
    let what = "resident memory, simulated engines and store included";
    println!("{what:<52} {megabytes:>9.1} MB   target 150 MB: {word}");
}

fn main() {
    // A test runner only wants to know that it compiles.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    a_plan();
    let system = actix::System::new();
    system.block_on(async {
        a_reading_of_the_directory().await;
        a_whole_brain().await;
    });
}
