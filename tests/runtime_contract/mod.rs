//! The contract of the `Runtime` port, as tests that every runtime is put through.
//!
//! Each takes a runtime that has no instance yet and leaves it without one. Waits on conditions with a deadline.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all};
use getaredis_actors::{
    domain::{Endpoint, Flavour, InstanceId},
    ports::{Found, Removal, Runtime, RuntimeError, StartSpec},
};
use redis::{AsyncConnectionConfig, IntoConnectionInfo, RedisError, aio::MultiplexedConnection};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep, timeout};

/// Makes a test of each part of the contract that needs nothing but a runtime: that of `$place`, a value which lives as
/// long as the test and tidies up after it.
macro_rules! keeps_the_contract {
    ($place:expr) => {
        $crate::contract::keeps_the_contract! { $place;
            a_started_instance_takes_its_password_and_no_other
            data_above_the_cap_meets_the_engines_own_error_and_it_stays_up
            a_sixth_connection_is_refused_in_words
            common_commands_work_and_those_that_reach_further_do_not
            what_is_removed_is_gone_and_may_be_removed_again
            removals_at_once_all_end_with_it_gone
            an_instance_that_is_there_is_not_started_again
            twenty_started_at_once_are_all_reachable_at_ports_of_their_own
        }
    };
    ($place:expr; $($part:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $part() {
            let place = $place;
            $crate::contract::$part(place.runtime()).await;
        }
    )* };
}
pub(crate) use keeps_the_contract;

pub const MIB: usize = 1024 * 1024;

pub fn new_id() -> InstanceId {
    InstanceId::from_uuid(uuid::Uuid::now_v7())
}

pub fn spec() -> StartSpec {
    let flavour = Flavour { name: "redis".into(), memory_bytes: 5 * MIB as u64, connections: 5, cpus: 0.5, pids: 64 };
    let password = format!("secret-{}", uuid::Uuid::new_v4().simple());
    StartSpec { id: new_id(), flavour, password: password.into() }
}

pub async fn connect_as(endpoint: Endpoint, password: &str) -> Result<MultiplexedConnection, RedisError> {
    let info = format!("redis://{endpoint}/0", endpoint = (std::net::SocketAddr::new(endpoint.address, endpoint.port)));
    let info = info.into_connection_info()?;
    let settings = info.redis_settings().clone().set_username("default").set_password(password);
    let patience = Some(Duration::from_secs(10));
    let config = AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
    redis::Client::open(info.set_redis_settings(settings))?.get_multiplexed_async_connection_with_config(&config).await
}

pub async fn connect(endpoint: Endpoint, spec: &StartSpec) -> Result<MultiplexedConnection, RedisError> {
    connect_as(endpoint, spec.password.expose_secret()).await
}

/// Connects as soon as a slot for a client is free: one that was dropped just now is still on its way out.
pub async fn connect_soon(endpoint: Endpoint, spec: &StartSpec) -> MultiplexedConnection {
    eventually("a client's slot is free", async || connect(endpoint, spec).await.ok()).await
}

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn run(connection: &mut MultiplexedConnection, words: &[&str]) -> Result<redis::Value, RedisError> {
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(*word);
    });
    command.query_async(connection).await
}

pub async fn is_running(runtime: &dyn Runtime, id: &InstanceId) -> bool {
    runtime.inventory().await.unwrap().contains(&Found { id: id.clone(), running: true })
}

pub async fn a_started_instance_takes_its_password_and_no_other(runtime: Arc<dyn Runtime>) {
    let spec = spec();
    let endpoint = runtime.start(&spec).await.unwrap();
    let mut connection = connect(endpoint, &spec).await.unwrap();
    run(&mut connection, &["SET", "greeting", "hello"]).await.unwrap();
    let greeting: String = redis::cmd("GET").arg("greeting").query_async(&mut connection).await.unwrap();
    assert_eq!(greeting, "hello");

    let wrong = connect_as(endpoint, "wrong").await.err().unwrap().to_string();
    assert!(wrong.contains("WRONGPASS") || wrong.contains("AuthenticationFailed"), "{wrong}");
    let address = format!("redis://{}:{}", endpoint.address, endpoint.port);
    let mut stranger = redis::Client::open(address).unwrap().get_multiplexed_async_connection().await.unwrap();
    let nobody = run(&mut stranger, &["GET", "greeting"]).await.unwrap_err().to_string();
    assert!(nobody.contains("NOAUTH") || nobody.contains("Authentication required"), "{nobody}");
    runtime.remove(&spec.id).await.unwrap();
}

pub async fn data_above_the_cap_meets_the_engines_own_error_and_it_stays_up(runtime: Arc<dyn Runtime>) {
    let spec = spec();
    let endpoint = runtime.start(&spec).await.unwrap();
    let mut connection = connect(endpoint, &spec).await.unwrap();
    let oom = |result: Result<redis::Value, RedisError>| {
        let error = result.unwrap_err();
        assert_eq!(error.code(), Some("OOM"), "{error}");
    };

    // A large value is kept and can be read back. (The engine holds a value twice while it reads the command, so one
    // of more than half of the data would not be taken.)
    let large = "x".repeat(2 * MIB);
    run(&mut connection, &["SET", "one", &large]).await.unwrap();
    let back: String = redis::cmd("GET").arg("one").query_async(&mut connection).await.unwrap();
    assert_eq!(back.len(), large.len());
    run(&mut connection, &["FLUSHALL"]).await.unwrap();
    drop(connection);

    // All of it in pieces, and not much more.
    let mut connection = connect_soon(endpoint, &spec).await;
    // Pieces that fill their allocation: one of just above a power of two would waste a quarter of it.
    let piece = "x".repeat(15 * 1024);
    let mut kept = 0;
    let refused = loop {
        match run(&mut connection, &["SET", &format!("piece:{kept}"), &piece]).await {
            Ok(_) => kept += 1,
            refused => break refused,
        }
        assert!(kept * piece.len() < 7 * MIB, "the cap does not hold");
    };
    assert!(kept * piece.len() > 5 * MIB * 9 / 10, "only {kept} pieces fit");
    oom(refused);

    // A value larger than the cap, with the data full and with it empty.
    let large = "x".repeat(8 * MIB);
    oom(run(&mut connection, &["SET", "large", &large]).await);
    run(&mut connection, &["FLUSHALL"]).await.unwrap();
    oom(run(&mut connection, &["SET", "large", &large]).await);
    drop(connection);

    // Five greedy clients at once. Each meets the error or loses its connection; the engine loses nothing.
    let greedy = (0..5).map(async |client| {
        let mut connection = connect_soon(endpoint, &spec).await;
        for round in 0..3 {
            let mut pushes = redis::pipe();
            for n in 0..40 {
                pushes.cmd("SET").arg(format!("{client}:{round}:{n}")).arg(&large[..MIB]).ignore();
            }
            pushes.cmd("SET").arg("large").arg(&large).ignore();
            let pushed: Result<(), RedisError> = pushes.query_async(&mut connection).await;
            assert!(pushed.is_err(), "more was taken than there is room for");
            let mut reads = redis::pipe();
            for _ in 0..40 {
                reads.cmd("MGET").arg((0..5).map(|n| format!("{client}:0:{n}")).collect::<Vec<_>>()).ignore();
            }
            let _: Result<(), RedisError> = reads.query_async(&mut connection).await;
            connection = connect_soon(endpoint, &spec).await;
        }
    });
    join_all(greedy).await;
    assert!(is_running(&*runtime, &spec.id).await);
    let mut connection = connect_soon(endpoint, &spec).await;
    run(&mut connection, &["FLUSHALL"]).await.unwrap();
    run(&mut connection, &["SET", "after", "all"]).await.unwrap();
    let stats: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap();
    assert!(stats.contains("process_id"), "{stats}");
    runtime.remove(&spec.id).await.unwrap();
}

pub async fn a_sixth_connection_is_refused_in_words(runtime: Arc<dyn Runtime>) {
    let spec = spec();
    let endpoint = runtime.start(&spec).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(connect_soon(endpoint, &spec).await);
    }
    // The engine says so before it closes; what a client library makes of it is not asked here.
    let mut sixth = tokio::net::TcpStream::connect((endpoint.address, endpoint.port)).await.unwrap();
    let mut words = String::new();
    let said = tokio::io::AsyncReadExt::read_to_string(&mut sixth, &mut words);
    timeout(Duration::from_secs(5), said).await.unwrap().unwrap();
    assert_eq!(words, "-ERR max number of clients reached\r\n");
    for connection in &mut held {
        run(connection, &["PING"]).await.unwrap();
    }
    drop(held);
    connect_soon(endpoint, &spec).await;
    runtime.remove(&spec.id).await.unwrap();
}

pub async fn common_commands_work_and_those_that_reach_further_do_not(runtime: Arc<dyn Runtime>) {
    let spec = spec();
    let endpoint = runtime.start(&spec).await.unwrap();
    let mut connection = connect(endpoint, &spec).await.unwrap();
    let allowed = [
        "HELLO 2",
        "CLIENT SETNAME me",
        "CLIENT GETNAME",
        "CLIENT ID",
        "CLIENT INFO",
        "CLIENT LIST",
        "COMMAND COUNT",
        "INFO",
        "SELECT 1",
        "DBSIZE",
        "SET k 1",
        "KEYS *",
        "SCAN 0",
        "RPUSH l 2 1",
        "SORT l",
        "SORT_RO l",
        "ROLE",
        "MEMORY USAGE k",
        "OBJECT ENCODING k",
        "ACL WHOAMI",
        "TIME",
        "WAIT 0 1",
        "XADD s * a 1",
        "PUBLISH c m",
        "SCRIPT EXISTS aa",
        "FUNCTION LIST",
        "DUMP k",
        "MULTI",
        "INCR k",
        "EXEC",
        "FLUSHDB",
        "FLUSHALL",
    ];
    for line in allowed {
        let answer = run(&mut connection, &line.split(' ').collect::<Vec<_>>()).await;
        assert!(answer.is_ok(), "{line}: {answer:?}");
    }
    let denied = [
        "CONFIG GET maxmemory",
        "CONFIG SET maxmemory 0",
        "CONFIG REWRITE",
        "DEBUG SLEEP 0",
        "SHUTDOWN NOSAVE",
        "SAVE",
        "BGSAVE",
        "BGREWRITEAOF",
        "MONITOR",
        "REPLICAOF localhost 1",
        "SYNC",
        "FAILOVER",
        "MODULE LIST",
        "MODULE LOAD /x",
        "ACL SETUSER x",
        "ACL LIST",
        "ACL GETUSER default",
        "CLIENT KILL ID 1",
        "CLIENT PAUSE 1",
        "CLIENT NO-EVICT ON",
        "MIGRATE h 1 k 0 1",
        "RESTORE k 0 x",
        "SWAPDB 0 1",
        "CLUSTER MEET 127.0.0.1 1",
        "LATENCY RESET",
        "SLOWLOG GET",
    ];
    for line in denied {
        let answer = run(&mut connection, &line.split(' ').collect::<Vec<_>>()).await;
        assert!(answer.is_err(), "{line}: {answer:?}");
    }
    let script = "return redis.call('CONFIG', 'GET', '*')";
    assert!(run(&mut connection, &["EVAL", script, "0"]).await.is_err());
    assert!(run(&mut connection, &["EVAL", "return redis.call('SET', 'k', 1)", "0"]).await.is_ok());
    assert!(is_running(&*runtime, &spec.id).await);
    runtime.remove(&spec.id).await.unwrap();
}

pub async fn what_is_removed_is_gone_and_may_be_removed_again(runtime: Arc<dyn Runtime>) {
    let spec = spec();
    let endpoint = runtime.start(&spec).await.unwrap();
    assert!(is_running(&*runtime, &spec.id).await);
    assert_eq!(runtime.remove(&spec.id).await.unwrap(), Removal::Removed);
    assert_eq!(runtime.inventory().await.unwrap(), []);
    assert!(connect(endpoint, &spec).await.is_err());
    assert_eq!(runtime.remove(&spec.id).await.unwrap(), Removal::AlreadyGone);
    assert_eq!(runtime.remove(&new_id()).await.unwrap(), Removal::AlreadyGone);
}

pub async fn removals_at_once_all_end_with_it_gone(runtime: Arc<dyn Runtime>) {
    let spec = spec();
    runtime.start(&spec).await.unwrap();
    let ended = join_all((0..4).map(|_| runtime.remove(&spec.id))).await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    assert_eq!(runtime.inventory().await.unwrap(), []);
}

pub async fn an_instance_that_is_there_is_not_started_again(runtime: Arc<dyn Runtime>) {
    let spec = spec();
    let endpoint = runtime.start(&spec).await.unwrap();
    let again = runtime.start(&spec).await.unwrap_err();
    assert!(matches!(again, RuntimeError::Refused(_)), "{again}");
    connect_soon(endpoint, &spec).await;
    runtime.remove(&spec.id).await.unwrap();
}

pub async fn twenty_started_at_once_are_all_reachable_at_ports_of_their_own(runtime: Arc<dyn Runtime>) {
    let specs: Vec<_> = (0..20).map(|_| spec()).collect();
    let endpoints = join_all(specs.iter().map(|spec| runtime.start(spec))).await;
    let mut ports = Vec::new();
    for (endpoint, spec) in endpoints.into_iter().zip(&specs) {
        let endpoint = endpoint.unwrap();
        ports.push(endpoint.port);
        connect_soon(endpoint, spec).await;
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 20);
    let removed = join_all(specs.iter().map(|spec| runtime.remove(&spec.id))).await;
    assert!(removed.iter().all(|r| matches!(r, Ok(Removal::Removed))), "{removed:?}");
}

/// `kill` ends the engine behind the runtime's back.
pub async fn an_exit_is_told_within_a_second<K: Future<Output = ()>>(
    runtime: Arc<dyn Runtime>,
    kill: impl FnOnce(InstanceId) -> K,
) {
    let mut exits = pin!(runtime.exits());
    // An engine's stream is open when it tells of something: of this one's end, while the next is watched.
    let first = spec();
    let told_of_first = async {
        assert_eq!(exits.next().await.unwrap().unwrap(), first.id);
    };
    let end_first = async {
        runtime.start(&first).await.unwrap();
        runtime.remove(&first.id).await.unwrap();
    };
    timeout(Duration::from_secs(20), async { tokio::join!(told_of_first, end_first) }).await.unwrap();

    let spec = spec();
    runtime.start(&spec).await.unwrap();
    kill(spec.id.clone()).await;
    let told = timeout(Duration::from_secs(1), exits.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(told, spec.id);
    // It stays in the inventory until it is removed, so that a listener that missed it finds it.
    assert_eq!(runtime.inventory().await.unwrap(), [Found { id: spec.id.clone(), running: false }]);
    assert_eq!(runtime.remove(&spec.id).await.unwrap(), Removal::Removed);
}

pub async fn two_deployments_do_not_see_each_other(ours: Arc<dyn Runtime>, theirs: Arc<dyn Runtime>) {
    let spec = spec();
    let endpoint = ours.start(&spec).await.unwrap();
    let mut their_exits = pin!(theirs.exits());
    let (listed, removed) = tokio::join!(theirs.inventory(), theirs.remove(&spec.id));
    assert_eq!(listed.unwrap(), []);
    assert_eq!(removed.unwrap(), Removal::AlreadyGone);
    connect_soon(endpoint, &spec).await;

    // The same id in both is two instances.
    theirs.start(&spec).await.unwrap();
    let (told, ()) = tokio::join!(timeout(Duration::from_millis(500), their_exits.next()), async {
        ours.remove(&spec.id).await.unwrap();
    });
    assert!(told.is_err(), "an exit of another deployment was told: {told:?}");
    assert!(is_running(&*theirs, &spec.id).await);
    theirs.remove(&spec.id).await.unwrap();
}
