//! The queries about the operator's orders, mounted by `queries`: one row for each order that stands.

use std::fmt::Display;

use diesel::{ExpressionMethods, QueryDsl, delete, insert_into};
use diesel_async::RunQueryDsl;
use getaredis_actors::{
    domain::{Cordon, HostName},
    ports::{Orders, StoreError},
};

use super::{Conn, Failure, orders, upsert};

/// The subject of orders about the pool.
const POOL: &str = "pool";

/// What the subject of an order about a host begins with.
const HOST: &str = "host/";

/// The one thing that is ordered of the pool.
const PAUSED: &str = "paused";

pub(super) async fn standing(conn: &mut Conn) -> Result<Orders, Failure> {
    let rows: Vec<(String, String)> = orders::table.order(orders::subject).load(conn).await?;
    let mut standing = Orders::default();
    for (subject, word) in rows {
        let unreadable = |why: &dyn Display| StoreError::Corrupt(format!("order {subject}, column word: {why}"));
        match subject.strip_prefix(HOST) {
            Some(host) => {
                let host = host.parse().map_err(|why| unreadable(&why))?;
                let cordon = Cordon::from_word(&word).ok_or_else(|| unreadable(&"it must be cordoned or draining"))?;
                standing.cordons.insert(host, cordon);
            }
            None if subject == POOL && word == PAUSED => standing.paused = true,
            None => return Err(unreadable(&"nobody knows such an order").into()),
        }
    }
    Ok(standing)
}

/// Writes the order over the one about the same host, or forgets that.
pub(super) async fn about_host(conn: &mut Conn, host: &HostName, cordon: Option<Cordon>) -> Result<(), Failure> {
    put(conn, &format!("{HOST}{host}"), cordon.map(Cordon::as_str)).await
}

pub(super) async fn about_pool(conn: &mut Conn, paused: bool) -> Result<(), Failure> {
    put(conn, POOL, paused.then_some(PAUSED)).await
}

async fn put(conn: &mut Conn, subject: &str, word: Option<&str>) -> Result<(), Failure> {
    let Some(word) = word else {
        delete(orders::table.find(subject)).execute(conn).await?;
        return Ok(());
    };
    let row = (orders::subject.eq(subject), orders::word.eq(word));
    upsert!(orders::table, orders::subject, row).execute(conn).await?;
    Ok(())
}
