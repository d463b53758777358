//! Waiting for DigitalOcean: asks until there is something to go on with, for a bounded time.
//!
//! Owns what is worth asking again: an answer that got lost, a 5xx, and too many requests. Anything else is an end.

use std::time::Duration;

use getaredis_actors::ports::ProviderError;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::images::ImageError;

/// How long, how often, and who may end it.
pub(super) struct Waiting {
    begun: Instant,
    deadline: Instant,
    every: Duration,
    /// Nothing: nobody.
    stop: Option<watch::Receiver<bool>>,
}

impl Waiting {
    /// For so long, counted from now.
    pub(super) fn of(patience: Duration, every: Duration, stop: Option<watch::Receiver<bool>>) -> Self {
        let begun = Instant::now();
        Self { begun, deadline: begun + patience, every, stop }
    }

    /// Asks until the answer is something; `what` is the condition.
    ///
    /// # Errors
    /// [`ImageError::TooLate`], [`ImageError::Interrupted`], and what is not worth asking again.
    pub(super) async fn until<T>(
        &self,
        what: &'static str,
        mut ask: impl AsyncFnMut() -> Result<Option<T>, ImageError>,
    ) -> Result<T, ImageError> {
        loop {
            if self.stop.as_ref().is_some_and(|stop| *stop.borrow()) {
                return Err(ImageError::Interrupted);
            }
            let (pause, trouble) = match ask().await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => (self.every, None),
                Err(ImageError::Provider(error @ ProviderError::Unknown(_))) => (self.every, Some(error)),
                Err(ImageError::Provider(error @ ProviderError::RateLimited(rest))) => {
                    (rest.max(self.every), Some(error))
                }
                Err(error) => return Err(error),
            };
            if Instant::now() + pause > self.deadline {
                return Err(ImageError::TooLate { what, waited: whole(self.begun.elapsed()), trouble });
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stopped() => {}
            }
        }
    }

    async fn stopped(&self) {
        let Some(mut stop) = self.stop.clone() else { return std::future::pending().await };
        if stop.wait_for(|stop| *stop).await.is_err() {
            // Nobody is left who could.
            std::future::pending().await
        }
    }
}

/// Without the fractions of a second that nobody wants to read.
fn whole(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}
