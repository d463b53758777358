//! What every [`Store`] must do, as tests that run unchanged on each: `store_conformance!(make)` in a test module,
//! where `make` is an async function that returns an empty store with the sinks of [`sinks`], and whatever must live as
//! long as it. `shared_store_conformance!(make)` is for those that several servers use at once; there `make` returns two
//! stores on one database.
//!
//! Owns the port's contract in executable form. Only asserts: nothing here belongs into a running server.
// The names of the rules are their documentation; a failed unwrap is a failed rule.
#![allow(clippy::unwrap_used, missing_docs)]

pub mod admission;
pub mod builders;
pub mod life;
pub mod sharing;
pub mod upkeep;

use futures_util::future::join_all;

use super::samples::{creator, id, now};
use crate::{
    domain::{
        EndReason, Endpoint, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, Quotas, SinkName,
        scaling::OrderBudget,
    },
    ports::{Admission, Admitted, Report, Store},
};

/// Makes a test of each rule.
#[macro_export]
macro_rules! store_conformance {
    ($make:path) => {
        $crate::store_conformance!(@each $make, admission:
            what_was_admitted_is_read_back_as_it_was,
            an_unknown_instance_is_none,
            an_id_is_admitted_once,
            of_forty_at_once_a_quota_of_six_admits_exactly_six,
            of_forty_at_once_a_global_cap_of_ten_admits_exactly_ten,
            a_refused_creator_learns_when_its_first_instance_ends,
            what_is_ending_counts_towards_the_cap_and_not_towards_its_creators_quota,
            one_creator_does_not_use_up_the_quota_of_another,
            of_forty_repeats_of_one_request_one_is_new_and_the_rest_get_its_instance,
            a_repeated_key_comes_before_a_full_quota,
            a_key_with_another_request_is_a_conflict,
            two_creators_may_use_the_same_key,
            the_key_of_an_ended_instance_may_be_used_again,
            of_two_hundred_at_once_a_quota_of_six_admits_exactly_six,
            of_forty_at_once_a_host_with_ten_slots_takes_exactly_ten,
            what_is_ending_keeps_its_slot_until_it_has_ended,
            a_quota_refuses_before_a_full_host_does,
            a_moved_instance_takes_a_slot_there_and_gives_back_the_one_it_had,
            only_what_is_creating_can_be_moved,
            of_moves_and_admissions_at_once_no_host_is_overfilled,
            the_cap_agrees_with_the_rows_after_any_life,
        );
        $crate::store_conformance!(@each $make, life:
            every_step_of_a_life_is_written,
            an_event_that_cannot_happen_changes_nothing,
            an_event_for_an_unknown_instance_is_not_found,
            of_many_stop_requests_at_once_one_is_taken,
            live_is_everything_that_has_not_ended_oldest_first,
            carried_is_how_many_have_not_ended_on_each_host_that_is_asked_for,
            due_is_what_may_end_now_longest_overdue_first_up_to_the_limit,
            only_a_start_counts_as_started,
            a_row_knows_that_its_host_is_silent_until_it_answers_or_is_given_up,
            warnings_are_due_for_what_runs_longest_waiting_first_up_to_the_limit,
        );
        $crate::store_conformance!(@each $make, upkeep:
            a_purge_takes_what_ended_before_oldest_first_and_no_live_row,
            what_nobody_took_of_an_instance_is_forgotten_with_it,
            a_start_a_warning_and_an_end_are_told_to_every_sink,
            nothing_is_told_of_what_never_ran_or_was_refused,
            deliveries_are_taken_longest_waiting_first_up_to_the_limit_and_then_not_before_their_time,
            a_postponed_delivery_is_due_at_its_time_and_a_closed_one_never,
            of_many_takers_at_once_each_delivery_has_one,
            beats_are_counted_and_the_last_report_of_each_server_is_known_until_it_retires,
            times_are_kept_in_whole_milliseconds,
            a_server_that_goes_on_makes_its_span_longer_and_one_that_comes_begins_another,
            a_copy_that_is_older_than_the_last_word_of_a_server_begins_another_span,
            spans_older_than_any_instance_are_forgotten,
            known_are_those_that_have_a_row_whatever_became_of_them,
            a_droplet_is_ordered_again_only_while_it_is_not_confirmed,
            a_droplet_is_confirmed_and_forgotten_only_in_the_state_that_was_seen,
            of_forty_orders_at_once_no_more_are_written_than_there_may_be,
            a_droplet_with_an_instance_is_not_condemned_and_a_condemned_one_gets_none,
            a_condemned_droplet_is_kept_only_while_an_instance_lives_on_it,
            orders_stand_until_they_are_taken_back,
            a_budget_is_written_with_an_order_and_a_hold_until_it_is_over,
            what_was_ordered_of_a_droplet_is_forgotten_with_it,
            a_store_answers_pings_and_keeps_nothing_of_them,
        );
        $crate::store_conformance!(@each $make, builders:
            a_builder_has_a_row_until_it_is_closed,
            a_builder_is_ordered_only_while_fewer_rows_are_live_than_there_may_be,
            a_droplet_is_ordered_only_while_fewer_rows_are_live_than_there_may_be,
            a_builder_whose_time_is_over_takes_no_place,
            of_forty_orders_of_both_kinds_at_once_no_more_are_written_than_there_may_be,
        );
    };
    (@each $make:path, $subject:ident: $($rule:ident,)*) => {
        $(#[tokio::test]
        async fn $rule() {
            let (store, _keep) = $make().await;
            $crate::sim::store_conformance::$subject::$rule(&store).await;
        })*
    };
}

/// Makes a test of each rule about two servers on one database.
#[macro_export]
macro_rules! shared_store_conformance {
    ($make:path) => {
        $crate::shared_store_conformance!(@each $make:
            what_one_store_writes_the_other_reads,
            of_two_hundred_at_two_stores_a_quota_of_six_admits_exactly_six,
            of_two_hundred_at_two_stores_a_cap_and_a_slot_admit_exactly_as_many,
            of_many_stop_requests_at_two_stores_one_is_taken,
            of_two_hundred_orders_at_two_stores_no_more_are_written_than_there_may_be,
            of_droplets_and_builders_ordered_at_two_stores_no_more_are_written_than_there_may_be,
            of_admissions_and_condemnations_at_two_stores_no_instance_is_on_a_condemned_droplet,
            of_takers_at_two_stores_each_delivery_has_one,
            two_stores_that_do_everything_at_once_never_say_so,
        );
    };
    (@each $make:path: $($rule:ident,)*) => {
        // Two servers have threads of their own.
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            let (one, other, _keep) = $make().await;
            $crate::sim::store_conformance::sharing::$rule(&one, &other).await;
        })*
    };
}

/// Callers at once in a race that only a few of them may win.
const RACERS: u128 = 40;

/// A creator's requests from a script that ran away.
const CROWD: u128 = 200;

/// The budget of orders where it does not matter.
const UNTOUCHED: OrderBudget = OrderBudget::of(None);

/// The sinks that every store under test is opened with.
#[must_use]
pub fn sinks() -> [SinkName; 2] {
    ["audit", "hooks"].map(|name| SinkName::parse(name).unwrap())
}

/// All live rows, in steps so short that their order is tried at many of its places.
async fn live(store: &dyn Store) -> Vec<Instance> {
    let mut rows: Vec<Instance> = Vec::new();
    loop {
        let after = rows.last().map(|row| (row.created_at, row.id.clone()));
        let next = store.live(after.as_ref(), 2).await.unwrap();
        if next.is_empty() {
            return rows;
        }
        assert!(next.len() <= 2, "{next:?}");
        rows.extend(next);
    }
}

/// So many creates wait at a server, and on these hosts its starts fail.
fn report(waiting: u32, failing: &[&str]) -> Report {
    Report { waiting, failing: failing.iter().map(|name| host(name)).collect() }
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn onto(mut request: Admission, host: &str, slots: u32) -> Admission {
    request.instance.host = self::host(host);
    request.slots = slots;
    request
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).unwrap()
}

fn with_key(mut request: Admission, text: &str) -> Admission {
    request.instance.idempotency_key = Some(key(text));
    request
}

fn within(mut request: Admission, per_creator: u32, global: u32) -> Admission {
    request.quotas = Quotas { per_creator, global };
    request
}

fn by(mut request: Admission, who: u8) -> Admission {
    request.instance.creator = creator(who);
    request
}

fn started() -> InstanceEvent {
    InstanceEvent::Started { endpoint: Endpoint { address: [203, 0, 113, 7].into(), port: 32768 } }
}

fn stop(reason: EndReason) -> InstanceEvent {
    InstanceEvent::StopRequested { reason }
}

async fn admitted(store: &dyn Store, request: Admission) -> Instance {
    let instance = request.instance.clone();
    assert_eq!(store.admit(request).await.unwrap(), Admitted::New);
    instance
}

async fn applied(store: &dyn Store, n: u128, event: InstanceEvent) -> Instance {
    store.apply(&id(n), &event, now()).await.unwrap()
}

async fn count_new(store: &dyn Store, requests: impl Iterator<Item = Admission>) -> usize {
    let answers = join_all(requests.map(|r| store.admit(r))).await;
    answers.into_iter().filter(|a| *a.as_ref().unwrap() == Admitted::New).count()
}

fn ids(instances: &[Instance]) -> Vec<InstanceId> {
    instances.iter().map(|i| i.id.clone()).collect()
}
