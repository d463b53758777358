//! A whole brain on simulated ports, for tests: started, crashed, started again, and looked at.
//!
//! Owns the agreement that every test ends with: rows, ledger and containers say the same, every actor is up, and nobody
//! ever panicked who was not meant to. A world that is dropped without [`World::finish`] fails its test, so that the check
//! cannot be forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

pub use super::defaults::settings;
use super::{
    clock::SimClock,
    directory::SimDirectory,
    faults::Faults,
    runtime::{Pace, SimRuntimes},
    store::SimStore,
    webhooks::SimWebhooks,
};
use crate::{
    brain::{Brain, Doors, Ports},
    domain::{Creator, DeploymentId, Health, HostName, Instance, InstanceId, InstanceState, MasterKey},
    ports::HostRecord,
    scheduler::messages::{CreateError, CreateInstance, Created, DescribeFleet, FleetView},
    settings::Settings,
    supervision::{AskError, ChildReport, Status, ask},
};

/// The longest a condition is waited for, in virtual time; longer than every back-off and deadline together.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How often a condition is looked at, in virtual time.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A creator of its own for every number.
#[must_use]
pub fn creator(n: u16) -> Creator {
    let [high, low] = n.to_be_bytes();
    Creator::of(IpAddr::V4(Ipv4Addr::new(198, 18, high, low)))
}

/// A plain request.
#[must_use]
pub fn request(creator: Creator) -> CreateInstance {
    CreateInstance { creator, ttl: None, flavour: None, label: None, idempotency_key: None }
}

/// What a [`request`] is answered with, when it is.
pub type Answer = Result<Result<Created, CreateError>, AskError>;

/// See the module's header.
pub struct World {
    /// What goes wrong.
    pub faults: Faults,
    /// The time.
    pub clock: SimClock,
    /// The rows.
    pub store: SimStore,
    /// The containers.
    pub runtimes: SimRuntimes,
    /// The announced hosts.
    pub directory: SimDirectory,
    /// The sinks.
    pub webhooks: SimWebhooks,
    /// The tunable numbers.
    pub settings: Arc<Settings>,
    hosts: Vec<HostName>,
    brain: Option<Brain>,
    neighbour: Option<Brain>,
    /// Actors whose restarts, or whose loss, is part of the test.
    may_restart: BTreeSet<&'static str>,
    may_be_lost: BTreeSet<&'static str>,
    finished: bool,
}

impl World {
    /// A world with these hosts and their slots, in that order; nothing is started yet. Meant for paused time
    /// (`tokio::time::pause()`).
    ///
    /// # Panics
    /// When a host's name is none.
    #[must_use]
    pub fn new(settings: Settings, hosts: &[(&str, u32)]) -> Self {
        let faults = Faults::new();
        let mut world = Self {
            clock: SimClock::new(),
            store: SimStore::new(faults.clone()).with_sinks(settings.webhooks.sinks.clone()),
            runtimes: SimRuntimes::new(Pace::default(), faults.clone()),
            directory: SimDirectory::new(None, faults.clone()),
            webhooks: SimWebhooks::new(faults.clone()),
            settings: Arc::new(settings),
            hosts: Vec::new(),
            brain: None,
            neighbour: None,
            may_restart: BTreeSet::new(),
            may_be_lost: BTreeSet::new(),
            finished: false,
            faults,
        };
        for (name, slots) in hosts {
            world.add_host(name, *slots);
        }
        world
    }

    /// A world on a database that several servers may use, with two of them started and every host up for both.
    pub async fn with_neighbour(settings: Settings, hosts: &[(&str, u32)]) -> Self {
        let mut world = Self::new(settings, hosts);
        world.store = world.store.clone().shared();
        world.start().await;
        world.start_neighbour().await;
        world
    }

    /// The same, started, with every host up.
    pub async fn running(settings: Settings, hosts: &[(&str, u32)]) -> Self {
        let mut world = Self::new(settings, hosts);
        world.start().await;
        world
    }

    /// Another host appears.
    ///
    /// # Panics
    /// When the name is none.
    pub fn add_host(&mut self, name: &str, slots: u32) {
        let Ok(name) = HostName::parse(name) else { panic!("{name:?} is no host name") };
        let number = u8::try_from(self.hosts.len() + 1).unwrap_or(u8::MAX);
        self.runtimes.switch_on(&name);
        self.directory.announce(HostRecord {
            name: name.clone(),
            public_address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, number)),
            engine: String::new(),
            slots,
        });
        self.hosts.push(name);
    }

    /// Starts a brain on what is there, and waits until it knows its hosts.
    pub async fn start(&mut self) {
        self.start_without_waiting();
        self.until_hosts_are_known(|world| world.doors()).await;
    }

    /// Starts a brain on what is there.
    pub fn start_without_waiting(&mut self) {
        self.brain = Some(self.new_brain());
    }

    /// Starts the second server on the same database, and waits until it knows its hosts.
    pub async fn start_neighbour(&mut self) {
        self.neighbour = Some(self.new_brain());
        self.until_hosts_are_known(|world| world.neighbour()).await;
    }

    fn new_brain(&self) -> Brain {
        let Ok(deployment) = DeploymentId::parse("sim") else { panic!("a deployment id") };
        let ports = Ports {
            clock: Arc::new(self.clock.clone()),
            store: Arc::new(self.store.clone()),
            runtimes: Arc::new(self.runtimes.clone()),
            directory: Arc::new(self.directory.clone()),
            cloud: None,
            journal: None,
            webhooks: Arc::new(self.webhooks.clone()),
        };
        Brain::start(deployment, ports, Arc::clone(&self.settings), Arc::new(MasterKey::new([7; 32])))
    }

    async fn until_hosts_are_known(&self, doors: impl Fn(&Self) -> &Doors) {
        self.eventually("every host has answered or not", async |world| {
            fleet_of(doors(world)).await.is_some_and(|fleet| {
                let announced = world.directory.hosts();
                let known = |host: &HostRecord| fleet.hosts.iter().any(|view| view.name == host.name);
                fleet.ready
                    && announced.iter().all(known)
                    && fleet.hosts.iter().all(|host| host.state != Health::Joining)
            })
        })
        .await;
    }

    /// The process dies: every actor is dropped where it stands, and what it had asked for goes unanswered. The next
    /// [`start`](Self::start) finds the rows and containers as they are.
    ///
    /// # Panics
    /// When an actor was not well until then and nobody expected that.
    pub async fn crash(&mut self) {
        self.brain.take().iter().for_each(|brain| self.inspect(brain));
        // The dropped actors end at their next turn.
        tokio::time::sleep(LOOK_EVERY).await;
        self.faults.thaw();
    }

    /// The second server dies.
    ///
    /// # Panics
    /// As [`crash`](Self::crash).
    pub async fn crash_neighbour(&mut self) {
        self.neighbour.take().iter().for_each(|brain| self.inspect(brain));
        tokio::time::sleep(LOOK_EVERY).await;
    }

    /// The second server stops in good order.
    ///
    /// # Panics
    /// As [`crash`](Self::crash).
    pub async fn stop_neighbour(&mut self) {
        if let Some(brain) = self.neighbour.take() {
            self.inspect(&brain);
            brain.stop().await;
        }
    }

    /// The living brain.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    pub fn brain(&self) -> &Brain {
        match &self.brain {
            Some(brain) => brain,
            None => panic!("no brain was started"),
        }
    }

    /// The ways in.
    ///
    /// # Panics
    /// When no brain was started.
    #[must_use]
    pub fn doors(&self) -> &Doors {
        &self.brain().doors
    }

    /// The ways into the second server.
    ///
    /// # Panics
    /// When it was not started.
    #[must_use]
    pub fn neighbour(&self) -> &Doors {
        match &self.neighbour {
            Some(brain) => &brain.doors,
            None => panic!("the second server was not started"),
        }
    }

    /// From now on, restarts of these actors are part of the test.
    pub fn expect_restarts(&mut self, of: &[&'static str]) {
        self.may_restart.extend(of);
    }

    /// From now on, it is part of the test that this actor is given up.
    pub fn expect_loss(&mut self, of: &'static str) {
        self.may_be_lost.insert(of);
        self.may_restart.insert(of);
    }

    /// Asks for an instance.
    pub async fn create(&self, request: CreateInstance) -> Answer {
        ask(&self.doors().create, request, Duration::from_secs(120)).await
    }

    /// Asks the second server for an instance.
    pub async fn create_at_neighbour(&self, request: CreateInstance) -> Answer {
        ask(&self.neighbour().create, request, Duration::from_secs(120)).await
    }

    /// Asks for an instance and gets it.
    ///
    /// # Panics
    /// When there is none.
    pub async fn must_create(&self, creator: Creator) -> Instance {
        match self.create(request(creator)).await {
            Ok(Ok(created)) => created.instance,
            other => panic!("no instance: {other:?}"),
        }
    }

    /// The scheduler's view, if it answers.
    pub async fn fleet(&self) -> Option<FleetView> {
        fleet_of(self.doors()).await
    }

    /// Waits until `condition` holds.
    ///
    /// # Panics
    /// When it does not within half an hour of virtual time.
    pub async fn eventually(&self, what: &str, mut condition: impl AsyncFnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self).await {
            assert!(Instant::now() < deadline, "never came true: {what}; {}", self.describe().await);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Rows that have not ended.
    #[must_use]
    pub fn live_rows(&self) -> Vec<Instance> {
        self.store.rows().into_iter().filter(|row| row.state.is_live()).collect()
    }

    /// What rows, ledger and containers disagree about, if they do. Only instances that are running or gone agree.
    pub async fn disagreement(&self) -> Option<String> {
        let rows = self.live_rows();
        if let Some(row) = rows.iter().find(|row| row.state != InstanceState::Running) {
            return Some(format!("{} is {}", row.id, row.state.as_str()));
        }
        for brain in self.brain.iter().chain(&self.neighbour) {
            let Some(fleet) = fleet_of(&brain.doors).await else {
                return Some("a scheduler does not answer".to_owned());
            };
            if let Some(why) = self.disagreement_with(&fleet, &rows) {
                return Some(why);
            }
        }
        None
    }

    fn disagreement_with(&self, fleet: &FleetView, rows: &[Instance]) -> Option<String> {
        let mut claimed: BTreeMap<&HostName, BTreeSet<InstanceId>> = BTreeMap::new();
        for row in rows {
            claimed.entry(&row.host).or_default().insert(row.id.clone());
        }
        for host in &self.hosts {
            let rows = claimed.remove(host).unwrap_or_default();
            let found = self.runtimes.containers(host);
            let running: BTreeSet<InstanceId> = found.iter().filter(|f| f.running).map(|f| f.id.clone()).collect();
            if rows != running || found.len() != running.len() {
                return Some(format!("on {host} there are rows {rows:?} and containers {found:?}"));
            }
            let used = fleet.hosts.iter().find(|view| &view.name == host).map_or(0, |view| view.used);
            if usize::try_from(used) != Ok(rows.len()) {
                return Some(format!("on {host} {used} slots are taken by {} rows", rows.len()));
            }
        }
        claimed.into_iter().next().map(|(host, rows)| format!("{rows:?} are on {host}, which is no host"))
    }

    /// Ends the test: waits until everything agrees, and fails if it does not, an actor is not well, or a host ever
    /// carried more than its slots.
    ///
    /// # Panics
    /// See above.
    pub async fn finish(mut self) {
        self.finished = true;
        self.eventually("rows, ledger and containers agree", async |world| world.disagreement().await.is_none()).await;
        for brain in self.brain.iter().chain(&self.neighbour) {
            self.inspect(brain);
            let away = |report: &ChildReport| matches!(report.status, Status::BackingOff { .. });
            assert_eq!(brain.roster.reports().into_iter().find(away), None, "an actor is not up");
        }
        for record in self.directory.hosts() {
            let most = self.runtimes.most_ever(&record.name);
            assert!(most <= record.slots as usize, "{} carried {most} of {}", record.name, record.slots);
        }
    }

    /// Fails the test when an actor was restarted or given up and nobody expected that.
    fn inspect(&self, brain: &Brain) {
        for report in brain.roster.reports() {
            let name = report.name.as_str();
            assert!(report.restarts == 0 || self.may_restart.contains(name), "nobody expected {report:?}");
            assert!(report.status != Status::Down || self.may_be_lost.contains(name), "nobody expected {report:?}");
        }
    }

    async fn describe(&self) -> String {
        match &self.brain {
            Some(brain) => format!("{:?}; {:?}", self.disagreement().await, brain.roster.reports()),
            None => "no brain was started".to_owned(),
        }
    }
}

async fn fleet_of(doors: &Doors) -> Option<FleetView> {
    ask(&doors.fleet, DescribeFleet, Duration::from_secs(5)).await.ok()
}

impl Drop for World {
    fn drop(&mut self) {
        assert!(self.finished || std::thread::panicking(), "the test did not finish its world");
    }
}
