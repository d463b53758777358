//! The queries about the servers on the database, mounted by `queries`: their signs of life, and what they report.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Display,
};

use diesel::{ExpressionMethods, QueryDsl, delete, insert_into, update};
use diesel_async::RunQueryDsl;
use getaredis_actors::{
    domain::{HostName, ServerId},
    ports::{Beat, Report, StoreError},
};

use super::{Conn, Failure, failing_hosts, queues, servers, upsert, write_transaction};

pub(in super::super::super) async fn beat(
    conn: &mut Conn,
    server: ServerId,
    report: Report,
) -> Result<Vec<Beat>, Failure> {
    write_transaction!(conn, async move |conn| {
        let own = server.to_string();
        let again = update(servers::table.find(&own)).set(servers::beats.eq(servers::beats + 1));
        if again.execute(conn).await? == 0 {
            insert_into(servers::table).values((servers::id.eq(&own), servers::beats.eq(1))).execute(conn).await?;
        }
        let queue = (queues::server.eq(&own), queues::waiting.eq(i64::from(report.waiting)));
        upsert!(queues::table, queues::server, queue).execute(conn).await?;
        let beats: Vec<(String, i64)> = servers::table.order(servers::id).load(conn).await?;
        let queues: HashMap<String, i64> = queues::table.load(conn).await?.into_iter().collect();
        let failing = report_failing(conn, &own, &report.failing).await?;
        let beat = |(server, beats): (String, i64)| {
            let unreadable =
                |column, why: &dyn Display| StoreError::Corrupt(format!("server {server}, column {column}: {why}"));
            // A server of an earlier version says nothing of who waits there.
            let waiting = queues.get(&server).copied().unwrap_or_default();
            let hosts = failing.iter().filter(|(at, _)| *at == server).map(|(_, host)| HostName::parse(host));
            Ok(Beat {
                beats: u64::try_from(beats).map_err(|e| unreadable("beats", &e))?,
                report: Report {
                    waiting: u32::try_from(waiting).map_err(|e| unreadable("waiting", &e))?,
                    failing: hosts.collect::<Result<_, _>>().map_err(|e| unreadable("host", &e))?,
                },
                server: server.parse().map_err(|e| unreadable("id", &e))?,
            })
        };
        Ok(beats.into_iter().map(beat).collect::<Result<_, StoreError>>()?)
    })
}

/// Writes on which hosts starts of the server `own` fail, and reads the same of all servers. Nothing is written where
/// nothing is new: to delete what is not there would lock out the others for nothing.
async fn report_failing(
    conn: &mut Conn,
    own: &str,
    failing: &BTreeSet<HostName>,
) -> Result<BTreeSet<(String, String)>, Failure> {
    let mut known: BTreeSet<(String, String)> = failing_hosts::table.load(conn).await?.into_iter().collect();
    let failing: BTreeSet<_> = failing.iter().map(|host| (own.to_owned(), host.to_string())).collect();
    let over: Vec<_> = known.iter().filter(|at| at.0 == own && !failing.contains(at)).cloned().collect();
    for at in over {
        delete(failing_hosts::table.find((&at.0, &at.1))).execute(conn).await?;
        known.remove(&at);
    }
    for at in failing {
        if !known.contains(&at) {
            let row = (failing_hosts::server.eq(&at.0), failing_hosts::host.eq(&at.1));
            insert_into(failing_hosts::table).values(row).execute(conn).await?;
            known.insert(at);
        }
    }
    Ok(known)
}

pub(in super::super::super) async fn retire(conn: &mut Conn, server: ServerId) -> Result<(), Failure> {
    write_transaction!(conn, async move |conn| {
        let server = server.to_string();
        delete(servers::table.find(&server)).execute(conn).await?;
        delete(queues::table.find(&server)).execute(conn).await?;
        delete(failing_hosts::table.filter(failing_hosts::server.eq(&server))).execute(conn).await?;
        Ok(())
    })
}
