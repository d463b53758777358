//! How instances end: by their owner, by their lease, by themselves; and what the sweep finds.

use std::time::Duration;

use getaredis_actors::{
    domain::{EndReason, Instance, InstanceId, InstanceState, LeaseRefused, Timestamp},
    ports::Clock,
    reaper::messages::{DescribeReaper, ExtendError, ExtendLease, ReaperStatus, SweepNow},
    scheduler::messages::{CreateInstance, DeleteInstance, EndError, Ending},
    sim::{
        harness::{World, creator, request, settings},
        runtime::Reach,
    },
    supervision::ask,
};

use crate::host;

const WITHIN: Duration = Duration::from_secs(120);

async fn delete(world: &World, id: &InstanceId) -> Result<Ending, EndError> {
    let request = DeleteInstance { id: id.clone(), reason: EndReason::Deleted };
    ask(&world.doors().delete, request, WITHIN).await.unwrap()
}

async fn sweep(world: &World) -> ReaperStatus {
    ask(&world.doors().sweep, SweepNow, WITHIN).await.unwrap()
}

fn row(world: &World, id: &InstanceId) -> Instance {
    world.store.rows().into_iter().find(|row| &row.id == id).unwrap()
}

async fn until_ended(world: &World, id: &InstanceId) -> (EndReason, Timestamp) {
    world.eventually("it has ended", async |world| !row(world, id).state.is_live()).await;
    let row = row(world, id);
    (row.state.reason().unwrap(), row.ended_at.unwrap())
}

#[actix::test]
async fn a_deleted_instance_is_gone_and_its_slot_is_free() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    let instance = world.must_create(creator(1)).await;
    assert!(matches!(delete(&world, &instance.id).await, Ok(Ending::Gone(_))));
    assert_eq!(world.runtimes.containers(&host("a")), []);
    assert!(matches!(delete(&world, &instance.id).await, Err(EndError::AlreadyEnded(_))));
    world.must_create(creator(1)).await;
    world.finish().await;
}

#[actix::test]
async fn what_was_never_there_is_not_found() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    let nobody = world.clock.new_id();
    assert!(matches!(delete(&world, &nobody).await, Err(EndError::NotFound)));
    world.finish().await;
}

#[actix::test]
async fn a_lease_ends_within_a_second_after_its_time_and_never_before() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 40)]).await;
    let mut instances = Vec::new();
    for n in 0..20u16 {
        let ttl = Some(Duration::from_millis(5_000 + u64::from(n) * 137));
        let created = world.create(CreateInstance { ttl, ..request(creator(n)) }).await.unwrap().unwrap();
        instances.push(created.instance);
    }
    for instance in instances {
        let (reason, ended_at) = until_ended(&world, &instance.id).await;
        let late = ended_at.duration_since(instance.lease.expires_at);
        assert_eq!(reason, EndReason::Expired);
        assert!(!late.is_negative() && late.as_millis() <= 1000, "{late:?} late");
    }
    world.finish().await;
}

#[actix::test]
async fn leases_that_end_together_are_over_within_a_second_however_long_their_host_takes() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 40)]).await;
    let mut end = world.clock.now();
    for n in 0..40 {
        let ttl = Some(Duration::from_secs(60));
        let instance = world.create(CreateInstance { ttl, ..request(creator(n)) }).await.unwrap().unwrap().instance;
        end = end.max(instance.lease.expires_at);
    }
    world.faults.hang_always("runtime.remove:a");
    let over =
        |world: &World| world.live_rows().iter().all(|row| row.state == InstanceState::Stopping(EndReason::Expired));
    world.eventually("all are over", async |world| over(world)).await;
    let late = world.clock.now().duration_since(end);
    assert!(late.as_millis() <= 1000, "{late:?} late");
    assert_eq!(world.live_rows().len(), 40, "their host has removed none yet");
    world.faults.heal("runtime.remove:a");
    world.eventually("all have ended", async |world| world.live_rows().is_empty()).await;
    world.finish().await;
}

#[actix::test]
async fn an_expiry_that_could_not_be_written_is_written_as_soon_as_the_database_takes_it() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let ttl = Some(Duration::from_secs(5));
    let instance = world.create(CreateInstance { ttl, ..request(creator(1)) }).await.unwrap().unwrap().instance;
    world.faults.fail_always("store.apply");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(row(&world, &instance.id).state, InstanceState::Running);
    assert!(ask(&world.doors().reaper, DescribeReaper, WITHIN).await.unwrap().reap_lag_s >= 290);
    world.faults.heal("store.apply");
    let healed = tokio::time::Instant::now();
    assert_eq!(until_ended(&world, &instance.id).await.0, EndReason::Expired);
    assert!(healed.elapsed() <= Duration::from_secs(2), "{:?}", healed.elapsed());
    world.finish().await;
}

#[actix::test]
async fn a_lease_that_is_over_is_not_extended_though_nobody_has_written_that_yet() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let ttl = Some(Duration::from_secs(5));
    let instance = world.create(CreateInstance { ttl, ..request(creator(1)) }).await.unwrap().unwrap().instance;
    world.faults.fail_always("store.due");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(row(&world, &instance.id).state, InstanceState::Running);
    let extend = ExtendLease { id: instance.id.clone(), ttl: Duration::from_secs(60) };
    match ask(&world.doors().extend, extend, WITHIN).await.unwrap() {
        Err(ExtendError::NotRunning(row)) => assert_eq!(row.state, InstanceState::Stopping(EndReason::Expired)),
        other => panic!("{other:?}"),
    }
    world.faults.heal("store.due");
    assert_eq!(until_ended(&world, &instance.id).await.0, EndReason::Expired);
    world.finish().await;
}

#[actix::test]
async fn a_deletion_that_its_host_does_not_confirm_is_tried_again_soon_and_seen_to_be() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let instance = world.must_create(creator(1)).await;
    world.faults.fail_next("runtime.remove:a", 3);
    let begun = tokio::time::Instant::now();
    assert!(matches!(delete(&world, &instance.id).await, Ok(Ending::Pending { .. })));
    world
        .eventually("the reaper knows", async |world| {
            ask(&world.doors().reaper, DescribeReaper, WITHIN).await.unwrap().pending == 1
        })
        .await;
    assert_eq!(until_ended(&world, &instance.id).await.0, EndReason::Deleted);
    assert!(begun.elapsed() < world.settings.reaper.sweep / 2, "{:?}", begun.elapsed());
    world.finish().await;
}

#[actix::test]
async fn a_host_that_hangs_on_its_orphans_keeps_no_other_host_waiting() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 40), ("b", 40)]).await;
    for _ in 0..20 {
        world.runtimes.plant(&host("a"), &world.clock.new_id());
    }
    world.faults.hang_always("runtime.remove:a");
    let begun = tokio::time::Instant::now();
    let status = sweep(&world).await;
    assert_eq!(status.orphans.container, 20);
    let longest = 3 * world.settings.host.longest_call();
    assert!(begun.elapsed() <= longest, "{:?} for a sweep", begun.elapsed());
    // What nobody could look at is still there.
    world.faults.fail_always("store.live");
    assert_eq!(sweep(&world).await.orphans.container, 20);
    world.faults.heal("store.live");
    world.faults.heal("runtime.remove:a");
    world.eventually("all are gone", async |world| world.runtimes.containers(&host("a")).is_empty()).await;
    assert_eq!(sweep(&world).await.orphans.container, 0);
    world.finish().await;
}

#[actix::test]
async fn an_extended_lease_ends_at_its_new_time() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    let ttl = Some(Duration::from_secs(10));
    let instance = world.create(CreateInstance { ttl, ..request(creator(1)) }).await.unwrap().unwrap().instance;
    let extend = |secs| ExtendLease { id: instance.id.clone(), ttl: Duration::from_secs(secs) };
    let extended = ask(&world.doors().extend, extend(60), WITHIN).await.unwrap().unwrap();
    assert_eq!(extended.lease.expires_at, world.clock.now() + Duration::from_secs(60));
    let shorter = ask(&world.doors().extend, extend(5), WITHIN).await.unwrap();
    assert!(matches!(shorter, Err(ExtendError::Lease(LeaseRefused::Shortens { .. }))), "{shorter:?}");
    let (_, ended_at) = until_ended(&world, &instance.id).await;
    assert!(ended_at >= extended.lease.expires_at);
    let late = ask(&world.doors().extend, extend(60), WITHIN).await.unwrap();
    assert!(matches!(late, Err(ExtendError::NotRunning(_))), "{late:?}");
    world.finish().await;
}

#[actix::test]
async fn an_instance_on_a_silent_host_stays_stopping_until_its_host_confirms() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    let instance = world.must_create(creator(1)).await;
    world.runtimes.reach(&host("a"), Reach::Silent);
    assert!(matches!(delete(&world, &instance.id).await, Ok(Ending::Pending { .. })));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(row(&world, &instance.id).state, InstanceState::Stopping(EndReason::Deleted));
    assert_eq!(world.fleet().await.unwrap().hosts[0].used, 1, "its slot is not free before");
    world.runtimes.reach(&host("a"), Reach::Well);
    assert_eq!(until_ended(&world, &instance.id).await.0, EndReason::Deleted);
    world.finish().await;
}

#[actix::test]
async fn a_silent_host_delays_no_other_hosts_expiries() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 20), ("b", 20)]).await;
    let ttl = Some(Duration::from_secs(60));
    for n in 0..40 {
        world.create(CreateInstance { ttl, ..request(creator(n)) }).await.unwrap().unwrap();
    }
    world.runtimes.reach(&host("a"), Reach::Silent);
    let on_b: Vec<_> = world.live_rows().into_iter().filter(|row| row.host == host("b")).collect();
    assert_eq!(on_b.len(), 20);
    for instance in on_b {
        let (_, ended_at) = until_ended(&world, &instance.id).await;
        let late = ended_at.duration_since(instance.lease.expires_at);
        assert!(late.as_millis() <= 1000, "{late:?} late");
    }
    world.runtimes.reach(&host("a"), Reach::Well);
    let back = tokio::time::Instant::now();
    world.eventually("a's have ended too", async |world| world.live_rows().is_empty()).await;
    assert!(back.elapsed() < Duration::from_secs(20), "the host's return wakes the reaper: {:?}", back.elapsed());
    world.finish().await;
}

#[actix::test]
async fn a_removal_that_fails_is_tried_until_it_succeeds() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    let ttl = Some(Duration::from_secs(5));
    let instance = world.create(CreateInstance { ttl, ..request(creator(1)) }).await.unwrap().unwrap().instance;
    world.faults.fail_next("runtime.remove:a", 7);
    world.faults.lie_next("runtime.remove:a");
    assert_eq!(until_ended(&world, &instance.id).await.0, EndReason::Expired);
    assert!(world.faults.calls("runtime.remove:a") >= 9);
    world.finish().await;
}

#[actix::test]
async fn an_engine_that_stops_by_itself_ends_its_instance_within_seconds() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    let instance = world.must_create(creator(1)).await;
    world.runtimes.crash(&host("a"), &instance.id);
    let begun = tokio::time::Instant::now();
    assert_eq!(until_ended(&world, &instance.id).await.0, EndReason::Exited);
    assert!(begun.elapsed() < Duration::from_secs(2), "the engine's own word is not waited for by the sweep");
    world.finish().await;
}

#[actix::test]
async fn a_container_that_was_removed_by_hand_is_reported_as_lost() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 1)]).await;
    let instance = world.must_create(creator(1)).await;
    world.runtimes.remove_by_hand(&host("a"), &instance.id);
    let (reason, _) = until_ended(&world, &instance.id).await;
    assert!(matches!(reason, EndReason::Lost | EndReason::Exited), "{reason}");
    world.finish().await;
}

#[actix::test]
async fn a_container_without_a_row_is_removed_by_the_sweep() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let kept = world.must_create(creator(1)).await;
    world.runtimes.plant(&host("a"), &world.clock.new_id());
    assert_eq!(sweep(&world).await.orphans_removed, 1);
    let left: Vec<_> = world.runtimes.containers(&host("a")).into_iter().map(|found| found.id).collect();
    assert_eq!(left, [kept.id]);
    world.finish().await;
}

#[actix::test]
async fn a_host_that_was_away_is_swept_soon_after_it_is_back() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    let instance = world.must_create(creator(1)).await;
    world.runtimes.reach(&host("a"), Reach::Refusing);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(row(&world, &instance.id).state, InstanceState::Unreachable, "an absent host ends nothing");
    world.runtimes.reboot(&host("a"));
    world.runtimes.reach(&host("a"), Reach::Well);
    until_ended(&world, &instance.id).await;
    world.finish().await;
}

#[actix::test]
async fn an_instance_that_is_deleted_while_it_is_made_leaves_nothing() {
    tokio::time::pause();
    let world = World::running(settings(), &[("a", 4)]).await;
    world.faults.slow_next("runtime.start:a", Duration::from_secs(3));
    let create = world.create(request(creator(1)));
    let delete_it = async {
        world.eventually("the row is written", async |world| !world.live_rows().is_empty()).await;
        let id = world.live_rows()[0].id.clone();
        delete(&world, &id).await
    };
    let (created, deleted) = futures_util::join!(create, delete_it);
    assert!(created.unwrap().is_err());
    assert!(matches!(deleted, Ok(Ending::Gone(_))), "{deleted:?}");
    world.finish().await;
}
