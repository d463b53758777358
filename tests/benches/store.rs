//! How long the store takes, on each database, with empty tables and with full ones. `script/bench store` starts the
//! databases and runs this. No test: it asserts nothing but that the calls succeed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../databases/mod.rs"]
mod databases;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use databases::{Kind, TestDatabase, filling};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use getaredis::adapters::store::{SqlStore, StoreSettings};
use getaredis_actors::{
    domain::{Creator, HostName, IdempotencyKey, InstanceId, Quotas, SinkName},
    ports::{Admission, Admitted, Store},
    sim::samples::{a_request, later},
};

const ENDED: u32 = 1_000_000;
const LIVE: u32 = 50_000;

/// Callers of admission at once.
const CALLERS: u32 = 8;
const ADMISSIONS: u32 = 4000;
const READS: u32 = 500;

fn main() {
    // `cargo test --benches` asks every bench to prove itself quickly; there is nothing to prove here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("| database | call | empty p50 | empty p99 | full p50 | full p99 | full/empty (p50) |");
        println!("|---|---|---|---|---|---|---|");
        let only = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
        let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
        if wanted("sqlite") {
            on_sqlite().await;
        }
        if wanted("mysql") {
            on_a_server(Kind::Mysql, "mysql", "MariaDB").await;
        }
        if wanted("postgres") {
            on_a_server(Kind::Postgres, "postgres", "PostgreSQL").await;
        }
    });
}

async fn on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bench.db");
    let store = open(format!("sqlite://{}", path.display())).await;
    let empty = measure(&store).await;
    let mut by_hand = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    for sql in filling::statements("sqlite", ENDED, LIVE) {
        by_hand.batch_execute(&sql).unwrap();
    }
    report("SQLite", &empty, &measure(&store).await);
}

async fn on_a_server(kind: Kind, scheme: &str, name: &str) {
    let database = TestDatabase::create(kind).await;
    let store = open(database.url()).await;
    let empty = measure(&store).await;
    for sql in filling::statements(scheme, ENDED, LIVE) {
        database.execute(&sql).await;
    }
    report(name, &empty, &measure(&store).await);
}

async fn open(url: String) -> Arc<SqlStore> {
    let settings = StoreSettings { url: url.into(), pool: 8, acquire_timeout: Duration::from_secs(5), tls_ca: None };
    Arc::new(SqlStore::open(&settings).await.unwrap().with_sinks(vec![SinkName::parse("hooks").unwrap()]))
}

struct Measured {
    call: &'static str,
    times: Vec<Duration>,
}

impl Measured {
    fn quantile(&self, q: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = ((times.len() - 1) as f64 * q).round() as usize;
        times[at]
    }
}

async fn measure(store: &Arc<SqlStore>) -> Vec<Measured> {
    // Once unmeasured: a server has caches to fill, and to empty after it was filled.
    admissions(store).await;
    let admission = admissions(store).await;
    let key = IdempotencyKey::parse("k").unwrap();
    let sink = SinkName::parse("hooks").unwrap();
    let nobody = Creator::of([192, 0, 2, 1].into());
    let hosts: Vec<_> = (0..100).map(host).collect();
    // When every lease is over and every delivery due: there is as much to find as a call may answer.
    let (late, later_still) = (later(1_000_000), later(1_000_001));
    vec![
        Measured { call: "admission, 8 callers", times: admission },
        reads("due, 100 rows", || store.due(late, 100)).await,
        reads("warnings_due, 100 rows", || store.warnings_due(late, 100)).await,
        reads("counts (totals)", || store.totals()).await,
        reads("counts (carried by 100 hosts)", || store.carried(&hosts)).await,
        reads("by_key", || store.by_key(&nobody, &key)).await,
        reads("take_deliveries, 100 rows", || store.take_deliveries(&sink, late, later_still, 100)).await,
    ]
}

/// Each caller asks again as soon as it is answered, as somebody else each time, with a key, a quota, a cap and a slot.
async fn admissions(store: &Arc<SqlStore>) -> Vec<Duration> {
    let next = Arc::new(AtomicU32::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (store, next) = (Arc::clone(store), Arc::clone(&next));
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= ADMISSIONS {
                        return times;
                    }
                    let request = request(n);
                    let asked = Instant::now();
                    assert_eq!(store.admit(request).await.unwrap(), Admitted::New);
                    times.push(asked.elapsed());
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.unwrap());
    }
    times
}

fn request(n: u32) -> Admission {
    let mut request = a_request(0);
    request.instance.id = InstanceId::from_uuid(uuid::Uuid::now_v7());
    request.instance.creator = Creator::of((0x0A00_0000 + n).to_be_bytes().into());
    request.instance.host = host(n % 1000);
    request.instance.idempotency_key = Some(IdempotencyKey::parse(&uuid::Uuid::now_v7().to_string()).unwrap());
    request.quotas = Quotas { per_creator: 100, global: 10_000_000 };
    request.slots = 1000;
    request
}

fn host(n: u32) -> HostName {
    HostName::parse(&format!("h{n}")).unwrap()
}

async fn reads<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    call: &'static str,
    ask: impl Fn() -> F,
) -> Measured {
    let mut times = Vec::new();
    for _ in 0..READS {
        let asked = Instant::now();
        ask().await.unwrap();
        times.push(asked.elapsed());
    }
    Measured { call, times }
}

fn report(database: &str, empty: &[Measured], full: &[Measured]) {
    for (empty, full) in empty.iter().zip(full) {
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
        let ratio = full.quantile(0.5).as_secs_f64() / empty.quantile(0.5).as_secs_f64();
        let [a, b] = [empty, full].map(|m| format!("{} | {}", ms(m.quantile(0.5)), ms(m.quantile(0.99))));
        println!("| {database} | {} | {a} | {b} | {ratio:.2} |", empty.call);
    }
}
