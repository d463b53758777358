//! Every step of an instance, and what is due.

use futures_util::future::join_all;

use super::{admitted, applied, host, ids, live, onto, started, stop, with_key};
use crate::{
    domain::{EndReason, Endpoint, HostName, InstanceEvent, InstanceState, Lease},
    ports::{Store, StoreError},
    sim::samples::{a_request, id, later, now},
};

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
    assert_eq!(live(store).await, []);
    // Ids that sort the other way round than ages; the last two are of one age.
    for (n, age) in [(9, 1), (8, 2), (7, 3), (6, 4), (5, 4)] {
        let mut request = a_request(age);
        request.instance.id = id(n);
        admitted(store, request).await;
    }
    applied(store, 9, started()).await;
    applied(store, 8, stop(EndReason::Deleted)).await;
    applied(store, 7, InstanceEvent::ConfirmedGone).await;
    assert_eq!(ids(&live(store).await), [id(9), id(8), id(5), id(6)]);
}

pub async fn carried_is_how_many_have_not_ended_on_each_host_that_is_asked_for(store: &dyn Store) {
    for (n, on) in [(1, "h1"), (2, "h1"), (3, "h1"), (4, "h2"), (5, "h3")] {
        admitted(store, onto(a_request(n), on, 10)).await;
    }
    applied(store, 1, started()).await;
    applied(store, 2, stop(EndReason::Deleted)).await;
    applied(store, 3, InstanceEvent::ConfirmedGone).await;
    let carried = store.carried(&["h1", "h2", "h9"].map(host)).await.unwrap();
    assert_eq!(carried, [(host("h1"), 2), (host("h2"), 1)].into());
    assert!(store.carried(&[]).await.unwrap().is_empty());
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

pub async fn a_row_knows_that_its_host_is_silent_until_it_answers_or_is_given_up(store: &dyn Store) {
    admitted(store, a_request(1)).await;
    let running = applied(store, 1, started()).await;
    let silent = store.apply(&id(1), &InstanceEvent::HostSilent, later(5)).await.unwrap();
    assert_eq!((silent.state, silent.unreachable_since), (InstanceState::Unreachable, Some(later(5))));
    assert_eq!(store.instance(&id(1)).await.unwrap(), Some(silent));
    assert_eq!(applied(store, 1, InstanceEvent::HostAnswered).await, running);
    assert_eq!(store.instance(&id(1)).await.unwrap(), Some(running));
    applied(store, 1, InstanceEvent::HostSilent).await;
    let lost = store.apply(&id(1), &InstanceEvent::GivenUp, later(9)).await.unwrap();
    assert_eq!((lost.state, lost.ended_at), (InstanceState::Ended(EndReason::Lost), Some(later(9))));
    assert_eq!(live(store).await, []);
}

pub async fn warnings_are_due_for_what_runs_longest_waiting_first_up_to_the_limit(store: &dyn Store) {
    // The n-th warning is due at 10 - n seconds.
    for n in 1..=6 {
        let mut request = a_request(n);
        request.instance.lease.warn_at = (n != 6).then(|| later(10 - u64::try_from(n).unwrap()));
        admitted(store, request).await;
    }
    for n in 2..=6 {
        applied(store, n, started()).await;
    }
    applied(store, 3, InstanceEvent::HostSilent).await;
    applied(store, 5, stop(EndReason::Deleted)).await;
    let due_at = async |seconds, limit| ids(&store.warnings_due(later(seconds), limit).await.unwrap());
    assert_eq!(due_at(5, 9).await, []);
    assert_eq!(due_at(6, 9).await, [id(4)]);
    assert_eq!(due_at(9, 9).await, [id(4), id(3), id(2)]);
    assert_eq!(due_at(9, 2).await, [id(4), id(3)]);
    let warned = store.apply(&id(4), &InstanceEvent::Warned, later(9)).await.unwrap();
    assert_eq!(warned.lease.warn_at, None);
    assert_eq!(due_at(9, 9).await, [id(3), id(2)]);
    let lease = Lease { expires_at: later(9000), max_expires_at: later(9000), warn_at: Some(later(8)) };
    applied(store, 4, InstanceEvent::Extended { lease }).await;
    assert_eq!(due_at(9, 9).await, [id(3), id(2), id(4)]);
}
