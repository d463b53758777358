//! `ask()` tells apart what a caller has to do next.

use super::*;
use crate::supervision::{AskError, ask};

const PATIENCE: Duration = Duration::from_secs(5);

#[actix::test]
async fn an_answer_is_an_answer() {
    let nursery = Nursery::new(spec());
    assert_eq!(ask(&nursery.addr.recipient(), Add(2), PATIENCE).await, Ok(2));
}

#[actix::test]
async fn a_question_that_kills_is_answered_at_once_with_restarting() {
    let nursery = Nursery::new(spec());
    let begin = Instant::now();
    assert_eq!(ask(&nursery.addr.clone().recipient(), poison(), PATIENCE).await, Err(AskError::Restarting));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let late = ask(&nursery.addr.recipient(), PanicAfter(SECOND), PATIENCE).await;
    assert_eq!(late, Err(AskError::Restarting));
}

#[actix::test]
async fn a_question_in_flight_is_told_when_another_one_kills() {
    let nursery = Nursery::new(spec());
    let flying = PanicAfter(100 * SECOND);
    let recipient = nursery.addr.clone().recipient();
    let flying = actix::spawn(async move { ask(&recipient, flying, 200 * SECOND).await });
    sleep(SECOND).await;
    let begin = Instant::now();
    assert!(nursery.addr.send(poison()).await.is_err());
    assert_eq!(flying.await.unwrap(), Err(AskError::Restarting));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[actix::test]
async fn a_question_put_during_the_back_off_is_answered_by_the_fresh_actor() {
    let nursery = Nursery::new(spec());
    assert_eq!(nursery.addr.send(Add(5)).await, Ok(5));
    assert!(nursery.addr.send(poison()).await.is_err());
    assert_eq!(ask(&nursery.addr.recipient(), Add(1), PATIENCE).await, Ok(1));
}

#[actix::test]
async fn a_child_that_was_given_up_is_down_also_for_the_question_that_killed_it() {
    let nursery = Nursery::new(spec().limits(0, SECOND));
    assert_eq!(ask(&nursery.addr.clone().recipient(), poison(), PATIENCE).await, Err(AskError::Down));
    assert_eq!(ask(&nursery.addr.recipient(), Add(1), PATIENCE).await, Err(AskError::Down));
}

#[actix::test]
async fn a_child_that_was_dropped_is_down() {
    let Nursery { child, addr, .. } = Nursery::new(spec());
    drop(child);
    assert_eq!(ask(&addr.recipient(), Add(1), PATIENCE).await, Err(AskError::Down));
}

#[actix::test]
async fn a_question_that_timed_out_before_its_turn_is_withdrawn() {
    let nursery = Nursery::new(spec());
    let held = nursery.addr.send(Hold { how_long: Some(10 * SECOND), tells: false });
    let begin = Instant::now();
    assert_eq!(ask(&nursery.addr.clone().recipient(), Add(1), PATIENCE).await, Err(AskError::Timeout));
    assert!(begin.elapsed() < PATIENCE + SECOND);
    held.await.unwrap();
    assert_eq!(nursery.addr.send(Add(0)).await, Ok(0), "the question was carried out although nobody waited");
}

#[actix::test]
async fn the_time_limit_holds_for_a_full_mailbox_and_through_one_recipient() {
    let nursery = Nursery::new(spec());
    let held = nursery.addr.send(Hold { how_long: Some(20 * SECOND), tells: false });
    for _ in 0..100 {
        nursery.addr.do_send(Add(0));
    }
    let recipient = nursery.addr.clone().recipient();
    for _ in 0..3 {
        let begin = Instant::now();
        assert_eq!(ask(&recipient, Add(1), SECOND).await, Err(AskError::Timeout));
        assert!(begin.elapsed() < 2 * SECOND);
    }
    let recipient = Rc::new(recipient);
    let patient: Vec<_> = (0..50)
        .map(|_| {
            let recipient = recipient.clone();
            actix::spawn(async move { ask(&recipient, Add(1), 60 * SECOND).await })
        })
        .collect();
    held.await.unwrap();
    for (answer, expected) in patient.into_iter().zip(1..) {
        assert_eq!(answer.await.unwrap(), Ok(expected), "a question got lost in a full mailbox");
    }
}

/// As the process runs: actors on the thread of the system, those who ask on others.
#[test]
fn questions_from_other_threads_are_answered_across_a_restart() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    actix::System::with_tokio_rt(runtime).block_on(async {
        let (roster, world) = (new_roster(), World::default());
        let spec = spec().backoff(Duration::ZERO, Duration::ZERO);
        let child = supervise(Cradle::new(), spec, &roster, move |slot| Toy::new(&world, slot));
        let (adds, poisons) = (child.addr().recipient(), child.addr().recipient());
        let asker = tokio::spawn(async move {
            let first = ask(&adds, Add(5), 3600 * SECOND).await;
            let bad = ask(&poisons, poison(), 3600 * SECOND).await;
            (first, bad, ask(&adds, Add(1), 3600 * SECOND).await)
        });
        assert_eq!(asker.await.unwrap(), (Ok(5), Err(AskError::Restarting), Ok(1)));
        assert_eq!(child.report().restarts, 1);
    });
}

#[test]
fn an_ask_error_speaks_plain_words() {
    let words = [AskError::Restarting, AskError::Down, AskError::Timeout, AskError::Busy].map(|e| e.to_string());
    assert_eq!(
        words,
        [
            "it failed while it had the request, and is being restarted",
            "it is out of service",
            "it did not answer in time",
            "it has too much to do",
        ]
    );
}
