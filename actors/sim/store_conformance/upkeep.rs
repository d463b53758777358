//! What is cleaned up, told and counted beside the instances.

use std::time::Duration;

use futures_util::future::join_all;

use super::{RACERS, UNTOUCHED, admitted, applied, host, live, onto, report, sinks, started, stop};
use crate::{
    domain::{
        Cordon, EndReason, InstanceEvent, Notice, SinkName,
        scaling::{Hold, OrderBudget},
    },
    ports::{
        Admitted, Attended, Beat, Delivery, DropletRow, DropletState, OrderLimits, Orders, Relocated, Report, Store,
    },
    sim::samples::{a_request, droplet, id, later, now, server},
};

pub async fn a_purge_takes_what_ended_before_oldest_first_and_no_live_row(store: &dyn Store) {
    for n in 1..=6 {
        admitted(store, a_request(n)).await;
    }
    // 5 ends first; 1 and 6 live.
    for n in 2..=5 {
        store.apply(&id(n), &InstanceEvent::ConfirmedGone, later(10 - u64::try_from(n).unwrap())).await.unwrap();
    }
    let left = async || {
        let mut left = Vec::new();
        for n in 1..=6 {
            left.extend(store.instance(&id(n)).await.unwrap().map(|i| i.id));
        }
        left
    };
    assert_eq!(store.purge(later(5), 9).await.unwrap(), 0, "what ended at that moment stays");
    assert_eq!(store.purge(later(8), 2).await.unwrap(), 2);
    assert_eq!(left().await, [id(1), id(2), id(3), id(6)]);
    assert_eq!(store.purge(later(8), 2).await.unwrap(), 1);
    assert_eq!(store.purge(later(8), 2).await.unwrap(), 0);
    assert_eq!(store.purge(later(9999), 0).await.unwrap(), 0);
    assert_eq!(store.purge(later(9999), u32::MAX).await.unwrap(), 1);
    assert_eq!(left().await, [id(1), id(6)]);
    assert_eq!(live(store).await.len(), 2);
}

pub async fn what_nobody_took_of_an_instance_is_forgotten_with_it(store: &dyn Store) {
    for n in 1..=2 {
        admitted(store, a_request(n)).await;
        applied(store, n, started()).await;
        applied(store, n, stop(EndReason::Deleted)).await;
        store.apply(&id(n), &InstanceEvent::ConfirmedGone, later(u64::try_from(n).unwrap())).await.unwrap();
    }
    assert_eq!(store.purge(later(2), 9).await.unwrap(), 1);
    for sink in sinks() {
        let left = store.take_deliveries(&sink, later(9000), later(9001), 9).await.unwrap();
        let left: Vec<_> = left.into_iter().map(|delivery| delivery.notice.id).collect();
        assert_eq!(left, [format!("{}.created", id(2)), format!("{}.ended", id(2))]);
    }
}

pub async fn a_start_a_warning_and_an_end_are_told_to_every_sink(store: &dyn Store) {
    admitted(store, a_request(1)).await;
    let mut expected = Vec::new();
    let life = [started(), InstanceEvent::Warned, stop(EndReason::Deleted), InstanceEvent::ConfirmedGone];
    for (event, second) in life.into_iter().zip(5000..) {
        let after = store.apply(&id(1), &event, later(second)).await.unwrap();
        expected.extend(Notice::of(&event, &after, later(second)).map(|notice| (notice, later(second))));
    }
    assert_eq!(expected.len(), 3);
    for sink in sinks() {
        let told = store.take_deliveries(&sink, later(9000), later(9001), 9).await.unwrap();
        let expected = expected.iter().cloned();
        let expected: Vec<_> = expected
            .map(|(notice, created_at)| Delivery { notice, sink: sink.clone(), created_at, attempts: 1 })
            .collect();
        assert_eq!(told, expected);
    }
    let nobody = SinkName::parse("nobody").unwrap();
    assert_eq!(store.take_deliveries(&nobody, later(9000), later(9001), 9).await.unwrap(), []);
}

pub async fn nothing_is_told_of_what_never_ran_or_was_refused(store: &dyn Store) {
    admitted(store, a_request(1)).await;
    store.relocate(&id(1), &host("h2"), 9, now()).await.unwrap();
    store.apply(&id(1), &InstanceEvent::Warned, later(9000)).await.unwrap_err();
    applied(store, 1, InstanceEvent::ConfirmedGone).await;
    for sink in sinks() {
        assert_eq!(store.take_deliveries(&sink, later(9000), later(9001), 9).await.unwrap(), []);
    }
}

/// As many instances, each with one notice, the n-th of which happened at n seconds.
async fn told(store: &dyn Store, notices: u128) {
    for n in 1..=notices {
        admitted(store, a_request(n)).await;
        store.apply(&id(n), &started(), later(u64::try_from(n).unwrap())).await.unwrap();
    }
}

fn names(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|d| d.notice.id.as_str()).collect()
}

pub async fn deliveries_are_taken_longest_waiting_first_up_to_the_limit_and_then_not_before_their_time(
    store: &dyn Store,
) {
    told(store, 4).await;
    let [sink, other] = sinks();
    let notice = |n| format!("{}.created", id(n));
    let take = async |sink: &SinkName, seconds, until, limit| {
        store.take_deliveries(sink, later(seconds), later(until), limit).await.unwrap()
    };
    assert_eq!(take(&sink, 0, 9, 9).await, []);
    assert_eq!(names(&take(&sink, 3, 50, 2).await), [notice(1), notice(2)]);
    assert_eq!(names(&take(&sink, 3, 40, 2).await), [notice(3)]);
    assert_eq!(take(&sink, 3, 40, 9).await, []);
    assert_eq!(take(&sink, 9, 60, 0).await, []);
    let again = take(&sink, 50, 90, 9).await;
    assert_eq!(names(&again), [notice(4), notice(3), notice(1), notice(2)]);
    assert_eq!(again.iter().map(|d| d.attempts).collect::<Vec<_>>(), [1, 2, 2, 2]);
    assert_eq!(take(&other, 50, 90, 9).await.len(), 4, "each sink has its own");
}

pub async fn a_postponed_delivery_is_due_at_its_time_and_a_closed_one_never(store: &dyn Store) {
    told(store, 2).await;
    let [sink, other] = sinks();
    let take = async |seconds| store.take_deliveries(&sink, later(seconds), later(seconds + 100), 9).await.unwrap();
    let [first, second] = &take(9).await[..] else { panic!("two notices") };
    for _ in 0..2 {
        store.close_delivery(first).await.unwrap();
        store.postpone_delivery(first, later(20)).await.unwrap();
    }
    store.postpone_delivery(second, later(20)).await.unwrap();
    assert_eq!(take(19).await, []);
    assert_eq!(take(20).await, [Delivery { attempts: 2, ..second.clone() }]);
    store.close_delivery(second).await.unwrap();
    assert_eq!(take(9999).await, []);
    assert_eq!(store.take_deliveries(&other, later(9), later(10), 9).await.unwrap().len(), 2);
}

pub async fn of_many_takers_at_once_each_delivery_has_one(store: &dyn Store) {
    told(store, 20).await;
    let [sink, _] = &sinks();
    let take = || store.take_deliveries(sink, later(99), later(999), 5);
    let mut taken: Vec<_> = join_all((0..8).map(|_| take())).await.into_iter().flat_map(Result::unwrap).collect();
    // Who waited for another taker may have come away with less than there was.
    loop {
        match take().await.unwrap() {
            none if none.is_empty() => break,
            some => taken.extend(some),
        }
    }
    let mut once = names(&taken);
    once.sort_unstable();
    once.dedup();
    assert_eq!((taken.len(), once.len()), (20, 20));
    assert!(taken.iter().all(|d| d.attempts == 1));
}

pub async fn beats_are_counted_and_the_last_report_of_each_server_is_known_until_it_retires(store: &dyn Store) {
    let beat = |n, beats, report: &Report| Beat { server: server(n), beats, report: report.clone() };
    let (calm, busy, troubled) = (report(0, &[]), report(7, &["h1", "h2"]), report(u32::MAX, &["h2", "h3"]));
    assert_eq!(store.beat(&server(2), &calm).await.unwrap(), [beat(2, 1, &calm)]);
    assert_eq!(store.beat(&server(1), &busy).await.unwrap(), [beat(1, 1, &busy), beat(2, 1, &calm)]);
    assert_eq!(store.beat(&server(2), &busy).await.unwrap(), [beat(1, 1, &busy), beat(2, 2, &busy)]);
    assert_eq!(store.beat(&server(2), &troubled).await.unwrap(), [beat(1, 1, &busy), beat(2, 3, &troubled)]);
    for _ in 0..2 {
        store.retire(&server(2)).await.unwrap();
    }
    assert_eq!(store.beat(&server(1), &calm).await.unwrap(), [beat(1, 2, &calm)]);
    assert_eq!(store.beat(&server(2), &calm).await.unwrap(), [beat(1, 2, &calm), beat(2, 1, &calm)]);
}

/// From one number of seconds to another.
fn span(begins: u64, ends: u64) -> Attended {
    Attended { begins_at: later(begins), ends_at: later(ends) }
}

pub async fn a_server_that_goes_on_makes_its_span_longer_and_one_that_comes_begins_another(store: &dyn Store) {
    assert_eq!(store.attended().await.unwrap(), []);
    let first = store.attend(None, later(10) + Duration::from_nanos(999_999)).await.unwrap();
    assert_eq!(first, span(10, 10));
    let first = store.attend(Some(first), later(30)).await.unwrap();
    assert_eq!(store.attend(Some(first), later(30)).await.unwrap(), span(10, 30));
    assert_eq!(store.attend(Some(first), later(20)).await.unwrap(), span(10, 30), "its clock was set back");
    assert_eq!(store.attend(None, later(31)).await.unwrap(), span(31, 31));
    assert_eq!(store.attend(Some(first), later(40)).await.unwrap(), span(10, 40), "two are at work");
    assert_eq!(store.attended().await.unwrap(), [span(10, 40), span(31, 31)]);
    assert_eq!(store.attend(None, later(31)).await.unwrap(), span(31, 31), "in the same millisecond");
}

pub async fn a_copy_that_is_older_than_the_last_word_of_a_server_begins_another_span(store: &dyn Store) {
    store.attend(None, later(10)).await.unwrap();
    // It does not know that the server went on, or that it was there at all.
    assert_eq!(store.attend(Some(span(10, 20)), later(30)).await.unwrap(), span(30, 30));
    assert_eq!(store.attend(Some(span(9, 10)), later(40)).await.unwrap(), span(40, 40));
    assert_eq!(store.attended().await.unwrap(), [span(10, 10), span(30, 30), span(40, 40)]);
}

pub async fn spans_older_than_any_instance_are_forgotten(store: &dyn Store) {
    let old = store.attend(None, now()).await.unwrap();
    let year = 366 * 24 * 3600;
    let new = store.attend(None, later(year)).await.unwrap();
    assert_eq!(store.attended().await.unwrap(), [old, new]);
    let newest = store.attend(None, later(2 * year)).await.unwrap();
    assert_eq!(store.attended().await.unwrap(), [new, newest]);
}

pub async fn known_are_those_that_have_a_row_whatever_became_of_them(store: &dyn Store) {
    assert!(store.known(&[]).await.unwrap().is_empty());
    for n in [1, 2] {
        admitted(store, a_request(n)).await;
    }
    applied(store, 2, stop(EndReason::Deleted)).await;
    applied(store, 2, InstanceEvent::ConfirmedGone).await;
    let known = store.known(&[id(3), id(2), id(1), id(1)]).await.unwrap();
    assert_eq!(known, [id(1), id(2)].into());
}

pub async fn times_are_kept_in_whole_milliseconds(store: &dyn Store) {
    let crumb = Duration::from_nanos(999_999);
    let clean = a_request(1).instance;
    let mut request = a_request(1);
    for time in [
        &mut request.instance.created_at,
        &mut request.instance.lease.expires_at,
        &mut request.instance.lease.max_expires_at,
    ] {
        *time += crumb;
    }
    assert_eq!(store.admit(request).await.unwrap(), Admitted::New);
    assert_eq!(store.instance(&id(1)).await.unwrap(), Some(clean.clone()));
    let ended = store.apply(&id(1), &InstanceEvent::ConfirmedGone, later(9) + crumb).await.unwrap();
    assert_eq!(ended.ended_at, Some(later(9)));
    let row = DropletRow { created_at: now() + crumb, ..droplet("d1") };
    ordered(store, &row).await;
    assert_eq!(store.droplets().await.unwrap(), [droplet("d1")]);
}

/// Writes a row as it stands, into a pool that has room for it.
async fn ordered(store: &dyn Store, row: &DropletRow) {
    assert!(store.order_droplet(row, u32::MAX, UNTOUCHED).await.unwrap());
}

/// The states of all droplets, by name.
async fn states(store: &dyn Store) -> Vec<DropletState> {
    store.droplets().await.unwrap().into_iter().map(|row| row.state).collect()
}

pub async fn a_droplet_is_ordered_again_only_while_it_is_not_confirmed(store: &dyn Store) {
    assert_eq!(store.droplets().await.unwrap(), []);
    for name in ["d2", "d1"] {
        ordered(store, &droplet(name)).await;
    }
    let again = DropletRow { created_at: later(1), ..droplet("d2") };
    assert!(store.order_droplet(&again, 2, UNTOUCHED).await.unwrap(), "it is one of the two");
    assert!(!store.order_droplet(&again, 1, UNTOUCHED).await.unwrap());
    assert_eq!(store.droplets().await.unwrap(), [droplet("d1"), again.clone()]);

    assert!(store.confirm_droplet(&again.name).await.unwrap());
    assert!(!store.order_droplet(&DropletRow { created_at: later(2), ..again.clone() }, 2, UNTOUCHED).await.unwrap());
    let confirmed = DropletRow { state: DropletState::Created, ..again };
    assert_eq!(store.droplets().await.unwrap(), [droplet("d1"), confirmed]);
}

pub async fn a_droplet_is_confirmed_and_forgotten_only_in_the_state_that_was_seen(store: &dyn Store) {
    use DropletState::{Created, Creating, Deleted, Deleting};
    let row = droplet("d1");
    let confirm = async || store.confirm_droplet(&row.name).await.unwrap();
    let forget = async |state| store.remove_droplet(&row.name, state).await.unwrap();
    assert!(!confirm().await && !forget(Creating).await, "there is none");
    ordered(store, &row).await;
    assert!(confirm().await && !confirm().await && !forget(Creating).await);
    assert_eq!(states(store).await, [Created]);

    assert!(store.condemn_droplet(&row.name, row.created_at).await.unwrap());
    assert!(!confirm().await && !forget(Created).await);
    assert_eq!(states(store).await, [Deleting]);
    let bury = async || store.bury_droplet(&row.name).await.unwrap();
    assert!(bury().await && !bury().await && !forget(Deleting).await);
    assert_eq!(states(store).await, [Deleted]);
    assert!(forget(Deleted).await && !forget(Deleted).await && !bury().await);
    assert_eq!(states(store).await, []);
}

pub async fn of_forty_orders_at_once_no_more_are_written_than_there_may_be(store: &dyn Store) {
    ordered(store, &droplet("d0")).await;
    let rows: Vec<_> = (1..=RACERS).map(|n| droplet(&format!("d{n}"))).collect();
    let written = join_all(rows.iter().map(|row| store.order_droplet(row, 5, UNTOUCHED))).await;
    assert_eq!(written.into_iter().filter(|written| *written.as_ref().unwrap()).count(), 4);
    assert_eq!(store.droplets().await.unwrap().len(), 5);
}

pub async fn a_droplet_with_an_instance_is_not_condemned_and_a_condemned_one_gets_none(store: &dyn Store) {
    let (row, full) = (droplet("h1"), Admitted::HostFull);
    admitted(store, onto(a_request(1), "h1", 9)).await;
    assert!(!store.condemn_droplet(&row.name, row.created_at).await.unwrap());
    assert_eq!(store.droplets().await.unwrap(), []);

    applied(store, 1, stop(EndReason::Deleted)).await;
    assert!(!store.condemn_droplet(&row.name, row.created_at).await.unwrap(), "its container may be there still");
    applied(store, 1, InstanceEvent::ConfirmedGone).await;
    for _ in 0..2 {
        assert!(store.condemn_droplet(&row.name, row.created_at).await.unwrap());
    }
    assert_eq!(store.droplets().await.unwrap(), [DropletRow { state: DropletState::Deleting, ..row.clone() }]);
    assert_eq!(store.admit(onto(a_request(2), "h1", 9)).await.unwrap(), full);
    admitted(store, onto(a_request(2), "h2", 9)).await;
    assert_eq!(store.relocate(&id(2), &row.name, 9, now()).await.unwrap(), Relocated::HostFull);

    assert!(!store.keep_droplet(&row.name).await.unwrap(), "nothing needs it");
    assert!(store.bury_droplet(&row.name).await.unwrap());
    assert_eq!(store.admit(onto(a_request(3), "h1", 9)).await.unwrap(), full, "another server may believe in it");
    assert_eq!(store.relocate(&id(2), &row.name, 9, now()).await.unwrap(), Relocated::HostFull);
    assert!(!store.order_droplet(&droplet("d2"), 0, UNTOUCHED).await.unwrap());
    assert!(store.order_droplet(&droplet("d2"), 1, UNTOUCHED).await.unwrap(), "what is deleted takes no place");
    assert!(!store.order_droplet(&row, 9, UNTOUCHED).await.unwrap(), "no name is ordered twice");
    assert!(store.remove_droplet(&row.name, DropletState::Deleted).await.unwrap());
    admitted(store, onto(a_request(3), "h1", 9)).await;
}

pub async fn a_condemned_droplet_is_kept_only_while_an_instance_lives_on_it(store: &dyn Store) {
    let row = DropletRow { state: DropletState::Deleting, ..droplet("h1") };
    assert!(!store.keep_droplet(&row.name).await.unwrap(), "there is none");
    admitted(store, onto(a_request(1), "h1", 9)).await;
    // As after a restore of an older database.
    ordered(store, &row).await;
    assert!(store.keep_droplet(&row.name).await.unwrap() && !store.keep_droplet(&row.name).await.unwrap());
    assert_eq!(states(store).await, [DropletState::Created]);
    admitted(store, onto(a_request(2), "h1", 9)).await;
}

pub async fn a_store_answers_pings_and_keeps_nothing_of_them(store: &dyn Store) {
    let (one, another) = futures_util::join!(store.ping(), store.ping());
    one.and(another).unwrap();
    assert_eq!(live(store).await, []);
    assert_eq!(store.totals().await.unwrap().started, 0);
}

pub async fn orders_stand_until_they_are_taken_back(store: &dyn Store) {
    assert_eq!(store.orders().await.unwrap(), Orders::default());
    let order = async |name, cordon| store.order_cordon(&host(name), cordon).await.unwrap();
    for (name, cordon) in [("pool", Cordon::Cordoned), ("h.2", Cordon::Cordoned), ("h.2", Cordon::Draining)] {
        order(name, Some(cordon)).await;
    }
    store.order_pause(true).await.unwrap();
    store.order_pause(true).await.unwrap();
    let cordons = [(host("h.2"), Cordon::Draining), (host("pool"), Cordon::Cordoned)];
    assert_eq!(store.orders().await.unwrap(), Orders { cordons: cordons.clone().into(), paused: true });
    for _ in 0..2 {
        order("h.2", None).await;
        store.order_pause(false).await.unwrap();
    }
    assert_eq!(store.orders().await.unwrap(), Orders { cordons: [cordons[1].clone()].into(), paused: false });
}

pub async fn a_budget_is_written_with_an_order_and_a_hold_until_it_is_over(store: &dyn Store) {
    let limits = async || store.order_limits().await.unwrap();
    assert_eq!(limits().await, OrderLimits::default());
    let budget = |n| OrderBudget::of(Some(later(n)));
    let order = async |called, most, at| store.order_droplet(&droplet(called), most, budget(at)).await.unwrap();
    assert!(order("d1", 1, 5).await && !order("d2", 1, 6).await);
    assert_eq!(limits().await, OrderLimits { budget: budget(5), hold: None }, "what was not ordered takes nothing");
    assert!(store.remove_droplet(&host("d1"), DropletState::Creating).await.unwrap());
    assert!(order("d2", 1, 7).await);
    for (until, why) in [(8, "sold out"), (9, "too many ⚙ requests")] {
        let hold = Hold { until: later(until), why: why.to_owned() };
        store.hold_orders(Some(&hold)).await.unwrap();
        assert_eq!(limits().await, OrderLimits { budget: budget(7), hold: Some(hold) });
    }
    for _ in 0..2 {
        store.hold_orders(None).await.unwrap();
        assert_eq!(limits().await, OrderLimits { budget: budget(7), hold: None });
    }
}

pub async fn what_was_ordered_of_a_droplet_is_forgotten_with_it(store: &dyn Store) {
    for name in ["d1", "d2"] {
        ordered(store, &droplet(name)).await;
        store.order_cordon(&host(name), Some(Cordon::Draining)).await.unwrap();
    }
    assert!(!store.remove_droplet(&host("d2"), DropletState::Deleting).await.unwrap());
    assert!(store.remove_droplet(&host("d1"), DropletState::Creating).await.unwrap());
    assert_eq!(store.orders().await.unwrap().cordons, [(host("d2"), Cordon::Draining)].into());
}
