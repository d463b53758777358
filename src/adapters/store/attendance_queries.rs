//! The queries about when servers were at work on the database, and of which instances it knows, mounted by `queries`.

use std::collections::BTreeSet;

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper, delete, insert_into, update};
use diesel_async::RunQueryDsl;
use getaredis_actors::{
    domain::{InstanceId, Timestamp},
    ports::{Attended, StoreError},
};

use super::{
    super::super::{
        failure::Failure,
        rows::AttendedLine,
        schema::{attended as lines, instances},
    },
    BATCH, Conn, write_transaction,
};

pub(in super::super::super) async fn attend(
    conn: &mut Conn,
    last: Option<Attended>,
    now: Timestamp,
) -> Result<Attended, Failure> {
    write_transaction!(conn, async move |conn| {
        if let Some(last) = last
            && span(conn, last.begins_at).await? == Some(last)
        {
            let line = AttendedLine::from(&Attended { ends_at: last.ends_at.max(now), ..last });
            update(lines::table.find(line.begins_at)).set(lines::ends_at.eq(line.ends_at)).execute(conn).await?;
            return Ok(Attended::try_from(line)?);
        }
        let forgotten = lines::table.filter(lines::ends_at.lt(Attended::kept_since(now).as_millisecond()));
        delete(forgotten).execute(conn).await?;
        // Another server may have come in the same millisecond.
        if let Some(there) = span(conn, now).await? {
            return Ok(there);
        }
        let line = AttendedLine::from(&Attended { begins_at: now, ends_at: now });
        insert_into(lines::table).values(&line).execute(conn).await?;
        Ok(Attended::try_from(line)?)
    })
}

/// The span that begins in this millisecond.
async fn span(conn: &mut Conn, begins_at: Timestamp) -> Result<Option<Attended>, Failure> {
    let line = lines::table.find(begins_at.as_millisecond()).select(AttendedLine::as_select());
    let line: Option<AttendedLine> = line.first(conn).await.optional()?;
    Ok(line.map(Attended::try_from).transpose()?)
}

pub(in super::super::super) async fn attended(conn: &mut Conn) -> Result<Vec<Attended>, Failure> {
    let lines = lines::table.order(lines::begins_at).select(AttendedLine::as_select()).load(conn).await?;
    Ok(lines.into_iter().map(Attended::try_from).collect::<Result<_, StoreError>>()?)
}

pub(in super::super::super) async fn known(
    conn: &mut Conn,
    ids: Vec<InstanceId>,
) -> Result<BTreeSet<InstanceId>, Failure> {
    let mut known = BTreeSet::new();
    for ids in ids.chunks(BATCH as usize) {
        let ids: BTreeSet<&InstanceId> = ids.iter().collect();
        let rows =
            instances::table.filter(instances::id.eq_any(ids.iter().map(|id| id.as_str()))).select(instances::id);
        let found: BTreeSet<String> = rows.load(conn).await?.into_iter().collect();
        known.extend(ids.into_iter().filter(|id| found.contains(id.as_str())).cloned());
    }
    Ok(known)
}
