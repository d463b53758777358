//! The autoscaler on a simulated cloud, with a stand-in for the scheduler whose hosts are what the directory announces.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use getaredis_actors::{
    autoscaler::{
        AutoscalerActor, Peers,
        messages::{DescribeScaling, ScaleNow, ScalingStatus},
    },
    brain::Ports,
    discovery::messages::DirectoryView,
    domain::{Cordon, DeploymentId, Health, HostName, scaling::ScalingPolicy},
    ports::{Cloud, CloudError, Droplet, DropletState, RuntimeError, Store},
    scheduler::messages::{CordonError, CordonHost, FleetView, HostError, HostInventory, HostView},
    settings::Settings,
    sim::{
        clock::SimClock,
        cloud::SimCloud,
        directory::SimDirectory,
        faults::Faults,
        harness,
        runtime::{Pace, SimRuntimes},
        samples,
        store::SimStore,
    },
    supervision::{Child, Cradle, Roster, Spec, ask, supervise},
};
use tokio::time::sleep;

use crate::support::{host_view, name, roster, seconds, stand};

const MINUTE: Duration = Duration::from_secs(60);
const BOOT: Duration = MINUTE;
const SLOTS: u32 = 40;

fn policy() -> ScalingPolicy {
    ScalingPolicy {
        standby: 1,
        min_hosts: 0,
        max_hosts: 2,
        idle: 10 * MINUTE,
        min_age: 20 * MINUTE,
        boot_deadline: 5 * MINUTE,
        list_grace: 2 * MINUTE,
    }
}

/// The scheduler as far as the autoscaler knows it.
#[derive(Clone)]
struct Fleet {
    directory: SimDirectory,
    runtimes: SimRuntimes,
    cordons: Arc<Mutex<BTreeMap<HostName, Cordon>>>,
    ready: Arc<Mutex<bool>>,
    /// After so many orders to drain, an instance is on its way to a host just before it is cordoned.
    late_tenant: Arc<Mutex<Option<u32>>>,
    reserved: Arc<Mutex<Option<HostName>>>,
}

/// An instance that the ledger knows nothing of.
const UNCOUNTED: u128 = 99;

impl Fleet {
    fn hosts(&self) -> Vec<HostView> {
        let cordons = self.cordons.lock().unwrap();
        let machines = self.runtimes.machines();
        let view = |name: &HostName| {
            let containers = self.runtimes.containers(name);
            let counted = containers.iter().filter(|found| found.id != samples::id(UNCOUNTED)).count();
            let reserved = usize::from(self.reserved.lock().unwrap().as_ref() == Some(name));
            let used = u32::try_from(counted + reserved).unwrap();
            let state = if machines.contains(name) { Health::Up } else { Health::Unreachable };
            HostView { state, cordon: cordons.get(name).copied(), ..host_view(name.as_str(), SLOTS, used) }
        };
        self.directory.hosts().iter().map(|host| view(&host.name)).collect()
    }

    fn cordon(&self, order: CordonHost) -> Result<HostView, CordonError> {
        let mut late = self.late_tenant.lock().unwrap();
        if order.cordon.is_some() {
            *late = match *late {
                Some(0) => {
                    *self.reserved.lock().unwrap() = Some(order.name.clone());
                    let (this, host) = (self.clone(), order.name.clone());
                    actix::spawn(async move {
                        sleep(seconds(1)).await;
                        this.runtimes.plant(&host, &samples::id(7));
                        *this.reserved.lock().unwrap() = None;
                    });
                    None
                }
                left => left.map(|left| left - 1),
            };
        }
        match order.cordon {
            Some(cordon) => self.cordons.lock().unwrap().insert(order.name.clone(), cordon),
            None => self.cordons.lock().unwrap().remove(&order.name),
        };
        self.hosts().into_iter().find(|host| host.name == order.name).ok_or(CordonError::NoSuchHost)
    }

    fn peers(&self) -> Peers {
        let (fleet, cordon, inventory, directory) = (self.clone(), self.clone(), self.clone(), self.directory.clone());
        Peers {
            fleet: stand(move |_| FleetView {
                hosts: fleet.hosts(),
                ready: *fleet.ready.lock().unwrap(),
                refusal: None,
            }),
            cordon: stand(move |order| cordon.cordon(order)),
            inventory: stand(move |ask: HostInventory| match inventory.runtimes.machines().contains(&ask.host) {
                true => Ok(inventory.runtimes.containers(&ask.host)),
                false => Err(HostError::Runtime(RuntimeError::Unreachable("gone".to_owned()))),
            }),
            directory: stand(move |_| DirectoryView {
                hosts: directory.hosts(),
                read_once: true,
                ..DirectoryView::default()
            }),
        }
    }
}

struct World {
    faults: Faults,
    store: SimStore,
    cloud: SimCloud,
    fleet: Fleet,
    ports: Ports,
    settings: Arc<Settings>,
    child: Option<Child<AutoscalerActor>>,
    roster: Roster,
}

impl World {
    /// The only world of its test.
    fn paused(policy: ScalingPolicy) -> Self {
        tokio::time::pause();
        Self::new(policy)
    }

    fn new(policy: ScalingPolicy) -> Self {
        let (faults, clock) = (Faults::new(), SimClock::new());
        let directory = SimDirectory::new(Some(seconds(10)), faults.clone());
        let runtimes = SimRuntimes::new(Pace::default(), faults.clone());
        let store = SimStore::new(faults.clone());
        let cloud = SimCloud::new(BOOT, SLOTS, clock.clone(), directory.clone(), runtimes.clone(), faults.clone());
        let ports = Ports {
            clock: Arc::new(clock),
            store: Arc::new(store.clone()),
            runtimes: Arc::new(runtimes.clone()),
            directory: Arc::new(directory.clone()),
            cloud: Some(Arc::new(cloud.clone())),
        };
        let fleet = Fleet {
            directory,
            runtimes,
            cordons: Arc::default(),
            ready: Arc::new(Mutex::new(true)),
            late_tenant: Arc::default(),
            reserved: Arc::default(),
        };
        let settings = Settings { scaling: Some(policy), scaling_every: seconds(30), ..harness::settings() };
        let mut world =
            Self { faults, store, cloud, fleet, ports, settings: Arc::new(settings), child: None, roster: roster() };
        world.start();
        world
    }

    fn start(&mut self) {
        let (ports, settings, peers) = (self.ports.clone(), self.settings.clone(), self.fleet.peers());
        let deployment = DeploymentId::parse("test").unwrap();
        self.child = Some(supervise(Cradle::new(), Spec::permanent("autoscaler"), &self.roster, move |_| {
            AutoscalerActor::new(deployment.clone(), ports.clone(), settings.clone(), peers.clone())
        }));
    }

    async fn restart(&mut self) {
        self.child = None;
        sleep(seconds(1)).await;
        self.faults.thaw();
        self.start();
    }

    fn child(&self) -> &Child<AutoscalerActor> {
        self.child.as_ref().unwrap()
    }

    async fn status(&self) -> ScalingStatus {
        ask(&self.child().addr().recipient(), DescribeScaling, seconds(1)).await.unwrap()
    }

    fn droplets(&self) -> BTreeSet<HostName> {
        self.cloud.alive().into_iter().map(|droplet| droplet.name).collect()
    }

    /// Hosts that are up and take instances.
    fn up(&self) -> Vec<HostName> {
        let serving = |host: &HostView| host.state == Health::Up && host.cordon.is_none();
        self.fleet.hosts().into_iter().filter(serving).map(|host| host.name).collect()
    }

    /// Puts an instance on a host.
    fn occupy(&self, host: &HostName, n: u128) {
        self.fleet.runtimes.plant(host, &samples::id(n));
    }

    fn vacate(&self, host: &HostName, n: u128) {
        self.fleet.runtimes.remove_by_hand(host, &samples::id(n));
    }

    /// What has to be true when nothing has been going on for a while: rows and machines agree, nothing was destroyed
    /// in use, and there were never too many.
    async fn agrees(&self, droplets: usize) {
        let rows = self.store.droplets().await.unwrap();
        let names: BTreeSet<_> = rows.iter().map(|row| row.name.clone()).collect();
        let status = self.status().await;
        assert_eq!(names, self.droplets(), "{status:?}");
        assert!(rows.iter().all(|row| row.state == DropletState::Created), "{rows:?} {status:?}");
        assert_eq!(self.cloud.alive().len(), droplets, "{status:?}");
        assert_eq!(self.fleet.runtimes.casualties(), []);
        let max = self.settings.scaling.as_ref().unwrap().max_hosts;
        assert!(self.cloud.most_ever() <= max as usize, "{} of {max}", self.cloud.most_ever());
    }
}

#[actix::test]
async fn the_standby_boots_is_counted_and_nothing_more_is_done() {
    let world = World::paused(policy());
    sleep(3600 * seconds(24)).await;
    world.agrees(1).await;
    assert_eq!((world.cloud.ordered(), world.up().len()), (1, 1));
    let droplet = world.droplets().first().unwrap().clone();
    assert!(droplet.as_str().starts_with("test-"), "{droplet}");
}

#[actix::test]
async fn the_pool_grows_with_use_to_its_maximum_and_shrinks_when_it_is_idle() {
    let world = World::paused(policy());
    sleep(5 * MINUTE).await;
    let first = world.up()[0].clone();
    world.occupy(&first, 1);
    sleep(5 * MINUTE).await;
    world.agrees(2).await;
    let second = world.up().into_iter().find(|host| host != &first).unwrap();
    world.occupy(&second, 2);
    sleep(60 * MINUTE).await;
    world.agrees(2).await;
    let explanation = world.status().await.explanation.join("\n");
    assert!(explanation.contains("max_hosts allows no more"), "{explanation}");

    world.vacate(&first, 1);
    world.vacate(&second, 2);
    sleep(8 * MINUTE).await;
    world.agrees(2).await;
    sleep(10 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!(world.up().len(), 1);
}

#[actix::test]
async fn what_drains_is_taken_back_before_anything_is_bought() {
    let world = World::paused(ScalingPolicy { max_hosts: 3, ..policy() });
    sleep(5 * MINUTE).await;
    let first = world.up()[0].clone();
    world.occupy(&first, 1);
    sleep(40 * MINUTE).await;
    world.vacate(&first, 1);
    // One of the two begins to drain, and at once the other one is needed.
    while world.up().len() == 2 {
        sleep(seconds(1)).await;
    }
    let left = world.up()[0].clone();
    world.occupy(&left, 2);
    sleep(10 * MINUTE).await;
    assert_eq!((world.up().len(), world.cloud.ordered()), (2, 2));
    world.agrees(2).await;
}

#[actix::test]
async fn a_droplet_that_never_boots_is_replaced_and_deleted() {
    let world = World::paused(policy());
    world.cloud.next_never_boot(1);
    sleep(20 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!((world.cloud.ordered(), world.up().len()), (2, 1));
}

#[actix::test]
async fn a_droplet_without_a_row_is_reported_and_deleted_after_a_while() {
    let world = World::paused(policy());
    sleep(5 * MINUTE).await;
    world.cloud.order(&name("test-lost"));
    sleep(MINUTE).await;
    let explanation = world.status().await.explanation.join("\n");
    assert!(explanation.contains("test-lost: it carries our tag and has no row"), "{explanation}");
    sleep(10 * MINUTE).await;
    world.agrees(1).await;
}

#[actix::test]
async fn a_host_with_a_container_that_nobody_counts_is_not_deleted() {
    let world = World::paused(policy());
    sleep(5 * MINUTE).await;
    let host = world.up()[0].clone();
    world.occupy(&host, UNCOUNTED);
    world.fleet.cordon(CordonHost { name: host.clone(), cordon: Some(Cordon::Draining) }).unwrap();
    sleep(60 * MINUTE).await;
    assert!(world.droplets().contains(&host));
    let explanation = world.status().await.explanation.join("\n");
    assert!(explanation.contains("1 containers are still on it"), "{explanation}");
    world.vacate(&host, UNCOUNTED);
    sleep(5 * MINUTE).await;
    assert!(!world.droplets().contains(&host));
    world.agrees(1).await;
}

/// The old program judged by a stale heartbeat, so a host that had just been used could be deleted.
#[actix::test]
async fn a_host_that_is_given_an_instance_in_the_last_moment_is_not_deleted() {
    for last_moment in 0..2 {
        if last_moment == 0 {
            tokio::time::pause();
        }
        let world = World::new(policy());
        sleep(5 * MINUTE).await;
        let first = world.up()[0].clone();
        world.occupy(&first, 1);
        sleep(40 * MINUTE).await;
        *world.fleet.late_tenant.lock().unwrap() = Some(last_moment);
        world.vacate(&first, 1);
        sleep(60 * MINUTE).await;
        assert_eq!(world.fleet.runtimes.leftovers().len(), 1, "{last_moment}");
        world.agrees(2).await;
        assert_eq!((world.up().len(), world.cloud.ordered()), (2, 2));
    }
}

/// A cloud that looks into the books whenever something is bought or given back.
struct Auditor {
    cloud: SimCloud,
    store: SimStore,
    audited: Arc<Mutex<Vec<&'static str>>>,
}

impl Auditor {
    async fn expect(&self, name: &HostName, state: DropletState) {
        let rows = self.store.droplets().await.unwrap();
        assert!(rows.iter().any(|row| &row.name == name && row.state == state), "{name}: {rows:?}");
        self.audited.lock().unwrap().push(state.as_str());
    }
}

#[async_trait]
impl Cloud for Auditor {
    async fn list(&self) -> Result<Vec<Droplet>, CloudError> {
        self.cloud.list().await
    }

    async fn create(&self, name: &HostName) -> Result<(), CloudError> {
        self.expect(name, DropletState::Creating).await;
        self.cloud.create(name).await
    }

    async fn delete(&self, name: &HostName) -> Result<(), CloudError> {
        self.expect(name, DropletState::Deleting).await;
        self.cloud.delete(name).await
    }
}

#[actix::test]
async fn nothing_is_bought_or_given_back_before_the_intent_is_in_the_books() {
    let mut world = World::paused(policy());
    let audited = Arc::new(Mutex::new(Vec::new()));
    let auditor = Auditor { cloud: world.cloud.clone(), store: world.store.clone(), audited: audited.clone() };
    world.ports.cloud = Some(Arc::new(auditor));
    world.restart().await;
    grow_and_shrink(&mut world).await;
    // It would have panicked, and been restarted.
    assert_eq!(world.child().report().restarts, 0);
    assert_eq!(audited.lock().unwrap()[..], ["creating", "creating", "deleting"]);
}

#[actix::test]
async fn while_the_scheduler_does_not_know_its_hosts_nothing_is_done() {
    let world = World::paused(policy());
    *world.fleet.ready.lock().unwrap() = false;
    sleep(60 * MINUTE).await;
    assert_eq!(world.cloud.ordered(), 0);
    assert_eq!(world.status().await.explanation, ["the scheduler does not know its hosts yet"]);
}

#[actix::test]
async fn without_a_cloud_it_idles_and_says_so() {
    let mut world = World::paused(policy());
    world.ports.cloud = None;
    world.restart().await;
    let status: ScalingStatus = ask(&world.child().addr().recipient(), ScaleNow, seconds(1)).await.unwrap();
    assert_eq!(status.explanation, ["no cloud is configured, so the pool neither grows nor shrinks"]);
    assert_eq!(status.passes, 0);
}

#[actix::test]
async fn who_asks_for_a_pass_is_answered_by_one_that_began_afterwards() {
    let world = World::paused(policy());
    sleep(seconds(1)).await;
    world.faults.slow_next("cloud.list", seconds(5));
    let to = world.child().addr().recipient();
    let (first, second) = tokio::join!(ask(&to, ScaleNow, MINUTE), async {
        sleep(seconds(1)).await;
        ask(&to, ScaleNow, MINUTE).await
    });
    assert_eq!((first.unwrap().passes, second.unwrap().passes), (2, 3));
    assert_eq!(world.cloud.ordered(), 1);
}

/// Grows to two droplets and shrinks to one, in under two hours; a process that dies on the way is started again.
async fn grow_and_shrink(world: &mut World) {
    for (occupied, minutes) in [(false, 10), (true, 30), (false, 60)] {
        for _ in 0..minutes {
            if let Some(host) = world.up().first().cloned().filter(|_| occupied)
                && world.fleet.runtimes.leftovers().is_empty()
            {
                world.occupy(&host, 1);
            }
            if !occupied {
                for (host, _) in world.fleet.runtimes.leftovers() {
                    world.vacate(&host, 1);
                }
            }
            sleep(MINUTE).await;
            if world.faults.is_frozen() {
                world.restart().await;
            }
        }
    }
}

const CALLS: [&str; 7] = [
    "cloud.list",
    "cloud.create",
    "cloud.delete",
    "store.droplets",
    "store.live",
    "store.put_droplet",
    "store.remove_droplet",
];

#[actix::test]
async fn a_call_that_fails_hangs_is_slow_or_lies_leaks_nothing() {
    tokio::time::pause();
    let faults: [fn(&Faults, &'static str); 4] = [
        |faults, call| faults.fail_next(call, 2),
        |faults, call| faults.hang_next(call),
        |faults, call| faults.slow_next(call, seconds(20)),
        |faults, call| faults.lie_next(call),
    ];
    for call in CALLS {
        for fault in faults {
            let mut world = World::new(policy());
            fault(&world.faults, call);
            grow_and_shrink(&mut world).await;
            world.agrees(1).await;
        }
    }
}

#[actix::test]
async fn a_process_that_dies_at_any_call_leaks_nothing() {
    let mut world = World::paused(policy());
    grow_and_shrink(&mut world).await;
    world.agrees(1).await;
    // Only the calls that change something are steps; the readings between them are one moment to the cloud.
    let log = world.faults.log();
    let changes =
        |call: &&str| ["cloud.create", "cloud.delete", "store.put_droplet", "store.remove_droplet"].contains(call);
    let steps = log.iter().enumerate().filter(|(_, call)| changes(call)).flat_map(|(n, _)| [n + 1, n + 2]);
    for n in steps.collect::<BTreeSet<_>>() {
        let mut world = World::new(policy());
        world.faults.freeze_at(n as u64);
        grow_and_shrink(&mut world).await;
        assert!(world.faults.log().len() > n, "it died");
        world.agrees(1).await;
    }
}
