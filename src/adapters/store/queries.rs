//! Every query of the store, in no database's dialect.
//!
//! Mounted once by each backend's module, from which it takes `Conn` and the fragments that databases spell
//! differently: `write_transaction!` and `upsert!`. Must not name a backend, parse a column or know of pools.

use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper, delete,
    dsl::{count_star, min},
    insert_into, update,
};
use diesel_async::RunQueryDsl;
use getaredis_actors::{
    domain::{Creator, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, InstanceState, Timestamp, Usage},
    ports::{Admission, Admitted, DropletRow, StoreError, Totals},
};

use super::{
    super::{
        failure::Failure,
        rows::{DropletLine, InstanceRow},
        schema::{counters, droplets, instances},
    },
    Conn, upsert, write_transaction,
};

/// The counter behind [`Totals::started`].
const STARTED: &str = "started";

pub(in super::super) async fn admit(conn: &mut Conn, admission: Admission) -> Result<Admitted, Failure> {
    write_transaction!(conn, async move |conn| {
        let wanted = &admission.instance;
        if let Some(key) = &wanted.idempotency_key
            && let Some(live) = by_key(conn, wanted.creator.clone(), key.clone()).await?
        {
            let same = live.fingerprint == wanted.fingerprint;
            return Ok(if same { Admitted::Existing(Box::new(live)) } else { Admitted::Conflict });
        }
        if let Err(quota) = admission.quotas.check(usage(conn, wanted.creator.clone()).await?) {
            return Ok(Admitted::Refused(quota));
        }
        insert_into(instances::table).values(InstanceRow::from(wanted)).execute(conn).await?;
        Ok(Admitted::New)
    })
}

async fn usage(conn: &mut Conn, creator: Creator) -> Result<Usage, Failure> {
    let live = instances::table.filter(instances::ended_at.is_null());
    let (of_creator, frees_at): (i64, Option<i64>) = live
        .filter(instances::creator.eq(creator.to_string()))
        // Only what is ending has a reason; its creator has let go of it.
        .filter(instances::reason.is_null())
        .select((count_star(), min(instances::expires_at)))
        .first(conn)
        .await?;
    let total: i64 = live.select(count_star()).first(conn).await?;
    // A count that does not fit is beyond every cap there can be.
    let capped = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Usage {
        of_creator: capped(of_creator),
        total: capped(total),
        creator_frees_at: frees_at.and_then(|t| Timestamp::from_millisecond(t).ok()),
    })
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
) -> Result<Instance, Failure> {
    write_transaction!(conn, async move |conn| {
        let before = instance(conn, id).await?.ok_or(StoreError::NotFound)?;
        let after = before.after(&event, now).map_err(StoreError::Illegal)?;
        let row = InstanceRow::from(&after);
        update(instances::table.find(after.id.to_string())).set(&row).execute(conn).await?;
        if matches!(event, InstanceEvent::Started { .. }) {
            count(conn, STARTED).await?;
        }
        // What is answered is what the next read will answer, to the millisecond.
        Ok(Instance::try_from(row)?)
    })
}

async fn count(conn: &mut Conn, counter: &'static str) -> Result<(), Failure> {
    let counted =
        update(counters::table.find(counter)).set(counters::value.eq(counters::value + 1)).execute(conn).await?;
    if counted == 1 { Ok(()) } else { Err(StoreError::Corrupt(format!("counter {counter} is missing")).into()) }
}

pub(in super::super) async fn live(conn: &mut Conn) -> Result<Vec<Instance>, Failure> {
    let rows = instances::table
        .filter(instances::ended_at.is_null())
        .order((instances::created_at, instances::id))
        .select(InstanceRow::as_select())
        .load(conn)
        .await?;
    parsed(rows)
}

pub(in super::super) async fn due(conn: &mut Conn, now: Timestamp, limit: u32) -> Result<Vec<Instance>, Failure> {
    let due = [InstanceState::Creating, InstanceState::Running].map(InstanceState::as_str);
    let rows = instances::table
        .filter(instances::ended_at.is_null())
        .filter(instances::expires_at.le(now.as_millisecond()))
        .filter(instances::state.eq_any(due))
        .order((instances::expires_at, instances::id))
        .limit(limit.into())
        .select(InstanceRow::as_select())
        .load(conn)
        .await?;
    parsed(rows)
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

pub(in super::super) async fn droplets(conn: &mut Conn) -> Result<Vec<DropletRow>, Failure> {
    let lines = droplets::table.order(droplets::name).select(DropletLine::as_select()).load(conn).await?;
    Ok(lines.into_iter().map(DropletRow::try_from).collect::<Result<_, _>>()?)
}

pub(in super::super) async fn put_droplet(conn: &mut Conn, row: DropletRow) -> Result<(), Failure> {
    let line = DropletLine::from(&row);
    upsert!(droplets::table, droplets::name, &line).execute(conn).await?;
    Ok(())
}

pub(in super::super) async fn remove_droplet(conn: &mut Conn, name: HostName) -> Result<(), Failure> {
    delete(droplets::table.find(name.to_string())).execute(conn).await?;
    Ok(())
}
