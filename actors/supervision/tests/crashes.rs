//! Every way to die leads to a fresh start behind the same address.

use actix::MailboxError;

use super::*;

fn panicked(text: &str) -> Exit {
    Exit::Panicked(text.to_owned())
}

/// Checks that the child died of `cause` once, and is as new.
async fn is_reborn(nursery: &Nursery, cause: Exit) {
    assert_eq!(nursery.addr.send(Add(1)).await, Ok(1), "the state is not fresh");
    nursery.until(Status::Up).await;
    let report = nursery.child.report();
    assert_eq!((report.restarts, report.last_cause), (1, Some(cause)));
    assert_eq!(nursery.world.log().iter().filter(|what| *what == "started").count(), 2);
    assert_eq!(nursery.addr, nursery.child.addr());
}

#[actix::test]
async fn a_panic_in_a_handler_is_survived_by_the_queue_and_not_by_the_state() {
    let nursery = Nursery::new(spec());
    assert_eq!(nursery.addr.send(Add(5)).await, Ok(5));
    let begin = Instant::now();
    let (bad, queued, last) = (nursery.addr.send(poison()), nursery.addr.send(Add(1)), nursery.addr.send(Add(1)));
    assert_eq!(bad.await, Err(MailboxError::Closed));
    assert_eq!(nursery.child.report().status, Status::BackingOff { wait: SECOND });
    assert_eq!(begin.elapsed(), Duration::ZERO, "the sender of the poison waited for the back-off");
    assert_eq!(queued.await, Ok(1));
    assert_eq!(last.await, Ok(2));
    assert!(begin.elapsed() >= SECOND);
    nursery.until(Status::Up).await;
    assert_eq!(nursery.cause(), panicked("poison"));
}

#[actix::test]
async fn a_panic_in_a_spawned_future_is_survived() {
    let nursery = Nursery::new(spec());
    assert_eq!(nursery.addr.send(Add(5)).await, Ok(5));
    let spawn = act(|toy, ctx| {
        ctx.spawn(async { panic!("spawned") }.into_actor(toy));
    });
    nursery.addr.send(spawn).await.unwrap();
    is_reborn(&nursery, panicked("spawned")).await;
}

#[actix::test]
async fn a_panic_in_an_answering_future_is_survived_and_its_asker_told() {
    let nursery = Nursery::new(spec());
    assert_eq!(nursery.addr.send(Add(5)).await, Ok(5));
    assert_eq!(nursery.addr.send(PanicAfter(SECOND)).await, Err(MailboxError::Closed));
    is_reborn(&nursery, panicked("response future")).await;
}

#[actix::test]
async fn a_panic_in_a_timer_is_survived() {
    let nursery = Nursery::new(spec());
    let arm = act(|_, ctx| {
        ctx.run_later(SECOND, |_, _| panic!("timer"));
    });
    nursery.addr.send(arm).await.unwrap();
    nursery.until(Status::BackingOff { wait: SECOND }).await;
    is_reborn(&nursery, panicked("timer")).await;
}

#[actix::test]
async fn a_panic_in_started_is_survived_and_leaves_nothing_behind() {
    let nursery = Nursery::with_flaws(spec(), &[Flaw::PanicInStarted]);
    assert_eq!(nursery.addr.send(Add(1)).await, Ok(1));
    sleep(5 * SECOND).await;
    assert_eq!(nursery.world.log(), ["dropped with 0", "started"]);
    assert_eq!(nursery.cause(), panicked("started"));
}

#[actix::test]
async fn a_panic_in_make_is_survived_at_the_first_start_and_at_a_later_one() {
    let nursery = Nursery::with_flaws(spec(), &[Flaw::PanicInMake, Flaw::PanicInMake]);
    assert_eq!(nursery.addr.send(Add(1)).await, Ok(1));
    nursery.world.flawed(Flaw::PanicInMake);
    assert!(nursery.addr.send(poison()).await.is_err());
    // Two for the first start and one for the poison; the next failed start is one crash too many.
    assert_eq!(nursery.child.report().restarts, 3);
    nursery.until(Status::Down).await;
    assert!(matches!(nursery.cause(), Exit::Panicked(text) if text.contains("make")));
}

#[actix::test]
async fn a_stop_in_started_waits_for_the_back_off_as_every_exit_does() {
    let nursery = Nursery::with_flaws(spec(), &[Flaw::StopInStarted, Flaw::StopInStarted]);
    let begin = Instant::now();
    assert_eq!(nursery.addr.send(Add(1)).await, Ok(1));
    assert!(begin.elapsed() >= 3 * SECOND);
    assert_eq!(nursery.cause(), Exit::Stopped);
}

#[actix::test]
async fn a_child_says_itself_why_it_stops_and_the_first_reason_counts() {
    let nursery = Nursery::new(spec());
    let fail = act(|toy, ctx| {
        toy.slot.fail("the store is gone");
        toy.slot.fail("and so am I");
        ctx.stop();
    });
    nursery.addr.send(fail).await.unwrap();
    is_reborn(&nursery, Exit::Failed("the store is gone".to_owned())).await;
}

#[actix::test]
async fn the_dead_cannot_speak_for_the_living() {
    let nursery = Nursery::new(spec());
    let die_and_talk = act(|toy, _| {
        let slot = toy.slot.clone();
        actix::spawn(async move {
            sleep(10 * SECOND).await;
            slot.fail("from beyond");
        });
        panic!("poison")
    });
    assert!(nursery.addr.send(die_and_talk).await.is_err());
    sleep(20 * SECOND).await;
    nursery.addr.send(act(|_, ctx| ctx.stop())).await.unwrap();
    nursery.until(Status::BackingOff { wait: 2 * SECOND }).await;
    assert_eq!(nursery.cause(), Exit::Stopped);
}

#[actix::test]
async fn no_future_or_timer_of_the_dead_runs_on_the_living() {
    let nursery = Nursery::new(spec());
    let haunt = act(|toy, ctx| {
        ctx.run_later(SECOND / 2, |toy, _| toy.world.note("ghost: timer during the back-off"));
        ctx.run_later(10 * SECOND, |toy, _| toy.world.note("ghost: timer"));
        ctx.run_interval(SECOND, |toy, _| toy.world.note("ghost: interval"));
        ctx.notify(act(|toy, _| toy.world.note("ghost: notify")));
        ctx.notify_later(act(|toy, _| toy.world.note("ghost: notify later")), 5 * SECOND);
        ctx.spawn(sleep(3 * SECOND).into_actor(toy).map(|(), toy, _| toy.world.note("ghost: future")));
        ctx.wait(sleep(4 * SECOND).into_actor(toy).map(|(), toy, _| toy.world.note("ghost: wait")));
        panic!("poison")
    });
    assert!(nursery.addr.send(haunt).await.is_err());
    assert_eq!(nursery.addr.send(Add(1)).await, Ok(1));
    sleep(100 * SECOND).await;
    assert_eq!(nursery.world.log(), ["started", "dropped with 0", "started"]);
}

#[actix::test]
async fn futures_that_already_ran_end_with_their_incarnation_and_at_once() {
    struct Told(World);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.note("future dropped");
        }
    }
    let nursery = Nursery::new(spec());
    nursery.addr.send(Add(7)).await.unwrap();
    let begin = act(|toy, ctx| {
        let told = Told(toy.world.clone());
        let endless = async move {
            let _told = told;
            loop {
                sleep(SECOND / 10).await;
            }
        };
        ctx.spawn(endless.into_actor(toy));
        ctx.run_interval(SECOND, |toy, _| toy.world.note("tick"));
    });
    nursery.addr.send(begin).await.unwrap();
    sleep(SECOND + SECOND / 2).await;
    assert!(nursery.addr.send(poison()).await.is_err());
    assert_eq!(nursery.world.log(), ["started", "tick", "future dropped"]);
    sleep(100 * SECOND).await;
    assert_eq!(nursery.world.log()[3..], ["dropped with 7", "started"]);
}

#[actix::test]
async fn a_panic_while_the_dead_is_cleared_away_does_not_hurt_the_living() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "bomb");
        }
    }
    let nursery = Nursery::new(spec());
    let plant = act(|toy, ctx| {
        // One in each of the lists that actix keeps; a second one in a list would abort any Rust program.
        let (waits, runs) = (Bomb, Bomb);
        ctx.wait(pending::<()>().into_actor(toy).map(move |(), _, _| drop(waits)));
        ctx.run_later(10 * SECOND, move |_, _| drop(runs));
    });
    nursery.addr.send(plant).await.unwrap();
    sleep(SECOND).await;
    nursery.child.cut();
    is_reborn(&nursery, Exit::Hung).await;
}

#[actix::test]
async fn messages_sent_before_the_actor_lives_are_kept_in_the_cradle() {
    tokio::time::pause();
    let (roster, world) = (new_roster(), World::default());
    let cradle = Cradle::new();
    let early = cradle.addr().send(Add(3));
    let child = supervise(cradle, spec(), &roster, move |slot| Toy::new(&world, slot));
    assert_eq!(early.await, Ok(3));
    assert_eq!(child.addr().send(Add(3)).await, Ok(6));
}
