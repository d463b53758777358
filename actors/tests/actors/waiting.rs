//! Creates that wait for room while droplets boot: the whole brain on a simulated provider.

mod directory_away;
mod going_bad;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use getaredis_actors::{
    autoscaler::messages::{DescribeScaling, PauseScaling, ResumeScaling, ScalingStatus},
    brain::{Brain, Ports},
    domain::{
        Cordon, DeploymentId, EndReason, Health, HostName, IdempotencyKey, Instance, InstanceState, MasterKey,
        scaling::ScalingPolicy,
    },
    ports::{Orders, Store},
    scheduler::messages::{CreateError, CreateInstance, DeleteInstance, DescribeFleet, FleetView, OrderCordon},
    settings::{QueueSettings, Settings},
    sim::{
        clock::SimClock,
        cloud::SimCloud,
        directory::SimDirectory,
        faults::Faults,
        harness::{Answer, creator, request, settings},
        runtime::{Pace, Reach, SimRuntimes},
        samples,
        store::SimStore,
        webhooks::SimWebhooks,
    },
    supervision::{AskError, Exit, Status, ask},
};
use tokio::time::{Instant, sleep};

use crate::support::seconds;

const BOOT: Duration = Duration::from_secs(60);
const SLOTS: u32 = 2;
const MINUTE: Duration = Duration::from_secs(60);

struct Town {
    faults: Faults,
    store: SimStore,
    cloud: SimCloud,
    runtimes: SimRuntimes,
    ports: Ports,
    settings: Arc<Settings>,
    brain: Brain,
}

impl Town {
    /// Without a standby, and with so many droplets at most.
    async fn with(max_hosts: u32, queue: QueueSettings) -> Self {
        tokio::time::pause();
        Self::on_paused_time(max_hosts, queue).await
    }

    async fn on_paused_time(max_hosts: u32, queue: QueueSettings) -> Self {
        let town = Self::just_started(max_hosts, queue, Faults::new());
        // The autoscaler's first pass.
        sleep(seconds(5)).await;
        town
    }

    /// Just started: nobody has looked at anything yet.
    fn just_started(max_hosts: u32, queue: QueueSettings, faults: Faults) -> Self {
        let clock = SimClock::new();
        let directory = SimDirectory::new(Some(seconds(10)), faults.clone());
        let runtimes = SimRuntimes::new(Pace::default(), faults.clone());
        let store = SimStore::new(faults.clone());
        let cloud = SimCloud::new(BOOT, SLOTS, clock.clone(), directory.clone(), runtimes.clone(), faults.clone());
        let ports = Ports {
            clock: Arc::new(clock),
            store: Arc::new(store.clone()),
            runtimes: Arc::new(runtimes.clone()),
            directory: Arc::new(directory),
            cloud: Some(Arc::new(cloud.clone())),
            journal: None,
            webhooks: Arc::new(SimWebhooks::new(faults.clone())),
        };
        let policy = ScalingPolicy { standby: 0, max_hosts, slots: SLOTS, ..samples::scaling_policy() };
        let settings = Arc::new(Settings { scaling: Some(policy), queue, ..settings() });
        let brain = start(&ports, &settings);
        Self { faults, store, cloud, runtimes, ports, settings, brain }
    }

    /// Another server in place of the one before.
    fn restart(self) -> Self {
        drop(self.brain);
        let brain = start(&self.ports, &self.settings);
        Self { brain, ..self }
    }

    /// A host starts nothing any more, as three creates find out.
    async fn fails(&self, host: &HostName) {
        self.runtimes.reach(host, Reach::Full);
        for who in 2..5 {
            let answer = self.create(who).await;
            assert!(matches!(answer, Ok(Err(CreateError::Host(_)))), "{answer:?}");
        }
    }

    async fn create(&self, who: u16) -> Answer {
        ask(&self.brain.doors.create, request(creator(who)), seconds(150)).await
    }

    async fn fleet(&self) -> FleetView {
        ask(&self.brain.doors.fleet, DescribeFleet, seconds(5)).await.unwrap()
    }

    async fn delete(&self, instance: &Instance) {
        let delete = DeleteInstance { id: instance.id.clone(), reason: EndReason::Deleted };
        ask(&self.brain.doors.delete, delete, seconds(30)).await.unwrap().unwrap();
    }

    fn state(&self, instance: &Instance) -> InstanceState {
        self.store.rows().into_iter().find(|row| row.id == instance.id).unwrap().state
    }

    /// Live instances, of whom; and that no droplet was ever overfilled.
    fn served(&self) -> Vec<String> {
        for droplet in self.cloud.alive() {
            assert!(self.runtimes.most_ever(&droplet.name) <= SLOTS as usize, "{}", droplet.name);
        }
        let live = self.store.rows().into_iter().filter(|row| row.state.is_live());
        let mut creators: Vec<_> = live.map(|row| row.creator.to_string()).collect();
        creators.sort();
        creators
    }
}

fn start(ports: &Ports, settings: &Arc<Settings>) -> Brain {
    let (name, key) = (DeploymentId::parse("town").unwrap(), Arc::new(MasterKey::new([7; 32])));
    Brain::start(name, ports.clone(), Arc::clone(settings), key)
}

fn queue(wait: u64, most: usize) -> QueueSettings {
    QueueSettings { wait: seconds(wait), most }
}

fn refusal(answer: &Answer) -> String {
    match answer {
        Ok(Err(CreateError::NoPlace(why))) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn creates_that_find_no_room_wait_for_the_droplets_that_are_bought_for_them() {
    let town = Town::with(5, queue(90, 100)).await;
    let asked = Instant::now();
    let answers = join_all((0..5).map(|who| town.create(who))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Ok(_)))), "{answers:?}");
    assert!(asked.elapsed() < BOOT + seconds(10), "{:?}", asked.elapsed());
    assert_eq!((town.served().len(), town.cloud.ordered()), (5, 3));
    let fleet = town.fleet().await;
    assert_eq!((fleet.waiting, fleet.waited), (0, 5));
    // Whoever waited has the whole lease.
    let rows = town.store.rows();
    assert!(rows.iter().all(|row| row.lease.expires_at.duration_since(row.created_at).as_hours() == 12));
}

#[actix::test]
async fn who_repeats_a_create_that_waits_for_room_waits_for_its_answer() {
    let town = Town::with(1, queue(90, 100)).await;
    let key = IdempotencyKey::parse("k").unwrap();
    let keyed = || CreateInstance { idempotency_key: Some(key.clone()), ..request(creator(1)) };
    let asked = Instant::now();
    let answers = join_all((0..3).map(|_| ask(&town.brain.doors.create, keyed(), seconds(150)))).await;
    assert!(asked.elapsed() > town.settings.create_deadline, "the boot takes longer: {:?}", asked.elapsed());
    let ids: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().unwrap().instance.id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(town.served().len(), 1);
}

#[actix::test]
async fn who_asks_often_makes_nobody_else_wait_longer() {
    let town = Town::with(1, queue(90, 100)).await;
    let (many, one) = tokio::join!(join_all((0..6).map(|_| town.create(1))), async {
        sleep(seconds(3)).await;
        town.create(2).await
    });
    assert!(matches!(one, Ok(Ok(_))), "{one:?}");
    assert_eq!(many.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count(), 1);
    assert_eq!(town.served(), [creator(1).to_string(), creator(2).to_string()]);
}

#[actix::test]
async fn more_than_may_wait_are_refused_at_once_with_what_is_on_the_way() {
    let town = Town::with(2, queue(90, 2)).await;
    // One boot is watched, so that the next one can be foretold.
    let first = town.create(0).await.unwrap().unwrap();
    let second = town.create(0).await;
    assert!(matches!(second, Ok(Ok(_))), "{second:?}");
    let ((), third) = tokio::join!(
        async {
            let waiting = join_all((0..2).map(|who| town.create(who))).await;
            assert!(waiting.iter().all(|answer| matches!(answer, Ok(Ok(_)))), "{waiting:?}");
        },
        async {
            sleep(seconds(20)).await;
            let asked = Instant::now();
            let third = town.create(3).await;
            assert!(asked.elapsed() < seconds(1));
            third
        }
    );
    let why = refusal(&third);
    assert!(why.starts_with("1 host full, 1 booting, ready in about "), "{why}");
    let time = why.strip_suffix(" s, for those who wait already").unwrap();
    let seconds: u64 = time.split_whitespace().next_back().unwrap().parse().unwrap();
    assert!((30..60).contains(&seconds), "{why}");
    assert_eq!(first.instance.creator, creator(0));
}

#[actix::test]
async fn where_no_more_may_be_bought_nobody_waits_for_more_than_what_boots_has_room_for() {
    let town = Town::with(1, queue(90, 100)).await;
    let asked = Instant::now();
    let answers = join_all((0..5).map(async |who| (town.create(who).await, asked.elapsed()))).await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(answer, _)| matches!(answer, Ok(Ok(_))));
    assert_eq!((served.len(), refused.len()), (2, 3));
    for (answer, after) in refused {
        // What is usual with providers, until this one was seen to boot.
        assert_eq!(refusal(&answer), "1 host booting, ready in about 60 s, for those who wait already");
        // As soon as it is known that this one is the last.
        assert!(after < seconds(5), "{after:?}");
    }
}

#[actix::test]
async fn who_is_refused_while_nothing_is_sold_is_told_when_it_may_be() {
    let town = Town::with(2, queue(90, 100)).await;
    town.cloud.sell_out(true);
    town.create(1).await.unwrap().unwrap_err();
    let why = refusal(&town.create(1).await);
    let (what, time) = why.split_once(", the next one can be ordered in about ").unwrap();
    let time = time.strip_suffix(" s; orders are held back after a failure").unwrap();
    let seconds: u64 = time.parse().unwrap();
    assert_eq!(what, "no hosts");
    assert!((1..=180).contains(&seconds), "{why}");
}

#[actix::test]
async fn who_comes_before_anybody_has_looked_waits_for_what_is_bought() {
    tokio::time::pause();
    let town = Town::just_started(1, queue(90, 100), Faults::new());
    let answer = town.create(1).await;
    assert!(matches!(answer, Ok(Ok(_))), "{answer:?}");
    assert_eq!(town.cloud.ordered(), 1);
}

#[actix::test]
async fn who_comes_just_after_a_restart_gets_the_room_there_is() {
    let town = Town::with(1, queue(90, 100)).await;
    assert!(matches!(town.create(1).await, Ok(Ok(_))));
    // No more than this one may be bought, so there is nothing to hope for but to find it again.
    let town = town.restart();
    let asked = Instant::now();
    let answer = town.create(2).await;
    assert!(matches!(answer, Ok(Ok(_))), "{answer:?}");
    assert!(asked.elapsed() < seconds(5), "{:?}", asked.elapsed());
    assert_eq!((town.served().len(), town.cloud.ordered()), (2, 1));
    // And who comes then is told that it is full.
    assert_eq!(refusal(&town.create(3).await), "1 host full");
}

#[actix::test]
async fn when_the_first_look_fails_nobody_waits_for_another_one() {
    tokio::time::pause();
    let faults = Faults::new();
    faults.fail_always("cloud.list");
    let town = Town::just_started(1, queue(90, 100), faults);
    let asked = Instant::now();
    assert_eq!(refusal(&town.create(1).await), "no hosts");
    assert!(asked.elapsed() < seconds(5), "{:?}", asked.elapsed());
}

#[actix::test]
async fn a_look_that_fails_later_sends_nobody_away() {
    let town = Town::with(1, queue(90, 100)).await;
    let (answer, ()) = tokio::join!(town.create(1), async {
        sleep(seconds(10)).await;
        town.faults.fail_next("cloud.list", 1);
        sleep(seconds(10)).await;
    });
    assert!(matches!(answer, Ok(Ok(_))), "{answer:?}");
}

#[actix::test]
async fn without_a_queue_and_without_growth_nobody_waits() {
    tokio::time::pause();
    for (max, queue) in [(0, queue(90, 100)), (5, queue(0, 100)), (5, queue(90, 0))] {
        let town = Town::on_paused_time(max, queue).await;
        let asked = Instant::now();
        assert!(refusal(&town.create(1).await).starts_with("no hosts"));
        assert!(asked.elapsed() < seconds(1));
    }
}

#[actix::test]
async fn who_has_waited_long_enough_is_refused_and_leaves_nothing() {
    let town = Town::with(1, queue(20, 100)).await;
    let asked = Instant::now();
    let why = refusal(&town.create(1).await);
    assert_eq!((why.as_str(), asked.elapsed().as_secs()), ("1 host booting, ready in about 40 s", 20));
    sleep(2 * BOOT).await;
    assert_eq!((town.served().len(), town.fleet().await.hosts[0].used), (0, 0));
}

#[actix::test]
async fn who_goes_away_gives_the_turn_to_the_next() {
    let town = Town::with(1, queue(90, 100)).await;
    let door = &town.brain.doors.create;
    let gone = join_all((0..2).map(|who| ask(door, request(creator(who)), seconds(10))));
    let (gone, stayed) = tokio::join!(gone, async {
        sleep(seconds(11)).await;
        join_all((10..12).map(|who| town.create(who))).await
    });
    assert!(gone.iter().all(|answer| matches!(answer, Err(AskError::Timeout))), "{gone:?}");
    assert!(stayed.iter().all(|answer| matches!(answer, Ok(Ok(_)))), "{stayed:?}");
    assert_eq!(town.served(), [creator(10).to_string(), creator(11).to_string()]);
}

#[actix::test]
async fn a_slot_that_is_given_back_is_for_who_waits_and_not_for_who_comes_later() {
    let town = Town::with(1, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    let second = town.create(1).await;
    assert!(matches!(second, Ok(Ok(_))), "{second:?}");
    // The only droplet there may be is full, so nothing is on the way, and nobody is let in to wait.
    assert_eq!(refusal(&town.create(2).await), "1 host full");
    town.delete(&first).await;
    assert!(matches!(town.create(3).await, Ok(Ok(_))));
}

#[actix::test]
async fn whoever_waits_when_the_server_is_about_to_stop_is_told_at_once_and_what_is_being_started_is_finished() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    assert_eq!(first.state, InstanceState::Running);
    town.faults.slow_next("runtime.start", seconds(4));
    let asked = Instant::now();
    let (started, waited, ()) = tokio::join!(town.create(2), town.create(3), async {
        sleep(seconds(2)).await;
        town.brain.let_nobody_wait();
    });
    assert!(matches!(started, Ok(Ok(_))), "{started:?}");
    assert!(matches!(waited, Ok(Err(CreateError::Stopping))), "{waited:?}");
    assert!(matches!(town.create(4).await, Ok(Err(CreateError::Stopping))));
    assert!(asked.elapsed() < seconds(8), "{:?}", asked.elapsed());
}

/// A town whose only droplet has just begun to drain, because who lived there has left, and what lived there.
async fn whose_droplet_is_given_back() -> (Town, Instance) {
    let town = Town::with(1, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    town.delete(&first).await;
    while town.fleet().await.hosts[0].cordon != Some(Cordon::Draining) {
        sleep(Duration::from_millis(10)).await;
    }
    (town, first)
}

#[actix::test]
async fn who_comes_while_the_only_droplet_there_may_be_is_given_back_gets_its_place() {
    let (town, _) = whose_droplet_is_given_back().await;
    let asked = Instant::now();
    let next = town.create(2).await;
    assert!(matches!(next, Ok(Ok(_))), "{next:?}");
    assert!(asked.elapsed() < seconds(5), "it is taken back: {:?}", asked.elapsed());
    assert_eq!((town.served(), town.cloud.ordered()), (vec![creator(2).to_string()], 1));
}

#[actix::test]
async fn nobody_waits_for_a_provider_that_does_not_accept_our_credentials() {
    let town = Town::with(2, queue(90, 100)).await;
    town.cloud.lock_out(true);
    sleep(seconds(120)).await;
    let asked = Instant::now();
    let refused = town.create(1).await;
    assert!(matches!(refused, Ok(Err(CreateError::NoPlace(_)))), "{refused:?}");
    assert!(asked.elapsed() < seconds(1));
}

#[actix::test]
async fn a_host_that_the_operator_drains_is_not_taken_back_for_who_waits() {
    let (town, first) = whose_droplet_is_given_back().await;
    let drain = OrderCordon { name: first.host, cordon: Some(Cordon::Draining) };
    ask(&town.brain.doors.cordon, drain, seconds(10)).await.unwrap().unwrap();
    let next = town.create(2).await;
    assert!(matches!(next, Ok(Ok(_))), "{next:?}");
    assert_eq!(town.cloud.ordered(), 2, "its place is bought anew");
    assert_eq!(town.store.orders().await.unwrap(), Orders::default(), "the order went with the droplet");
}

async fn scaling(brain: &Brain) -> ScalingStatus {
    ask(&brain.doors.scaling, DescribeScaling, seconds(5)).await.unwrap()
}

#[actix::test]
async fn a_pause_outlives_the_server_and_holds_at_every_other_one() {
    let town = Town::with(1, queue(90, 100)).await;
    let other = start(&town.ports, &town.settings);
    assert!(ask(&town.brain.doors.pause_scaling, PauseScaling, seconds(30)).await.unwrap().paused);
    sleep(town.settings.scaling_every).await;
    assert!(scaling(&other).await.paused);
    drop(other);
    let town = town.restart();
    let asked = Instant::now();
    assert_eq!(refusal(&town.create(1).await), "no hosts; the pool is paused");
    assert!(asked.elapsed() < seconds(5) && scaling(&town.brain).await.paused);
    assert_eq!(town.cloud.ordered(), 0);
    assert!(!ask(&town.brain.doors.resume_scaling, ResumeScaling, seconds(30)).await.unwrap().paused);
    assert!(matches!(town.create(1).await, Ok(Ok(_))));
}

#[actix::test]
async fn a_pause_that_cannot_be_written_holds_and_is_written_later() {
    let town = Town::with(1, queue(90, 100)).await;
    town.faults.fail_always("store.order_pause");
    let status = ask(&town.brain.doors.pause_scaling, PauseScaling, seconds(30)).await.unwrap();
    assert!(status.paused && !status.errors.is_empty(), "{status:?}");
    assert!(refusal(&town.create(1).await).starts_with("no hosts"));
    assert!(scaling(&town.brain).await.paused && town.cloud.ordered() == 0);
    assert!(!town.store.orders().await.unwrap().paused);
    town.faults.heal("store.order_pause");
    sleep(2 * town.settings.scaling_every).await;
    assert!(town.store.orders().await.unwrap().paused && scaling(&town.brain).await.paused);
}

#[actix::test]
async fn a_slot_that_is_free_before_the_boot_is_over_is_taken_at_once() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    let second = town.create(1).await;
    assert!(matches!(second, Ok(Ok(_))), "{second:?}");
    let asked = Instant::now();
    let (waited, late) = tokio::join!(town.create(2), async {
        sleep(seconds(5)).await;
        let delete = DeleteInstance { id: first.id.clone(), reason: EndReason::Deleted };
        let (ended, late) = tokio::join!(ask(&town.brain.doors.delete, delete, seconds(30)), async {
            sleep(Duration::from_millis(1)).await;
            let late = town.create(3).await;
            (late, asked.elapsed())
        });
        ended.unwrap().unwrap();
        late
    });
    assert!(matches!(waited, Ok(Ok(_))), "{waited:?}");
    // Who came later got the droplet that was on the way.
    assert!(matches!(late.0, Ok(Ok(_))) && late.1 > seconds(40), "{late:?}");
    assert_eq!(town.served().len(), 3);
}

#[actix::test]
async fn growth_that_fails_keeps_nobody_waiting() {
    let town = Town::with(3, queue(90, 100)).await;
    town.faults.fail_always("cloud.create");
    let asked = Instant::now();
    let answers = join_all((0..3).map(|who| town.create(who))).await;
    let told = "no hosts, the next one can be ordered in about 30 s; orders are held back after a failure";
    for answer in &answers {
        assert_eq!(refusal(answer), told);
    }
    assert!(asked.elapsed() < seconds(5), "{:?}", asked.elapsed());
}

#[actix::test]
async fn without_its_autoscaler_who_finds_room_is_served_and_nobody_else_waits_for_long() {
    let town = Town::with(2, queue(90, 100)).await;
    assert!(matches!(town.create(1).await, Ok(Ok(_))));
    for _ in 0..11 {
        town.faults.panic_next("cloud.list");
    }
    let report = || town.brain.roster.report("autoscaler").unwrap();
    let begun = Instant::now();
    while report().status != Status::Down {
        assert!(begun.elapsed() < seconds(300), "{:?}", report());
        sleep(seconds(1)).await;
    }
    assert!(matches!(report().last_cause, Some(Exit::Panicked(_))), "{:?}", report());
    assert!(matches!(town.create(2).await, Ok(Ok(_))), "there is room");
    let asked = Instant::now();
    refusal(&town.create(3).await);
    assert!(asked.elapsed() <= seconds(91), "{:?}", asked.elapsed());
}

#[actix::test]
async fn a_scheduler_that_dies_answers_who_waits_and_its_successor_lets_others_wait() {
    let town = Town::with(2, queue(90, 100)).await;
    town.faults.panic_next("store.by_key");
    let (waiting, ()) = tokio::join!(join_all((0..3).map(|who| town.create(who))), async {
        sleep(seconds(10)).await;
        let key = IdempotencyKey::parse("deadly").ok();
        let deadly = CreateInstance { idempotency_key: key, ..request(creator(9)) };
        let answer = ask(&town.brain.doors.create, deadly, seconds(10)).await;
        assert!(matches!(answer, Err(AskError::Restarting)), "{answer:?}");
    });
    assert!(waiting.iter().all(|answer| matches!(answer, Err(AskError::Restarting))), "{waiting:?}");
    sleep(seconds(5)).await;
    let answers = join_all((0..3).map(|who| town.create(who))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Ok(_)))), "{answers:?}");
    assert_eq!(town.served().len(), 3);
}
