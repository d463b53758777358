//! What every [`Store`] must do, as tests that run unchanged on each: `store_conformance!(make)` in a test module,
//! where `make` is an async function that returns an empty store and whatever must live as long as it.
//!
//! Owns the port's contract in executable form. Only asserts: nothing here belongs into a running server.
// The names of the rules are their documentation; a failed unwrap is a failed rule.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use futures_util::future::join_all;

use super::samples::{a_request, creator, droplet, id, later, now};
use crate::{
    domain::{
        Creator, EndReason, Endpoint, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, InstanceState,
        Label, Lease, QuotaExceeded, Quotas,
    },
    ports::{Admission, Admitted, DropletRow, DropletState, Store, StoreError},
};

/// Makes a test of each rule.
#[macro_export]
macro_rules! store_conformance {
    ($make:path) => {
        $crate::store_conformance!(@each $make:
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
            every_step_of_a_life_is_written,
            an_event_that_cannot_happen_changes_nothing,
            an_event_for_an_unknown_instance_is_not_found,
            of_many_stop_requests_at_once_one_is_taken,
            live_is_everything_that_has_not_ended_oldest_first,
            due_is_what_may_end_now_longest_overdue_first_up_to_the_limit,
            only_a_start_counts_as_started,
            times_are_kept_in_whole_milliseconds,
            a_droplet_row_is_written_over_and_forgotten,
            a_store_answers_a_ping,
        );
    };
    (@each $make:path: $($rule:ident,)*) => {
        $(#[tokio::test]
        async fn $rule() {
            let (store, _keep) = $make().await;
            $crate::sim::store_conformance::$rule(&store).await;
        })*
    };
}

/// Callers at once in a race that only a few of them may win.
const RACERS: u128 = 40;

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

pub async fn what_was_admitted_is_read_back_as_it_was(store: &dyn Store) {
    let plain = admitted(store, a_request(1)).await;
    let mut full = with_key(a_request(2), "k-!~");
    full.instance.creator = Creator::of("2001:db8:1:2::5".parse::<std::net::IpAddr>().unwrap());
    full.instance.label = Some(Label::parse("ünï 'quoted' \"label\" 🦀").unwrap());
    full.instance.rotation = u32::MAX;
    let full = admitted(store, full).await;
    assert_eq!(store.instance(&plain.id).await.unwrap(), Some(plain));
    assert_eq!(store.instance(&full.id).await.unwrap(), Some(full.clone()));
    assert_eq!(store.by_key(&full.creator, &key("k-!~")).await.unwrap(), Some(full));
}

pub async fn an_unknown_instance_is_none(store: &dyn Store) {
    assert_eq!(store.instance(&id(1)).await.unwrap(), None);
    assert_eq!(store.by_key(&creator(1), &key("k")).await.unwrap(), None);
}

pub async fn an_id_is_admitted_once(store: &dyn Store) {
    let first = admitted(store, a_request(1)).await;
    let second = store.admit(by(a_request(1), 2)).await;
    assert!(matches!(second, Err(StoreError::Corrupt(_))), "{second:?}");
    assert_eq!(store.live().await.unwrap(), [first]);
}

pub async fn of_forty_at_once_a_quota_of_six_admits_exactly_six(store: &dyn Store) {
    assert_eq!(count_new(store, (0..RACERS).map(|n| within(a_request(n), 6, 0))).await, 6);
    assert_eq!(store.live().await.unwrap().len(), 6);
}

pub async fn of_forty_at_once_a_global_cap_of_ten_admits_exactly_ten(store: &dyn Store) {
    let everybody = (0..RACERS).map(|n| by(within(a_request(n), 2, 10), u8::try_from(n).unwrap()));
    assert_eq!(count_new(store, everybody).await, 10);
    let late = store.admit(by(within(a_request(99), 2, 10), 200)).await.unwrap();
    assert_eq!(late, Admitted::Refused(QuotaExceeded::Global { limit: 10 }));
}

pub async fn a_refused_creator_learns_when_its_first_instance_ends(store: &dyn Store) {
    let mut short = a_request(2);
    short.instance.lease.expires_at = later(60);
    admitted(store, a_request(1)).await;
    admitted(store, short).await;
    let refused = store.admit(within(a_request(3), 2, 0)).await.unwrap();
    assert_eq!(refused, Admitted::Refused(QuotaExceeded::PerCreator { limit: 2, frees_at: Some(later(60)) }));
    assert_eq!(store.instance(&id(3)).await.unwrap(), None);
}

pub async fn what_is_ending_counts_towards_the_cap_and_not_towards_its_creators_quota(store: &dyn Store) {
    admitted(store, within(a_request(1), 1, 1)).await;
    assert_ne!(store.admit(within(a_request(2), 1, 0)).await.unwrap(), Admitted::New);
    applied(store, 1, stop(EndReason::Deleted)).await;
    // Its container may still be there, so it still takes a place; its creator has let go of it.
    assert_ne!(store.admit(within(a_request(2), 1, 1)).await.unwrap(), Admitted::New);
    admitted(store, within(a_request(2), 1, 2)).await;
}

pub async fn one_creator_does_not_use_up_the_quota_of_another(store: &dyn Store) {
    admitted(store, within(a_request(1), 1, 0)).await;
    admitted(store, by(within(a_request(2), 1, 0), 2)).await;
}

pub async fn of_forty_repeats_of_one_request_one_is_new_and_the_rest_get_its_instance(store: &dyn Store) {
    let repeats = (0..RACERS).map(|n| store.admit(with_key(a_request(n), "k")));
    let answers: Vec<_> = join_all(repeats).await.into_iter().map(Result::unwrap).collect();
    let [only] = &store.live().await.unwrap()[..] else { panic!("one request, one instance") };
    let existing = Admitted::Existing(Box::new(only.clone()));
    assert_eq!(answers.iter().filter(|a| **a == Admitted::New).count(), 1);
    assert_eq!(answers.iter().filter(|a| **a == existing).count(), answers.len() - 1);
}

pub async fn a_repeated_key_comes_before_a_full_quota(store: &dyn Store) {
    let first = admitted(store, with_key(within(a_request(1), 1, 1), "k")).await;
    let repeat = store.admit(with_key(within(a_request(2), 1, 1), "k")).await.unwrap();
    assert_eq!(repeat, Admitted::Existing(Box::new(first)));
    let running = applied(store, 1, started()).await;
    let repeat = store.admit(with_key(within(a_request(2), 1, 1), "k")).await.unwrap();
    assert_eq!(repeat, Admitted::Existing(Box::new(running)));
}

pub async fn a_key_with_another_request_is_a_conflict(store: &dyn Store) {
    admitted(store, with_key(a_request(1), "k")).await;
    let mut other = with_key(a_request(2), "k");
    other.instance.fingerprint = "ttl=60".into();
    assert_eq!(store.admit(other).await.unwrap(), Admitted::Conflict);
    assert_eq!(store.instance(&id(2)).await.unwrap(), None);
}

pub async fn two_creators_may_use_the_same_key(store: &dyn Store) {
    let first = admitted(store, with_key(a_request(1), "k")).await;
    let second = admitted(store, by(with_key(a_request(2), "k"), 2)).await;
    assert_eq!(store.by_key(&creator(1), &key("k")).await.unwrap(), Some(first));
    assert_eq!(store.by_key(&creator(2), &key("k")).await.unwrap(), Some(second));
    // Letter case and length are part of a key.
    admitted(store, with_key(a_request(3), "K")).await;
}

pub async fn the_key_of_an_ended_instance_may_be_used_again(store: &dyn Store) {
    admitted(store, with_key(a_request(1), "k")).await;
    let ended = applied(store, 1, InstanceEvent::ConfirmedGone).await;
    assert_eq!(ended.idempotency_key, None);
    assert_eq!(store.by_key(&creator(1), &key("k")).await.unwrap(), None);
    let second = admitted(store, with_key(a_request(2), "k")).await;
    assert_eq!(store.by_key(&creator(1), &key("k")).await.unwrap(), Some(second));
}

pub async fn every_step_of_a_life_is_written(store: &dyn Store) {
    let mut expected = admitted(store, with_key(a_request(1), "k")).await;
    let v6 = Endpoint { address: "2001:db8::7".parse().unwrap(), port: u16::MAX };
    let life = [
        InstanceEvent::Moved { host: HostName::parse("h2").unwrap() },
        InstanceEvent::Started { endpoint: v6 },
        InstanceEvent::Extended {
            lease: Lease { expires_at: later(5000), max_expires_at: later(7000), warn_at: Some(later(4000)) },
        },
        stop(EndReason::Deleted),
        InstanceEvent::ConfirmedGone,
    ];
    for (event, second) in life.iter().zip(1..) {
        expected = expected.after(event, later(second)).unwrap();
        assert_eq!(store.apply(&id(1), event, later(second)).await.unwrap(), expected, "{event:?}");
        assert_eq!(store.instance(&id(1)).await.unwrap().as_ref(), Some(&expected), "{event:?}");
    }
    assert_eq!((expected.state, expected.ended_at), (InstanceState::Ended(EndReason::Deleted), Some(later(5))));
}

pub async fn an_event_that_cannot_happen_changes_nothing(store: &dyn Store) {
    let before = admitted(store, a_request(1)).await;
    let lease = Lease { expires_at: later(1), max_expires_at: later(1), warn_at: None };
    let refused = store.apply(&id(1), &InstanceEvent::Extended { lease }, now()).await;
    let Err(StoreError::Illegal(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(why.from, InstanceState::Creating);
    assert_eq!(store.instance(&id(1)).await.unwrap(), Some(before));
    applied(store, 1, started()).await;
    assert!(matches!(store.apply(&id(1), &started(), now()).await, Err(StoreError::Illegal(_))));
    assert_eq!(store.totals().await.unwrap().started, 1);
}

pub async fn an_event_for_an_unknown_instance_is_not_found(store: &dyn Store) {
    let refused = store.apply(&id(1), &InstanceEvent::ConfirmedGone, now()).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
}

pub async fn of_many_stop_requests_at_once_one_is_taken(store: &dyn Store) {
    admitted(store, a_request(1)).await;
    applied(store, 1, started()).await;
    let answers = join_all(
        EndReason::ALL
            .map(|reason| async move { store.apply(&id(1), &stop(reason), now()).await.map(|i| i.state.reason()) }),
    )
    .await;
    let taken: Vec<_> = answers.iter().filter_map(|a| a.as_ref().ok()).collect();
    assert_eq!(taken.len(), 1, "{answers:?}");
    assert_eq!(store.instance(&id(1)).await.unwrap().unwrap().state.reason(), *taken[0]);
}

pub async fn live_is_everything_that_has_not_ended_oldest_first(store: &dyn Store) {
    assert_eq!(store.live().await.unwrap(), []);
    // Ids that sort the other way round than ages.
    for n in 1..=4 {
        let mut request = a_request(n);
        request.instance.id = id(10 - n);
        admitted(store, request).await;
    }
    applied(store, 9, started()).await;
    applied(store, 8, stop(EndReason::Deleted)).await;
    applied(store, 7, InstanceEvent::ConfirmedGone).await;
    assert_eq!(ids(&store.live().await.unwrap()), [id(9), id(8), id(6)]);
}

pub async fn due_is_what_may_end_now_longest_overdue_first_up_to_the_limit(store: &dyn Store) {
    // The n-th lease ends at 3600 + 10 - n seconds; 6 is stopping and 7 has ended, though both are overdue.
    for n in 1..=7 {
        let mut request = a_request(n);
        request.instance.lease.expires_at = later(3610 - u64::try_from(n).unwrap());
        admitted(store, request).await;
    }
    applied(store, 4, started()).await;
    applied(store, 6, stop(EndReason::Deleted)).await;
    applied(store, 7, InstanceEvent::ConfirmedGone).await;
    let due_at = async |seconds, limit| ids(&store.due(later(seconds), limit).await.unwrap());
    assert_eq!(due_at(3604, 100).await, []);
    assert_eq!(due_at(3605, 100).await, [id(5)]);
    assert_eq!(due_at(3607, 100).await, [id(5), id(4), id(3)]);
    assert_eq!(due_at(9999, 2).await, [id(5), id(4)]);
    assert_eq!(due_at(9999, 0).await, []);
    assert_eq!(due_at(9999, u32::MAX).await.len(), 5);
}

pub async fn only_a_start_counts_as_started(store: &dyn Store) {
    assert_eq!(store.totals().await.unwrap().started, 0);
    for n in 1..=3 {
        admitted(store, a_request(n)).await;
    }
    applied(store, 1, started()).await;
    applied(store, 2, started()).await;
    applied(store, 2, stop(EndReason::Exited)).await;
    applied(store, 2, InstanceEvent::ConfirmedGone).await;
    applied(store, 3, InstanceEvent::ConfirmedGone).await;
    assert_eq!(store.totals().await.unwrap().started, 2);
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
    store.put_droplet(&row).await.unwrap();
    assert_eq!(store.droplets().await.unwrap(), [droplet("d1")]);
}

pub async fn a_droplet_row_is_written_over_and_forgotten(store: &dyn Store) {
    assert_eq!(store.droplets().await.unwrap(), []);
    for name in ["d2", "d1"] {
        store.put_droplet(&droplet(name)).await.unwrap();
    }
    let created = DropletRow { state: DropletState::Created, created_at: later(1), ..droplet("d2") };
    store.put_droplet(&created).await.unwrap();
    assert_eq!(store.droplets().await.unwrap(), [droplet("d1"), created]);
    let deleting = DropletRow { state: DropletState::Deleting, ..droplet("d2") };
    store.put_droplet(&deleting).await.unwrap();
    for _ in 0..2 {
        store.remove_droplet(&droplet("d1").name).await.unwrap();
    }
    assert_eq!(store.droplets().await.unwrap(), [deleting]);
}

pub async fn a_store_answers_a_ping(store: &dyn Store) {
    store.ping().await.unwrap();
}
