//! A thousand hosts and forty thousand instances: what a pass of discovery, of the autoscaler and of the reaper takes, what
//! a create and a look at the fleet cost there, and how much memory the process then has; and a simulated bursty week.
//! `script/bench scaling` runs it. No test: it asserts nothing.
//!
//! The whole brain, a real redis-server in which the hosts announce themselves, a real SQLite file with the rows. Engines
//! and cloud are simulated, in this very process, so that its memory includes theirs.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    cell::Cell,
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use getaredis::adapters::{
    directory::{RedisDirectory, RedisSettings},
    store::{SqlStore, StoreSettings},
};
use getaredis_actors::{
    autoscaler::messages::ScaleNow,
    brain::{Brain, Doors, Ports},
    domain::{
        DeploymentId, Health, HostEvent, HostName, HostState, MasterKey, Strategy,
        scaling::{Droplet, DropletHost, DropletState, FleetSnapshot, OrderBudget, ScalingPolicy, plan},
    },
    feed::messages::{CountInstances, Subscribe},
    ports::{Directory, DirectoryError, DirectoryReading, DropletRow, HostRecord, Store},
    reaper::messages::SweepNow,
    scheduler::{messages::DescribeFleet, state::Ledger},
    settings::{QueueSettings, Settings},
    sim::{
        clock::SimClock,
        cloud::SimCloud,
        directory::SimDirectory,
        faults::Faults,
        harness,
        runtime::{Pace, SimRuntimes},
        samples::{id, later, now, scaling_policy},
        simulation::{self, Scenario, arrivals::Profile, optimum::optimum, seed_rule},
        webhooks::SimWebhooks,
    },
    supervision::ask,
};
use tokio::sync::Notify;

const HOSTS: u32 = 1000;
const INSTANCES: u32 = 40;
/// With a tenth free, so that there is a place to be found and no more is bought.
const SLOTS: u32 = 44;
const ROUNDS: usize = 25;
/// Free slots that a week is simulated with; the first one is recommended.
const RESERVES: [u32; 3] = [24, 16, 40];
const PATIENCE: Duration = Duration::from_secs(60);
/// What a timer can be, finest.
const TICK: Duration = Duration::from_millis(1);

fn name(n: u32) -> HostName {
    HostName::parse(&format!("bench-{n:04}")).unwrap()
}

fn policy() -> ScalingPolicy {
    ScalingPolicy { standby: 0, standby_percent: 5, max_hosts: 2 * HOSTS, slots: SLOTS, ..scaling_policy() }
}

fn line(what: &str, figure: &str, target: &str) {
    println!("| {what} | {figure} | {target} |");
}

/// The median and the longest of some runs.
fn report(what: &str, mut runs: Vec<Duration>, target_ms: Option<f64>) {
    runs.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let (median, most) = (ms(runs[runs.len() / 2]), ms(runs[runs.len() - 1]));
    let word = target_ms.map(|target| format!("{target} ms: {}", if median <= target { "met" } else { "MISSED" }));
    line(what, &format!("{median:.3} ms (longest {most:.3})"), &word.unwrap_or_default());
}

fn times(mut work: impl FnMut()) -> Vec<Duration> {
    let timed = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..ROUNDS).map(timed).collect()
}

/// The pure parts, each for itself.
fn parts() {
    let droplet = |n| Droplet {
        name: name(n),
        row: Some((DropletState::Created, now())),
        listed: Some(now()),
        host: Some(DropletHost {
            state: HostState { health: Health::Up, cordon: None },
            slots: SLOTS,
            used: if n % 10 == 0 { 0 } else { INSTANCES },
            since: now(),
            was_up: true,
            empty_since: (n % 10 == 0).then(now),
        }),
        absent_since: None,
        twins: 0,
        is_off: false,
        stray_since: None,
        alias_of: None,
        missing_since: None,
        deleted_since: None,
        instances: INSTANCES,
        drained_by_plan: false,
    };
    let snapshot = FleetSnapshot {
        droplets: (0..HOSTS).map(droplet).collect(),
        directory_well_since: Some(now()),
        ..FleetSnapshot::default()
    };
    let deciding = times(|| drop(std::hint::black_box(plan(&snapshot, &policy(), later(86_400)))));
    report("a plan", deciding, Some(5.0));

    let mut ledger = Ledger::default();
    for n in 0..HOSTS {
        let record =
            HostRecord { name: name(n), public_address: [192, 0, 2, 1].into(), engine: String::new(), slots: SLOTS };
        ledger.announce(record, true);
        ledger.engine_event(&name(n), HostEvent::Answered, None).unwrap();
        (0..INSTANCES).for_each(|slot| ledger.adopt(&id(u128::from(n * INSTANCES + slot)), &name(n)));
    }
    let mut next = u128::from(HOSTS * INSTANCES);
    let placing = times(|| {
        next += 1;
        std::hint::black_box(ledger.reserve(&id(next), Strategy::Fill, &[]).unwrap());
    });
    report("one placement in the ledger", placing, None);
}

/// A redis-server of its own.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let binary = std::env::var_os("GETAREDIS_TEST_REDIS_SERVER").unwrap_or_else(|| "/usr/bin/redis-server".into());
        let mut command = Command::new(binary);
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"]).arg(dir);
        Self { child: command.stdout(Stdio::null()).spawn().unwrap(), port }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Every host announces itself, with so many slots.
    async fn announce(&self, slots: u32) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = loop {
            match client.get_multiplexed_async_connection().await {
                Ok(connection) => break connection,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let mut all = redis::pipe();
        for n in 0..HOSTS {
            let [_, _, high, low] = n.to_be_bytes();
            let beat = serde_json::json!({
                "PublicIP": format!("203.0.{high}.{low}"), "PrivateIP": format!("10.0.{high}.{low}"), "Name": name(n),
                "NumberOfContainers": INSTANCES, "Slots": slots, "Engine": "up", "EngineVersion": "26.1.5",
                "SetupVersion": "0.1.0", "MemoryTotal": 2_060_099_584u64, "MemoryAvailable": 1_060_099_584u64,
                "Load": 0.29, "Cpus": 2, "BootedAt": 1_790_000_000, "Kernel": "6.1.0-18-amd64",
                "DiskTotal": 52_000_000_000u64, "DiskFree": 40_000_000_000u64,
            });
            all.cmd("SET").arg(format!("server:{}", name(n))).arg(beat.to_string()).ignore();
        }
        all.query_async::<()>(&mut connection).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory, and when its last reading began.
struct Timed {
    directory: RedisDirectory,
    began: Mutex<Option<Instant>>,
    read: Notify,
}

#[async_trait]
impl Directory for Timed {
    async fn read(&self) -> Result<DirectoryReading, DirectoryError> {
        *self.began.lock().unwrap() = Some(Instant::now());
        let reading = self.directory.read().await;
        self.read.notify_waiters();
        reading
    }

    fn ttl(&self) -> Option<Duration> {
        self.directory.ttl()
    }
}

impl Timed {
    /// From the beginning of the next reading until the scheduler has heard of everything that is new in it.
    async fn pass(&self, doors: &Doors) -> Duration {
        // Nobody waits for a reading that is under way already.
        self.read.notified().await;
        self.read.notified().await;
        let began = self.began.lock().unwrap().unwrap();
        // What discovery tells is in the scheduler's mailbox before this.
        ask(&doors.fleet, DescribeFleet, PATIENCE).await.unwrap();
        began.elapsed()
    }
}

/// Rows of the hosts and their instances, written by SQL because forty thousand admissions would take a while.
async fn rows(dir: &Path) -> SqlStore {
    let path = dir.join("bench.db");
    let settings = StoreSettings {
        url: format!("sqlite://{}", path.display()).into(),
        pool: 8,
        acquire_timeout: Duration::from_secs(2),
        tls_ca: None,
    };
    let store = SqlStore::open(&settings).await.unwrap();
    for n in 0..HOSTS {
        let row = DropletRow { name: name(n), state: DropletState::Created, created_at: now() };
        store.order_droplet(&row, HOSTS, OrderBudget::default()).await.unwrap();
    }
    let live = HOSTS * INSTANCES;
    let sql = format!(
        "INSERT INTO instances (id, creator, flavour, host, state, address, port, fingerprint, rotation, created_at, \
         expires_at, max_expires_at) WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < {live} - 1) \
         SELECT printf('%032x', n), printf('10.%d.%d.%d', n % 251, n % 241, n % 239), 'redis', \
         printf('bench-%04d', n / {INSTANCES}), 'running', '203.0.113.7', 32768, 'ttl=default', 0, 1790000000000 + n, \
         4102444800000, 4102444800000 FROM s; UPDATE counters SET value = value + {live} WHERE name = 'live'"
    );
    SqliteConnection::establish(path.to_str().unwrap()).unwrap().batch_execute(&sql).unwrap();
    store
}

fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    value.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
}

/// How late a timer on the actors' thread is at most while this is done.
async fn longest_turn(work: impl Future<Output = ()>) -> Duration {
    let longest = Rc::new(Cell::new(Duration::ZERO));
    let seen = Rc::clone(&longest);
    let ticker = actix::spawn(async move {
        loop {
            let before = Instant::now();
            tokio::time::sleep(TICK).await;
            seen.set(seen.get().max(before.elapsed().saturating_sub(TICK)));
        }
    });
    work.await;
    ticker.abort();
    longest.get()
}

async fn a_whole_brain(dir: &Path) {
    let server = Server::start(dir);
    server.announce(SLOTS).await;
    let store = rows(dir).await;
    let (faults, clock) = (Faults::new(), SimClock::new());
    let runtimes = SimRuntimes::new(Pace { start: Duration::ZERO, call: Duration::ZERO }, faults.clone());
    let elsewhere = SimDirectory::new(None, faults.clone());
    let cloud =
        SimCloud::new(Duration::ZERO, SLOTS, clock.clone(), elsewhere.clone(), runtimes.clone(), faults.clone());
    for n in 0..HOSTS {
        cloud.order(&name(n));
        runtimes.switch_on(&name(n));
        (0..INSTANCES).for_each(|slot| runtimes.plant(&name(n), &id(u128::from(n * INSTANCES + slot))));
    }
    let directory = RedisDirectory::new(RedisSettings {
        deployment: DeploymentId::parse("bench").unwrap(),
        url: server.url().into(),
        ca: None,
        prefix: String::new(),
        ttl: Duration::from_secs(10),
        engine: "tcp://{private_address}:2376".to_owned(),
        slots: SLOTS,
    });
    let directory = Arc::new(Timed { directory: directory.unwrap(), began: Mutex::new(None), read: Notify::new() });
    let ports = Ports {
        clock: Arc::new(clock),
        store: Arc::new(store),
        runtimes: Arc::new(runtimes),
        directory: Arc::clone(&directory) as Arc<dyn Directory>,
        cloud: Some(Arc::new(cloud)),
        journal: None,
        webhooks: Arc::new(SimWebhooks::default()),
    };
    let usual = harness::settings();
    let settings = Settings { scaling: Some(policy()), directory_poll: Duration::from_millis(200), ..usual };
    let deployment = DeploymentId::parse("bench").unwrap();
    let brain = Brain::start(deployment, ports, Arc::new(settings), Arc::new(MasterKey::new([7; 32])));
    let doors = brain.doors.clone();
    loop {
        let fleet = ask(&doors.fleet, DescribeFleet, PATIENCE).await.unwrap();
        if fleet.hosts.iter().filter(|host| host.state == Health::Up && host.used == INSTANCES).count()
            == HOSTS as usize
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    passes(&server, &directory, &doors).await;
    costs(&doors).await;
    let sweeping = async { drop(ask(&doors.sweep, SweepNow, PATIENCE).await.unwrap()) };
    report("longest turn of the actors' thread while all hosts are swept", vec![longest_turn(sweeping).await], None);
    let (resident, peak) = (memory("VmRSS:"), memory("VmHWM:"));
    let word = if resident <= 150.0 { "150 MB: met" } else { "150 MB: MISSED" };
    line("resident memory, simulated engines included", &format!("{resident:.0} MB (peak {peak:.0})"), word);
}

async fn passes(server: &Server, directory: &Timed, doors: &Doors) {
    let (mut steady, mut changing, mut planning) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        steady.push(directory.pass(doors).await);
        server.announce(SLOTS + 1 + u32::try_from(round % 2).unwrap()).await;
        changing.push(directory.pass(doors).await);
        let start = Instant::now();
        ask(&doors.scale, ScaleNow, PATIENCE).await.unwrap();
        planning.push(start.elapsed());
    }
    report("a pass of discovery: SCAN, values, parse, compare", steady, Some(50.0));
    report("the same when all hosts changed, until the scheduler has heard of it", changing, Some(50.0));
    report("a pass of the autoscaler: the cloud's list, rows and counts of the database, a plan", planning, None);
}

async fn costs(doors: &Doors) {
    let (mut fleets, mut snapshots, mut counts, mut creates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        let start = Instant::now();
        ask(&doors.fleet, DescribeFleet, PATIENCE).await.unwrap();
        fleets.push(start.elapsed());
        let start = Instant::now();
        ask(&doors.subscribe, Subscribe, PATIENCE).await.unwrap();
        snapshots.push(start.elapsed());
        let start = Instant::now();
        ask(&doors.counts, CountInstances, PATIENCE).await.unwrap();
        counts.push(start.elapsed());
        let start = Instant::now();
        let request = harness::request(harness::creator(u16::try_from(n).unwrap()));
        ask(&doors.create, request, PATIENCE).await.unwrap().unwrap();
        creates.push(start.elapsed());
    }
    report("DescribeFleet", fleets, None);
    report("a snapshot of the feed", snapshots, None);
    report("CountInstances", counts, None);
    report("a create, its engine taking no time", creates, None);
}

/// The pool of docs/operations.md for bursts, with a reserve of so many slots.
fn for_bursts(standby_slots: u32) -> ScalingPolicy {
    const MINUTE: Duration = Duration::from_secs(60);
    ScalingPolicy {
        standby: 0,
        standby_slots,
        max_hosts: 40,
        idle: MINUTE,
        min_age: Duration::ZERO,
        boot_deadline: 10 * MINUTE,
        list_grace: 5 * MINUTE,
        create_burst: 5,
        creates_per_hour: 30,
        ..scaling_policy()
    }
}

/// A bursty week with some reserves, with the rule of 2015, and what it costs at least.
fn a_week() {
    let length = Duration::from_secs(7 * 24 * 3600);
    let scenario = Scenario {
        arrivals: Profile::Bursty.arrivals(7, 1),
        length,
        policy: for_bursts(RESERVES[0]),
        strategy: Strategy::Fill,
        queue: QueueSettings { wait: Duration::from_secs(90), most: 100 },
        boot: Duration::from_secs(60),
        start: Duration::from_millis(400),
    };
    let start = Instant::now();
    let least = optimum(&scenario.arrivals, scenario.policy.slots, scenario.boot, length);
    let (clairvoyant, bound) = (least.clairvoyant_hours, least.bound_hours);
    println!(
        "\n| a bursty week, {} creates | droplet-hours | times clairvoyant | waited for a boot | run in |",
        scenario.arrivals.len()
    );
    println!("|---|---|---|---|---|");
    println!("| clairvoyant | {clairvoyant:.1} | 1.00 | | {:.1} s |", start.elapsed().as_secs_f64());
    println!("| bound of any schedule | {bound:.1} | {:.2} | | |", bound / clairvoyant);
    let reserves = RESERVES.map(|slots| (format!("standby_slots = {slots}"), for_bursts(slots)));
    let rule = ("one empty host always, as in 2015".to_owned(), seed_rule(&scenario.policy));
    for (name, policy) in reserves.into_iter().chain([rule]) {
        let scenario = Scenario { policy, ..scenario.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let start = Instant::now();
        let run = actix::System::with_tokio_rt(move || runtime).block_on(simulation::run(&scenario, |_| {})).unwrap();
        let (hours, share, took) = (run.droplet_hours, 100.0 * run.share_waited(), start.elapsed().as_secs_f64());
        // Whoever refuses does not look cheaper for it.
        let served = optimum(&run.served, scenario.policy.slots, scenario.boot, length);
        let (times, refused) = (hours / served.clairvoyant_hours, run.refused);
        println!("| {name} | {hours:.1} | {times:.2} | {share:.2} %, {refused} refused | {took:.1} s |");
    }
}

fn main() {
    // `cargo test --benches` asks every bench to prove itself quickly; there is nothing to prove here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("| {HOSTS} hosts, {} instances | median (longest) | target |", HOSTS * INSTANCES);
    println!("|---|---|---|");
    parts();
    let dir = tempfile::tempdir().unwrap();
    // As `serve` does it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let system = actix::System::with_tokio_rt(move || runtime);
    system.block_on(a_whole_brain(dir.path()));
    a_week();
}
