//! How the databases find rows: with many that have ended, no statement may look at them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use diesel::{
    RunQueryDsl as _,
    connection::{InstrumentationEvent, SimpleConnection},
    prelude::QueryableByName,
    sql_types::Text,
};
use diesel_async::AsyncConnection as _;
use getaredis_actors::{
    domain::EndReason,
    ports::{Admitted, Report},
    sim::samples::{a_request, creator, id, later, now, server},
};
use mysql_async::prelude::Queryable;

use super::{super::Database, databases::filling, *};

/// Enough that no planner takes them for a handful.
const ENDED: u32 = 20_000;
const LIVE: u32 = 1_000;

/// The indexes whose walk from end to end meets none of the ended: partial ones, where a backend has such.
const OF_THE_LIVE: [&str; 6] = ["age", "end", "creator", "host", "warning", "key"];

fn leaves_out_the_ended(index: &str) -> bool {
    index.strip_prefix("instances_by_").is_some_and(|what| OF_THE_LIVE.contains(&what))
}

/// The column with which an index that has the ended in it, or notices of them, begins.
fn first_column(index: &str) -> &'static str {
    match index {
        "instances_by_retention" => "ended_at",
        "deliveries_by_due" => "sink",
        "deliveries_pkey" => "notice",
        _ => "id",
    }
}

/// Fails when the store has a query whose statements are not read below.
fn nothing_is_left_out() {
    let (store, here) = (include_str!("../mod.rs"), include_str!("plans.rs"));
    for query in store.split("query!(self.").skip(1) {
        let name = query.split([' ', '(']).nth(1).unwrap();
        assert!(here.contains(&format!("store.{name}(")), "{name}: call it in statements()");
    }
}

/// Every statement that the store says about instances and deliveries, on one connection for each pool. The other tables
/// have a row for each server, droplet or order, however many instances have ended.
async fn statements(store: &SqlStore) -> Vec<String> {
    nothing_is_left_out();
    let said = Arc::new(Mutex::new(Vec::new()));
    let listen = || {
        let said = Arc::clone(&said);
        move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                said.lock().unwrap().push(query.to_string());
            }
        }
    };
    match &store.database {
        Database::Sqlite(database) => {
            let (reads, writes) = (listen(), listen());
            let read = database.read.run(async move |conn| {
                conn.set_instrumentation(reads);
                Ok(())
            });
            let write = database.write.run(async move |conn| {
                conn.set_instrumentation(writes);
                Ok(())
            });
            tokio::try_join!(read, write).unwrap();
        }
        Database::Mysql(database) => database.write.get().await.unwrap().set_instrumentation(listen()),
        Database::Postgres(database) => database.write.get().await.unwrap().set_instrumentation(listen()),
    }
    let key = IdempotencyKey::parse("k").unwrap();
    let mut request = a_request(1);
    request.instance.idempotency_key = Some(key.clone());
    assert_eq!(store.admit(request).await.unwrap(), Admitted::New);
    let [h1, h2, unused] = ["h1", "h2", "unused"].map(|name| HostName::parse(name).unwrap());
    store.relocate(&id(1), &h2, 1000, now()).await.unwrap();
    store.carried(&[h1, h2]).await.unwrap();
    store.by_key(&creator(1), &key).await.unwrap();
    store.instance(&id(1)).await.unwrap();
    store.live(None, u32::MAX).await.unwrap();
    store.due(later(1), 10).await.unwrap();
    store.warnings_due(later(1), 10).await.unwrap();
    store.apply(&id(1), &InstanceEvent::StopRequested { reason: EndReason::Lost }, now()).await.unwrap();
    store.apply(&id(1), &InstanceEvent::ConfirmedGone, now()).await.unwrap();
    assert!(store.purge(later(1), 10).await.unwrap() > 0);
    for sink in sinks() {
        for delivery in store.take_deliveries(&sink, later(200_000), later(300_000), 10).await.unwrap() {
            store.postpone_delivery(&delivery, later(1)).await.unwrap();
            store.close_delivery(&delivery).await.unwrap();
        }
    }
    for sink in sinks() {
        store.waiting_deliveries(&sink).await.unwrap();
    }
    let row = DropletRow { name: unused.clone(), state: DropletState::Creating, created_at: now() };
    assert!(store.order_droplet(&row, 1, OrderBudget::default()).await.unwrap());
    assert!(store.confirm_droplet(&unused).await.unwrap());
    assert!(store.condemn_droplet(&unused, now()).await.unwrap());
    assert!(!store.keep_droplet(&unused).await.unwrap());
    assert!(store.bury_droplet(&unused).await.unwrap());
    assert!(store.remove_droplet(&unused, DropletState::Deleted).await.unwrap());
    assert_eq!(store.droplets().await.unwrap(), []);
    store.order_limits().await.unwrap();
    store.hold_orders(None).await.unwrap();
    let builder = BuilderRow { name: unused.clone(), ends_at: later(1) };
    assert!(store.order_builder(&builder, now(), 1).await.unwrap());
    assert_eq!(store.builders().await.unwrap(), [builder]);
    assert!(store.close_builder(&unused).await.unwrap());
    store.order_cordon(&unused, None).await.unwrap();
    store.order_pause(false).await.unwrap();
    store.orders().await.unwrap();
    store.totals().await.unwrap();
    store.claim(owning::owner("d", "k"), false).await.unwrap();
    assert!(store.visit(owning::owner("d", "k").deployment).await.unwrap());
    store.beat(&server(1), &Report::default()).await.unwrap();
    store.retire(&server(1)).await.unwrap();
    let span = store.attend(None, now()).await.unwrap();
    store.attend(Some(span), later(1)).await.unwrap();
    assert_eq!(store.attended().await.unwrap().len(), 1);
    store.known(&[id(1), id(2)]).await.unwrap();
    store.ping().await.unwrap();
    let mut said = said.lock().unwrap().clone();
    said.retain(|sql| (sql.contains("instances") || sql.contains("deliveries")) && !sql.starts_with("INSERT"));
    assert!(said.len() > 15, "{said:#?}");
    said
}

/// The statement with its values in their places.
fn with_values(sql: &str) -> String {
    let (sql, values) = sql.rsplit_once(" -- binds: ").unwrap_or((sql, "[]"));
    let values = values.replace("Some(", "").replace(')', "").replace("None", "null");
    let values: Vec<serde_json::Value> = serde_json::from_str(&values).unwrap_or_else(|e| panic!("{e}: {values}"));
    let literal = |value: &serde_json::Value| match value {
        serde_json::Value::Array(items) => format!("ARRAY{}", serde_json::to_string(items).unwrap().replace('"', "'")),
        value => value.to_string().replace('"', "'"),
    };
    let mut sql = sql.to_owned();
    for (at, value) in values.iter().enumerate().rev() {
        sql = sql.replace(&format!("${}", at + 1), &literal(value));
    }
    for value in &values {
        sql = sql.replacen('?', &literal(value), 1);
    }
    sql
}

fn indexes_in(plan: &str, used: &mut BTreeSet<String>) -> Vec<String> {
    let words = plan.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let found: Vec<_> = words
        .filter(|w| ["instances_", "deliveries_", "sqlite_autoindex", "PRIMARY"].iter().any(|i| w.starts_with(i)))
        .map(str::to_owned)
        .collect();
    used.extend(found.iter().cloned());
    found
}

/// What every backend must use besides its primary keys.
fn all_are_used(used: &BTreeSet<String>) {
    for index in ["creator", "end", "host", "key", "retention", "warning"] {
        assert!(used.contains(&format!("instances_by_{index}")), "instances_by_{index} is of no use: {used:?}");
    }
    assert!(used.contains("deliveries_by_due"), "{used:?}");
}

#[derive(QueryableByName)]
struct PlanLine {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// Whether a line of a plan is about one that grows with the use of the service. Droplets are few, however large the fleet.
fn reads_a_large_table(detail: &str) -> bool {
    let (constants, droplets) =
        (detail.contains("CONSTANT ROW") || detail.contains("SCALAR SUBQUERY"), detail.contains("droplets"));
    !constants && !droplets
}

#[tokio::test]
async fn on_sqlite_every_statement_searches_an_index_that_leaves_out_the_ended() {
    let dir = dir();
    let store =
        SqlStore::open(&StoreSettings { pool: 2, ..settings(&url(&dir)) }).await.unwrap().with_sinks(sinks().into());
    for sql in filling::statements("sqlite", ENDED, LIVE) {
        sqlite::by_hand(&dir).batch_execute(&sql).unwrap();
    }
    let statements = statements(&store).await;
    let (mut conn, mut used) = (sqlite::by_hand(&dir), BTreeSet::new());
    for sql in statements {
        let plan: Vec<PlanLine> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(&mut conn).unwrap();
        for PlanLine { detail } in plan.into_iter().filter(|line| reads_a_large_table(&line.detail)) {
            let found = indexes_in(&detail, &mut used);
            let searches = detail.starts_with("SEARCH") || found.iter().all(|index| leaves_out_the_ended(index));
            assert!(!found.is_empty() && searches && !detail.contains("TEMP B-TREE"), "{detail}: {sql}");
        }
    }
    all_are_used(&used);
}

async fn filled(kind: Kind, scheme: &str) -> (Vec<String>, TestDatabase) {
    let database = TestDatabase::create(kind).await;
    let one = StoreSettings { pool: 1, ..settings(&database.url()) };
    let store = SqlStore::open(&one).await.unwrap().with_sinks(sinks().into());
    for sql in filling::statements(scheme, ENDED, LIVE) {
        database.execute(&sql).await;
    }
    // Who asks has been here before; of a stranger, any index that begins with creators says the same.
    let regular = format!("UPDATE instances SET creator = '{}' WHERE host = 'h1' AND ended_at IS NOT NULL", creator(1));
    database.execute(&regular).await;
    (statements(&store).await, database)
}

#[tokio::test]
async fn on_mysql_every_statement_searches_an_index_and_sorts_nothing() {
    let (statements, database) = filled(Kind::Mysql, "mysql").await;
    let mut conn = mysql_async::Conn::from_url(database.url()).await.unwrap();
    let mut used = BTreeSet::new();
    for sql in statements.iter().map(|sql| with_values(sql)) {
        let plan: Vec<mysql_async::Row> = conn.query(format!("EXPLAIN {sql}")).await.unwrap();
        for row in plan {
            let text = |column: &str| row.get::<Option<String>, _>(column).flatten().unwrap_or_default();
            let (key, extra, access) = (text("key"), text("Extra"), text("type"));
            let rows = text("rows").parse().unwrap_or(0);
            if extra.starts_with("No tables used") || text("table") == "droplets" {
                continue;
            }
            // What a unique index does not hold is found out while planning.
            if extra.starts_with("Impossible WHERE") || extra.contains("no matching row") {
                used.extend(sql.contains("`idempotency_key` = ").then(|| "instances_by_key".to_owned()));
                continue;
            }
            let plan = format!("{access} of {rows} rows of {key}, {extra}: {sql}");
            let searches = ["const", "eq_ref", "ref", "range"].contains(&access.as_str());
            assert!(!indexes_in(&key, &mut used).is_empty() && searches, "{plan}");
            assert!(!extra.contains("filesort") && !extra.contains("temporary"), "{plan}");
            // What has ended is in every index here, where only forgetting goes; four notices wait of each that lives.
            let forgets = key == "instances_by_retention" && sql.contains(" LIMIT ");
            assert!(rows <= 4 * LIVE || forgets, "{plan}");
        }
    }
    all_are_used(&used);
}

/// Fails where an index that has the ended in it is walked from end to end, or a table.
fn searches_every_index(node: &serde_json::Value, sql: &str) {
    assert!(node["Node Type"] != "Seq Scan" || node["Relation Name"] == "droplets", "{node}: {sql}");
    if let Some(index) = node["Index Name"].as_str() {
        let begins = node["Index Cond"].as_str().is_some_and(|c| c.contains(&format!("({} ", first_column(index))));
        assert!(leaves_out_the_ended(index) || begins, "{node}: {sql}");
    }
    for below in node["Plans"].as_array().into_iter().flatten() {
        searches_every_index(below, sql);
    }
}

#[tokio::test]
async fn on_postgres_every_statement_searches_an_index_and_sorts_nothing_but_the_live() {
    let (statements, database) = filled(Kind::Postgres, "postgres").await;
    let (client, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut used = BTreeSet::new();
    for sql in statements.iter().map(|sql| with_values(sql)) {
        let lines = client.simple_query(&format!("EXPLAIN (FORMAT JSON) {sql}")).await;
        let lines = lines.unwrap_or_else(|e| panic!("{e:?}: {sql}"));
        let lines = lines.iter().filter_map(|line| match line {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let plan = lines.collect::<Vec<_>>().join("\n");
        // Here all notices are for one sink: to count those no index is better than the table.
        if sql.starts_with(r#"SELECT COUNT(*) FROM "deliveries""#) {
            continue;
        }
        assert!(!indexes_in(&plan, &mut used).is_empty(), "{plan}: {sql}");
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        searches_every_index(&plan[0]["Plan"], &sql);
        // All that live may be sorted where any index tells them from the ended.
        let plan = plan.to_string();
        assert!(!plan.contains("Sort\"") || sql.contains(r#"ORDER BY "instances"."created_at""#), "{plan}: {sql}");
    }
    all_are_used(&used);
}
