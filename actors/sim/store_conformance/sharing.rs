//! Two stores on one database.

use futures_util::future::{join, join_all};

use super::{
    CROWD, RACERS, UNTOUCHED, admitted, applied, builders, by, host, live, onto, report, sinks, started, stop, within,
};
use crate::{
    domain::{EndReason, InstanceEvent},
    ports::{Admission, Admitted, Store},
    sim::samples::{a_request, droplet, id, later, now, server},
};

pub async fn what_one_store_writes_the_other_reads(a: &dyn Store, b: &dyn Store) {
    assert!(a.is_shared() && b.is_shared());
    let row = admitted(a, a_request(1)).await;
    assert_eq!(b.instance(&id(1)).await.unwrap(), Some(row));
    let running = applied(b, 1, started()).await;
    assert_eq!(live(a).await, [running]);
    assert_eq!(a.totals().await.unwrap(), b.totals().await.unwrap());
}

/// How many of the requests two stores admit, each getting every other one.
async fn admitted_by_both(a: &dyn Store, b: &dyn Store, request: impl Fn(u128) -> Admission) -> usize {
    let answers = join_all((0..CROWD).map(|n| if n % 2 == 0 { a } else { b }.admit(request(n)))).await;
    answers.into_iter().filter(|answer| *answer.as_ref().unwrap() == Admitted::New).count()
}

pub async fn of_two_hundred_at_two_stores_a_quota_of_six_admits_exactly_six(a: &dyn Store, b: &dyn Store) {
    assert_eq!(admitted_by_both(a, b, |n| within(a_request(n), 6, 0)).await, 6);
    assert_eq!(live(b).await.len(), 6);
}

pub async fn of_two_hundred_at_two_stores_a_cap_and_a_slot_admit_exactly_as_many(a: &dyn Store, b: &dyn Store) {
    let who = |n: u128| u8::try_from(n).unwrap();
    assert_eq!(admitted_by_both(a, b, |n| by(onto(a_request(n), "h1", 10), who(n))).await, 10);
    assert_eq!(admitted_by_both(a, b, |n| by(within(a_request(1000 + n), 0, 25), who(n))).await, 15);
}

pub async fn of_many_stop_requests_at_two_stores_one_is_taken(a: &dyn Store, b: &dyn Store) {
    admitted(a, a_request(1)).await;
    applied(b, 1, started()).await;
    let stops = (0..RACERS).map(|n| {
        let store = if n % 2 == 0 { a } else { b };
        async move { store.apply(&id(1), &stop(EndReason::Deleted), now()).await.is_ok() }
    });
    assert_eq!(join_all(stops).await.into_iter().filter(|taken| *taken).count(), 1);
}

pub async fn of_two_hundred_orders_at_two_stores_no_more_are_written_than_there_may_be(a: &dyn Store, b: &dyn Store) {
    let rows: Vec<_> = (0..CROWD).map(|n| droplet(&format!("d{n}"))).collect();
    let orders =
        rows.iter().enumerate().map(|(n, row)| if n % 2 == 0 { a } else { b }.order_droplet(row, 7, UNTOUCHED));
    let written = join_all(orders).await;
    assert_eq!(written.into_iter().filter(|written| *written.as_ref().unwrap()).count(), 7);
    assert_eq!(b.droplets().await.unwrap().len(), 7);
}

pub async fn of_droplets_and_builders_ordered_at_two_stores_no_more_are_written_than_there_may_be(
    a: &dyn Store,
    b: &dyn Store,
) {
    builders::of_orders_of_both_kinds_no_more_are_written_than_there_may_be(a, b, CROWD).await;
}

pub async fn of_admissions_and_condemnations_at_two_stores_no_instance_is_on_a_condemned_droplet(
    a: &dyn Store,
    b: &dyn Store,
) {
    let admissions = join_all((0..RACERS).map(|n| a.admit(onto(a_request(n), &format!("h{n}"), 1))));
    let names: Vec<_> = (0..RACERS).map(|n| host(&format!("h{n}"))).collect();
    let condemnations = join_all(names.iter().map(|name| b.condemn_droplet(name, now())));
    let (admissions, condemnations) = join(admissions, condemnations).await;
    for (admission, condemned) in admissions.into_iter().zip(condemnations) {
        assert_eq!(admission.unwrap() == Admitted::New, !condemned.unwrap());
    }
}

pub async fn of_takers_at_two_stores_each_delivery_has_one(a: &dyn Store, b: &dyn Store) {
    for n in 1..=20 {
        admitted(a, a_request(n)).await;
        applied(b, n, started()).await;
    }
    let [sink, _] = &sinks();
    let mut taken = Vec::new();
    while taken.len() < 20 {
        let (mine, yours) =
            (a.take_deliveries(sink, later(99), later(999), 5), b.take_deliveries(sink, later(99), later(999), 5));
        let (mine, yours) = join(mine, yours).await;
        let before = taken.len();
        taken.extend(mine.unwrap().into_iter().chain(yours.unwrap()).map(|d| d.notice.id));
        assert!(taken.len() > before, "nobody gets what is left: {taken:?}");
    }
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 20);
}

/// Every way to lock a row and a counter at once, in all orders that there are.
pub async fn two_stores_that_do_everything_at_once_never_say_so(a: &dyn Store, b: &dyn Store) {
    let half = CROWD / 2;
    join_all((0..half).map(|n| a.admit(a_request(n)))).await.into_iter().for_each(|answer| {
        answer.unwrap();
    });
    let here = join_all((0..half).map(|n| async move {
        a.apply(&id(n), &started(), now()).await.unwrap();
        b.apply(&id(n), &stop(EndReason::Deleted), now()).await.unwrap();
        a.apply(&id(n), &InstanceEvent::ConfirmedGone, now()).await.unwrap();
    }));
    let there = join_all((half..CROWD).map(|n| async move {
        b.admit(a_request(n)).await.unwrap();
        b.relocate(&id(n), &host("h2"), u32::MAX, now()).await.unwrap();
        a.apply(&id(n), &InstanceEvent::ConfirmedGone, now()).await.unwrap();
    }));
    let upkeep = async {
        let [sink, other] = sinks();
        for _ in 0..20 {
            a.purge(later(1), 10).await.unwrap();
            b.purge(later(1), 10).await.unwrap();
            for sink in [&sink, &other] {
                for delivery in b.take_deliveries(sink, later(1), later(2), 10).await.unwrap() {
                    a.close_delivery(&delivery).await.unwrap();
                }
            }
            a.beat(&server(1), &report(1, &["h1"])).await.unwrap();
            b.beat(&server(2), &report(2, &["h1", "h2"])).await.unwrap();
        }
    };
    join(join(here, there), upkeep).await;
    assert_eq!(live(a).await, []);
    assert_eq!(b.totals().await.unwrap().started, u64::try_from(half).unwrap());
    admitted(b, within(a_request(9999), 0, 1)).await;
}
