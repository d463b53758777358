//! A virtual day in which everything goes wrong, over and over: the child ends up, and what it acknowledged is kept.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::supervision::{AskError, ask};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What outlives the actor: the store, and the dice.
#[derive(Clone)]
struct Outside {
    stored: Rc<RefCell<BTreeSet<u64>>>,
    dice: Rc<RefCell<StdRng>>,
    lives: Rc<RefCell<u64>>,
}

impl Outside {
    fn one_in(&self, n: u32) -> bool {
        self.dice.borrow_mut().random_ratio(1, n)
    }

    fn up_to(&self, longest: Duration) -> Duration {
        longest.mul_f64(self.dice.borrow_mut().random())
    }
}

/// Writes numbers down and acknowledges them, unless the dice have it otherwise.
struct Clerk {
    life: u64,
    outside: Outside,
    slot: ExitSlot,
}

impl Clerk {
    fn new(outside: &Outside, slot: ExitSlot) -> Self {
        assert!(!outside.one_in(10), "chaos in make");
        *outside.lives.borrow_mut() += 1;
        Self { life: *outside.lives.borrow(), outside: outside.clone(), slot }
    }

    /// A timer of an earlier life must not run in a later one.
    fn haunted(&self, armed_in: u64) -> bool {
        armed_in != self.life
    }
}

impl Actor for Clerk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let life = self.life;
        ctx.run_interval(7 * SECOND, move |clerk, ctx| {
            if clerk.haunted(life) {
                clerk.outside.stored.borrow_mut().insert(u64::MAX);
                ctx.stop();
            }
        });
        ctx.run_later(self.outside.up_to(2 * 3600 * SECOND), |_, _| panic!("chaos in a timer"));
        assert!(!self.outside.one_in(10), "chaos in started");
    }
}

answers_probe!(Clerk);

#[derive(Message)]
#[rtype(result = "u64")]
struct Store(u64);

impl Handler<Store> for Clerk {
    type Result = ResponseActFuture<Self, u64>;

    fn handle(&mut self, store: Store, ctx: &mut Self::Context) -> Self::Result {
        let dice = self.outside.clone();
        assert!(!dice.one_in(400), "chaos before the write");
        if dice.one_in(800) {
            self.slot.fail("chaos in the store");
            ctx.stop();
        }
        if dice.one_in(1500) {
            ctx.wait(pending::<()>().into_actor(self));
        }
        let io = sleep(dice.up_to(SECOND));
        let life = self.life;
        Box::pin(io.into_actor(self).map(move |(), clerk, _| {
            assert!(!clerk.outside.one_in(400), "chaos in the write");
            clerk.outside.stored.borrow_mut().insert(store.0);
            assert!(!clerk.outside.one_in(400), "chaos after the write");
            assert!(!clerk.haunted(life));
            store.0
        }))
    }
}

async fn a_day(seed: u64) {
    let outside = Outside {
        stored: Rc::default(),
        dice: Rc::new(RefCell::new(StdRng::seed_from_u64(seed))),
        lives: Rc::default(),
    };
    let (roster, of_clerk) = (new_roster(), outside.clone());
    let mut changes = roster.subscribe();
    let make = move |slot| Clerk::new(&of_clerk, slot);
    let clerk = supervise(Cradle::new(), Spec::permanent("clerk"), &roster, make);
    let recipient = clerk.addr().recipient();

    let (begin, mut number, mut questions) = (Instant::now(), 0, Vec::new());
    let mut statuses = Vec::new();
    while begin.elapsed() < DAY {
        let recipient = recipient.clone();
        questions.push(actix::spawn(async move { (number, ask(&recipient, Store(number), 600 * SECOND).await) }));
        number += 1;
        sleep(outside.up_to(10 * SECOND)).await;
        while let Ok(change) = changes.try_recv() {
            let Change::Reported(report) = change else { panic!("{change:?}") };
            statuses.push(report);
        }
    }
    let (mut acknowledged, mut refused) = (0, 0);
    for question in questions {
        match question.await.unwrap() {
            (number, Ok(echo)) => {
                assert_eq!(number, echo);
                assert!(outside.stored.borrow().contains(&number), "{number} was acknowledged and is lost");
                acknowledged += 1;
            }
            (_, Err(AskError::Restarting)) => refused += 1,
            (number, Err(error)) => panic!("{number}: {error}"),
        }
    }

    timeout(3600 * SECOND, async {
        while clerk.report().status != Status::Up {
            sleep(SECOND).await;
        }
    })
    .await
    .expect("the clerk is not up at the end of the day");
    let report = clerk.report();
    assert!(report.restarts > 50, "a quiet day: {report:?}");
    assert!(acknowledged > 15_000, "{acknowledged} acknowledged, {refused} refused");
    // One life takes with it what it had in hand: here hardly more than a question, and never the queue.
    assert!(refused < 3 * report.restarts, "{refused} refused by {} deaths", report.restarts);
    assert!(!outside.stored.borrow().contains(&u64::MAX), "a timer outlived its actor");
    for kind in ["make", "started", "a timer", "before the write", "in the write", "after the write", "in the store"] {
        let met = |report: &crate::supervision::ChildReport| {
            report.last_cause.as_ref().is_some_and(|cause| cause.to_string().contains(kind))
        };
        assert!(statuses.iter().any(met), "the dice never chose chaos {kind}");
    }
    assert!(statuses.iter().any(|report| report.last_cause == Some(Exit::Hung)), "the dice never chose a hang");
    assert!(statuses.windows(2).all(|pair| pair[0].restarts <= pair[1].restarts && pair[0].since <= pair[1].since));
}

#[actix::test]
async fn a_virtual_day_of_chaos_ends_with_the_child_up_and_nothing_acknowledged_lost() {
    tokio::time::pause();
    for seed in [1, 2, 2015] {
        a_day(seed).await;
    }
}
