//! What wakes the autoscaler, what holds it back, and what it tells and writes down.

use std::sync::Arc;

use getaredis_actors::{
    autoscaler::messages::{GrowthForeseen, PauseScaling, PressureChanged, ResumeScaling, ScalingStatus},
    domain::scaling::{Decision, ScalingPolicy, Stage},
    feed::messages::Fact,
    ports::Journal,
    sim::journal::SimJournal,
    supervision::ask,
};
use tokio::time::sleep;

use super::world::{BOOT, MINUTE, World, policy};
use crate::support::seconds;

fn press(world: &World) {
    world.child().addr().do_send(PressureChanged);
}

/// What a viewer has seen of the pool.
fn shown(world: &World) -> Vec<ScalingStatus> {
    let facts = world.fleet.shown.lock().unwrap();
    let scaling = |fact: &Fact| match fact {
        Fact::ScalingChanged { scaling } => Some(scaling.clone()),
        _ => None,
    };
    facts.iter().filter_map(scaling).collect()
}

fn growth(world: &World) -> GrowthForeseen {
    *world.fleet.growth.lock().unwrap().last().unwrap()
}

#[actix::test]
async fn pressure_makes_a_pass_at_once_and_much_of_it_one_a_second() {
    let world = World::paused(policy());
    sleep(seconds(10)).await;
    let before = world.faults.calls("cloud.list");
    press(&world);
    sleep(seconds(0)).await;
    tokio::time::timeout(seconds(1), async {
        while world.faults.calls("cloud.list") == before {
            sleep(seconds(0)).await;
        }
    })
    .await
    .unwrap();
    let before = world.faults.calls("cloud.list");
    for _ in 0..100 {
        press(&world);
        sleep(std::time::Duration::from_millis(50)).await;
    }
    let passes = world.faults.calls("cloud.list") - before;
    assert!((4..=6).contains(&passes), "{passes} passes in five seconds");
    world.agrees(1).await;
}

#[actix::test]
async fn pressure_does_not_wake_a_server_that_does_not_look_after_the_pool() {
    let world = World::paused(policy());
    *world.fleet.leads.lock().unwrap() = false;
    sleep(MINUTE + seconds(5)).await;
    let before = world.faults.calls("cloud.list");
    for _ in 0..20 {
        press(&world);
        sleep(seconds(1)).await;
    }
    assert_eq!(world.faults.calls("cloud.list"), before);
    // The timer tells it that it leads, and it is as quick as any.
    *world.fleet.leads.lock().unwrap() = true;
    sleep(seconds(10)).await;
    let before = world.faults.calls("cloud.list");
    press(&world);
    sleep(seconds(1)).await;
    assert_eq!(world.faults.calls("cloud.list"), before + 1);
}

#[actix::test]
async fn a_droplet_is_ordered_within_a_second_of_the_first_instance_on_the_standby() {
    let world = World::paused(policy());
    sleep(5 * MINUTE + seconds(7)).await;
    let first = world.up()[0].clone();
    world.occupy(&first, 1);
    press(&world);
    sleep(seconds(1)).await;
    assert_eq!(world.cloud.ordered(), 2);
}

#[actix::test]
async fn while_it_is_paused_it_looks_and_explains_and_does_nothing() {
    let mut world = World::paused(policy());
    sleep(5 * MINUTE).await;
    let to = world.child().addr();
    let status = ask(&to.clone().recipient(), PauseScaling, MINUTE).await.unwrap();
    assert!(status.paused);
    sleep(10 * MINUTE).await;
    let before = world.cloud.ordered();
    let host = world.up()[0].clone();
    world.occupy(&host, 1);
    sleep(60 * MINUTE).await;
    assert_eq!(world.cloud.ordered(), before);
    let explanation = world.status().await.explanation;
    assert_eq!(explanation[0], "paused by the operator: none of this is done");
    assert!(explanation.iter().any(|line| line.contains("one more droplet")), "{explanation:?}");
    assert!(!growth(&world).may_grow);
    // A panic must not wake what the operator put to sleep.
    world.expect_restart("cloud.list").await;
    sleep(60 * MINUTE).await;
    assert_eq!(world.cloud.ordered(), before);

    let to = world.child().addr();
    assert!(!ask(&to.recipient(), ResumeScaling, MINUTE).await.unwrap().paused);
    assert_eq!(world.cloud.ordered(), before + 1);
}

#[actix::test]
async fn every_decision_is_written_down_with_its_grounds_and_can_be_made_again() {
    let mut world = World::paused(policy());
    let journal = SimJournal::new(10_000, world.faults.clone());
    world.ports.journal = Some(Arc::new(journal.clone()));
    world.restart().await;
    super::grow_and_shrink(&mut world).await;
    let lines = journal.last(10_000).await.unwrap();
    assert!(lines.len() > 150, "{}", lines.len());
    let decisions: Vec<Decision> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(decisions.iter().all(|decision| decision.differs().is_none()));
    let actions = decisions.iter().map(|decision| decision.plan.actions.len()).sum::<usize>();
    assert!(actions >= 3, "{actions}");
}

#[actix::test]
async fn a_journal_that_cannot_be_written_is_reported_and_stops_nothing() {
    let mut world = World::paused(policy());
    world.ports.journal = Some(Arc::new(SimJournal::new(10, world.faults.clone())));
    world.faults.fail_always("journal.append");
    world.restart().await;
    sleep(10 * MINUTE).await;
    world.agrees(1).await;
    let errors = world.status().await.errors.join("\n");
    assert!(errors.contains("the journal cannot be used"), "{errors}");
}

#[actix::test]
async fn a_provider_that_refuses_is_asked_ever_less_often_and_its_reason_is_shown() {
    let world = World::paused(policy());
    world.faults.fail_always("cloud.create");
    sleep(6 * 60 * MINUTE).await;
    let asked = world.faults.calls("cloud.create");
    assert!((8..30).contains(&asked), "{asked} times in six hours");
    let explanation = world.status().await.explanation.join("\n");
    assert!(explanation.contains("nothing is bought for"), "{explanation}");
    assert!(explanation.contains("simulated failure of cloud.create"), "{explanation}");
    assert!(!growth(&world).may_grow);
    world.faults.heal("cloud.create");
    sleep(35 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!(world.up().len(), 1);
}

#[actix::test]
async fn droplets_that_never_boot_are_replaced_ever_later() {
    let world = World::paused(ScalingPolicy { max_hosts: 5, ..policy() });
    world.cloud.next_never_boot(1000);
    sleep(6 * 60 * MINUTE).await;
    let ordered = world.cloud.ordered();
    // One every five minutes would be 72.
    assert!((8..25).contains(&ordered), "{ordered}");
    assert!(world.cloud.most_ever() <= 2, "{}", world.cloud.most_ever());
    world.cloud.next_never_boot(0);
    sleep(60 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!(world.up().len(), 1);
}

#[actix::test]
async fn droplets_that_boot_and_then_turn_bad_are_replaced_ever_later() {
    let world = World::paused(ScalingPolicy { max_hosts: 5, ..policy() });
    for _ in 0..6 * 60 {
        sleep(MINUTE).await;
        for host in world.up() {
            world.fleet.runtimes.destroy(&host);
        }
    }
    let ordered = world.cloud.ordered();
    // One every two minutes would be 180; until some are known to be bad, as many are bought as there may be.
    assert!((8..50).contains(&ordered), "{ordered}");
    sleep(60 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!(world.up().len(), 1);
}

#[actix::test]
async fn nothing_is_bought_while_it_could_not_announce_itself() {
    let world = World::paused(policy());
    *world.fleet.directory_away.lock().unwrap() = Some("no route".to_owned());
    sleep(60 * MINUTE).await;
    assert_eq!((world.faults.calls("cloud.create"), world.cloud.ordered()), (0, 0));
    let explanation = world.status().await.explanation.join("\n");
    assert!(explanation.contains("the directory is away"), "{explanation}");
    *world.fleet.directory_away.lock().unwrap() = None;
    // Nothing was spent and nobody was refused meanwhile.
    sleep(2 * MINUTE).await;
    world.agrees(1).await;
    assert_eq!(world.up().len(), 1);
}

#[actix::test]
async fn a_host_that_turned_bad_is_replaced_and_deleted() {
    let world = World::paused(policy());
    sleep(5 * MINUTE).await;
    let bad = world.up()[0].clone();
    world.fleet.runtimes.destroy(&bad);
    sleep(4 * MINUTE).await;
    assert!(world.droplets().contains(&bad), "it may come back");
    sleep(10 * MINUTE).await;
    assert!(!world.droplets().contains(&bad));
    world.agrees(1).await;
    assert_eq!(world.up().len(), 1);
}

#[actix::test]
async fn no_more_droplets_are_ordered_than_the_hour_allows() {
    let world =
        World::paused(ScalingPolicy { standby: 8, max_hosts: 8, create_burst: 2, creates_per_hour: 4, ..policy() });
    sleep(MINUTE).await;
    assert_eq!(world.cloud.ordered(), 2);
    sleep(60 * MINUTE).await;
    assert_eq!(world.cloud.ordered(), 6);
    sleep(60 * MINUTE).await;
    world.agrees(8).await;
}

#[actix::test]
async fn the_scheduler_is_told_what_is_on_the_way_and_when_it_is_there() {
    let world = World::paused(ScalingPolicy { max_hosts: 3, ..policy() });
    sleep(seconds(5)).await;
    let expected = GrowthForeseen { booting: 1, may_grow: true, ready_in: Some(MINUTE), ..GrowthForeseen::default() };
    assert_eq!(growth(&world), expected);
    sleep(5 * MINUTE).await;
    assert_eq!(growth(&world).booting, 0);
    let first = world.up()[0].clone();
    world.occupy(&first, 1);
    *world.fleet.waiting.lock().unwrap() = 1;
    press(&world);
    sleep(seconds(1)).await;
    let told = growth(&world);
    assert_eq!((told.booting, told.may_grow), (2, false));
    let ready_in = told.ready_in.unwrap();
    assert!((BOOT..BOOT + seconds(40)).contains(&ready_in), "{ready_in:?}");
}

#[actix::test]
async fn a_viewer_sees_a_droplet_on_its_way_and_up_and_what_it_took() {
    let world = World::paused(policy());
    sleep(seconds(2)).await;
    let first = shown(&world).last().unwrap().clone();
    assert_eq!((first.enabled, first.max_hosts, first.totals.ordered), (true, 2, 1));
    assert_eq!(first.droplets.iter().map(|droplet| droplet.stage).collect::<Vec<_>>(), [Stage::Booting]);
    sleep(5 * MINUTE).await;
    let later = shown(&world).last().unwrap().clone();
    assert_eq!(later.droplets.iter().map(|droplet| droplet.stage).collect::<Vec<_>>(), [Stage::Up]);
    assert_eq!((later.droplets[0].name.clone(), later.totals.ordered), (first.droplets[0].name.clone(), 1));
    assert_eq!(world.status().await, later, "whoever asks is told the same");
}

#[actix::test]
async fn a_cloud_that_does_not_answer_is_counted_and_hides_no_droplet() {
    let world = World::paused(policy());
    sleep(5 * MINUTE).await;
    let well = shown(&world).last().unwrap().clone();
    assert_eq!(well.totals.failures, 0);
    world.faults.hang_always("cloud.list");
    sleep(10 * MINUTE).await;
    let away = shown(&world).last().unwrap().clone();
    assert!(away.totals.failures > 3 && !away.errors.is_empty(), "{away:?}");
    assert_eq!(away.droplets, well.droplets);
}

#[actix::test]
async fn a_pause_holds_at_once_also_for_what_a_pass_under_way_has_not_begun() {
    let world = World::paused(ScalingPolicy { standby: 3, max_hosts: 3, ..policy() });
    world.faults.hang_next("cloud.create");
    until_called(&world, "cloud.create").await;
    let to = world.child().addr();
    let pause = actix::spawn(async move { ask(&to.recipient(), PauseScaling, 10 * MINUTE).await });
    sleep(seconds(1)).await;
    assert!(shown(&world).last().unwrap().paused, "it is seen before the pass is over");
    assert!(world.status().await.paused);
    assert!(pause.await.unwrap().unwrap().paused);
    sleep(30 * MINUTE).await;
    assert_eq!(world.faults.calls("cloud.create"), 1, "the other two were planned and not begun");
}

async fn until_called(world: &World, op: &'static str) {
    crate::support::until("it is called", || world.faults.calls(op) > 0).await;
}
