//! Bought hosts that turn bad, are renamed, doubled or deleted by others, while people use them and wait for them.

use super::*;

#[actix::test]
async fn a_host_that_starts_nothing_is_replaced_and_creates_wait_for_the_other_one() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    town.fails(&first.host).await;
    let fleet = town.fleet().await;
    assert_eq!((fleet.hosts[0].state, fleet.refusal.is_some(), fleet.growing), (Health::Failing, true, true));
    let reason = fleet.hosts[0].reason.clone().unwrap();
    assert_eq!(reason, "3 starts in a row failed there: the container engine refused: no space left on device");
    let next = town.create(5).await;
    assert!(matches!(&next, Ok(Ok(made)) if made.instance.host != first.host), "{next:?}");
    assert_eq!((town.served().len(), town.cloud.ordered()), (2, 2));
    // Once it starts something again it is a host like others.
    town.runtimes.reach(&first.host, Reach::Well);
    sleep(MINUTE).await;
    let trial = town.create(6).await;
    assert!(matches!(&trial, Ok(Ok(made)) if made.instance.host == first.host), "{trial:?}");
    assert_eq!(town.fleet().await.hosts[0].state, Health::Up);
}

#[actix::test]
async fn a_host_that_starts_nothing_is_tried_by_each_create_where_there_is_nothing_better_to_hope_for() {
    let town = Town::with(1, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    town.fails(&first.host).await;
    sleep(seconds(30)).await;
    let fleet = town.fleet().await;
    assert_eq!((fleet.hosts[0].state, &fleet.refusal, fleet.growing), (Health::Failing, &None, false));
    town.runtimes.reach(&first.host, Reach::Well);
    let next = town.create(5).await;
    assert!(matches!(&next, Ok(Ok(made)) if made.instance.host == first.host), "{next:?}");
}

#[actix::test]
async fn a_host_that_starts_nothing_is_deleted_once_it_is_empty() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    town.fails(&first.host).await;
    let next = town.create(5).await.unwrap().unwrap().instance;
    sleep(10 * MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Running, "what runs on it runs on");
    town.delete(&first).await;
    sleep(2 * MINUTE).await;
    assert_eq!(town.cloud.alive().into_iter().map(|droplet| droplet.name).collect::<Vec<_>>(), [next.host]);
}

#[actix::test]
async fn what_is_left_on_a_host_that_starts_nothing_keeps_nobody_from_deleting_it() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    town.fails(&first.host).await;
    town.runtimes.plant(&first.host, &samples::id(99));
    let next = town.create(5).await.unwrap().unwrap().instance;
    town.delete(&first).await;
    // Long before nobody asks any more what is left there.
    sleep(7 * MINUTE).await;
    assert_eq!(town.cloud.alive().into_iter().map(|droplet| droplet.name).collect::<Vec<_>>(), [next.host]);
}

#[actix::test]
async fn a_host_from_which_nothing_can_be_removed_is_deleted_once_no_row_claims_anything_there() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    town.fails(&first.host).await;
    town.delete(&first).await;
    sleep(seconds(10)).await;
    town.runtimes.plant(&first.host, &samples::id(99));
    town.faults.fail_always(Box::leak(format!("runtime.remove:{}", first.host).into_boxed_str()));
    sleep(9 * MINUTE).await;
    let alive = || town.cloud.alive().into_iter().map(|droplet| droplet.name).collect::<Vec<_>>();
    let told = scaling(&town.brain).await;
    assert_eq!(alive(), [first.host], "{:?}", told.explanation);
    assert!(told.explanation.iter().any(|line| line.contains("containers still on it: 1")), "{told:?}");
    sleep(3 * MINUTE).await;
    assert_eq!(alive(), []);
}

#[actix::test]
async fn a_host_that_says_it_can_start_nothing_is_replaced_before_anybody_waits_for_it_and_then_deleted() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    town.runtimes.reach(&first.host, Reach::Unfit);
    sleep(seconds(10)).await;
    let told = town.fleet().await.hosts.swap_remove(0);
    let why = "the container engine answers, and can start and remove nothing: its containerd hangs";
    assert_eq!((told.state, told.reason.as_deref()), (Health::Failing, Some(why)));
    let asked = Instant::now();
    let next = town.create(2).await.unwrap().unwrap().instance;
    assert_ne!(next.host, first.host);
    assert!(asked.elapsed() < BOOT + seconds(10), "nobody was sent there: {:?}", asked.elapsed());
    // A server that has just started knows nothing better.
    let town = town.restart();
    sleep(MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Running, "what runs on it runs on");
    town.delete(&first).await;
    sleep(59 * MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Stopping(EndReason::Deleted));
    sleep(16 * MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Ended(EndReason::Lost));
    assert_eq!(town.cloud.alive().into_iter().map(|droplet| droplet.name).collect::<Vec<_>>(), [next.host]);
}

#[actix::test]
async fn a_machine_in_use_that_somebody_renames_is_known_by_its_address_and_left_alone() {
    let town = Town::with(3, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    let other = HostName::parse("renamed").unwrap();
    town.cloud.rename(&first.host, &other);
    sleep(30 * MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Running);
    assert_eq!(town.cloud.alive().len(), 1);
    let told = scaling(&town.brain).await.explanation.join("\n");
    assert!(told.contains(&format!("renamed: it carries our tag and has no row; by its address it is {}", first.host)));
    assert!(told.contains("the provider does not list it"), "{told}");
    town.cloud.rename(&other, &first.host);
    town.delete(&first).await;
    sleep(30 * MINUTE).await;
    assert_eq!(town.cloud.alive(), []);
}

#[actix::test]
async fn two_machines_of_one_name_are_both_deleted_once_nothing_runs_on_them() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    // An order that was given up and took effect after all.
    town.cloud.order(&first.host);
    sleep(2 * MINUTE).await;
    let next = town.create(2).await;
    assert!(matches!(next, Ok(Err(_))), "two machines are all that there may be: {next:?}");
    assert_eq!(town.state(&first), InstanceState::Running);
    assert_eq!(town.cloud.alive().len(), 2);
    town.delete(&first).await;
    sleep(2 * MINUTE).await;
    assert_eq!(town.cloud.alive(), [], "{:?}", scaling(&town.brain).await.explanation);
    assert!(town.create(3).await.unwrap().is_ok());
}

#[actix::test]
async fn what_is_to_end_on_a_host_that_starts_and_removes_nothing_is_given_up_and_then_the_host_is_deleted() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    town.fails(&first.host).await;
    town.faults.fail_always(Box::leak(format!("runtime.remove:{}", first.host).into_boxed_str()));
    town.delete(&first).await;
    // A minute less than `reaper.lost_after`.
    sleep(59 * MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Stopping(EndReason::Deleted));
    assert_eq!(town.cloud.alive().len(), 1, "instances that are to end are on it");
    sleep(16 * MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Ended(EndReason::Lost));
    assert_eq!(town.cloud.alive(), [], "{:?}", scaling(&town.brain).await.explanation);
}

#[actix::test]
async fn what_a_droplet_carried_that_was_deleted_at_the_provider_is_lost_within_minutes() {
    let town = Town::with(1, queue(90, 100)).await;
    let lost = town.create(1).await.unwrap().unwrap().instance;
    town.ports.cloud.as_ref().unwrap().delete(&lost.host).await.unwrap();
    // `fleet.list_grace`, the end of a heartbeat, and some looks at the list.
    sleep(4 * MINUTE).await;
    assert_eq!(town.state(&lost), InstanceState::Ended(EndReason::Lost));
    let next = town.create(2).await;
    assert!(matches!(&next, Ok(Ok(made)) if made.instance.host != lost.host), "its place is free: {next:?}");
}

#[actix::test]
async fn nothing_is_given_up_on_a_host_that_lost_its_tag_and_falls_silent() {
    let town = Town::with(2, queue(90, 100)).await;
    let first = town.create(1).await.unwrap().unwrap().instance;
    town.cloud.untag(&first.host);
    sleep(10 * MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Running);
    town.runtimes.reach(&first.host, Reach::Silent);
    sleep(10 * MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Unreachable, "its machine is there, whatever the list says");
    let told = ask(&town.brain.doors.scaling, DescribeScaling, seconds(5)).await.unwrap();
    let why = format!("{}: nothing on it is given up: ", first.host);
    assert!(told.explanation.iter().any(|line| line.starts_with(&why)), "{:?}", told.explanation);
    town.runtimes.reach(&first.host, Reach::Well);
    sleep(MINUTE).await;
    assert_eq!(town.state(&first), InstanceState::Running);
}
