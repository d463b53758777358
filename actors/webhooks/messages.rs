//! What the webhooks are asked.

use actix::Message;
use serde::Serialize;

use crate::domain::SinkName;

/// How do the sinks take it? Sent by the metrics. Answered from memory.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<SinkStatus>")]
pub struct DescribeWebhooks;

/// What became of the deliveries to one sink since the actor started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkStatus {
    /// Its name.
    pub sink: SinkName,
    /// Posts that it accepted.
    pub accepted: u64,
    /// Posts that failed and are tried again.
    pub failed: u64,
    /// Deliveries that it wanted no more of.
    pub unwanted: u64,
    /// Deliveries that were given up.
    pub given_up: u64,
    /// Deliveries that wait in the store, of all servers, as of some seconds ago; nothing while that is not known.
    pub backlog: Option<u64>,
    /// What went wrong last, if its last post did.
    pub last_error: Option<String>,
}

impl SinkStatus {
    /// Of a sink that nothing was posted to yet.
    #[must_use]
    pub fn new(sink: SinkName) -> Self {
        Self { sink, accepted: 0, failed: 0, unwanted: 0, given_up: 0, backlog: None, last_error: None }
    }
}
