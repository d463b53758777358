//! What a tenant does with an instance.

use std::time::Duration;

use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisError, RedisResult, aio::MultiplexedConnection};

use super::api::Instance;

/// For a connection and for an answer; an instance that takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects with nothing but a connection string.
pub async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

/// Whether it answers.
pub async fn ping(url: &str) -> RedisResult<String> {
    redis::cmd("PING").query_async(&mut connect(url).await?).await
}

/// Fails unless the instance keeps what it is given.
pub async fn must_work(instance: &Instance) {
    must_work_at(&instance.redis_url).await;
}

/// The same, by the connection string.
pub async fn must_work_at(url: &str) {
    let mut tenant = connect(url).await.unwrap();
    tenant.set::<_, _, ()>("greeting", "hello").await.unwrap();
    assert_eq!(tenant.get::<_, String>("greeting").await.unwrap(), "hello");
}

/// Writes until it is refused; how much was taken, and the refusal.
pub async fn fill(tenant: &mut MultiplexedConnection, at_most: usize) -> (usize, RedisError) {
    const PIECE: usize = 64 * 1024;
    let piece = vec![b'x'; PIECE];
    for n in 0..at_most / PIECE {
        if let Err(refusal) = tenant.set::<_, _, ()>(format!("filling:{n}"), &piece).await {
            return (n * PIECE, refusal);
        }
    }
    panic!("{at_most} bytes were taken");
}
