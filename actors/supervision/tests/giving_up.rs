//! The back-off, its limit, and what giving up means.

use super::*;
use crate::supervision::{ExitRequest, GaveUp, GiveUp};

async fn crash(nursery: &Nursery) {
    assert!(nursery.addr.send(poison()).await.is_err());
}

#[actix::test]
async fn waits_grow_up_to_the_maximum_and_start_anew_after_quiet_times() {
    let nursery = Nursery::new(spec().limits(9, 60 * SECOND).backoff(SECOND, 5 * SECOND));
    let mut waits = Vec::new();
    for _ in 0..6 {
        crash(&nursery).await;
        let Status::BackingOff { wait } = nursery.child.report().status else { panic!("it is not backing off") };
        let begin = Instant::now();
        nursery.until(Status::Up).await;
        assert!(begin.elapsed() >= wait && begin.elapsed() < wait + SECOND / 10);
        waits.push(wait.as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 5, 5, 5]);
    sleep(61 * SECOND).await;
    crash(&nursery).await;
    assert_eq!(nursery.child.report().status, Status::BackingOff { wait: SECOND });
}

#[actix::test]
async fn a_child_that_dies_now_and_then_is_never_given_up() {
    let nursery = Nursery::new(spec());
    for _ in 0..50 {
        crash(&nursery).await;
        sleep(21 * SECOND).await;
    }
    assert_eq!(nursery.child.report().status, Status::Up);
    assert_eq!(nursery.child.report().restarts, 50);
    assert_eq!(nursery.addr.send(Add(1)).await, Ok(1));
}

#[actix::test]
async fn an_alarm_leaves_the_child_down_visible_and_its_address_closed() {
    let nursery = Nursery::new(spec());
    for _ in 0..3 {
        crash(&nursery).await;
    }
    let (last, queued) = (nursery.addr.send(poison()), nursery.addr.send(Add(1)));
    assert!(last.await.is_err());
    assert!(queued.await.is_err(), "a message outlived the mailbox");
    assert!(!nursery.addr.connected());
    sleep(3600 * SECOND).await;
    let reports = nursery.roster.reports();
    assert_eq!(reports.len(), 1);
    assert_eq!((&reports[0].status, reports[0].restarts), (&Status::Down, 3));
    assert_eq!(reports[0].last_cause, Some(Exit::Panicked("poison".to_owned())));
    assert_eq!(nursery.world.log().last().unwrap(), "dropped with 0", "the dead value was kept");
    let exit = timeout(SECOND, nursery.roster.exit_requested()).await;
    assert!(exit.is_err(), "an alarm ended the process");
}

#[actix::test]
async fn an_indispensable_child_requests_the_exit_of_the_process() {
    let nursery = Nursery::new(spec().limits(0, SECOND).give_up(GiveUp::ExitProcess));
    let roster = nursery.roster.clone();
    let main = actix::spawn(async move { roster.exit_requested().await });
    sleep(SECOND).await;
    assert!(!main.is_finished());
    crash(&nursery).await;
    let expected = ExitRequest { name: "toy".to_owned(), cause: Exit::Panicked("poison".to_owned()), code: 1 };
    assert_eq!(main.await.unwrap(), expected);
    assert_eq!(nursery.roster.exit_requested().await, expected, "a late listener is told as well");
    assert_eq!(nursery.child.report().status, Status::Down);
}

#[actix::test]
async fn a_parent_that_wants_to_know_is_told() {
    struct Parent(Rc<RefCell<Vec<GaveUp>>>);
    impl Actor for Parent {
        type Context = Context<Self>;
    }
    impl Handler<GaveUp> for Parent {
        type Result = ();
        fn handle(&mut self, told: GaveUp, _: &mut Self::Context) {
            self.0.borrow_mut().push(told);
        }
    }
    let told = Rc::new(RefCell::new(Vec::new()));
    let parent = Parent(told.clone()).start();
    let nursery = Nursery::new(spec().limits(1, 60 * SECOND).give_up(GiveUp::Tell(parent.recipient())));
    crash(&nursery).await;
    crash(&nursery).await;
    sleep(SECOND).await;
    let cause = Exit::Panicked("poison".to_owned());
    assert_eq!(*told.borrow(), [GaveUp { name: "toy".to_owned(), cause }]);
}

#[actix::test]
async fn a_transient_child_may_stop_but_not_fail() {
    let nursery =
        Nursery::new(Spec { restart: crate::supervision::Restart::Transient, ..spec() }.give_up(GiveUp::ExitProcess));
    crash(&nursery).await;
    assert_eq!(nursery.addr.send(Add(2)).await, Ok(2));
    nursery.addr.send(act(|_, ctx| ctx.stop())).await.unwrap();
    nursery.until(Status::Down).await;
    assert_eq!(nursery.cause(), Exit::Stopped);
    assert!(!nursery.addr.connected());
    let exit = timeout(SECOND, nursery.roster.exit_requested()).await;
    assert!(exit.is_err(), "a child that ended as it may is not one that was given up");
}

#[actix::test]
async fn a_temporary_child_is_never_started_again() {
    let nursery = Nursery::new(Spec::temporary("toy"));
    crash(&nursery).await;
    assert_eq!((nursery.child.report().status, nursery.child.report().restarts), (Status::Down, 0));
    assert!(!nursery.addr.connected());
}
