//! A whole brain that buys its hosts: the real autoscaler and provider, the imitated API, machines that are tasks, and
//! simulated engines.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use getaredis::adapters::{
    clock::SystemClock,
    digitalocean::DigitalOceanSettings,
    directory::{RedisDirectory, RedisSettings},
};
use getaredis_actors::{
    autoscaler::messages::DescribeScaling,
    brain::{Brain, Ports},
    domain::{DeploymentId, Health, HostName, MasterKey, scaling::ScalingPolicy},
    ports::{Directory, Store},
    scheduler::messages::{DescribeFleet, HostView},
    settings::Settings,
    sim::{
        directory::SimDirectory,
        faults::Faults,
        harness::{self, creator, request},
        runtime::{Pace, SimRuntimes},
        samples,
        store::SimStore,
        webhooks::SimWebhooks,
    },
    supervision::ask,
};
use getaredis_testbed::api::{
    Api, Fault, RateLimits,
    heartbeats::{Announce, Heartbeats, InRedis, InSimulation, Machine},
};

use crate::{
    harness::{api_with, provider, settings},
    redis_server::RedisServer,
};

const SLOTS: u32 = 2;
const BEAT: Duration = Duration::from_millis(200);
const TTL: Duration = Duration::from_secs(1);

/// The longest that a fleet may take to become what it should be.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps `standby` hosts, and gives back what is not needed at once.
pub(crate) fn policy(standby: u32) -> ScalingPolicy {
    ScalingPolicy {
        standby,
        min_hosts: 0,
        max_hosts: 3,
        idle: Duration::ZERO,
        min_age: Duration::ZERO,
        boot_deadline: Duration::from_secs(3),
        list_grace: Duration::from_secs(2),
        propagation: Duration::from_secs(1),
        retry_after: Duration::from_millis(500),
        slots: SLOTS,
        ..samples::scaling_policy()
    }
}

pub(crate) struct Fleet {
    pub(crate) api: Api,
    machines: Arc<Heartbeats>,
    store: SimStore,
    runtimes: SimRuntimes,
    directory: Arc<dyn Directory>,
    brain: Option<Brain>,
}

impl Fleet {
    pub(crate) fn simulated() -> Self {
        let runtimes = SimRuntimes::new(Pace::default(), Faults::new());
        let directory = SimDirectory::new(Some(TTL), Faults::new());
        let announce = InSimulation::new(directory.clone(), runtimes.clone(), SLOTS);
        Self::new(Arc::new(directory), runtimes, Arc::new(announce))
    }

    fn new(directory: Arc<dyn Directory>, runtimes: SimRuntimes, announce: Arc<dyn Announce>) -> Self {
        let machines = Arc::new(Heartbeats::new(Duration::from_millis(300), BEAT, announce));
        let api = api_with(machines.clone());
        api.set_activation(Duration::from_millis(100));
        // The brain looks at its fleet far more often than one that serves people would.
        api.limit_rates(RateLimits { per_hour: 100_000, per_minute: 10_000 });
        Self { api, machines, store: SimStore::new(Faults::new()), runtimes, directory, brain: None }
    }

    /// Starts the brain, or another one in its place, on what is there.
    pub(crate) async fn run(&mut self, policy: ScalingPolicy) {
        self.brain = None;
        // The dropped actors end at their next turn.
        tokio::task::yield_now().await;
        let provider = provider(DigitalOceanSettings { settle: policy.list_grace / 2, ..settings(&self.api) });
        let ports = Ports {
            clock: Arc::new(SystemClock),
            store: Arc::new(self.store.clone()),
            runtimes: Arc::new(self.runtimes.clone()),
            directory: Arc::clone(&self.directory),
            cloud: Some(Arc::new(provider)),
            journal: None,
            webhooks: Arc::new(SimWebhooks::new(Faults::new())),
        };
        let settings = Settings {
            directory_poll: Duration::from_millis(50),
            scaling: Some(policy),
            scaling_every: Duration::from_millis(100),
            ..harness::settings()
        };
        let deployment = DeploymentId::parse("test").unwrap();
        self.brain = Some(Brain::start(deployment, ports, Arc::new(settings), Arc::new(MasterKey::new([7; 32]))));
    }

    pub(crate) fn brain(&self) -> &Brain {
        self.brain.as_ref().unwrap()
    }

    /// Hosts that take instances.
    async fn up(&self) -> Vec<HostView> {
        let fleet = ask(&self.brain().doors.fleet, DescribeFleet, PATIENCE).await.unwrap();
        fleet.hosts.into_iter().filter(|host| host.state == Health::Up && host.cordon.is_none()).collect()
    }

    fn paid_for(&self) -> BTreeSet<HostName> {
        self.api.droplets().into_iter().map(|droplet| HostName::parse(&droplet.name).unwrap()).collect()
    }

    /// Waits until so many hosts are up, and rows, droplets and hosts are the same.
    pub(crate) async fn becomes(&self, hosts: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rows: BTreeSet<_> = self.store.droplets().await.unwrap().into_iter().map(|row| row.name).collect();
            let up: BTreeSet<_> = self.up().await.into_iter().map(|host| host.name).collect();
            if up.len() == hosts && rows == up && self.paid_for() == up && self.api.droplets().len() == hosts {
                break;
            }
            let scaling = ask(&self.brain().doors.scaling, DescribeScaling, PATIENCE).await.unwrap();
            let paid = self.paid_for();
            assert!(Instant::now() < deadline, "not {hosts}: up {up:?}, rows {rows:?}, paid {paid:?}, {scaling:?}");
            tokio::time::sleep(BEAT).await;
        }
        assert!(self.api.most_droplets() <= 3, "{} droplets", self.api.most_droplets());
        assert_eq!(self.runtimes.casualties(), []);
    }
}

#[actix::test]
async fn a_fleet_grows_to_its_standby_serves_and_goes_back_to_zero_when_told() {
    let mut fleet = Fleet::simulated();
    fleet.run(policy(1)).await;
    fleet.becomes(1).await;
    assert_eq!(fleet.up().await[0].slots, SLOTS);

    let create = ask(&fleet.brain().doors.create, request(creator(1)), PATIENCE).await.unwrap().unwrap();
    // It is no standby any more.
    fleet.becomes(2).await;
    let delete = getaredis_actors::scheduler::messages::DeleteInstance {
        id: create.instance.id,
        reason: getaredis_actors::domain::EndReason::Deleted,
    };
    ask(&fleet.brain().doors.delete, delete, PATIENCE).await.unwrap().unwrap();
    fleet.becomes(1).await;

    fleet.run(policy(0)).await;
    fleet.becomes(0).await;
}

#[actix::test]
async fn a_fleet_becomes_what_it_should_be_whatever_the_api_does() {
    let post = || Fault::on("POST", "/v2/droplets");
    let delete = || Fault::on("DELETE", "/v2/droplets");
    let get = || Fault::on("GET", "/v2/droplets");
    for faults in [
        vec![post().drop_answer().after_effect(), delete().drop_answer().after_effect()],
        vec![post().drop_answer(), post().status(503), delete().drop_answer()],
        // The order is made, its answer is lost, and it cannot be looked up.
        vec![post().status(500).after_effect(), Fault { skip: 2, ..get().status(502).times(3) }],
        vec![post().status(422).message("Region is not available").times(2), delete().status(404).after_effect()],
        vec![Fault { retry_after: Some(1), ..post().status(429) }, Fault { retry_after: Some(1), ..get().status(429) }],
        vec![get().status(401), delete().status(500).after_effect()],
    ] {
        let what = format!("{faults:?}");
        let mut fleet = Fleet::simulated();
        faults.into_iter().for_each(|fault| fleet.api.fault(fault));
        fleet.run(policy(2)).await;
        fleet.becomes(2).await;
        fleet.run(policy(0)).await;
        fleet.becomes(0).await;
        assert_eq!(fleet.api.faults_left(), [], "{what}");
    }
}

#[actix::test]
async fn a_host_that_never_comes_up_is_replaced_and_given_back() {
    let mut fleet = Fleet::simulated();
    fleet.machines.next_never_boot(1);
    fleet.run(policy(1)).await;
    fleet.becomes(1).await;
    assert_eq!(fleet.api.count("POST", "/v2/droplets"), 2);
}

#[actix::test]
async fn a_tagged_droplet_that_nobody_ordered_is_given_back_and_others_are_left_alone() {
    let mut fleet = Fleet::simulated();
    fleet.api.plant("test-stray", &["getaredis-test"]);
    let other = fleet.api.plant("other", &["getaredis-other"]);
    fleet.run(policy(0)).await;
    let deadline = Instant::now() + PATIENCE;
    while fleet.api.droplets().len() > 1 {
        assert!(Instant::now() < deadline, "{:?}", fleet.paid_for());
        tokio::time::sleep(BEAT).await;
    }
    assert_eq!(fleet.api.droplets()[0].id, other);
}

#[actix::test]
async fn a_builder_is_left_alone_while_a_bake_may_be_at_work_and_deleted_after_that() {
    let mut fleet = Fleet::simulated();
    let planted = Instant::now();
    fleet.api.plant("getaredis-test-builder-1234abcd", &["getaredis-test"]);
    fleet.run(policy(0)).await;
    while !fleet.api.droplets().is_empty() {
        assert!(planted.elapsed() < PATIENCE, "{:?}", fleet.paid_for());
        tokio::time::sleep(BEAT).await;
    }
    // It was listed and had no row for far longer than `list_grace`. Times of the API are whole seconds.
    assert!(planted.elapsed() > Duration::from_secs(3), "{:?}", planted.elapsed());
    fleet.becomes(0).await;
}

/// A real directory, with simulated engines on the hosts in it.
struct InBoth {
    redis: InRedis,
    runtimes: SimRuntimes,
}

#[async_trait]
impl Announce for InBoth {
    async fn beat(&self, machine: &Machine) {
        self.runtimes.switch_on(&HostName::parse(&machine.name).unwrap());
        self.redis.beat(machine).await;
    }

    async fn gone(&self, machine: &Machine) {
        self.runtimes.destroy(&HostName::parse(&machine.name).unwrap());
        self.redis.gone(machine).await;
    }
}

#[actix::test]
async fn hosts_that_are_bought_announce_themselves_in_a_real_redis() {
    let server = RedisServer::start();
    let url = server.url();
    let deadline = Instant::now() + PATIENCE;
    let redis = loop {
        match InRedis::connect(&url, "pre:", TTL).await {
            Ok(redis) => break redis,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(BEAT).await;
    };
    let directory = RedisDirectory::new(RedisSettings {
        deployment: DeploymentId::parse("default").unwrap(),
        ca: None,
        url: url.into(),
        prefix: "pre:".to_owned(),
        ttl: TTL,
        engine: "tcp://{private_address}:2376".to_owned(),
        slots: SLOTS,
    });
    let runtimes = SimRuntimes::new(Pace::default(), Faults::new());
    let announce = InBoth { redis, runtimes: runtimes.clone() };
    let mut fleet = Fleet::new(Arc::new(directory.unwrap()), runtimes, Arc::new(announce));
    fleet.run(policy(2)).await;
    fleet.becomes(2).await;
    fleet.run(policy(0)).await;
    fleet.becomes(0).await;
}
