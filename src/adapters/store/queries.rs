//! Every query of the store, in no database's dialect.
//!
//! Mounted once by each backend's module, from which it takes `Conn` and the fragments that databases spell
//! differently: `write_transaction!`, `upsert!` and `locked!`. Must not name a backend, parse a column or know of pools.
//!
//! The order of locks, everywhere: the instance's row, then one counter. Whoever takes a place, or takes places away,
//! takes the counter of live rows with [`gate`] first and looks afterwards, so that of all who look, on all servers, one
//! does at a time.

use std::{collections::BTreeMap, sync::Arc};

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper, delete,
    dsl::{count_star, exists, min},
    insert_into, select, update,
};
use diesel_async::RunQueryDsl;
use getaredis_actors::{
    domain::{
        Cordon, Creator, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, InstanceState, Notice,
        SinkName, Timestamp, Usage, scaling::DropletState,
    },
    ports::{Admission, Admitted, Delivery, Orders, Relocated, StoreError, Totals},
};
use uuid::Uuid;

use super::{
    super::{
        failure::Failure,
        rows::{DeliveryRow, InstanceRow},
        schema::{counters, deliveries, droplets, failing_hosts, instances, orders, queues, servers},
    },
    Conn, locked, upsert, write_transaction,
};

#[path = "attendance_queries.rs"]
mod attendance_queries;
#[path = "builder_queries.rs"]
mod builder_queries;
#[path = "droplet_queries.rs"]
mod droplet_queries;
#[path = "order_queries.rs"]
mod order_queries;
#[path = "owner_queries.rs"]
mod owner_queries;
#[path = "server_queries.rs"]
mod server_queries;

pub(in super::super) use attendance_queries::{attend, attended, known};
pub(in super::super) use builder_queries::{builders, close_builder, order_builder};
pub(in super::super) use droplet_queries::{
    bury_droplet, condemn_droplet, confirm_droplet, droplets, hold_orders, keep_droplet, order_droplet, order_limits,
    remove_droplet,
};
pub(in super::super) use owner_queries::{claim, visit};
pub(in super::super) use server_queries::{beat, retire};

/// Most rows that one statement names; databases take no more than some tens of thousands of values.
const BATCH: u32 = 10_000;

/// The counter behind [`Totals::started`].
const STARTED: &str = "started";

/// The counter of rows that have not ended.
const LIVE: &str = "live";

pub(in super::super) async fn admit(conn: &mut Conn, admission: Admission) -> Result<Admitted, Failure> {
    write_transaction!(conn, async move |conn| {
        let wanted = &admission.instance;
        let total = gate(conn).await?;
        if let Some(key) = &wanted.idempotency_key
            && let Some(live) = by_key(conn, wanted.creator.clone(), key.clone()).await?
        {
            let same = live.fingerprint == wanted.fingerprint;
            return Ok(if same { Admitted::Existing(Box::new(live)) } else { Admitted::Conflict });
        }
        let (usage, taken) = usage(conn, &wanted.creator, total, &wanted.host).await?;
        if let Err(quota) = admission.quotas.check(usage) {
            return Ok(Admitted::Refused(quota));
        }
        if taken.is_none_or(|taken| taken >= i64::from(admission.slots)) {
            return Ok(Admitted::HostFull);
        }
        insert_into(instances::table).values(InstanceRow::from(wanted)).execute(conn).await?;
        count(conn, LIVE, 1).await?;
        Ok(Admitted::New)
    })
}

/// Waits until nobody else admits or moves an instance, and keeps everybody else waiting until the transaction ends.
/// Returns how many instances have not ended.
async fn gate(conn: &mut Conn) -> Result<i64, Failure> {
    let row = counters::table.find(LIVE).select(counters::value);
    if let Some(live) = locked!(row).get_result(conn).await.optional()? {
        return Ok(live);
    }
    // MariaDB answers a locked read whose wait was over now and then with no row instead of an error.
    let there: Option<i64> = row.first(conn).await.optional()?;
    Err(if there.is_some() { Failure::CutShort } else { missing(LIVE).into() })
}

/// Where nothing is placed any more.
const CONDEMNED: [&str; 2] = [DropletState::Deleting.as_str(), DropletState::Deleted.as_str()];

async fn has_room(conn: &mut Conn, host: &HostName, slots: u32) -> Result<bool, Failure> {
    let condemned: i64 = droplets::table
        .find(host.to_string())
        .filter(droplets::state.eq_any(CONDEMNED))
        .select(count_star())
        .first(conn)
        .await?;
    Ok(condemned == 0 && live_on(conn, host).await? < i64::from(slots))
}

async fn live_on(conn: &mut Conn, host: &HostName) -> Result<i64, Failure> {
    let there: i64 = instances::table
        .filter(instances::ended_at.is_null())
        .filter(instances::host.eq(host.to_string()))
        .select(count_star())
        .first(conn)
        .await?;
    Ok(there)
}

/// What a creator uses, and how many slots of a host are taken, or that it is condemned. One statement, because every
/// admission waits for those before it.
async fn usage(
    conn: &mut Conn,
    creator: &Creator,
    total: i64,
    host: &HostName,
) -> Result<(Usage, Option<i64>), Failure> {
    let (creator, host) = (creator.to_string(), host.to_string());
    let live = instances::table.filter(instances::ended_at.is_null());
    // Only what is ending has a reason; its creator has let go of it.
    let theirs = live.filter(instances::creator.eq(creator)).filter(instances::reason.is_null());
    let condemned = droplets::table.find(&host).filter(droplets::state.eq_any(CONDEMNED));
    let (of_creator, frees_at, taken, condemned): (Option<i64>, Option<i64>, Option<i64>, bool) = select((
        theirs.clone().select(count_star()).single_value(),
        theirs.select(min(instances::expires_at)).single_value(),
        live.filter(instances::host.eq(&host)).select(count_star()).single_value(),
        exists(condemned),
    ))
    .get_result(conn)
    .await?;
    // A count that does not fit is beyond every cap there can be.
    let capped = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    let usage = Usage {
        of_creator: capped(of_creator.unwrap_or_default()),
        total: capped(total),
        creator_frees_at: frees_at.and_then(|t| Timestamp::from_millisecond(t).ok()),
    };
    Ok((usage, taken.filter(|_| !condemned)))
}

pub(in super::super) async fn instance(conn: &mut Conn, id: InstanceId) -> Result<Option<Instance>, Failure> {
    let row = instances::table.find(id.to_string()).select(InstanceRow::as_select()).first(conn).await.optional()?;
    Ok(row.map(Instance::try_from).transpose()?)
}

pub(in super::super) async fn by_key(
    conn: &mut Conn,
    creator: Creator,
    key: IdempotencyKey,
) -> Result<Option<Instance>, Failure> {
    // A row that has ended has no key any more, so whatever is found is live.
    let row = instances::table
        .filter(instances::creator.eq(creator.to_string()))
        .filter(instances::idempotency_key.eq(key.to_string()))
        .select(InstanceRow::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(Instance::try_from).transpose()?)
}

pub(in super::super) async fn apply(
    conn: &mut Conn,
    id: InstanceId,
    event: InstanceEvent,
    now: Timestamp,
    sinks: Arc<[SinkName]>,
) -> Result<Instance, Failure> {
    write_transaction!(conn, async move |conn| {
        let before = held(conn, id).await?;
        step(conn, &before, &event, now, &sinks).await
    })
}

/// One step of an instance's life, with everything that is written along with it.
async fn step(
    conn: &mut Conn,
    before: &Instance,
    event: &InstanceEvent,
    now: Timestamp,
    sinks: &[SinkName],
) -> Result<Instance, Failure> {
    let row = InstanceRow::from(&before.after(event, now).map_err(StoreError::Illegal)?);
    update(instances::table.find(before.id.to_string())).set(&row).execute(conn).await?;
    // What is answered is what the next read will answer, to the millisecond.
    let after = Instance::try_from(row)?;
    if matches!(event, InstanceEvent::Started { .. }) {
        count(conn, STARTED, 1).await?;
    }
    if !after.state.is_live() {
        count(conn, LIVE, -1).await?;
    }
    if let Some(notice) = Notice::of(event, &after, now).filter(|_| !sinks.is_empty()) {
        let rows: Vec<_> = sinks.iter().map(|sink| DeliveryRow::new(&notice, sink, now)).collect();
        for row in &rows {
            insert_into(deliveries::table).values(row).execute(conn).await?;
        }
    }
    Ok(after)
}

pub(in super::super) async fn relocate(
    conn: &mut Conn,
    id: InstanceId,
    host: HostName,
    slots: u32,
    now: Timestamp,
) -> Result<Relocated, Failure> {
    write_transaction!(conn, async move |conn| {
        let before = held(conn, id).await?;
        gate(conn).await?;
        if !has_room(conn, &host, slots).await? {
            return Ok(Relocated::HostFull);
        }
        let moved = step(conn, &before, &InstanceEvent::Moved { host }, now, &[]).await?;
        Ok(Relocated::Moved(Box::new(moved)))
    })
}

/// The instance, which nobody else changes until the transaction ends.
async fn held(conn: &mut Conn, id: InstanceId) -> Result<Instance, Failure> {
    let row = locked!(instances::table.find(id.to_string()).select(InstanceRow::as_select()));
    let row: Option<InstanceRow> = row.get_result(conn).await.optional()?;
    match row {
        Some(row) => Ok(row.try_into()?),
        // As in `gate`.
        None if instance(conn, id).await?.is_some() => Err(Failure::CutShort),
        None => Err(StoreError::NotFound.into()),
    }
}

/// Counts on or off.
async fn count(conn: &mut Conn, counter: &'static str, by: i64) -> Result<(), Failure> {
    let counted =
        update(counters::table.find(counter)).set(counters::value.eq(counters::value + by)).execute(conn).await?;
    if counted == 1 { Ok(()) } else { Err(missing(counter).into()) }
}

fn missing(counter: &str) -> StoreError {
    StoreError::Corrupt(format!("counter {counter} is missing"))
}

/// Writes what an admission writes, and takes it back: a database that can only be read, or a disk that has room for
/// less, is of no use, and says so here first.
pub(in super::super) async fn ping(conn: &mut Conn) -> Result<(), Failure> {
    write_transaction!(conn, async move |conn| {
        // Of its own each time: several servers may ask at once.
        let id = InstanceId::from_uuid(Uuid::now_v7()).to_string();
        let nobody = (
            instances::id.eq(&id),
            instances::creator.eq("ping"),
            instances::flavour.eq("ping"),
            instances::host.eq("ping"),
            instances::state.eq(InstanceState::Creating.as_str()),
            instances::idempotency_key.eq(&id),
            instances::fingerprint.eq("ping"),
            instances::rotation.eq(0),
            instances::created_at.eq(0),
            instances::expires_at.eq(0),
            instances::max_expires_at.eq(0),
            instances::warn_at.eq(0),
        );
        insert_into(instances::table).values(nobody).execute(conn).await?;
        delete(instances::table.find(&id)).execute(conn).await?;
        count(conn, STARTED, 0).await
    })
}

pub(in super::super) async fn live(
    conn: &mut Conn,
    after: Option<(Timestamp, InstanceId)>,
    limit: u32,
) -> Result<Vec<Instance>, Failure> {
    let (age, id) = after.map_or((i64::MIN, String::new()), |(at, id)| (at.as_millisecond(), id.to_string()));
    let rows = instances::table
        .filter(instances::ended_at.is_null())
        // First the bound that an index can begin at.
        .filter(instances::created_at.ge(age).and(instances::created_at.gt(age).or(instances::id.gt(id))))
        .order((instances::created_at, instances::id))
        .limit(limit.into())
        .select(InstanceRow::as_select())
        .load(conn)
        .await?;
    parsed(rows)
}

pub(in super::super) async fn carried(
    conn: &mut Conn,
    hosts: Vec<HostName>,
) -> Result<BTreeMap<HostName, u32>, Failure> {
    let mut carried = BTreeMap::new();
    for hosts in hosts.chunks(BATCH as usize) {
        let counts: Vec<(String, i64)> = instances::table
            .filter(instances::ended_at.is_null())
            .filter(instances::host.eq_any(hosts.iter().map(HostName::as_str)))
            .group_by(instances::host)
            .select((instances::host, count_star()))
            .load(conn)
            .await?;
        for (host, count) in counts {
            let host = host.parse().map_err(|why| StoreError::Corrupt(format!("column host of an instance: {why}")))?;
            carried.insert(host, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }
    Ok(carried)
}

pub(in super::super) async fn due(conn: &mut Conn, now: Timestamp, limit: u32) -> Result<Vec<Instance>, Failure> {
    let rows = instances::table
        .filter(instances::ended_at.is_null())
        .filter(instances::expires_at.le(now.as_millisecond()))
        .filter(instances::reason.is_null())
        .order((instances::expires_at, instances::id))
        .limit(limit.into())
        .select(InstanceRow::as_select())
        .load(conn)
        .await?;
    parsed(rows)
}

pub(in super::super) async fn warnings_due(
    conn: &mut Conn,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Instance>, Failure> {
    let lives = [InstanceState::Running, InstanceState::Unreachable].map(InstanceState::as_str);
    let rows = instances::table
        .filter(instances::ended_at.is_null())
        .filter(instances::warn_at.le(now.as_millisecond()))
        .filter(instances::state.eq_any(lives))
        .order((instances::warn_at, instances::id))
        .limit(limit.into())
        .select(InstanceRow::as_select())
        .load(conn)
        .await?;
    parsed(rows)
}

pub(in super::super) async fn purge(conn: &mut Conn, ended_before: Timestamp, limit: u32) -> Result<u32, Failure> {
    // In two steps, because not every database deletes with a limit.
    let ended: Vec<String> = instances::table
        .filter(instances::ended_at.lt(ended_before.as_millisecond()))
        .order((instances::ended_at, instances::id))
        .limit(limit.min(BATCH).into())
        .select(instances::id)
        .load(conn)
        .await?;
    if ended.is_empty() {
        return Ok(0);
    }
    write_transaction!(conn, async move |conn| {
        for id in &ended {
            // What no sink has taken for as long. The ids of an instance's notices begin with its own and a dot, and what
            // comes after a dot is a slash.
            let notices = deliveries::notice.ge(format!("{id}.")).and(deliveries::notice.lt(format!("{id}/")));
            delete(deliveries::table.filter(notices)).execute(conn).await?;
        }
        let purged = delete(instances::table.filter(instances::id.eq_any(ended))).execute(conn).await?;
        Ok(u32::try_from(purged).unwrap_or(u32::MAX))
    })
}

pub(in super::super) async fn take_deliveries(
    conn: &mut Conn,
    sink: SinkName,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Delivery>, Failure> {
    write_transaction!(conn, async move |conn| {
        let due = deliveries::table
            .filter(deliveries::sink.eq(sink.to_string()))
            .filter(deliveries::due_at.le(now.as_millisecond()))
            .order((deliveries::due_at, deliveries::notice))
            .limit(limit.min(BATCH).into())
            .select(DeliveryRow::as_select());
        // Who waits here for another taker finds the rows no longer due.
        let due: Vec<DeliveryRow> = locked!(due).load(conn).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let notices: Vec<&str> = due.iter().map(DeliveryRow::notice).collect();
        let taken = deliveries::table.filter(deliveries::sink.eq(sink.to_string()));
        update(taken.filter(deliveries::notice.eq_any(notices)))
            .set((deliveries::due_at.eq(until.as_millisecond()), deliveries::attempts.eq(deliveries::attempts + 1)))
            .execute(conn)
            .await?;
        let taken = due.into_iter().map(|row| {
            let delivery = Delivery::try_from(row)?;
            Ok(Delivery { attempts: delivery.attempts + 1, ..delivery })
        });
        Ok(taken.collect::<Result<_, StoreError>>()?)
    })
}

pub(in super::super) async fn close_delivery(conn: &mut Conn, delivery: Delivery) -> Result<(), Failure> {
    delete(deliveries::table.find((delivery.notice.id, delivery.sink.to_string()))).execute(conn).await?;
    Ok(())
}

pub(in super::super) async fn postpone_delivery(
    conn: &mut Conn,
    delivery: Delivery,
    until: Timestamp,
) -> Result<(), Failure> {
    update(deliveries::table.find((delivery.notice.id, delivery.sink.to_string())))
        .set(deliveries::due_at.eq(until.as_millisecond()))
        .execute(conn)
        .await?;
    Ok(())
}

pub(in super::super) async fn waiting_deliveries(conn: &mut Conn, sink: SinkName) -> Result<u64, Failure> {
    let waiting: i64 =
        deliveries::table.filter(deliveries::sink.eq(sink.to_string())).select(count_star()).first(conn).await?;
    Ok(waiting.unsigned_abs())
}

fn parsed(rows: Vec<InstanceRow>) -> Result<Vec<Instance>, Failure> {
    Ok(rows.into_iter().map(Instance::try_from).collect::<Result<_, _>>()?)
}

pub(in super::super) async fn totals(conn: &mut Conn) -> Result<Totals, Failure> {
    let started: i64 = counters::table.find(STARTED).select(counters::value).first(conn).await?;
    let started = u64::try_from(started)
        .map_err(|_| StoreError::Corrupt(format!("counter {STARTED}, column value: it is negative")))?;
    Ok(Totals { started })
}

pub(in super::super) async fn orders(conn: &mut Conn) -> Result<Orders, Failure> {
    order_queries::standing(conn).await
}

pub(in super::super) async fn order_cordon(
    conn: &mut Conn,
    host: HostName,
    cordon: Option<Cordon>,
) -> Result<(), Failure> {
    order_queries::about_host(conn, &host, cordon).await
}

pub(in super::super) async fn order_pause(conn: &mut Conn, paused: bool) -> Result<(), Failure> {
    order_queries::about_pool(conn, paused).await
}
