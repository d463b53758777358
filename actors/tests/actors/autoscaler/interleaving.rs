//! Creates and deletions that meet a shrinking pool at every moment, in thousands.

use std::{ops::Range, sync::Arc, time::Duration};

use futures_util::{future::join_all, join};
use getaredis_actors::{
    brain::{Brain, Ports},
    domain::{DeploymentId, EndReason, InstanceId, MasterKey, scaling::ScalingPolicy},
    ports::Store,
    scheduler::messages::{CreateError, DeleteInstance},
    settings::{HostSettings, ReaperSettings, Settings},
    sim::harness::{creator, request, settings},
    supervision::{Status, ask},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use super::world::{MINUTE, World, policy};
use crate::support::seconds;

const WORLDS: u64 = 50;
const INTERLEAVINGS: u64 = 200;
const SLOTS: u32 = 2;
const MAX_HOSTS: u32 = 3;
/// From a host's last instance to its deletion it takes two passes, which are at least a second apart.
const RACE_MS: u64 = 3_000;

/// A pool that gives back at once what it does not need.
fn hasty() -> ScalingPolicy {
    ScalingPolicy {
        standby: 0,
        max_hosts: MAX_HOSTS,
        slots: SLOTS,
        idle: Duration::ZERO,
        min_age: Duration::ZERO,
        create_burst: MAX_HOSTS,
        ..policy()
    }
}

/// The defaults, but with everything that is done periodically done less often: this is long.
fn leisurely() -> Settings {
    let usual = settings();
    Settings {
        scaling_every: seconds(30),
        reaper: ReaperSettings { poll: seconds(10), sweep: MINUTE, ..usual.reaper },
        host: HostSettings { probe_every: seconds(30), ..usual.host },
        directory_poll: seconds(1),
        ..usual
    }
}

/// What a provider does wrong now and then.
const TROUBLE: [fn(&World); 7] = [
    |world| world.faults.lie_next("cloud.create"),
    |world| world.faults.fail_next("cloud.create", 2),
    |world| world.faults.slow_next("cloud.create", seconds(20)),
    |world| world.faults.lie_next("cloud.delete"),
    |world| world.faults.hang_next("cloud.delete"),
    |world| world.faults.fail_next("cloud.list", 3),
    |world| world.cloud.next_never_boot(1),
];

/// Brains on their pool, and the instances that were lent and not given back.
struct Pool {
    world: World,
    brains: Vec<Brain>,
    live: Vec<InstanceId>,
    /// Whether the provider is in trouble now and then, so that creates may be refused.
    troubled: bool,
}

impl Pool {
    fn with(servers: usize, troubled: bool) -> Self {
        let mut world = World::idle(hasty(), seconds(5), leisurely());
        if servers > 1 {
            world.ports = Ports { store: Arc::new(world.store.clone().shared()), ..world.ports };
            // As at a provider, where a deletion that was accepted is carried out some time later, and lists lag behind.
            world.cloud.linger(seconds(20));
            world.cloud.list_lags(seconds(7));
        }
        let mut pool = Self { world, brains: Vec::new(), live: Vec::new(), troubled };
        while pool.brains.len() < servers {
            pool.start();
        }
        pool
    }

    fn start(&mut self) {
        let (ports, settings) = (self.world.ports.clone(), self.world.settings.clone());
        let deployment = DeploymentId::parse("test").unwrap();
        self.brains.push(Brain::start(deployment, ports, settings, Arc::new(MasterKey::new([7; 32]))));
    }

    /// A server dies with all that it knew, and another one starts.
    async fn restart(&mut self) {
        self.brains.remove(0);
        sleep(seconds(1)).await;
        self.start();
        // Until it knows its hosts it serves nobody.
        sleep(seconds(5)).await;
    }

    async fn create_at(&self, brain: &Brain, moment: Duration, who: u16) -> Option<InstanceId> {
        sleep(moment).await;
        match ask(&brain.doors.create, request(creator(who)), 3 * MINUTE).await.unwrap() {
            Err(CreateError::NoPlace(_)) if self.troubled => None,
            created => Some(created.unwrap().instance.id),
        }
    }

    async fn delete_at(&self, moment: Duration, id: Option<InstanceId>) {
        sleep(moment).await;
        let Some(id) = id else { return };
        let delete = DeleteInstance { id: id.clone(), reason: EndReason::Deleted };
        ask(&self.brains[0].doors.delete, delete, MINUTE).await.unwrap().unwrap();
        // A server that has not heard of its host yet leaves the rest to the reaper.
        while self.world.store.instance(&id).await.unwrap().unwrap().state.is_live() {
            sleep(seconds(1)).await;
        }
    }

    /// One leaves and others come, each at a moment of its own.
    async fn interleave(&mut self, rng: &mut StdRng) {
        let leaves = match self.live.len() {
            0 => None,
            many => Some(self.live.swap_remove(rng.random_range(0..many))),
        };
        let room = (SLOTS * MAX_HOSTS) as usize - self.live.len() - usize::from(leaves.is_some());
        let coming = rng.random_range(0..=room.min(2));
        let moment = |rng: &mut StdRng, within| Duration::from_millis(rng.random_range(0..within));
        let leave_at = moment(rng, RACE_MS / 2);
        let asked: Vec<_> =
            (0..coming).map(|_| (&self.brains[rng.random_range(0..self.brains.len())], moment(rng, RACE_MS))).collect();
        let creates =
            join_all(asked.into_iter().zip(0..).map(|((brain, moment), who)| self.create_at(brain, moment, who)));
        let (created, ()) = join!(creates, self.delete_at(leave_at, leaves));
        self.live.extend(created.into_iter().flatten());
    }

    /// Nothing that is lent is gone, and nothing was ever deleted under anybody.
    fn agrees(&self, what: &str) {
        assert_eq!(self.world.fleet.runtimes.casualties(), [], "{what}");
        let mut there: Vec<_> = self.world.fleet.runtimes.leftovers().into_iter().map(|(_, id)| id).collect();
        let mut lent = self.live.clone();
        there.sort();
        lent.sort();
        assert_eq!(there, lent, "{what}");
        assert!(self.world.cloud.most_ever() <= MAX_HOSTS as usize, "{what}");
    }
}

/// Returns how many droplets were ordered.
async fn interleavings(seeds: Range<u64>, servers: usize, troubled: bool) -> u32 {
    tokio::time::pause();
    let mut ordered = 0;
    for seed in seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pool = Pool::with(servers, troubled);
        sleep(seconds(5)).await;
        for n in 0..INTERLEAVINGS {
            if rng.random_ratio(1, 40) {
                pool.restart().await;
            }
            if troubled {
                // Whoever has failed to buy waits for a while.
                sleep(MINUTE).await;
                if rng.random_ratio(1, 10) {
                    TROUBLE[rng.random_range(0..TROUBLE.len())](&pool.world);
                }
            }
            pool.interleave(&mut rng).await;
            pool.agrees(&format!("seed {seed}, interleaving {n}"));
        }
        for id in std::mem::take(&mut pool.live) {
            pool.delete_at(Duration::ZERO, Some(id)).await;
        }
        // What failed is waited for, and what was planned to fail fails.
        sleep(if troubled { 90 * MINUTE } else { 10 * MINUTE }).await;
        assert_eq!(pool.world.cloud.alive(), [], "seed {seed}");
        for report in pool.brains.iter().flat_map(|brain| brain.roster.reports()) {
            assert_eq!((&report.status, report.restarts), (&Status::Up, 0), "seed {seed}: {report:?}");
        }
        ordered += pool.world.cloud.ordered();
    }
    ordered
}

#[actix::test]
async fn in_ten_thousand_interleavings_of_create_and_shrink_no_live_instance_is_ever_deleted() {
    let ordered = interleavings(0..WORLDS, 1, false).await;
    assert!(ordered > 1_000, "{ordered} droplets: it hardly ever shrank");
}

#[actix::test]
async fn nor_is_one_where_two_servers_place_instances_on_one_pool() {
    let ordered = interleavings(WORLDS..WORLDS + WORLDS / 5, 2, false).await;
    assert!(ordered > 200, "{ordered} droplets: it hardly ever shrank");
}

#[actix::test]
async fn nor_is_one_where_the_provider_does_everything_wrong_besides() {
    let ordered = interleavings(2 * WORLDS..2 * WORLDS + WORLDS / 10, 2, true).await;
    assert!(ordered > 100, "{ordered} droplets: it hardly ever shrank");
}
