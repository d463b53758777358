//! The end of an instance: intent, removal, confirmation, and only then its slot is free.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    desk::Desk,
    messages::{EndError, Ending},
};
use crate::{
    domain::{EndReason, Instance, InstanceEvent, InstanceId, InstanceState},
    feed::messages::Fact,
    patience,
    ports::StoreError,
};

/// How long a store that did not answer is left alone.
const TRY_TO_WRITE_AGAIN: Duration = Duration::from_secs(2);

impl Desk {
    /// Ends an instance, or goes on with an ending that was begun. May be repeated.
    pub(super) async fn end(&self, id: &InstanceId, reason: EndReason) -> Result<Ending, EndError> {
        let stopping = self.intend_to_end(id, reason).await?;
        match self.remove_from(&stopping.host, id).await {
            Ok(_) => self.confirm_gone(id).await.map(|ended| Ending::Gone(Box::new(ended))),
            Err(error) => Ok(Ending::Pending { instance: Box::new(stopping), why: error.to_string() }),
        }
    }

    /// Ends an instance that was given up, as soon as the store can write it.
    pub(super) async fn end_until_it_is_written(&self, id: &InstanceId) {
        while let Err(EndError::Store(_)) = self.end(id, EndReason::Failed).await {
            sleep(TRY_TO_WRITE_AGAIN).await;
        }
    }

    /// Writes the intent, or finds it written.
    async fn intend_to_end(&self, id: &InstanceId, reason: EndReason) -> Result<Instance, EndError> {
        match self.apply(id, &InstanceEvent::StopRequested { reason }).await {
            Ok(stopping) => {
                self.publish_instance(&stopping);
                Ok(stopping)
            }
            Err(StoreError::Illegal(illegal)) => match illegal.from {
                InstanceState::Stopping(_) => self.read(id).await,
                InstanceState::Ended(_) => Err(EndError::AlreadyEnded(Box::new(self.read(id).await?))),
                InstanceState::Creating | InstanceState::Running | InstanceState::Unreachable => Err(EndError::NotDue),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The container is gone: the row says so, and then the slot is free.
    async fn confirm_gone(&self, id: &InstanceId) -> Result<Instance, EndError> {
        let ended = match self.apply(id, &InstanceEvent::ConfirmedGone).await {
            Ok(ended) => {
                tracing::info!(instance = %id, host = %ended.host, reason = ended.state.reason().map(tracing::field::display), "instance.ended");
                if let Some(reason) = ended.state.reason() {
                    self.tell(Fact::InstanceEnded { id: id.clone(), reason });
                }
                ended
            }
            // Somebody else confirmed it at the same time.
            Err(StoreError::Illegal(_)) => self.read(id).await?,
            Err(error) => return Err(error.into()),
        };
        self.release_slot(id);
        Ok(ended)
    }

    async fn apply(&self, id: &InstanceId, event: &InstanceEvent) -> Result<Instance, StoreError> {
        patience::store(self.tools.store.apply(id, event, self.tools.clock.now())).await
    }

    async fn read(&self, id: &InstanceId) -> Result<Instance, EndError> {
        patience::store(self.tools.store.instance(id)).await?.ok_or(EndError::NotFound)
    }
}
