//! Sinks in memory: they remember every post, and refuse or hang when a test says so.
//!
//! Clones are the same sinks, so they survive the actors. A post is the operation `webhooks.post` of its [`Faults`]; an
//! error planned there is [`WebhookError::Unreachable`], and one that lies was accepted all the same.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::faults::Faults;
use crate::{
    domain::{SinkName, Timestamp},
    ports::{Delivery, WebhookError, Webhooks},
};

/// How a sink takes what is posted.
#[derive(Debug, Clone, Default)]
pub enum Manner {
    /// It accepts.
    #[default]
    Accept,
    /// It answers with this.
    Refuse(WebhookError),
    /// It never answers.
    Hang,
}

/// A post that reached a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// When.
    pub at: Instant,
    /// Which sink.
    pub sink: SinkName,
    /// The notice's id.
    pub id: String,
    /// Whether the sink accepted it.
    pub accepted: bool,
}

/// All sinks of a world.
#[derive(Debug, Clone, Default)]
pub struct SimWebhooks {
    sinks: Arc<Mutex<Sinks>>,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Sinks {
    manners: BTreeMap<SinkName, Manner>,
    posts: Vec<Post>,
}

impl SimWebhooks {
    /// Sinks that accept everything and whose posts pass these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    /// From now on the sink takes posts like this.
    pub fn behave(&self, sink: &SinkName, manner: Manner) {
        self.sinks().manners.insert(sink.clone(), manner);
    }

    /// Every post that reached the sink, in order.
    #[must_use]
    pub fn posts(&self, sink: &SinkName) -> Vec<Post> {
        self.sinks().posts.iter().filter(|post| &post.sink == sink).cloned().collect()
    }

    /// The ids of what the sink accepted, in order, as often as it did.
    #[must_use]
    pub fn accepted(&self, sink: &SinkName) -> Vec<String> {
        self.posts(sink).into_iter().filter(|post| post.accepted).map(|post| post.id).collect()
    }

    fn sinks(&self) -> MutexGuard<'_, Sinks> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the post and says how the sink takes it.
    fn take(&self, delivery: &Delivery) -> Manner {
        let mut sinks = self.sinks();
        let manner = sinks.manners.get(&delivery.sink).cloned().unwrap_or_default();
        let accepted = matches!(manner, Manner::Accept);
        let (sink, id) = (delivery.sink.clone(), delivery.notice.id.clone());
        sinks.posts.push(Post { at: Instant::now(), sink, id, accepted });
        manner
    }
}

#[async_trait]
impl Webhooks for SimWebhooks {
    async fn post(&self, delivery: &Delivery, _: Timestamp) -> Result<(), WebhookError> {
        let taken = self.faults.around("webhooks.post", WebhookError::Unreachable, || Ok(self.take(delivery)));
        match taken.await? {
            Manner::Accept => Ok(()),
            Manner::Refuse(error) => Err(error),
            Manner::Hang => std::future::pending().await,
        }
    }
}
