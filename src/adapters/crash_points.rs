//! Lets the process die at a chosen call of a port, for tests of what the next start makes of it.
//!
//! Owns the names of the points: every call that has an effect outside has one before it and one after it succeeded.
//! `GETAREDIS_CRASH_AT` names one, as in `store.apply.Started:after`, or `store.apply.Started:after#2` for the second
//! time. Is built only with the feature `crash-points`, never into a program that serves anybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use getaredis_actors::{
    brain::Ports,
    domain::{
        Cordon, Creator, Endpoint, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, ServerId, SinkName,
        Timestamp,
        scaling::{Hold, OrderBudget},
    },
    ports::{
        Admission, Admitted, Attended, Beat, BuilderRow, Delivery, DropletRow, DropletState, Found, HostProvider,
        HostRecord, HourlyPrice, Listing, OrderLimits, Orders, ProviderError, Relocated, Removal, Report, Runtime,
        RuntimeError, Runtimes, StartSpec, Store, StoreError, Totals, WebhookError, Webhooks,
    },
};

/// The variable that names a point.
const VARIABLE: &str = "GETAREDIS_CRASH_AT";

/// Makes the points of the events and the name of each event, so that none can be forgotten.
macro_rules! events {
    ($($event:ident),*) => {
        const EVENTS: &[&str] = &[$(concat!("store.apply.", stringify!($event))),*];

        fn event_point(event: &InstanceEvent) -> &'static str {
            match event { $(InstanceEvent::$event { .. } => concat!("store.apply.", stringify!($event))),* }
        }
    };
}

events!(Moved, Started, Extended, Warned, HostSilent, HostAnswered, StopRequested, Abandoned, ConfirmedGone, GivenUp);

/// The calls with an effect, beside the events.
const CALLS: &[&str] = &[
    "store.admit",
    "store.relocate",
    "store.purge",
    "store.take_deliveries",
    "store.close_delivery",
    "store.postpone_delivery",
    "store.beat",
    "store.retire",
    "store.attend",
    "store.order_droplet",
    "store.hold_orders",
    "store.confirm_droplet",
    "store.condemn_droplet",
    "store.keep_droplet",
    "store.bury_droplet",
    "store.remove_droplet",
    "store.order_builder",
    "store.close_builder",
    "store.order_cordon",
    "store.order_pause",
    "runtime.start",
    "runtime.remove",
    "hostprovider.create",
    "hostprovider.delete",
    "hostprovider.forget",
    "webhooks.post",
];

/// Every name that may stand in front of `:before` and `:after`.
pub fn names() -> impl Iterator<Item = &'static str> {
    CALLS.iter().chain(EVENTS).copied()
}

/// Why a point was refused.
#[derive(Debug, thiserror::Error)]
#[error("{VARIABLE} = {found:?} is no crash point; it is one of these with :before or :after, and #2 for the second time: {}", names().collect::<Vec<_>>().join(", "))]
pub struct UnknownPoint {
    /// What was asked for.
    pub found: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// The point at which the process dies.
#[derive(Debug)]
struct Point {
    name: &'static str,
    side: Side,
    /// How often it is reached until then, that time included.
    times: AtomicU32,
}

impl Point {
    fn parse(text: &str) -> Result<Self, UnknownPoint> {
        let parsed = || {
            let (point, times) = text.split_once('#').unwrap_or((text, "1"));
            let (name, side) = point.split_once(':')?;
            let side = match side {
                "before" => Side::Before,
                "after" => Side::After,
                _ => return None,
            };
            let times = times.parse().ok().filter(|times| *times > 0)?;
            Some(Self { name: names().find(|known| *known == name)?, side, times: AtomicU32::new(times) })
        };
        parsed().ok_or_else(|| UnknownPoint { found: text.to_owned() })
    }

    /// Whether this is the point, and the time.
    fn is_reached(&self, name: &str, side: Side) -> bool {
        self.name == name && self.side == side && self.times.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// Puts the point that the environment names around the ports, if it names one.
///
/// # Errors
/// [`UnknownPoint`], with all that are known.
pub fn around(ports: Ports) -> Result<Ports, UnknownPoint> {
    let Some(point) = armed()? else { return Ok(ports) };
    let cloud = ports.cloud.map(|port| -> Arc<dyn HostProvider> { Arc::new(Crashing { port, point: point.clone() }) });
    Ok(Ports {
        store: Arc::new(Crashing { port: ports.store, point: point.clone() }),
        runtimes: Arc::new(Crashing { port: ports.runtimes, point: point.clone() }),
        webhooks: Arc::new(Crashing { port: ports.webhooks, point: point.clone() }),
        cloud,
        ..ports
    })
}

/// The same around the store of a command that has no other port.
///
/// # Errors
/// As [`around`].
pub fn around_store(port: Arc<dyn Store>) -> Result<Arc<dyn Store>, UnknownPoint> {
    Ok(match armed()? {
        Some(point) => Arc::new(Crashing { port, point }),
        None => port,
    })
}

fn armed() -> Result<Option<Arc<Point>>, UnknownPoint> {
    let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) else { return Ok(None) };
    let point = Arc::new(Point::parse(&OsString::into_string(named).unwrap_or_default())?);
    tracing::warn!(?point, "crash_points.armed");
    Ok(Some(point))
}

/// A port with a point somewhere.
struct Crashing<P: ?Sized> {
    port: Arc<P>,
    point: Arc<Point>,
}

impl<P: ?Sized> Crashing<P> {
    fn reach(&self, name: &str, side: Side) {
        if self.point.is_reached(name, side) {
            tracing::warn!(name, ?side, "crash_points.reached");
            std::process::abort();
        }
    }

    async fn around<T, E>(&self, name: &str, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.reach(name, Side::Before);
        let done = call.await?;
        self.reach(name, Side::After);
        Ok(done)
    }
}

#[async_trait]
impl Store for Crashing<dyn Store> {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        self.around("store.admit", self.port.admit(admission)).await
    }

    async fn relocate(
        &self,
        id: &InstanceId,
        host: &HostName,
        slots: u32,
        now: Timestamp,
    ) -> Result<Relocated, StoreError> {
        self.around("store.relocate", self.port.relocate(id, host, slots, now)).await
    }

    async fn apply(&self, id: &InstanceId, event: &InstanceEvent, now: Timestamp) -> Result<Instance, StoreError> {
        self.around(event_point(event), self.port.apply(id, event, now)).await
    }

    async fn purge(&self, ended_before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.around("store.purge", self.port.purge(ended_before, limit)).await
    }

    async fn take_deliveries(
        &self,
        sink: &SinkName,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.around("store.take_deliveries", self.port.take_deliveries(sink, now, until, limit)).await
    }

    async fn close_delivery(&self, delivery: &Delivery) -> Result<(), StoreError> {
        self.around("store.close_delivery", self.port.close_delivery(delivery)).await
    }

    async fn postpone_delivery(&self, delivery: &Delivery, until: Timestamp) -> Result<(), StoreError> {
        self.around("store.postpone_delivery", self.port.postpone_delivery(delivery, until)).await
    }

    async fn beat(&self, server: &ServerId, report: &Report) -> Result<Vec<Beat>, StoreError> {
        self.around("store.beat", self.port.beat(server, report)).await
    }

    async fn retire(&self, server: &ServerId) -> Result<(), StoreError> {
        self.around("store.retire", self.port.retire(server)).await
    }

    async fn attend(&self, last: Option<Attended>, now: Timestamp) -> Result<Attended, StoreError> {
        self.around("store.attend", self.port.attend(last, now)).await
    }

    async fn order_droplet(&self, row: &DropletRow, most: u32, budget: OrderBudget) -> Result<bool, StoreError> {
        self.around("store.order_droplet", self.port.order_droplet(row, most, budget)).await
    }

    async fn hold_orders(&self, hold: Option<&Hold>) -> Result<(), StoreError> {
        self.around("store.hold_orders", self.port.hold_orders(hold)).await
    }

    async fn confirm_droplet(&self, name: &HostName) -> Result<bool, StoreError> {
        self.around("store.confirm_droplet", self.port.confirm_droplet(name)).await
    }

    async fn condemn_droplet(&self, name: &HostName, created_at: Timestamp) -> Result<bool, StoreError> {
        self.around("store.condemn_droplet", self.port.condemn_droplet(name, created_at)).await
    }

    async fn keep_droplet(&self, name: &HostName) -> Result<bool, StoreError> {
        self.around("store.keep_droplet", self.port.keep_droplet(name)).await
    }

    async fn bury_droplet(&self, name: &HostName) -> Result<bool, StoreError> {
        self.around("store.bury_droplet", self.port.bury_droplet(name)).await
    }

    async fn remove_droplet(&self, name: &HostName, state: DropletState) -> Result<bool, StoreError> {
        self.around("store.remove_droplet", self.port.remove_droplet(name, state)).await
    }

    async fn order_builder(&self, row: &BuilderRow, now: Timestamp, most: u32) -> Result<bool, StoreError> {
        self.around("store.order_builder", self.port.order_builder(row, now, most)).await
    }

    async fn close_builder(&self, name: &HostName) -> Result<bool, StoreError> {
        self.around("store.close_builder", self.port.close_builder(name)).await
    }

    // What only reads has no point.

    async fn attended(&self) -> Result<Vec<Attended>, StoreError> {
        self.port.attended().await
    }

    async fn known(&self, ids: &[InstanceId]) -> Result<BTreeSet<InstanceId>, StoreError> {
        self.port.known(ids).await
    }

    async fn builders(&self) -> Result<Vec<BuilderRow>, StoreError> {
        self.port.builders().await
    }

    async fn order_limits(&self) -> Result<OrderLimits, StoreError> {
        self.port.order_limits().await
    }

    async fn instance(&self, id: &InstanceId) -> Result<Option<Instance>, StoreError> {
        self.port.instance(id).await
    }

    async fn by_key(&self, creator: &Creator, key: &IdempotencyKey) -> Result<Option<Instance>, StoreError> {
        self.port.by_key(creator, key).await
    }

    async fn live(&self, after: Option<&(Timestamp, InstanceId)>, limit: u32) -> Result<Vec<Instance>, StoreError> {
        self.port.live(after, limit).await
    }

    async fn carried(&self, hosts: &[HostName]) -> Result<BTreeMap<HostName, u32>, StoreError> {
        self.port.carried(hosts).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError> {
        self.port.due(now, limit).await
    }

    async fn warnings_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Instance>, StoreError> {
        self.port.warnings_due(now, limit).await
    }

    async fn waiting_deliveries(&self, sink: &SinkName) -> Result<u64, StoreError> {
        self.port.waiting_deliveries(sink).await
    }

    fn is_shared(&self) -> bool {
        self.port.is_shared()
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        self.port.totals().await
    }

    async fn droplets(&self) -> Result<Vec<DropletRow>, StoreError> {
        self.port.droplets().await
    }

    async fn orders(&self) -> Result<Orders, StoreError> {
        self.port.orders().await
    }

    async fn order_cordon(&self, host: &HostName, cordon: Option<Cordon>) -> Result<(), StoreError> {
        self.around("store.order_cordon", self.port.order_cordon(host, cordon)).await
    }

    async fn order_pause(&self, paused: bool) -> Result<(), StoreError> {
        self.around("store.order_pause", self.port.order_pause(paused)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.port.ping().await
    }
}

impl Runtimes for Crashing<dyn Runtimes> {
    fn open(&self, host: &HostRecord) -> Result<Arc<dyn Runtime>, RuntimeError> {
        Ok(Arc::new(Crashing { port: self.port.open(host)?, point: self.point.clone() }))
    }
}

#[async_trait]
impl Runtime for Crashing<dyn Runtime> {
    async fn start(&self, spec: &StartSpec) -> Result<Endpoint, RuntimeError> {
        self.around("runtime.start", self.port.start(spec)).await
    }

    async fn remove(&self, id: &InstanceId) -> Result<Removal, RuntimeError> {
        self.around("runtime.remove", self.port.remove(id)).await
    }

    async fn inventory(&self) -> Result<Vec<Found>, RuntimeError> {
        self.port.inventory().await
    }

    async fn probe(&self) -> Result<(), RuntimeError> {
        self.port.probe().await
    }

    fn exits(&self) -> BoxStream<'static, Result<InstanceId, RuntimeError>> {
        self.port.exits()
    }

    fn isolated(&self) -> bool {
        self.port.isolated()
    }
}

#[async_trait]
impl HostProvider for Crashing<dyn HostProvider> {
    async fn list(&self) -> Result<Listing, ProviderError> {
        self.port.list().await
    }

    async fn create(&self, name: &HostName) -> Result<(), ProviderError> {
        self.around("hostprovider.create", self.port.create(name)).await
    }

    async fn delete(&self, name: &HostName) -> Result<(), ProviderError> {
        self.around("hostprovider.delete", self.port.delete(name)).await
    }

    async fn forget(&self, name: &HostName) -> Result<(), ProviderError> {
        self.around("hostprovider.forget", self.port.forget(name)).await
    }

    async fn price(&self) -> Result<HourlyPrice, ProviderError> {
        self.port.price().await
    }
}

#[async_trait]
impl Webhooks for Crashing<dyn Webhooks> {
    async fn post(&self, delivery: &Delivery, now: Timestamp) -> Result<(), WebhookError> {
        self.around("webhooks.post", self.port.post(delivery, now)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls without an effect that anybody goes by: they need no point.
    const READS: &[&str] = &[
        "store.instance",
        "store.by_key",
        "store.live",
        "store.carried",
        "store.due",
        "store.warnings_due",
        "store.waiting_deliveries",
        "store.totals",
        "store.droplets",
        "store.builders",
        "store.attended",
        "store.known",
        "store.order_limits",
        "store.orders",
        "store.ping",
        "runtime.inventory",
        "runtime.probe",
        "directory.read",
        "hostprovider.list",
        "hostprovider.price",
        "journal.append",
        "journal.last",
    ];

    /// Every asynchronous call of every port, as `port.method`, read from the ports themselves.
    fn calls() -> Vec<String> {
        let (mut port, mut calls) = (String::new(), Vec::new());
        let actors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("actors");
        let files = std::fs::read_dir(actors.join("ports")).unwrap().map(|entry| entry.unwrap().path());
        let sources = files.chain([actors.join("ports.rs")]).map(|file| std::fs::read_to_string(file).unwrap());
        for line in sources.collect::<String>().lines() {
            let word = |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
            if let Some(rest) = line.strip_prefix("pub trait ") {
                port = word(rest).to_lowercase();
            } else if let Some(rest) = line.trim_start().strip_prefix("async fn ") {
                calls.push(format!("{port}.{}", word(rest)));
            }
        }
        calls
    }

    #[test]
    fn every_call_of_a_port_has_a_point_or_is_known_to_only_read() {
        let calls = calls();
        assert!(calls.len() > 25, "{calls:?}");
        for call in &calls {
            let points = names().filter(|name| name == call || name.starts_with(&format!("{call}."))).count();
            assert_eq!(points > 0, !READS.contains(&call.as_str()), "{call}");
        }
        for name in names() {
            assert!(calls.iter().any(|call| name == call || name.starts_with(&format!("{call}."))), "{name}");
        }
    }

    #[test]
    fn every_point_that_is_named_is_passed_on_the_way_through_its_port() {
        let source = include_str!("crash_points.rs");
        for call in CALLS {
            assert!(source.contains(&format!("self.around(\"{call}\"")), "{call}");
        }
    }

    #[test]
    fn a_point_is_reached_on_its_side_and_at_its_time_only() {
        let point = Point::parse("store.apply.Started:after#2").unwrap();
        for (name, side, reached) in [
            ("store.apply.Started", Side::Before, false),
            ("store.apply.Moved", Side::After, false),
            ("store.apply.Started", Side::After, false),
            ("store.apply.Started", Side::After, true),
            ("store.apply.Started", Side::After, false),
        ] {
            assert_eq!(point.is_reached(name, side), reached, "{name} {side:?}");
        }
        assert!(Point::parse("runtime.start:before").unwrap().is_reached("runtime.start", Side::Before));
    }

    #[test]
    fn what_is_no_point_is_refused_with_all_that_are() {
        for bad in
            ["", "store.apply:after", "store.admit", "store.admit:during", "store.admit:after#0", "store.live:after"]
        {
            let refusal = Point::parse(bad).unwrap_err().to_string();
            assert!(names().all(|name| refusal.contains(name)), "{refusal}");
        }
    }
}
