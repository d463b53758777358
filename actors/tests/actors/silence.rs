//! Hosts that fall silent: for a while, for ever, or because they left the directory.

use std::time::Duration;

use getaredis_actors::{
    domain::{EndReason, Instance, InstanceId, InstanceState},
    feed::messages::Subscribe,
    reaper::messages::{DescribeReaper, ExtendLease, ReaperStatus},
    scheduler::messages::{DeleteInstance, EndError, Ending},
    settings::{ReaperSettings, Settings},
    sim::{
        harness::{World, creator, request, settings},
        runtime::Reach,
    },
    supervision::ask,
};
use tokio::time::{Instant, sleep};

use crate::host;

const WITHIN: Duration = Duration::from_secs(120);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn row(world: &World, id: &InstanceId) -> Instance {
    world.store.rows().into_iter().find(|row| &row.id == id).unwrap()
}

async fn until_it_is(world: &World, id: &InstanceId, state: InstanceState) -> Instance {
    world.eventually(&format!("it is {state:?}"), async |world| row(world, id).state == state).await;
    row(world, id)
}

async fn reaper(world: &World) -> ReaperStatus {
    ask(&world.doors().reaper, DescribeReaper, WITHIN).await.unwrap()
}

/// Patience that is over within the test's.
const LOST_AFTER: Duration = Duration::from_secs(20 * 60);

fn impatient() -> Settings {
    Settings { reaper: ReaperSettings { lost_after: LOST_AFTER, ..settings().reaper }, ..settings() }
}

/// An instance on a host that has just fallen silent, and another host.
async fn silent() -> (World, InstanceId) {
    tokio::time::pause();
    let world = World::running(impatient(), &[("a", 4), ("b", 4)]).await;
    let id = world.must_create(creator(1)).await.id;
    world.runtimes.reach(&host("a"), Reach::Refusing);
    (world, id)
}

#[actix::test]
async fn an_instance_is_unreachable_as_soon_as_its_hosts_silence_is_noticed_and_comes_back_with_it() {
    let (world, id) = silent().await;
    let begun = Instant::now();
    let unreachable = until_it_is(&world, &id, InstanceState::Unreachable).await;
    assert!(begun.elapsed() <= world.settings.host.probe_every + Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(unreachable.unreachable_since.is_some());
    let shown = ask(&world.doors().subscribe, Subscribe, WITHIN).await.unwrap().snapshot.instances;
    assert_eq!((shown[0].state, shown[0].unreachable_since), ("unreachable", unreachable.unreachable_since));

    world.runtimes.reach(&host("a"), Reach::Well);
    let begun = Instant::now();
    let back = until_it_is(&world, &id, InstanceState::Running).await;
    assert!(begun.elapsed() <= world.settings.host.probe_every + Duration::from_secs(1));
    assert_eq!(back.unreachable_since, None);
    world.finish().await;
}

#[actix::test]
async fn what_is_stopping_on_a_silent_host_knows_since_when_and_ends_as_wished_when_it_is_back() {
    let (world, id) = silent().await;
    until_it_is(&world, &id, InstanceState::Unreachable).await;
    let delete = DeleteInstance { id: id.clone(), reason: EndReason::Deleted };
    assert!(matches!(ask(&world.doors().delete, delete, WITHIN).await.unwrap(), Ok(Ending::Pending { .. })));
    sleep(10 * MINUTE).await;
    assert!(row(&world, &id).unreachable_since.is_some());
    let status = reaper(&world).await;
    assert!(status.reap_lag_s >= 500 && status.pending == 1 && status.failures > 0, "{status:?}");
    world.runtimes.reach(&host("a"), Reach::Well);
    until_it_is(&world, &id, InstanceState::Ended(EndReason::Deleted)).await;
    world.eventually("the lag is gone", async |world| reaper(world).await.reap_lag_s == 0).await;
    world.finish().await;
}

#[actix::test]
async fn an_unreachable_instance_can_be_extended_and_its_lease_ends_all_the_same() {
    let (world, id) = silent().await;
    until_it_is(&world, &id, InstanceState::Unreachable).await;
    let extend = ExtendLease { id: id.clone(), ttl: 30 * HOUR };
    assert!(ask(&world.doors().extend, extend, WITHIN).await.unwrap().is_ok());
    world.runtimes.reach(&host("a"), Reach::Well);
    until_it_is(&world, &id, InstanceState::Running).await;
    world.finish().await;
}

#[actix::test]
async fn what_a_host_that_stays_silent_carried_is_lost_after_the_configured_time_and_not_before() {
    let (world, id) = silent().await;
    let since = until_it_is(&world, &id, InstanceState::Unreachable).await.unreachable_since.unwrap();
    let lost = until_it_is(&world, &id, InstanceState::Ended(EndReason::Lost)).await;
    let after = Duration::try_from(lost.ended_at.unwrap().duration_since(since)).unwrap();
    let sweep = world.settings.reaper.sweep;
    assert!(after >= LOST_AFTER && after <= LOST_AFTER + 2 * sweep, "{after:?}");
    assert_eq!(world.fleet().await.unwrap().hosts[0].used, 0, "its slot is free");
    world.eventually("it is counted", async |world| reaper(world).await.lost == 1).await;

    // The host comes back: what it still carries is an orphan, and takes a slot until it is removed.
    world.runtimes.reach(&host("a"), Reach::Well);
    world.eventually("it is empty", async |world| world.runtimes.containers(&host("a")).is_empty()).await;
    for n in 2..10 {
        world.must_create(creator(n)).await;
    }
    world.finish().await;
}

#[actix::test]
async fn a_full_host_that_comes_back_after_its_instances_were_given_up_is_never_overfilled() {
    tokio::time::pause();
    let world = World::running(impatient(), &[("a", 2)]).await;
    for n in 0..2 {
        world.must_create(creator(n)).await;
    }
    world.runtimes.reach(&host("a"), Reach::Refusing);
    world.eventually("both are lost", async |world| world.live_rows().is_empty()).await;
    world.runtimes.reach(&host("a"), Reach::Well);
    // Asked again and again while the host comes back and is swept; that it is never too much is what finish checks.
    world
        .eventually("there is room again", async |world| matches!(world.create(request(creator(3))).await, Ok(Ok(_))))
        .await;
    world.finish().await;
}

async fn a_jump_while_it_is_silent(jump: impl FnOnce(&World)) {
    let (world, id) = silent().await;
    until_it_is(&world, &id, InstanceState::Unreachable).await;
    sleep(5 * MINUTE).await;
    jump(&world);
    sleep(5 * MINUTE).await;
    assert_eq!(row(&world, &id).state, InstanceState::Unreachable);
    world.runtimes.reach(&host("a"), Reach::Well);
    until_it_is(&world, &id, InstanceState::Running).await;
    world.finish().await;
}

#[actix::test]
async fn a_clock_that_is_set_forward_loses_nothing_that_is_silent_for_minutes_only() {
    a_jump_while_it_is_silent(|world| world.clock.jump_forward(HOUR)).await;
}

#[actix::test]
async fn a_clock_that_is_set_back_loses_nothing_either() {
    a_jump_while_it_is_silent(|world| world.clock.jump_back(HOUR)).await;
}

#[actix::test]
async fn what_is_on_a_host_that_stopped_announcing_itself_runs_on_and_ends_in_its_time() {
    tokio::time::pause();
    let world = World::running(impatient(), &[("a", 4), ("b", 4)]).await;
    let id = world.must_create(creator(1)).await.id;
    world.directory.withdraw(&host("a"));
    sleep(2 * LOST_AFTER).await;
    assert_eq!(row(&world, &id).state, InstanceState::Running);
    assert_eq!(world.must_create(creator(2)).await.host, host("b"), "a takes nothing new");
    let delete = DeleteInstance { id: id.clone(), reason: EndReason::Deleted };
    assert!(matches!(ask(&world.doors().delete, delete, WITHIN).await, Ok(Ok(Ending::Gone(_)))));
    world
        .eventually("a is forgotten", async |world| world.fleet().await.is_some_and(|fleet| fleet.hosts.len() == 1))
        .await;
    world.finish().await;
}

#[actix::test]
async fn a_host_that_left_the_directory_and_fell_silent_is_forgotten_with_its_instances() {
    tokio::time::pause();
    let world = World::running(impatient(), &[("a", 4), ("b", 4)]).await;
    let id = world.must_create(creator(1)).await.id;
    world.directory.withdraw(&host("a"));
    world.runtimes.reach(&host("a"), Reach::Refusing);
    let begun = Instant::now();
    until_it_is(&world, &id, InstanceState::Unreachable).await;
    assert!(begun.elapsed() <= world.settings.host.probe_every + Duration::from_secs(1), "{:?}", begun.elapsed());
    until_it_is(&world, &id, InstanceState::Ended(EndReason::Lost)).await;
    world
        .eventually("a is forgotten", async |world| world.fleet().await.is_some_and(|fleet| fleet.hosts.len() == 1))
        .await;
    // It is announced again with what was given up on it.
    let record = getaredis_actors::ports::HostRecord {
        name: host("a"),
        public_address: [203, 0, 113, 1].into(),
        engine: String::new(),
        slots: 4,
    };
    world.runtimes.reach(&host("a"), Reach::Well);
    world.directory.announce(record);
    world.eventually("it is empty", async |world| world.runtimes.containers(&host("a")).is_empty()).await;
    world.finish().await;
}

#[actix::test]
async fn a_host_that_was_gone_when_the_process_started_makes_its_instances_unreachable_too() {
    tokio::time::pause();
    let mut world = World::running(impatient(), &[("a", 4), ("b", 4)]).await;
    let id = world.must_create(creator(1)).await.id;
    world.crash().await;
    world.directory.withdraw(&host("a"));
    world.start().await;
    until_it_is(&world, &id, InstanceState::Unreachable).await;
    until_it_is(&world, &id, InstanceState::Ended(EndReason::Lost)).await;
    world.runtimes.destroy(&host("a"));
    world.finish().await;
}

#[actix::test]
async fn a_directory_that_is_away_makes_nobody_unreachable_whose_engine_answers() {
    tokio::time::pause();
    let mut world = World::running(settings(), &[("a", 4)]).await;
    let id = world.must_create(creator(1)).await.id;
    world.directory.outage("connection refused");
    sleep(10 * MINUTE).await;
    assert_eq!(row(&world, &id).state, InstanceState::Running);
    // Nor does a process that starts meanwhile and knows no host at all.
    world.crash().await;
    world.start_without_waiting();
    sleep(10 * MINUTE).await;
    assert_eq!(row(&world, &id).state, InstanceState::Running);
    world.directory.recover();
    world.finish().await;
}

#[actix::test]
async fn a_process_that_is_started_while_a_host_is_silent_gives_up_by_the_row_after_a_minute() {
    let (mut world, id) = silent().await;
    until_it_is(&world, &id, InstanceState::Unreachable).await;
    sleep(10 * MINUTE).await;
    world.crash().await;
    sleep(11 * MINUTE).await;
    world.start().await;
    let begun = Instant::now();
    until_it_is(&world, &id, InstanceState::Ended(EndReason::Lost)).await;
    assert!(
        begun.elapsed() >= MINUTE - Duration::from_secs(10) && begun.elapsed() < 3 * MINUTE,
        "{:?}",
        begun.elapsed()
    );
    world.runtimes.reach(&host("a"), Reach::Well);
    world.finish().await;
}

#[actix::test]
async fn who_deletes_twice_does_not_ask_a_silent_engine_twice_at_once() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let id = world.must_create(creator(1)).await.id;
    world.runtimes.reach(&host("a"), Reach::Silent);
    let before = world.faults.calls("runtime.remove:a");
    let delete = || ask(&world.doors().delete, DeleteInstance { id: id.clone(), reason: EndReason::Deleted }, WITHIN);
    let answers = futures_util::future::join_all((0..5).map(|_| delete())).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Ok(Ending::Pending { .. })))), "{answers:?}");
    assert_eq!(world.faults.calls("runtime.remove:a"), before + 1);
    world.runtimes.reach(&host("a"), Reach::Well);
    until_it_is(&world, &id, InstanceState::Ended(EndReason::Deleted)).await;
    assert!(matches!(delete().await.unwrap(), Err(EndError::AlreadyEnded(_))));
    world.finish().await;
}
