//! Who gets in, and where: keys, quotas, the cap, slots.

use futures_util::future::{join, join_all};

use super::{CROWD, RACERS, admitted, applied, by, count_new, host, key, live, onto, started, stop, with_key, within};
use crate::{
    domain::{Creator, EndReason, Instance, InstanceEvent, Label, QuotaExceeded},
    ports::{Admitted, Relocated, Store, StoreError},
    sim::samples::{a_request, creator, id, later, now},
};

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
    assert_eq!(live(store).await, [first]);
}

pub async fn of_forty_at_once_a_quota_of_six_admits_exactly_six(store: &dyn Store) {
    assert_eq!(count_new(store, (0..RACERS).map(|n| within(a_request(n), 6, 0))).await, 6);
    assert_eq!(live(store).await.len(), 6);
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
    let [only] = &live(store).await[..] else { panic!("one request, one instance") };
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

pub async fn of_two_hundred_at_once_a_quota_of_six_admits_exactly_six(store: &dyn Store) {
    assert_eq!(count_new(store, (0..CROWD).map(|n| within(a_request(n), 6, 0))).await, 6);
    assert_eq!(live(store).await.len(), 6);
}

pub async fn of_forty_at_once_a_host_with_ten_slots_takes_exactly_ten(store: &dyn Store) {
    let everybody = (0..RACERS).map(|n| onto(by(a_request(n), u8::try_from(n).unwrap()), "h1", 10));
    assert_eq!(count_new(store, everybody).await, 10);
    assert_eq!(store.admit(onto(a_request(99), "h1", 10)).await.unwrap(), Admitted::HostFull);
    admitted(store, onto(a_request(99), "h2", 10)).await;
}

pub async fn what_is_ending_keeps_its_slot_until_it_has_ended(store: &dyn Store) {
    admitted(store, onto(a_request(1), "h1", 1)).await;
    applied(store, 1, stop(EndReason::Deleted)).await;
    assert_eq!(store.admit(onto(a_request(2), "h1", 1)).await.unwrap(), Admitted::HostFull);
    assert_eq!(store.instance(&id(2)).await.unwrap(), None);
    applied(store, 1, InstanceEvent::ConfirmedGone).await;
    admitted(store, onto(a_request(2), "h1", 1)).await;
}

pub async fn a_quota_refuses_before_a_full_host_does(store: &dyn Store) {
    admitted(store, onto(a_request(1), "h1", 1)).await;
    let refused = store.admit(onto(within(a_request(2), 1, 1), "h1", 1)).await.unwrap();
    assert!(matches!(refused, Admitted::Refused(QuotaExceeded::PerCreator { .. })), "{refused:?}");
    let refused = store.admit(onto(within(a_request(2), 0, 1), "h1", 1)).await.unwrap();
    assert_eq!(refused, Admitted::Refused(QuotaExceeded::Global { limit: 1 }));
}

pub async fn a_moved_instance_takes_a_slot_there_and_gives_back_the_one_it_had(store: &dyn Store) {
    let before = admitted(store, onto(a_request(1), "h1", 1)).await;
    let moved = store.relocate(&id(1), &host("h2"), 1, now()).await.unwrap();
    let expected = Instance { host: host("h2"), ..before };
    assert_eq!(moved, Relocated::Moved(Box::new(expected.clone())));
    assert_eq!(store.instance(&id(1)).await.unwrap(), Some(expected.clone()));
    admitted(store, onto(a_request(2), "h1", 1)).await;
    assert_eq!(store.relocate(&id(2), &host("h2"), 1, now()).await.unwrap(), Relocated::HostFull);
    assert_eq!(store.instance(&id(2)).await.unwrap().unwrap().host, host("h1"));
    assert_eq!(store.admit(onto(a_request(3), "h2", 1)).await.unwrap(), Admitted::HostFull);
}

pub async fn only_what_is_creating_can_be_moved(store: &dyn Store) {
    let refused = store.relocate(&id(1), &host("h2"), 9, now()).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    admitted(store, a_request(1)).await;
    let running = applied(store, 1, started()).await;
    let refused = store.relocate(&id(1), &host("h2"), 9, now()).await;
    assert!(matches!(refused, Err(StoreError::Illegal(_))), "{refused:?}");
    assert_eq!(store.instance(&id(1)).await.unwrap(), Some(running));
}

pub async fn of_moves_and_admissions_at_once_no_host_is_overfilled(store: &dyn Store) {
    let half = RACERS / 2;
    for n in 0..half {
        admitted(store, a_request(n)).await;
    }
    let there = host("h2");
    let moves = join_all((0..half).map(|n| {
        let (id, there) = (id(n), &there);
        async move { matches!(store.relocate(&id, there, 10, now()).await.unwrap(), Relocated::Moved(_)) }
    }));
    let newcomers = count_new(store, (half..RACERS).map(|n| onto(a_request(n), "h2", 10)));
    let (moves, newcomers) = join(moves, newcomers).await;
    assert_eq!(moves.iter().filter(|moved| **moved).count() + newcomers, 10);
    let live = live(store).await;
    assert_eq!(live.iter().filter(|i| i.host == there).count(), 10);
}

pub async fn the_cap_agrees_with_the_rows_after_any_life(store: &dyn Store) {
    for n in 1..=8 {
        admitted(store, a_request(n)).await;
    }
    store.relocate(&id(1), &host("h2"), 9, now()).await.unwrap();
    for n in 2..=6 {
        applied(store, n, started()).await;
    }
    applied(store, 3, InstanceEvent::HostSilent).await;
    applied(store, 3, InstanceEvent::GivenUp).await;
    applied(store, 4, stop(EndReason::Deleted)).await;
    applied(store, 5, InstanceEvent::ConfirmedGone).await;
    applied(store, 7, InstanceEvent::ConfirmedGone).await;
    // What is refused must not be counted, neither on nor off.
    store.apply(&id(7), &InstanceEvent::ConfirmedGone, now()).await.unwrap_err();
    store.admit(onto(a_request(9), "h2", 1)).await.unwrap();
    store.admit(a_request(1)).await.unwrap_err();
    store.purge(later(9), 1).await.unwrap();
    let live = u32::try_from(live(store).await.len()).unwrap();
    assert_eq!(live, 5);
    assert_eq!(
        store.admit(within(a_request(9), 0, live)).await.unwrap(),
        Admitted::Refused(QuotaExceeded::Global { limit: live })
    );
    admitted(store, within(a_request(9), 0, live + 1)).await;
}
