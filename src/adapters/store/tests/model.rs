//! The SQL stores beside the one in memory: whatever sequence of calls, all give the same answers.

use getaredis_actors::{
    domain::{EndReason, Endpoint, Lease, Quotas},
    ports::{DropletState, Report},
    sim::{
        samples::{a_request, creator, droplet, id, later, server},
        store::SimStore,
    },
};
use proptest::{
    prelude::{Just, Strategy, any, prop, prop_oneof},
    test_runner::Config,
};

use super::*;

/// Few instances, creators and keys, so that calls meet each other's rows.
const IDS: u128 = 8;

#[derive(Debug, Clone)]
enum Call {
    Admit(Box<Admission>),
    Apply(InstanceId, InstanceEvent, Timestamp),
    ByKey(Creator, IdempotencyKey),
    Due(Timestamp, u32),
    Live,
    Totals,
    Relocate(InstanceId, HostName, u32, Timestamp),
    WarningsDue(Timestamp, u32),
    Purge(Timestamp, u32),
    Take(SinkName, Timestamp, Timestamp, u32),
    /// The delivery to that sink that would be taken next, if any.
    Close(SinkName),
    Postpone(SinkName, Timestamp),
    Beat(ServerId, Report),
    Retire(ServerId),
    /// Whether the newest span goes on.
    Attend(bool, Timestamp),
    Known(Vec<InstanceId>),
    OrderDroplet(DropletRow, u32, OrderBudget),
    OrderLimits,
    HoldOrders(Option<Hold>),
    ConfirmDroplet(HostName),
    CondemnDroplet(HostName, Timestamp),
    KeepDroplet(HostName),
    BuryDroplet(HostName),
    RemoveDroplet(HostName, DropletState),
    Builders,
    OrderBuilder(BuilderRow, Timestamp, u32),
    CloseBuilder(HostName),
    OrderCordon(HostName, Option<Cordon>),
    OrderPause(bool),
    Orders,
}

fn ids() -> impl Strategy<Value = InstanceId> {
    (0..IDS).prop_map(id)
}

fn times() -> impl Strategy<Value = Timestamp> {
    (0u64..100).prop_map(later)
}

fn keys() -> impl Strategy<Value = IdempotencyKey> {
    "[ab]".prop_map(|k| IdempotencyKey::parse(&k).unwrap())
}

fn hosts() -> impl Strategy<Value = HostName> {
    "h[1-3]".prop_map(|n| HostName::parse(&n).unwrap())
}

fn sink() -> impl Strategy<Value = SinkName> {
    prop::sample::select(sinks().to_vec())
}

fn admissions() -> impl Strategy<Value = Admission> {
    let caps = (0u32..4, 0u32..6).prop_map(|(per_creator, global)| Quotas { per_creator, global });
    let place = (hosts(), 1u32..5);
    (0..IDS, 1u8..4, prop::option::of(keys()), any::<bool>(), times(), caps, place).prop_map(
        |(n, who, key, other, expires_at, quotas, (host, slots))| {
            let mut request = Admission { quotas, slots, ..a_request(n) };
            request.instance.host = host;
            request.instance.creator = creator(who);
            request.instance.idempotency_key = key;
            request.instance.fingerprint = other.to_string();
            request.instance.lease.expires_at = expires_at;
            request.instance.lease.warn_at = Some(expires_at);
            request
        },
    )
}

fn events() -> impl Strategy<Value = InstanceEvent> {
    prop_oneof![
        Just(InstanceEvent::Moved { host: HostName::parse("h2").unwrap() }),
        any::<u16>()
            .prop_map(|port| InstanceEvent::Started { endpoint: Endpoint { address: [203, 0, 113, 7].into(), port } }),
        (times(), prop::option::of(times())).prop_map(|(t, warn_at)| InstanceEvent::Extended {
            lease: Lease { expires_at: t, max_expires_at: later(200), warn_at }
        }),
        prop::sample::select(&EndReason::ALL[..]).prop_map(|reason| InstanceEvent::StopRequested { reason }),
        Just(InstanceEvent::ConfirmedGone),
        Just(InstanceEvent::Warned),
        Just(InstanceEvent::HostSilent),
        Just(InstanceEvent::HostAnswered),
        Just(InstanceEvent::GivenUp),
    ]
}

fn calls() -> impl Strategy<Value = Call> {
    let state = prop::sample::select(vec![
        DropletState::Creating,
        DropletState::Created,
        DropletState::Deleting,
        DropletState::Deleted,
    ]);
    prop_oneof![
        4 => admissions().prop_map(|request| Call::Admit(Box::new(request))),
        5 => (ids(), events(), times()).prop_map(|(id, event, now)| Call::Apply(id, event, now)),
        1 => (1u8..4, keys()).prop_map(|(who, key)| Call::ByKey(creator(who), key)),
        1 => (times(), 0u32..5).prop_map(|(now, limit)| Call::Due(now, limit)),
        1 => Just(Call::Live),
        1 => (ids(), hosts(), 0u32..4, times()).prop_map(|(id, host, slots, now)| Call::Relocate(id, host, slots, now)),
        1 => (times(), 0u32..5).prop_map(|(now, limit)| Call::WarningsDue(now, limit)),
        1 => (times(), 0u32..5).prop_map(|(before, limit)| Call::Purge(before, limit)),
        1 => (sink(), times(), times(), 0u32..4).prop_map(|(sink, now, until, limit)| Call::Take(sink, now, until, limit)),
        1 => sink().prop_map(Call::Close),
        1 => (sink(), times()).prop_map(|(sink, until)| Call::Postpone(sink, until)),
        1 => (1u8..3, 0u32..3, prop::collection::btree_set(hosts(), 0..3))
            .prop_map(|(n, waiting, failing)| Call::Beat(server(n), Report { waiting, failing })),
        1 => (1u8..3).prop_map(|n| Call::Retire(server(n))),
        3 => (any::<bool>(), times()).prop_map(|(goes_on, now)| Call::Attend(goes_on, now)),
        1 => prop::collection::vec(ids(), 0..4).prop_map(Call::Known),
        1 => Just(Call::Totals),
        1 => (hosts(), state.clone(), times(), 0u32..4, prop::option::of(times())).prop_map(
            |(name, state, created_at, most, full_at)| {
                Call::OrderDroplet(DropletRow { name, state, created_at }, most, OrderBudget::of(full_at))
            }
        ),
        1 => Just(Call::OrderLimits),
        1 => prop::option::of(times())
            .prop_map(|until| Call::HoldOrders(until.map(|until| Hold { until, why: "sold out".to_owned() }))),
        1 => hosts().prop_map(Call::ConfirmDroplet),
        1 => (hosts(), times()).prop_map(|(name, created_at)| Call::CondemnDroplet(name, created_at)),
        1 => hosts().prop_map(Call::KeepDroplet),
        1 => hosts().prop_map(Call::BuryDroplet),
        1 => (hosts(), state).prop_map(|(name, state)| Call::RemoveDroplet(name, state)),
        1 => Just(Call::Builders),
        2 => (hosts(), times(), times(), 0u32..5)
            .prop_map(|(name, ends_at, now, most)| Call::OrderBuilder(BuilderRow { name, ends_at }, now, most)),
        1 => hosts().prop_map(Call::CloseBuilder),
        1 => (hosts(), prop::sample::select(vec![None, Some(Cordon::Cordoned), Some(Cordon::Draining)]))
            .prop_map(|(name, cordon)| Call::OrderCordon(name, cordon)),
        1 => any::<bool>().prop_map(Call::OrderPause),
        1 => Just(Call::Orders),
    ]
}

/// What the store says, in words that compare. The text of [`StoreError::Corrupt`] is each store's own.
async fn answer(store: &dyn Store, call: Call) -> String {
    fn words<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
        match answer {
            Err(StoreError::Corrupt(_)) => "corrupt".to_owned(),
            other => format!("{other:?}"),
        }
    }
    match call {
        Call::Admit(request) => words(store.admit(*request).await),
        Call::Apply(id, event, now) => words(store.apply(&id, &event, now).await),
        Call::ByKey(creator, key) => words(store.by_key(&creator, &key).await),
        Call::Due(now, limit) => words(store.due(now, limit).await),
        Call::Live => words(store.live(None, u32::MAX).await),
        Call::Totals => words(store.totals().await),
        Call::Relocate(id, host, slots, now) => words(store.relocate(&id, &host, slots, now).await),
        Call::WarningsDue(now, limit) => words(store.warnings_due(now, limit).await),
        Call::Purge(before, limit) => words(store.purge(before, limit).await),
        Call::Take(sink, now, until, limit) => words(store.take_deliveries(&sink, now, until, limit).await),
        Call::Close(sink) => match next(store, &sink).await {
            Some(delivery) => words(store.close_delivery(&delivery).await),
            None => "nothing to close".to_owned(),
        },
        Call::Postpone(sink, until) => match next(store, &sink).await {
            Some(delivery) => words(store.postpone_delivery(&delivery, until).await),
            None => "nothing to postpone".to_owned(),
        },
        Call::Beat(server, report) => words(store.beat(&server, &report).await),
        Call::Retire(server) => words(store.retire(&server).await),
        Call::Attend(goes_on, now) => {
            let last = store.attended().await.unwrap().pop().filter(|_| goes_on);
            words(store.attend(last, now).await)
        }
        Call::Known(ids) => words(store.known(&ids).await),
        Call::OrderDroplet(row, most, budget) => words(store.order_droplet(&row, most, budget).await),
        Call::OrderLimits => words(store.order_limits().await),
        Call::HoldOrders(hold) => words(store.hold_orders(hold.as_ref()).await),
        Call::ConfirmDroplet(name) => words(store.confirm_droplet(&name).await),
        Call::CondemnDroplet(name, created_at) => words(store.condemn_droplet(&name, created_at).await),
        Call::KeepDroplet(name) => words(store.keep_droplet(&name).await),
        Call::BuryDroplet(name) => words(store.bury_droplet(&name).await),
        Call::RemoveDroplet(name, state) => words(store.remove_droplet(&name, state).await),
        Call::Builders => words(store.builders().await),
        Call::OrderBuilder(row, now, most) => words(store.order_builder(&row, now, most).await),
        Call::CloseBuilder(name) => words(store.close_builder(&name).await),
        Call::OrderCordon(name, cordon) => words(store.order_cordon(&name, cordon).await),
        Call::OrderPause(paused) => words(store.order_pause(paused).await),
        Call::Orders => words(store.orders().await),
    }
}

/// Takes the delivery that has waited longest.
async fn next(store: &dyn Store, sink: &SinkName) -> Option<Delivery> {
    store.take_deliveries(sink, later(1000), later(1000), 1).await.unwrap().pop()
}

async fn everything(store: &dyn Store) -> String {
    let mut rows = Vec::new();
    for n in 0..IDS {
        rows.push(store.instance(&id(n)).await.unwrap());
    }
    let (live, totals) = (store.live(None, u32::MAX).await.unwrap(), store.totals().await.unwrap());
    format!(
        "{rows:#?} {live:#?} {totals:#?} {:#?} {:#?} {:#?} {:#?}",
        store.droplets().await.unwrap(),
        store.builders().await.unwrap(),
        store.order_limits().await.unwrap(),
        store.attended().await.unwrap()
    )
}

/// Makes both do the same and compares all that they say.
async fn compare(sql: &SqlStore, calls: Vec<Call>) {
    let simulated = SimStore::default().with_sinks(sinks().to_vec());
    for call in calls {
        let (ours, model) = (answer(sql, call.clone()).await, answer(&simulated, call.clone()).await);
        assert_eq!(ours, model, "{call:?}");
    }
    assert_eq!(everything(sql).await, everything(&simulated).await);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest::proptest! {
    // Each case opens a database file; this many take about three seconds.
    #![proptest_config(Config::with_cases(48))]
    #[test]
    fn after_any_calls_a_file_and_the_simulated_store_say_the_same(calls in prop::collection::vec(calls(), 1..50)) {
        runtime().block_on(async {
            let (sql, _dir) = empty_file().await;
            compare(&sql, calls).await;
        });
    }
}

proptest::proptest! {
    // Each case makes a database on each server.
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(8) })]
    #[test]
    fn after_any_calls_a_server_and_the_simulated_store_say_the_same(calls in prop::collection::vec(calls(), 30..80)) {
        runtime().block_on(async {
            for kind in Kind::ALL {
                let (sql, _database) = empty(kind).await;
                compare(&sql, calls.clone()).await;
            }
        });
    }
}

#[tokio::test]
async fn the_model_test_can_tell_two_stores_apart() {
    let (one, other) = (SimStore::default(), SimStore::default());
    answer(&one, Call::OrderDroplet(droplet("d1"), 1, OrderBudget::default())).await;
    assert_ne!(everything(&one).await, everything(&other).await);
}
