//! Actions: what is done to a droplet, and how far it is.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Api, ApiError};

/// How often an action is looked at; they take from seconds to minutes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// An action.
#[derive(Debug, Clone, Deserialize)]
pub struct Action {
    /// Its id.
    pub id: u64,
    /// How far it is.
    pub status: ActionStatus,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: String,
}

/// How far an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionStatus {
    /// Not finished.
    InProgress,
    /// It is done.
    Completed,
    /// It failed.
    Errored,
}

#[derive(Deserialize)]
struct One {
    action: Action,
}

impl Api {
    /// Does something to a droplet: `power_off`, `power_on`, `reboot`, `power_cycle` or `shutdown`.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn act(&self, droplet: u64, kind: &str) -> Result<Action, ApiError> {
        self.order_action(droplet, &json!({ "type": kind })).await
    }

    /// Makes an image of a droplet, which should be off; it is there when the action is completed.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn snapshot(&self, droplet: u64, name: &str) -> Result<Action, ApiError> {
        self.order_action(droplet, &json!({ "type": "snapshot", "name": name })).await
    }

    async fn order_action(&self, droplet: u64, order: &serde_json::Value) -> Result<Action, ApiError> {
        let one: One = self.post(&format!("/v2/droplets/{droplet}/actions"), order).await?;
        Ok(one.action)
    }

    /// Every action that was ordered for a droplet, the latest first.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn actions_of(&self, droplet: u64) -> Result<Vec<Action>, ApiError> {
        self.list(&format!("/v2/droplets/{droplet}/actions"), &[], "actions").await
    }

    /// An action.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn action(&self, id: u64) -> Result<Action, ApiError> {
        let one: One = self.get(&format!("/v2/actions/{id}")).await?;
        Ok(one.action)
    }

    /// Waits until an action has ended, and says how. Asks again when an answer is lost.
    ///
    /// # Errors
    /// [`ApiError::Unknown`] when it has not ended within `patience`; whatever else the API says.
    pub async fn finished(&self, id: u64, patience: Duration) -> Result<ActionStatus, ApiError> {
        let deadline = Instant::now() + patience;
        loop {
            let pause = match self.action(id).await {
                Ok(action) if action.status != ActionStatus::InProgress => return Ok(action.status),
                Ok(_) | Err(ApiError::Unknown(_)) => LOOK_EVERY,
                Err(ApiError::RateLimited(rest)) => rest.max(LOOK_EVERY),
                Err(error) => return Err(error),
            };
            if Instant::now() + pause > deadline {
                return Err(ApiError::Unknown(format!("action {id} has not ended within {} s", patience.as_secs())));
            }
            sleep(pause).await;
        }
    }
}
