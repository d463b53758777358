//! Hosts announce themselves in a Redis: each renews a key `<prefix>server:<name>` that expires when it stops.
//!
//! Owns how the keys are found and read; what is in one is `heartbeat`'s. Never uses `KEYS` (it blocks the server), never writes a key, and never lets the address's
//! password into an error. The connection is opened at the first reading and again whenever it was lost.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use getaredis_actors::{
    domain::{DeploymentId, HostName},
    ports::{Directory, DirectoryError, DirectoryReading, HostRecord, HostVitals},
};
use redis::{
    Client, RedisResult, TlsCertificates,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use secrecy::{ExposeSecret, SecretString};

use super::{HostUsers, heartbeat::Heartbeat};

/// Longest wait for a connection, and for one answer of the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time one reading may take, all its commands included. Well below the life of a heartbeat's key.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Keys that one `SCAN` looks at and one pipeline fetches: few round trips, and none keeps the server busy for long.
const BATCH: usize = 500;

/// The longest heartbeat that is read, in bytes. Theirs have some hundred; a host that was broken into may write more.
pub(super) const MOST_BYTES: usize = 16 * 1024;

/// What a server answers where a user may not give a command, or there is none of that name.
const NOT_TOLD: [&str; 2] = ["NOPERM", "ERR"];

/// What the server answers about a key that is a list, a hash or the like.
const WRONG_TYPE: &str = "WRONGTYPE";

/// Most instances a host may announce; a host has far fewer ports.
const MAX_SLOTS: u32 = 10_000;

/// How the directory in a Redis is read.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Whose hosts are looked for; those that say that they are another deployment's are left out.
    pub deployment: DeploymentId,
    /// `redis://user:password@host:port/db`, or `rediss://` for TLS.
    pub url: SecretString,
    /// Who signed the certificate of a `rediss://` server (PEM); nothing means the authorities that the machine knows.
    pub ca: Option<Vec<u8>>,
    /// What the keys begin with.
    pub prefix: String,
    /// How long the heartbeats let their keys live.
    pub ttl: Duration,
    /// Template of a host's engine; `{private_address}`, `{public_address}` and `{name}` are filled in.
    pub engine: String,
    /// Instances a host carries that does not say.
    pub slots: u32,
}

/// Prepares a connection without opening it. Must be called on a Tokio runtime.
pub(super) fn connect(settings: &RedisSettings) -> Result<ConnectionManager, DirectoryError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(ANSWER_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT))
        // The next reading is another try; this one shall fail quickly.
        .set_number_of_retries(1);
    let url = settings.url.expose_secret();
    let client = match &settings.ca {
        Some(ca) => Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) }),
        None => Client::open(url),
    };
    client
        .and_then(|client| ConnectionManager::new_lazy_with_config(client, config))
        .map_err(|e| unreachable(&settings.url, &e))
}

/// The directory in a Redis.
pub struct RedisDirectory {
    settings: RedisSettings,
    connection: ConnectionManager,
    users: Option<Arc<HostUsers>>,
}

impl RedisDirectory {
    /// Prepares the connection without opening it. Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// [`DirectoryError::Unreachable`] when the address cannot be understood.
    pub fn new(settings: RedisSettings) -> Result<Self, DirectoryError> {
        let connection = connect(&settings)?;
        Ok(Self { settings, connection, users: None })
    }

    /// Makes the users of its hosts again when the server restarts without them.
    #[must_use]
    pub fn with_users(self, users: Arc<HostUsers>) -> Self {
        Self { users: Some(users), ..self }
    }

    fn key_start(&self) -> String {
        format!("{}server:", self.settings.prefix)
    }

    async fn read_all(&self) -> RedisResult<DirectoryReading> {
        let mut connection = self.connection.clone();
        let start = self.key_start();
        let pattern = format!("{}*", escape_glob(&start));
        // A set, because SCAN may name a key twice; sorted, because nothing declares an order.
        let mut keys: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut cursor: u64 = 0;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(BATCH);
            let (next, found): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await?;
            keys.extend(found);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let keys: Vec<_> = keys.into_iter().collect();
        let mut reading = DirectoryReading::default();
        for batch in keys.chunks(BATCH) {
            // One more byte than a heartbeat may have, and no more whatever a host has written there.
            let mut values = redis::pipe();
            for key in batch {
                values.cmd("GETRANGE").arg(key).arg(0).arg(MOST_BYTES);
            }
            let values: Vec<RedisResult<Vec<u8>>> = values.ignore_errors().query_async(&mut connection).await?;
            let mut texts = Vec::with_capacity(batch.len());
            for (key, value) in batch.iter().zip(values) {
                match value {
                    Ok(text) => texts.push((key, text)),
                    Err(error) if error.code() == Some(WRONG_TYPE) => {
                        reading.malformed.push((shown(key), "is no text: a heartbeat is written with SET".to_owned()));
                    }
                    // Anything else is said of the server and not of this host: to go on would lose it, or all of them.
                    Err(error) => return Err(error),
                }
            }
            let gone = self.gone(texts.iter().filter(|(_, text)| text.is_empty()).map(|(key, _)| *key)).await?;
            for (key, value) in texts.into_iter().filter(|(key, _)| !gone.contains(*key)) {
                match self.host(key, start.len(), &value) {
                    Ok((host, vitals, odd)) => {
                        if !odd.is_empty() {
                            let why = format!("makes no sense, and is left out: {}", odd.join(", "));
                            reading.malformed.push((shown(key), why));
                        }
                        reading.vitals.insert(host.name.clone(), vitals);
                        reading.hosts.push(host);
                    }
                    Err(why) => reading.malformed.push((shown(key), why)),
                }
            }
        }
        Ok(reading)
    }

    /// Which of these keys are there no more: an empty text and no key at all look the same to `GETRANGE`.
    async fn gone(&self, keys: impl Iterator<Item = &Vec<u8>>) -> RedisResult<BTreeSet<Vec<u8>>> {
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut there = redis::pipe();
        for key in &keys {
            there.exists(key);
        }
        let there: Vec<bool> = there.query_async(&mut self.connection.clone()).await?;
        Ok(keys.into_iter().zip(there).filter(|(_, there)| !there).map(|(key, _)| key.clone()).collect())
    }

    /// The host that a key and its value describe, how it fares, and what of that makes no sense.
    fn host(&self, key: &[u8], name_at: usize, value: &[u8]) -> Result<Described, String> {
        let name = std::str::from_utf8(&key[name_at..]).map_err(|_| "the key is not UTF-8".to_owned())?;
        let name = HostName::parse(name).map_err(|e| e.to_string())?;
        if value.len() > MOST_BYTES {
            return Err(format!("longer than {MOST_BYTES} bytes"));
        }
        let beat = Heartbeat::parse(value)?;
        if beat.name != name.as_str() {
            return Err("the name in it is not the one in its key".to_owned());
        }
        if let Some(stranger) = beat.stranger(&self.settings.deployment) {
            return Err(format!("a host of another deployment: {stranger}"));
        }
        let slots = beat.slots.unwrap_or(self.settings.slots);
        if !(1..=MAX_SLOTS).contains(&slots) {
            return Err(format!("Slots must be from 1 to {MAX_SLOTS}"));
        }
        let engine = self
            .settings
            .engine
            .replace("{private_address}", &in_url(beat.private_ip))
            .replace("{public_address}", &in_url(beat.public_ip))
            .replace("{name}", name.as_str());
        Ok((HostRecord { name, public_address: beat.public_ip, engine, slots }, beat.vitals, beat.odd))
    }

    /// Everything that is announced, in one run of the server. One that restarts in between answers half of it and then
    /// nothing, which must be nobody's silence.
    async fn read_in_one_run(&self) -> Result<DirectoryReading, DirectoryError> {
        let told = |error| unreachable(&self.settings.url, &error);
        let run = self.run().await.map_err(told)?;
        let reading = self.read_all().await.map_err(told)?;
        match self.run().await.map_err(told)? == run {
            true => Ok(DirectoryReading { run, ..reading }),
            false => Err(DirectoryError::Unreachable("it restarted while it was read".to_owned())),
        }
    }

    /// Which run of the server this is; nothing where its user may not ask (`INFO`), or it does not say.
    async fn run(&self) -> RedisResult<Option<String>> {
        let info: RedisResult<String> =
            redis::cmd("INFO").arg("server").query_async(&mut self.connection.clone()).await;
        match info {
            Ok(info) => Ok(info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|run| run.trim().to_owned())),
            Err(error) if error.code().is_some_and(|code| NOT_TOLD.contains(&code)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn renew_users(&self, reading: &DirectoryReading) {
        let Some(users) = &self.users else { return };
        let announced = reading.hosts.iter().map(|host| host.name.clone());
        if let Err(error) = users.renew(reading.run.as_deref(), announced).await {
            tracing::warn!(%error, "directory.users_not_renewed");
        }
    }
}

#[async_trait]
impl Directory for RedisDirectory {
    async fn read(&self) -> Result<DirectoryReading, DirectoryError> {
        let reading = match tokio::time::timeout(READ_TIMEOUT, self.read_in_one_run()).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(DirectoryError::Unreachable(format!("no complete answer within {READ_TIMEOUT:?}")));
            }
        };
        self.renew_users(&reading).await;
        Ok(reading)
    }

    fn ttl(&self) -> Option<Duration> {
        Some(self.settings.ttl)
    }
}

type Described = (HostRecord, HostVitals, Vec<&'static str>);

fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// The text as a pattern of `SCAN` that matches nothing but itself.
pub(super) fn escape_glob(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// An address as it stands in a URL, where IPv6 needs brackets.
fn in_url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// The error in one line, and without the address, should the library ever quote it.
pub(super) fn unreachable(url: &SecretString, error: &redis::RedisError) -> DirectoryError {
    let words = error.to_string().replace(url.expose_secret(), "(address hidden)");
    DirectoryError::Unreachable(words.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_nothing_but_itself() {
        assert_eq!(escape_glob(r"a*b?[c]\d"), r"a\*b\?\[c\]\\d");
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(in_url("fd00::1".parse().unwrap()), "[fd00::1]");
        assert_eq!(in_url("10.0.0.1".parse().unwrap()), "10.0.0.1");
    }
}
