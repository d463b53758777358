//! What a visitor sees and the operator is told while the API fails.

use std::collections::BTreeSet;

use getaredis_actors::{
    autoscaler::messages::{DescribeScaling, ResumeScaling},
    scheduler::messages::CreateError,
    sim::harness::{creator, request},
    supervision::ask,
};
use getaredis_testbed::api::{Api, Fault};
use tokio::time::{Duration, Instant, sleep};

use crate::fleet::{Fleet, PATIENCE, policy};

/// How often the operator looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What becomes of a create that finds no host.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    /// It waits and is served.
    Served,
    /// It is refused in seconds: nothing is on the way, nor will be soon.
    Refused,
    /// It is refused in seconds, and served when it is repeated until that helps.
    RefusedAtFirst,
}

/// A fault of the API, what becomes of a create, how many droplets there are then, and what the operator is told: no
/// word of trouble where there is nothing to be done.
type Case = (fn(&Api), Seen, usize, &'static str);

fn order() -> Fault {
    Fault::on("POST", "/v2/droplets")
}

fn sell_nowhere(api: &Api) {
    for region in ["fra1", "ams3", "lon1"] {
        api.set_open(region, false);
    }
}

fn have_none_of_the_size(api: &Api) {
    for (region, size) in [("fra1", "s-1vcpu-1gb"), ("ams3", "s-1vcpu-1gb"), ("lon1", "s-1vcpu-2gb")] {
        api.set_in_stock(region, size, false);
    }
}

impl Fleet {
    /// Waits until the autoscaler has said what may be hoped for.
    async fn is_looked_after(&self) {
        let deadline = Instant::now() + PATIENCE;
        while ask(&self.brain().doors.scaling, DescribeScaling, PATIENCE).await.unwrap().passes == 0 {
            assert!(Instant::now() < deadline, "no pass");
            sleep(LOOK_EVERY).await;
        }
    }

    /// All that the operator is told until `what` is done, and then until these words are among it.
    async fn told_during<T>(&self, what: impl Future<Output = T>, words: &str) -> (T, String) {
        let mut told = BTreeSet::new();
        let mut what = std::pin::pin!(what);
        let (mut done, deadline) = (None, Instant::now() + PATIENCE);
        loop {
            let status = ask(&self.brain().doors.scaling, DescribeScaling, PATIENCE).await.unwrap();
            told.extend(status.explanation.into_iter().chain(status.errors));
            if done.is_some() && told.iter().any(|line| line.contains(words)) {
                break;
            }
            assert!(Instant::now() < deadline, "{words:?} is not in {told:#?}, done {}", done.is_some());
            tokio::select! {
                value = &mut what, if done.is_none() => done = Some(value),
                () = sleep(LOOK_EVERY) => {}
            }
        }
        (done.unwrap(), told.into_iter().collect::<Vec<_>>().join("\n"))
    }

    async fn insistent_visitor(&self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(refusal) = self.visitor().await {
            assert!(Instant::now() < deadline, "{refusal:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn visitor(&self) -> Result<(), CreateError> {
        ask(&self.brain().doors.create, request(creator(1)), PATIENCE).await.unwrap().map(|_| ())
    }
}

#[actix::test]
async fn whatever_the_api_does_a_visitor_is_served_or_refused_and_the_operator_told_why() {
    let cases: [Case; 11] = [
        (|api| api.limit_droplets(0), Seen::Refused, 0, "the account has as many machines as it may have"),
        (sell_nowhere, Seen::Refused, 0, "s-1vcpu-1gb in fra1: Region is not available"),
        (have_none_of_the_size, Seen::Refused, 0, "s-1vcpu-2gb in lon1: Size is not available in this region"),
        (|api| api.set_open("fra1", false), Seen::Served, 1, ""),
        (|api| api.fault(order().status(401).times(9)), Seen::Refused, 0, "does not accept the token"),
        (
            |api| api.fault(Fault { retry_after: Some(2), ..order().status(429) }),
            Seen::RefusedAtFirst,
            1,
            "2 s of rest",
        ),
        // Nobody knows at first whether there is one, and it is not ordered again before that is sure.
        (|api| api.fault(order().status(500)), Seen::RefusedAtFirst, 1, "the provider's answer is unknown"),
        (|api| api.fault(order().drop_answer()), Seen::RefusedAtFirst, 1, "the provider's answer is unknown"),
        (|api| api.fault(order().status(500).after_effect()), Seen::Served, 1, ""),
        (|api| api.fault(order().drop_answer().after_effect()), Seen::Served, 1, ""),
        (|api| api.fault(order().delay_ms(1_500)), Seen::Served, 1, ""),
    ];
    for (n, (fail, seen, droplets, words)) in cases.into_iter().enumerate() {
        let mut fleet = Fleet::simulated();
        fail(&fleet.api);
        fleet.run(policy(0)).await;
        fleet.is_looked_after().await;
        let (answer, told) = fleet.told_during(fleet.visitor(), words).await;
        match (seen, &answer) {
            (Seen::Served, Ok(())) | (Seen::Refused, Err(CreateError::NoPlace(_))) => {}
            (Seen::RefusedAtFirst, Err(CreateError::NoPlace(_))) => fleet.insistent_visitor().await,
            _ => panic!("case {n}: {answer:?}; {told}"),
        }
        assert!(
            !words.is_empty() || !told.contains("unknown") && !told.contains("no configured place"),
            "case {n}: {told}"
        );
        assert_eq!((fleet.api.droplets().len(), fleet.api.most_droplets()), (droplets, droplets), "case {n}: {told}");
    }
}

#[actix::test]
async fn while_the_list_cannot_be_read_who_finds_room_is_served_and_the_operator_told_why() {
    let list = || Fault::on("GET", "/v2/droplets").times(3);
    for (fault, words) in [
        (Fault { retry_after: Some(1), ..list().status(429) }, "the provider wants 1 s of rest"),
        (list().status(500), "the provider's answer is unknown"),
        (list().drop_answer(), "the provider's answer is unknown"),
        (list().status(401), "does not accept the token"),
    ] {
        let mut fleet = Fleet::simulated();
        fleet.run(policy(1)).await;
        fleet.becomes(1).await;
        fleet.api.fault(fault);
        let (answer, told) = fleet.told_during(fleet.visitor(), words).await;
        assert!(answer.is_ok(), "{answer:?}; {told}");
        // A pass that had read its list may have met the fault when it looked an order up. What is mended need not be waited for.
        ask(&fleet.brain().doors.resume_scaling, ResumeScaling, PATIENCE).await.unwrap();
        // It is no standby any more, and another one is bought as soon as that can be decided.
        fleet.becomes(2).await;
    }
}
