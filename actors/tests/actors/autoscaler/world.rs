//! What the autoscaler is tested on: a simulated cloud, and a stand-in for the scheduler whose hosts are what the
//! directory announces.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use getaredis_actors::{
    autoscaler::{
        AutoscalerActor, Pause, Peers,
        messages::{DescribeScaling, GrowthForeseen, ScalingStatus},
    },
    brain::Ports,
    discovery::messages::DirectoryView,
    domain::{Cordon, DeploymentId, Health, HostName, scaling::ScalingPolicy},
    feed::messages::{Fact, Publish},
    ports::{DropletState, HostProvider, HourlyPrice, Listing, ProviderError, RuntimeError, Store},
    scheduler::messages::{CordonError, CordonHost, FleetView, HostError, HostInventory, HostSilent, HostView},
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
        webhooks::SimWebhooks,
    },
    supervision::{Child, Cradle, Roster, Spec, ask, supervise},
};
use tokio::time::sleep;

use crate::support::{host_view, record, roster, seconds, stand};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const BOOT: Duration = MINUTE;
pub(super) const SLOTS: u32 = 40;

pub(super) fn policy() -> ScalingPolicy {
    ScalingPolicy { max_hosts: 2, min_age: 20 * MINUTE, ..samples::scaling_policy() }
}

/// The scheduler as far as the autoscaler knows it.
#[derive(Clone)]
pub(super) struct Fleet {
    pub(super) directory: SimDirectory,
    pub(super) runtimes: SimRuntimes,
    pub(super) cordons: Arc<Mutex<BTreeMap<HostName, Cordon>>>,
    pub(super) ready: Arc<Mutex<bool>>,
    /// Whether this server looks after the pool.
    pub(super) leads: Arc<Mutex<bool>>,
    /// After so many orders to drain, an instance is on its way to a host just before it is cordoned.
    pub(super) late_tenant: Arc<Mutex<Option<u32>>>,
    pub(super) reserved: Arc<Mutex<Option<HostName>>>,
    /// Creates that wait.
    pub(super) waiting: Arc<Mutex<u32>>,
    /// Why the directory cannot be read.
    pub(super) directory_away: Arc<Mutex<Option<String>>>,
    /// What the scheduler was told of growth.
    pub(super) growth: Arc<Mutex<Vec<GrowthForeseen>>>,
    /// Which hosts the reaper was told to look at.
    pub(super) silent: Arc<Mutex<Vec<HostName>>>,
    /// What the feed was told.
    pub(super) shown: Arc<Mutex<Vec<Fact>>>,
}

/// An instance that the ledger knows nothing of.
pub(super) const UNCOUNTED: u128 = 99;

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

    pub(super) fn cordon(&self, order: CordonHost) -> Result<HostView, CordonError> {
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
        let away = Arc::clone(&self.directory_away);
        Peers {
            fleet: stand(move |_| {
                Ok(FleetView {
                    hosts: fleet.hosts(),
                    ready: *fleet.ready.lock().unwrap(),
                    leads: *fleet.leads.lock().unwrap(),
                    waiting: *fleet.waiting.lock().unwrap(),
                    ..FleetView::default()
                })
            }),
            cordon: stand(move |order| cordon.cordon(order)),
            inventory: stand(move |ask: HostInventory| match inventory.runtimes.machines().contains(&ask.host) {
                true => Ok(inventory.runtimes.containers(&ask.host)),
                false => Err(HostError::Runtime(RuntimeError::Unreachable("gone".to_owned()))),
            }),
            directory: stand(move |_| DirectoryView {
                hosts: directory.hosts(),
                read_once: true,
                unreachable: away.lock().unwrap().clone(),
                ..DirectoryView::default()
            }),
            growth: record(&self.growth, |growth: GrowthForeseen| growth),
            silent: record(&self.silent, |HostSilent { host }| host),
            feed: record(&self.shown, |Publish(fact)| fact),
        }
    }
}

pub(super) struct World {
    pub(super) faults: Faults,
    pub(super) store: SimStore,
    pub(super) cloud: SimCloud,
    pub(super) fleet: Fleet,
    pub(super) ports: Ports,
    pub(super) settings: Arc<Settings>,
    pub(super) child: Option<Child<AutoscalerActor>>,
    pub(super) roster: Roster,
}

impl World {
    /// The only world of its test.
    pub(super) fn paused(policy: ScalingPolicy) -> Self {
        tokio::time::pause();
        Self::new(policy)
    }

    pub(super) fn new(policy: ScalingPolicy) -> Self {
        let settings = Settings { scaling_every: seconds(30), ..harness::settings() };
        let mut world = Self::idle(policy, BOOT, settings);
        world.start();
        world
    }

    /// One whose autoscaler was not started, with machines that boot for so long.
    pub(super) fn idle(policy: ScalingPolicy, boot: Duration, settings: Settings) -> Self {
        let (faults, clock) = (Faults::new(), SimClock::new());
        let directory = SimDirectory::new(Some(seconds(10)), faults.clone());
        let runtimes = SimRuntimes::new(Pace::default(), faults.clone());
        let store = SimStore::new(faults.clone());
        let cloud =
            SimCloud::new(boot, policy.slots, clock.clone(), directory.clone(), runtimes.clone(), faults.clone());
        let ports = Ports {
            clock: Arc::new(clock),
            store: Arc::new(store.clone()),
            runtimes: Arc::new(runtimes.clone()),
            directory: Arc::new(directory.clone()),
            cloud: Some(Arc::new(cloud.clone())),
            journal: None,
            webhooks: Arc::new(SimWebhooks::new(faults.clone())),
        };
        let fleet = Fleet {
            directory,
            runtimes,
            cordons: Arc::default(),
            ready: Arc::new(Mutex::new(true)),
            leads: Arc::new(Mutex::new(true)),
            late_tenant: Arc::default(),
            reserved: Arc::default(),
            waiting: Arc::default(),
            directory_away: Arc::default(),
            growth: Arc::default(),
            silent: Arc::default(),
            shown: Arc::default(),
        };
        let settings = Arc::new(Settings { scaling: Some(policy), ..settings });
        Self { faults, store, cloud, fleet, ports, settings, child: None, roster: roster() }
    }

    pub(super) fn start(&mut self) {
        let (ports, settings, peers) = (self.ports.clone(), self.settings.clone(), self.fleet.peers());
        let pause = Pause::default();
        let deployment = DeploymentId::parse("test").unwrap();
        self.child = Some(supervise(Cradle::new(), Spec::permanent("autoscaler"), &self.roster, move |_| {
            AutoscalerActor::new(deployment.clone(), ports.clone(), settings.clone(), pause.clone(), peers.clone())
        }));
    }

    pub(super) async fn restart(&mut self) {
        self.child = None;
        sleep(seconds(1)).await;
        self.faults.thaw();
        self.start();
    }

    /// The actor dies at the next call of `op`, and is restarted.
    pub(super) async fn expect_restart(&mut self, op: &'static str) {
        self.faults.panic_next(op);
        while self.child().report().restarts == 0 {
            sleep(seconds(1)).await;
        }
    }

    pub(super) fn child(&self) -> &Child<AutoscalerActor> {
        self.child.as_ref().unwrap()
    }

    pub(super) async fn status(&self) -> ScalingStatus {
        ask(&self.child().addr().recipient(), DescribeScaling, seconds(1)).await.unwrap()
    }

    pub(super) fn droplets(&self) -> BTreeSet<HostName> {
        self.cloud.alive().into_iter().map(|droplet| droplet.name).collect()
    }

    /// Hosts that are up and take instances.
    pub(super) fn up(&self) -> Vec<HostName> {
        let serving = |host: &HostView| host.state == Health::Up && host.cordon.is_none();
        self.fleet.hosts().into_iter().filter(serving).map(|host| host.name).collect()
    }

    /// Puts an instance on a host.
    pub(super) fn occupy(&self, host: &HostName, n: u128) {
        self.fleet.runtimes.plant(host, &samples::id(n));
    }

    pub(super) fn vacate(&self, host: &HostName, n: u128) {
        self.fleet.runtimes.remove_by_hand(host, &samples::id(n));
    }

    /// What has to be true when nothing has been going on for a while: rows and machines agree, nothing was destroyed
    /// in use, and there were never too many.
    pub(super) async fn agrees(&self, droplets: usize) {
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

/// A cloud that looks into the books whenever something is bought or given back.
pub(super) struct Auditor {
    pub(super) cloud: SimCloud,
    pub(super) store: SimStore,
    pub(super) audited: Arc<Mutex<Vec<&'static str>>>,
}

impl Auditor {
    async fn expect(&self, name: &HostName, state: DropletState) {
        let rows = self.store.droplets().await.unwrap();
        assert!(rows.iter().any(|row| &row.name == name && row.state == state), "{name}: {rows:?}");
        self.audited.lock().unwrap().push(state.as_str());
    }
}

#[async_trait]
impl HostProvider for Auditor {
    async fn list(&self) -> Result<Listing, ProviderError> {
        self.cloud.list().await
    }

    async fn create(&self, name: &HostName) -> Result<(), ProviderError> {
        self.expect(name, DropletState::Creating).await;
        self.cloud.create(name).await
    }

    async fn delete(&self, name: &HostName) -> Result<(), ProviderError> {
        self.expect(name, DropletState::Deleting).await;
        self.cloud.delete(name).await
    }

    async fn forget(&self, name: &HostName) -> Result<(), ProviderError> {
        self.cloud.forget(name).await
    }

    async fn price(&self) -> Result<HourlyPrice, ProviderError> {
        self.cloud.price().await
    }
}

/// Grows to two droplets and shrinks to one, in under two hours; a process that dies on the way is started again.
pub(super) async fn grow_and_shrink(world: &mut World) {
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
