//! The queries about builders of images, mounted by `queries`, and the count of all that takes a place in the pool.

use diesel::{ExpressionMethods, QueryDsl, SelectableHelper, delete, dsl::count_star, insert_into};
use diesel_async::RunQueryDsl;
use getaredis_actors::{
    domain::{HostName, Timestamp, scaling::DropletState},
    ports::BuilderRow,
};

use super::{
    super::super::{
        failure::Failure,
        rows::BuilderLine,
        schema::{builders as lines, droplets},
    },
    Conn, gate, upsert, write_transaction,
};

/// Rows that take a place in the pool at `now`, but those of this name. Whoever goes by it holds the [`gate`].
pub(super) async fn places_but(conn: &mut Conn, name: &HostName, now: Timestamp) -> Result<i64, Failure> {
    let others = droplets::table
        .filter(droplets::name.ne(name.as_str()))
        .filter(droplets::state.ne(DropletState::Deleted.as_str()));
    let others: i64 = others.select(count_star()).first(conn).await?;
    let live = lines::table.filter(lines::name.ne(name.as_str())).filter(lines::ends_at.gt(now.as_millisecond()));
    let live: i64 = live.select(count_star()).first(conn).await?;
    Ok(others + live)
}

pub(in super::super::super) async fn builders(conn: &mut Conn) -> Result<Vec<BuilderRow>, Failure> {
    let rows = lines::table.order(lines::name).select(BuilderLine::as_select()).load(conn).await?;
    Ok(rows.into_iter().map(BuilderRow::try_from).collect::<Result<_, _>>()?)
}

pub(in super::super::super) async fn order_builder(
    conn: &mut Conn,
    row: BuilderRow,
    now: Timestamp,
    most: u32,
) -> Result<bool, Failure> {
    write_transaction!(conn, async move |conn| {
        gate(conn).await?;
        let allowed = places_but(conn, &row.name, now).await? < i64::from(most);
        if allowed {
            let line = BuilderLine::from(&row);
            upsert!(lines::table, lines::name, &line).execute(conn).await?;
        }
        Ok(allowed)
    })
}

pub(in super::super::super) async fn close_builder(conn: &mut Conn, name: HostName) -> Result<bool, Failure> {
    Ok(delete(lines::table.find(name.to_string())).execute(conn).await? == 1)
}
