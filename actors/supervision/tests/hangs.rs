//! The watchdog: who does not answer is cut off, who is only busy is not.

use actix::MailboxError;

use super::*;

fn hold(how_long: Option<Duration>) -> Hold {
    Hold { how_long, tells: false }
}

/// The defaults: a probe 10 s after the last answer, 30 s to answer it.
const CUT_BY: Duration = Duration::from_secs(41);

#[actix::test]
async fn a_response_that_never_comes_is_cut_off_and_the_queue_served_by_a_fresh_actor() {
    let nursery = Nursery::new(spec());
    nursery.addr.send(Add(5)).await.unwrap();
    let begin = Instant::now();
    let (hung, queued) = (nursery.addr.send(hold(None)), nursery.addr.send(Add(3)));
    assert_eq!(hung.await, Err(MailboxError::Closed));
    assert!(begin.elapsed() >= 30 * SECOND && begin.elapsed() <= CUT_BY, "{:?}", begin.elapsed());
    assert_eq!(nursery.cause(), Exit::Hung);
    assert_eq!(queued.await, Ok(3));
    nursery.until(Status::Up).await;
    assert_eq!(nursery.child.report().restarts, 1);
}

#[actix::test]
async fn a_context_that_waits_for_ever_is_cut_off() {
    let nursery = Nursery::new(spec());
    nursery.addr.send(act(|toy, ctx| ctx.wait(pending::<()>().into_actor(toy)))).await.unwrap();
    nursery.until(Status::BackingOff { wait: SECOND }).await;
    assert_eq!(nursery.cause(), Exit::Hung);
    assert_eq!(nursery.addr.send(Add(1)).await, Ok(1));
}

#[actix::test]
async fn an_actor_that_hangs_again_is_cut_off_again_and_in_the_end_given_up() {
    let nursery = Nursery::new(spec().limits(3, 3600 * SECOND));
    for _ in 0..4 {
        assert!(nursery.addr.send(hold(None)).await.is_err());
    }
    assert_eq!(nursery.child.report().status, Status::Down);
    assert_eq!(nursery.cause(), Exit::Hung);
}

#[actix::test]
async fn an_idle_actor_is_left_alone_for_ever() {
    let nursery = Nursery::new(spec());
    sleep(24 * 3600 * SECOND).await;
    assert_eq!(nursery.child.report().restarts, 0);
    assert_eq!(nursery.addr.send(Add(1)).await, Ok(1));
}

#[actix::test]
async fn a_busy_actor_is_left_alone() {
    let nursery = Nursery::new(spec());
    nursery.addr.send(Add(1)).await.unwrap();
    let begin = act(|toy, ctx| {
        // Work that takes long beside the mailbox, and messages without a pause in it.
        ctx.spawn(sleep(3600 * SECOND).into_actor(toy).map(|(), toy, _| toy.sum += 1));
        ctx.run_interval(SECOND / 100, |toy, _| toy.sum += 0);
    });
    nursery.addr.send(begin).await.unwrap();
    for _ in 0..600 {
        // Each holds the mailbox for nearly as long as a probe may wait, a pause in which it is answered follows.
        nursery.addr.send(hold(Some(25 * SECOND))).await.unwrap();
    }
    assert_eq!(nursery.child.report().restarts, 0);
    assert_eq!(nursery.addr.send(Add(0)).await, Ok(2));
}

#[actix::test]
async fn an_actor_that_holds_its_mailbox_and_says_so_is_left_alone() {
    let nursery = Nursery::new(spec());
    nursery.addr.send(Hold { how_long: Some(600 * SECOND), tells: true }).await.unwrap();
    assert_eq!(nursery.child.report().restarts, 0);
    assert!(nursery.addr.send(Hold { how_long: Some(600 * SECOND), tells: false }).await.is_err());
    assert_eq!(nursery.cause(), Exit::Hung);
}

#[actix::test]
async fn the_watchdog_gets_through_a_mailbox_that_is_full() {
    let nursery = Nursery::new(spec());
    let long = nursery.addr.send(hold(Some(20 * SECOND)));
    for _ in 0..1000 {
        nursery.addr.do_send(Add(1));
    }
    long.await.unwrap();
    sleep(300 * SECOND).await;
    assert_eq!(nursery.child.report().restarts, 0);
    assert_eq!(nursery.addr.send(Add(0)).await, Ok(1000));
}

#[actix::test]
async fn the_holder_of_a_child_can_cut_it_as_the_watchdog_does() {
    let nursery = Nursery::new(spec());
    nursery.addr.send(Add(5)).await.unwrap();
    let hung = nursery.addr.send(hold(None));
    sleep(SECOND).await;
    nursery.child.cut();
    nursery.child.cut();
    assert_eq!(hung.await, Err(MailboxError::Closed));
    assert_eq!(nursery.addr.send(Add(1)).await, Ok(1));
    assert_eq!((nursery.child.report().restarts, nursery.cause()), (1, Exit::Hung), "a second cut hit the back-off");
}
