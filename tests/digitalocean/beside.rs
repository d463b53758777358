//! `getaredis image bake` beside a server that runs on the same file of SQLite, both the binary itself.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use getaredis::adapters::store::{SqlStore, StoreSettings};
use getaredis_actors::{
    domain::Timestamp,
    ports::{BuilderRow, Store},
};
use getaredis_testbed::api::Api;
use tempfile::TempDir;

use crate::{
    harness::{TOKEN, droplets},
    image_command::{api, command, said},
    redis_server::RedisServer,
    serve::Serve,
};

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// A bake that is over soon, wherever it is cut off: its row ends a quarter of a minute after it was written. It looks every
/// five seconds.
const HASTY: [(&str, &str); 4] = [
    ("fleet.max_hosts", "2"),
    ("fleet.list_grace", "4s"),
    ("digitalocean.call_timeout", "2s"),
    ("digitalocean.bake_deadline", "11s"),
];

/// A server with one host, whose pool has room for one more that nobody needs; and the home of a command beside it.
async fn a_server_with_a_place_to_spare(api: &Api, redis: &RedisServer, settings: &[(&str, &str)]) -> (Serve, TempDir) {
    let mut serve = Serve::start(api, redis, TOKEN, settings);
    serve.until("one is bought", |_| droplets(api).len() == 1).await;
    (serve, TempDir::new().unwrap())
}

fn bake(api: &Api, serve: &Serve, home: &TempDir, settings: &[(&str, &str)]) -> Command {
    let database = serve.database();
    let settings: Vec<_> = [("database.url", database.as_str())].into_iter().chain(settings.iter().copied()).collect();
    command(api, home, &["bake", "--name", "bread"], &settings)
}

/// The builders that have a row.
async fn builders(serve: &Serve) -> Vec<BuilderRow> {
    let settings = StoreSettings { url: serve.database().into(), pool: 1, acquire_timeout: PATIENCE, tls_ca: None };
    let store = SqlStore::join(&settings).await.unwrap();
    store.builders().await.unwrap()
}

/// So many passes more were made, each of which reads and may write.
async fn passes(api: &Api, serve: &mut Serve, count: usize) {
    let before = api.count("GET", "/v2/droplets?");
    serve.until("it looks again and again", |_| api.count("GET", "/v2/droplets?") >= before + count).await;
}

/// What a server says that could not write, or read, in time.
fn was_never_kept_waiting(serve: &Serve) {
    let log = serve.log();
    for trouble in ["database is locked", "store.connect", "scaling.blind", "does not answer"] {
        assert!(!log.contains(trouble), "{trouble}: {log}");
    }
}

#[tokio::test]
async fn an_image_is_baked_beside_the_server_that_uses_the_file_and_the_server_goes_on() {
    let (api, redis) = (api(), RedisServer::start());
    let (mut serve, home) = a_server_with_a_place_to_spare(&api, &redis, &[("fleet.max_hosts", "2")]).await;
    // Still open when the server ends and is started again.
    api.set_activation(Duration::from_secs(2));
    let child = bake(&api, &serve, &home, &[("fleet.max_hosts", "2")]).spawn().unwrap();
    let begun = Instant::now();
    while droplets(&api).len() < 2 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(builders(&serve).await.len(), 1);
    passes(&api, &mut serve, 3).await;
    serve.kill_and_start_again();
    passes(&api, &mut serve, 3).await;
    let (code, out, err) = said(&child.wait_with_output().unwrap());
    assert!(code == 0 && out.contains(" bread\n") && !err.contains("no server has used"), "{out}{err}");
    assert_eq!((builders(&serve).await, droplets(&api).len(), api.most_droplets()), (vec![], 1, 2));
    passes(&api, &mut serve, 3).await;
    was_never_kept_waiting(&serve);
    assert!(!home.path().join("getaredis.db").exists(), "it used the server's");
}

#[tokio::test]
async fn a_bake_that_finds_no_place_says_so_and_one_that_is_killed_keeps_it_until_its_row_is_over() {
    let (api, redis) = (api(), RedisServer::start());
    let (mut serve, home) = a_server_with_a_place_to_spare(&api, &redis, &HASTY).await;
    let (code, _, err) = said(&bake(&api, &serve, &home, &[("fleet.max_hosts", "1")]).output().unwrap());
    assert!(code == 4 && err.contains("1 droplets are paid for or ordered and fleet.max_hosts allows 1"), "{err}");
    assert_eq!((builders(&serve).await, droplets(&api).len()), (vec![], 1));

    // So the builder never gets as far as to be set up.
    api.set_activation(PATIENCE);
    let mut child = bake(&api, &serve, &home, &HASTY).spawn().unwrap();
    serve.until("the builder is bought", |_| droplets(&api).len() == 2).await;
    child.kill().unwrap();
    child.wait().unwrap();
    its_place_is_taken_when_its_row_is_over(&api, &mut serve, "killed").await;
}

/// Lets the server want the place too that a bake has left with its row.
async fn its_place_is_taken_when_its_row_is_over(api: &Api, serve: &mut Serve, when: &str) {
    let [row] = &builders(serve).await[..] else { panic!("{when}: one row") };
    serve.set_environment("GETAREDIS__FLEET__STANDBY", "2");
    serve.kill_and_start_again();
    let hosts = || droplets(api).into_iter().filter(|name| !name.contains("-builder-")).count();
    serve.until("the second host is bought", |_| hosts() == 2).await;
    assert!(Timestamp::now() >= row.ends_at, "{when}: not before");
    serve.until("nothing is left of the builder", |_| droplets(api).len() == 2).await;
    assert_eq!((builders(serve).await, api.most_droplets()), (vec![], 2), "{when}");
    assert!(serve.log().contains("builder.row_closed"), "{when}: {}", serve.log());
}

#[cfg(feature = "crash-points")]
#[tokio::test]
async fn a_bake_that_dies_around_its_row_buys_nothing_without_it_and_leaves_what_holds_its_place() {
    // Where it dies; whether it has bought something; whether it leaves its row.
    let ways = [
        ("store.order_builder:before", false, false),
        ("store.order_builder:after", false, true),
        ("store.close_builder:before", true, true),
        ("store.close_builder:after", true, false),
    ];
    let scenarios = ways.map(async |(point, buys, leaves)| {
        let (api, redis) = (api(), RedisServer::start());
        let (mut serve, home) = a_server_with_a_place_to_spare(&api, &redis, &HASTY).await;
        let patient = ("digitalocean.bake_deadline", if buys { "40s" } else { "11s" });
        let settings: Vec<_> = HASTY.into_iter().filter(|(key, _)| *key != patient.0).chain([patient]).collect();
        let mut bake = bake(&api, &serve, &home, &settings);
        // It blocks until the command ends, and the imitated API goes on meanwhile.
        let died = tokio::task::spawn_blocking(move || bake.env("GETAREDIS_CRASH_AT", point).output().unwrap());
        let died = died.await.unwrap();
        assert!(died.status.code().is_none(), "{point}: {died:?}");
        assert_eq!(api.count("POST", "/v2/droplets") > 1, buys, "{point}");
        assert_eq!((droplets(&api).len(), builders(&serve).await.len()), (1, usize::from(leaves)), "{point}");
        if leaves {
            its_place_is_taken_when_its_row_is_over(&api, &mut serve, point).await;
        }
        was_never_kept_waiting(&serve);
    });
    futures_util::future::join_all(scenarios).await;
}
