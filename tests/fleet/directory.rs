//! The cloud's directory, as its operator sees it.

use std::collections::BTreeSet;

use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::Value;

use crate::tenant::connect;

/// What the control plane's user of the directory is called.
const CONTROL: &str = "control";

/// Where the directory is, for who has the control plane's password.
pub(crate) fn url(place: &str, password: &str) -> String {
    format!("redis://{CONTROL}:{password}@{place}")
}

/// A fresh directory opens to everybody; from now on only to the control plane, and to whom that lets in.
pub(crate) async fn close(place: &str, password: &str) {
    let mut all = redis::pipe();
    all.cmd("ACL").arg(&["SETUSER", CONTROL, "on", &format!(">{password}"), "~*", "&*", "+@all"]).ignore();
    all.cmd("ACL").arg(&["SETUSER", "default", "off"]).ignore();
    let mut open = connect(&format!("redis://{place}")).await.unwrap();
    all.query_async::<()>(&mut open).await.unwrap();
}

/// The control plane's own view of it.
pub(crate) struct Directory(MultiplexedConnection);

impl Directory {
    pub(crate) async fn open(url: &str) -> Self {
        Self(connect(url).await.unwrap())
    }

    /// The hosts that announce themselves.
    pub(crate) async fn announced(&mut self) -> BTreeSet<String> {
        let keys: Vec<String> = self.0.keys("*").await.unwrap();
        keys.into_iter().map(|key| key.strip_prefix("server:").unwrap().to_owned()).collect()
    }

    /// What a host says of itself.
    pub(crate) async fn heartbeat(&mut self, host: &str) -> Value {
        let text: String = self.0.get(format!("server:{host}")).await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// When a host's announcement runs out unless it is renewed, in milliseconds since 1970.
    pub(crate) async fn announced_until(&mut self, host: &str) -> i64 {
        redis::cmd("PEXPIRETIME").arg(format!("server:{host}")).query_async(&mut self.0).await.unwrap()
    }

    /// Users beside the control plane, with all that they may do.
    pub(crate) async fn users(&mut self) -> Vec<String> {
        let users: Vec<String> = redis::cmd("ACL").arg("LIST").query_async(&mut self.0).await.unwrap();
        let own = [format!("user {CONTROL} "), "user default ".to_owned()];
        users.into_iter().filter(|user| !own.iter().any(|own| user.starts_with(own))).collect()
    }
}
