//! The queries about the servers on the database, mounted by `queries`: their signs of life, and who waits at them.

use std::{collections::HashMap, fmt::Display};

use diesel::{ExpressionMethods, QueryDsl, delete, insert_into, update};
use diesel_async::RunQueryDsl;
use getaredis_actors::{
    domain::ServerId,
    ports::{Beat, StoreError},
};

use super::{Conn, Failure, queues, servers, upsert, write_transaction};

pub(in super::super::super) async fn beat(
    conn: &mut Conn,
    server: ServerId,
    waiting: u32,
) -> Result<Vec<Beat>, Failure> {
    write_transaction!(conn, async move |conn| {
        let own = server.to_string();
        let again = update(servers::table.find(&own)).set(servers::beats.eq(servers::beats + 1));
        if again.execute(conn).await? == 0 {
            insert_into(servers::table).values((servers::id.eq(&own), servers::beats.eq(1))).execute(conn).await?;
        }
        let queue = (queues::server.eq(&own), queues::waiting.eq(i64::from(waiting)));
        upsert!(queues::table, queues::server, queue).execute(conn).await?;
        let beats: Vec<(String, i64)> = servers::table.order(servers::id).load(conn).await?;
        let queues: HashMap<String, i64> = queues::table.load(conn).await?.into_iter().collect();
        let beat = |(server, beats): (String, i64)| {
            let unreadable =
                |column, why: &dyn Display| StoreError::Corrupt(format!("server {server}, column {column}: {why}"));
            // A server of an earlier version says nothing of who waits there.
            let waiting = queues.get(&server).copied().unwrap_or_default();
            Ok(Beat {
                beats: u64::try_from(beats).map_err(|e| unreadable("beats", &e))?,
                waiting: u32::try_from(waiting).map_err(|e| unreadable("waiting", &e))?,
                server: server.parse().map_err(|e| unreadable("id", &e))?,
            })
        };
        Ok(beats.into_iter().map(beat).collect::<Result<_, StoreError>>()?)
    })
}

pub(in super::super::super) async fn retire(conn: &mut Conn, server: ServerId) -> Result<(), Failure> {
    write_transaction!(conn, async move |conn| {
        let server = server.to_string();
        delete(servers::table.find(&server)).execute(conn).await?;
        delete(queues::table.find(&server)).execute(conn).await?;
        Ok(())
    })
}
