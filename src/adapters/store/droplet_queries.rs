//! The queries about droplets, mounted by `queries`.
//!
//! Whatever changes a row says in which state it must be: the server that asks may have slept since it looked, and
//! another one may have decided otherwise.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper, delete, insert_into, update};
use diesel_async::RunQueryDsl;
use getaredis_actors::{
    domain::{
        HostName, Timestamp,
        scaling::{DropletState, Hold, OrderBudget},
    },
    ports::{DropletRow, OrderLimits, StoreError},
};

use super::{
    super::super::{
        failure::Failure,
        rows::{DropletLine, LimitLine},
        schema::{droplets as lines, order_limits as limit_lines},
    },
    Conn, builder_queries, gate, live_on, order_queries, upsert, write_transaction,
};

/// The limit that [`OrderBudget`] is: when its bucket will be full.
const BUDGET: &str = "budget";

/// The limit that a [`Hold`] is.
const HOLD: &str = "hold";

pub(in super::super::super) async fn droplets(conn: &mut Conn) -> Result<Vec<DropletRow>, Failure> {
    let rows = lines::table.order(lines::name).select(DropletLine::as_select()).load(conn).await?;
    Ok(rows.into_iter().map(DropletRow::try_from).collect::<Result<_, _>>()?)
}

pub(in super::super::super) async fn order_droplet(
    conn: &mut Conn,
    row: DropletRow,
    most: u32,
    budget: OrderBudget,
) -> Result<bool, Failure> {
    write_transaction!(conn, async move |conn| {
        gate(conn).await?;
        let name = row.name.to_string();
        if builder_queries::places_but(conn, &row.name, row.created_at).await? >= i64::from(most) {
            return Ok(false);
        }
        let before: Option<String> = lines::table.find(&name).select(lines::state).first(conn).await.optional()?;
        match before {
            None => insert_into(lines::table).values(DropletLine::from(&row)).execute(conn).await?,
            Some(state) if state == DropletState::Creating.as_str() => {
                let still = lines::table.find(&name).filter(lines::state.eq(state));
                update(still).set(DropletLine::from(&row)).execute(conn).await?
            }
            Some(_) => return Ok(false),
        };
        limit(conn, BUDGET, budget.full_at().map(|full_at| (full_at, None))).await?;
        Ok(true)
    })
}

pub(in super::super::super) async fn order_limits(conn: &mut Conn) -> Result<OrderLimits, Failure> {
    let mut limits = OrderLimits::default();
    for line in limit_lines::table.select(LimitLine::as_select()).load(conn).await? {
        let (until, why) = (line.ends_at()?, line.why.unwrap_or_default());
        match line.kind.as_str() {
            BUDGET => limits.budget = OrderBudget::of(Some(until)),
            HOLD => limits.hold = Some(Hold { until, why }),
            unknown => {
                return Err(StoreError::Corrupt(format!("order_limits {unknown}: nobody knows such a limit")).into());
            }
        }
    }
    Ok(limits)
}

pub(in super::super::super) async fn hold_orders(conn: &mut Conn, hold: Option<Hold>) -> Result<(), Failure> {
    limit(conn, HOLD, hold.map(|hold| (hold.until, Some(hold.why)))).await
}

/// Writes until when a limit holds, over what was known of it, or forgets that.
async fn limit(conn: &mut Conn, kind: &str, limit: Option<(Timestamp, Option<String>)>) -> Result<(), Failure> {
    let Some((until, why)) = limit else {
        delete(limit_lines::table.find(kind)).execute(conn).await?;
        return Ok(());
    };
    let line = LimitLine { kind: kind.to_owned(), ends_at: until.as_millisecond(), why };
    upsert!(limit_lines::table, limit_lines::kind, &line).execute(conn).await?;
    Ok(())
}

pub(in super::super::super) async fn confirm_droplet(conn: &mut Conn, name: HostName) -> Result<bool, Failure> {
    becomes(conn, &name, DropletState::Creating, DropletState::Created).await
}

pub(in super::super::super) async fn condemn_droplet(
    conn: &mut Conn,
    name: HostName,
    created_at: Timestamp,
) -> Result<bool, Failure> {
    write_transaction!(conn, async move |conn| {
        gate(conn).await?;
        let free = live_on(conn, &name).await? == 0;
        if free {
            let line = DropletLine::from(&DropletRow { name, state: DropletState::Deleting, created_at });
            upsert!(lines::table, lines::name, &line).execute(conn).await?;
        }
        Ok(free)
    })
}

pub(in super::super::super) async fn keep_droplet(conn: &mut Conn, name: HostName) -> Result<bool, Failure> {
    write_transaction!(conn, async move |conn| {
        gate(conn).await?;
        Ok(live_on(conn, &name).await? > 0
            && becomes(conn, &name, DropletState::Deleting, DropletState::Created).await?)
    })
}

pub(in super::super::super) async fn bury_droplet(conn: &mut Conn, name: HostName) -> Result<bool, Failure> {
    becomes(conn, &name, DropletState::Deleting, DropletState::Deleted).await
}

/// Takes its row from one state to another, if it is in the first.
async fn becomes(conn: &mut Conn, name: &HostName, from: DropletState, to: DropletState) -> Result<bool, Failure> {
    let row = lines::table.find(name.to_string()).filter(lines::state.eq(from.as_str()));
    Ok(update(row).set(lines::state.eq(to.as_str())).execute(conn).await? == 1)
}

pub(in super::super::super) async fn remove_droplet(
    conn: &mut Conn,
    name: HostName,
    state: DropletState,
) -> Result<bool, Failure> {
    write_transaction!(conn, async move |conn| {
        let row = lines::table.find(name.to_string()).filter(lines::state.eq(state.as_str()));
        let there = delete(row).execute(conn).await? == 1;
        if there {
            order_queries::about_host(conn, &name, None).await?;
        }
        Ok(there)
    })
}
