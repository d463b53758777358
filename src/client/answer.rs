//! An instance as the server describes it.

use getaredis_actors::domain::{InstanceId, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;

/// What the commands need of an instance. A newer server may say more.
#[derive(Debug, Clone, Deserialize)]
pub struct Instance {
    /// Its public id.
    pub id: InstanceId,
    /// `creating`, `running` or `stopping`.
    pub state: String,
    /// Its creator's note.
    pub label: Option<String>,
    /// Where it is reached; nothing until it runs.
    pub host: Option<String>,
    /// The port there.
    pub port: Option<u16>,
    /// The user to authenticate as.
    pub username: Option<String>,
    /// That user's password.
    pub password: Option<SecretString>,
    /// All of that in one.
    pub redis_url: Option<SecretString>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// In how many seconds that is.
    pub expires_in_s: u64,
    /// The latest time it can be extended to.
    pub max_expires_at: Timestamp,
    /// Whether tenants are isolated from each other.
    #[serde(default = "isolated")]
    pub isolated: bool,
    /// What extends and deletes it.
    pub management_token: Option<SecretString>,
}

fn isolated() -> bool {
    true
}

/// An answer, understood and as it came.
#[derive(Clone)]
pub struct Answer {
    /// What it says.
    pub instance: Instance,
    /// The JSON text, secrets included.
    pub json: SecretString,
}
