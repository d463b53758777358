//! The end of an instance: intent, removal, confirmation, and only then its slot is free.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    desk::Desk,
    messages::{EndError, Ending, EndingUnconfirmed},
};
use crate::{
    domain::{EndReason, Health, Instance, InstanceEvent, InstanceId, InstanceState},
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
        let _turn = match self.removals.try_take(id.clone()) {
            Ok(turn) => turn,
            // The engine is not asked twice at once: a host that is silent would be asked by everybody who is impatient.
            Err(taken) => {
                taken.done().await;
                let row = Box::new(self.read(id).await?);
                let why = || "its host has not confirmed the removal yet".to_owned();
                return Ok(if row.state.is_live() {
                    Ending::Pending { instance: row, why: why() }
                } else {
                    Ending::Gone(row)
                });
            }
        };
        match self.remove_from(&stopping.host, id).await {
            Ok(_) => self.confirm_gone(id).await.map(|ended| Ending::Gone(Box::new(ended))),
            Err(error) => {
                self.peers.ending_unconfirmed.do_send(EndingUnconfirmed { id: id.clone() });
                Ok(Ending::Pending { instance: Box::new(stopping), why: error.to_string() })
            }
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
                InstanceState::Ended(reason) => {
                    // Another server may have ended it. What is being created here knows by itself what it left.
                    if !self.is_making(id) {
                        self.note_end(id, reason);
                    }
                    Err(EndError::AlreadyEnded(Box::new(self.read(id).await?)))
                }
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
                ended
            }
            // Somebody else confirmed it at the same time.
            Err(StoreError::Illegal(_)) => self.read(id).await?,
            Err(error) => return Err(error.into()),
        };
        if let InstanceState::Ended(reason) = ended.state {
            self.note_end(id, reason);
        }
        Ok(ended)
    }

    /// Gives an instance up whose host has been silent for too long, or one that is to end on a host that has been no use
    /// for so long. What it leaves there takes a slot, should the host be of use again, until the sweep has removed it.
    pub(super) async fn give_up_lost(&self, id: &InstanceId) -> Result<Instance, EndError> {
        let row = self.read(id).await?;
        let host = row.host;
        let may_recover = self.ledger.borrow().view(&host).is_some_and(|view| match view.state {
            Health::Unreachable => false,
            Health::Unannounced | Health::Failing => !matches!(row.state, InstanceState::Stopping(_)),
            Health::Joining | Health::Up => true,
        });
        if may_recover {
            return Err(EndError::NotDue);
        }
        let lost = match self.apply(id, &InstanceEvent::GivenUp).await {
            Ok(lost) => lost,
            Err(StoreError::Illegal(illegal)) if !illegal.from.is_live() => {
                return Err(EndError::AlreadyEnded(Box::new(self.read(id).await?)));
            }
            Err(StoreError::Illegal(_)) => return Err(EndError::NotDue),
            Err(error) => return Err(error.into()),
        };
        tracing::warn!(instance = %id, %host, since = lost.unreachable_since.map(tracing::field::display), "instance.lost");
        self.note_end(id, EndReason::Lost);
        self.ledger.borrow_mut().leave_behind(id, &host);
        Ok(lost)
    }

    /// Nothing is left of an instance, or nothing is expected of it: its slot is free and everybody is told.
    pub(super) fn note_end(&self, id: &InstanceId, reason: EndReason) {
        self.tell(Fact::InstanceEnded { id: id.clone(), reason });
        self.release_slot(id);
    }

    async fn apply(&self, id: &InstanceId, event: &InstanceEvent) -> Result<Instance, StoreError> {
        patience::store(self.tools.store.apply(id, event, self.tools.clock.now())).await
    }

    async fn read(&self, id: &InstanceId) -> Result<Instance, EndError> {
        patience::store(self.tools.store.instance(id)).await?.ok_or(EndError::NotFound)
    }
}
