//! Creates while the directory is away, in which whatever boots would announce itself.

use super::*;

const READS: &str = "directory.read";

#[actix::test]
async fn who_comes_after_a_restart_without_the_directory_is_told_soon_and_served_once_it_is_back() {
    let town = Town::with(2, queue(90, 100)).await;
    assert!(matches!(town.create(1).await, Ok(Ok(_))));
    town.faults.fail_always(READS);
    let town = town.restart();
    let asked = Instant::now();
    assert_eq!(refusal(&town.create(2).await), "1 host not heard of; the directory is away");
    assert!(asked.elapsed() < seconds(60), "{:?}", asked.elapsed());
    let asked = Instant::now();
    refusal(&town.create(2).await);
    assert!(asked.elapsed() < seconds(5), "{:?}", asked.elapsed());
    assert!(!town.fleet().await.growing, "whoever may send visitors elsewhere should");
    town.faults.heal(READS);
    sleep(seconds(10)).await;
    assert!(matches!(town.create(2).await, Ok(Ok(_))));
    assert_eq!((town.served().len(), town.cloud.ordered()), (2, 1));
}

#[actix::test]
async fn nobody_waits_for_a_host_that_cannot_be_bought_while_the_directory_is_away() {
    tokio::time::pause();
    let town = Town::just_started(2, queue(90, 100), Faults::new());
    town.faults.fail_always(READS);
    sleep(seconds(60)).await;
    let asked = Instant::now();
    assert_eq!(refusal(&town.create(1).await), "no hosts; the directory is away");
    assert!(asked.elapsed() < seconds(5), "{:?}", asked.elapsed());
    assert_eq!(town.cloud.ordered(), 0);
}

#[actix::test]
async fn who_waits_for_a_boot_outlasts_a_short_outage_of_the_directory() {
    let town = Town::with(2, queue(90, 100)).await;
    let (answer, ()) = tokio::join!(town.create(1), async {
        sleep(BOOT / 2).await;
        town.faults.fail_always(READS);
        sleep(seconds(8)).await;
        town.faults.heal(READS);
    });
    assert!(matches!(answer, Ok(Ok(_))), "{answer:?}");
}
