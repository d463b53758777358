//! Ready means that an authenticated `PING` was answered at the address that tenants use; nothing else does.
//!
//! Owns the waiting, which the Docker and the process runtime share. Must not know what it waits for, and never
//! shows the password.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use getaredis_actors::ports::RuntimeError;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The first pause between two attempts. An engine needs some milliseconds to listen, and a click waits for it.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The pauses grow up to this, so that a slow start is not slowed further by asking.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// One attempt: above a connection's first retransmission, which comes after a second.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// How often the engine's process is looked after while it does not answer.
const VITALS_EVERY: Duration = Duration::from_millis(200);

/// The address at which this machine reaches what is published on `publish`.
///
/// A loopback publication is reached there. When the runtime is on this machine the published address is one of its
/// own; only the others are asked at their public address.
pub(crate) fn reachable_at(publish: IpAddr, public: IpAddr, on_this_machine: bool) -> IpAddr {
    match publish {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) if on_this_machine => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) if on_this_machine => Ipv6Addr::LOCALHOST.into(),
        address if address.is_loopback() || on_this_machine => address,
        _ => public,
    }
}

/// Waits until the engine at `address` answers, at most for `patience`. `vitals` says why it never will; it is asked
/// now and then while there is no answer.
///
/// # Errors
/// What `vitals` said, or [`RuntimeError::NotReady`] with what the last attempt met.
pub(crate) async fn wait<V: Future<Output = Result<(), RuntimeError>>>(
    address: SocketAddr,
    password: &SecretString,
    patience: Duration,
    mut vitals: impl FnMut() -> V,
) -> Result<(), RuntimeError> {
    let client = client(address, password)?;
    let deadline = Instant::now() + patience;
    let mut next_vitals = Instant::now() + VITALS_EVERY;
    let mut pause = FIRST_PAUSE;
    loop {
        let met = match timeout_at(deadline, timeout(ATTEMPT, ping(&client))).await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) | Err(_) => "it does not answer".to_owned(),
        };
        let now = Instant::now();
        if now >= deadline || now >= next_vitals {
            vitals().await?;
            next_vitals = Instant::now() + VITALS_EVERY;
        }
        if now >= deadline {
            return Err(RuntimeError::NotReady(format!("no answer from {address} within {patience:?}: {met}")));
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

fn client(address: SocketAddr, password: &SecretString) -> Result<Client, RuntimeError> {
    let settings = RedisConnectionInfo::default().set_password(password.expose_secret()).set_skip_set_lib_name();
    ConnectionAddr::Tcp(address.ip().to_string(), address.port())
        .into_connection_info()
        .and_then(|info| Client::open(info.set_redis_settings(settings)))
        .map_err(|e| RuntimeError::NotReady(format!("{address} is no address to connect to: {e}")))
}

async fn ping(client: &Client) -> redis::RedisResult<()> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(ATTEMPT)).set_response_timeout(Some(ATTEMPT));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("PING").exec_async(&mut connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_machine_is_asked_at_its_public_address() {
        let public: IpAddr = [203, 0, 113, 7].into();
        let cases: [(&str, bool, &str); 6] = [
            ("127.0.0.1", true, "127.0.0.1"),
            ("127.0.0.1", false, "127.0.0.1"),
            ("0.0.0.0", true, "127.0.0.1"),
            ("0.0.0.0", false, "203.0.113.7"),
            ("10.0.0.2", true, "10.0.0.2"),
            ("10.0.0.2", false, "203.0.113.7"),
        ];
        for (publish, here, expected) in cases {
            let reached = reachable_at(publish.parse().unwrap(), public, here);
            assert_eq!(reached, expected.parse::<IpAddr>().unwrap(), "{publish} {here}");
        }
    }
}
