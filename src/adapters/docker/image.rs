//! The image: pulled once when it is missing, by whoever notices first.
//!
//! Owns the one pull that is under way. It goes on when the caller that began it gives up, so that the next one finds
//! the image there.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bollard::{Docker, query_parameters::CreateImageOptionsBuilder};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
};
use getaredis_actors::ports::RuntimeError;
use tokio::time::Instant;

use super::error::{meaning, status, within, words};

/// The longest a pull may take: a hundred megabytes over a slow line.
const LONGEST_PULL: Duration = Duration::from_secs(600);
/// A registry that said no is not asked again before this long: it counts anonymous pulls.
const REST_AFTER_PULL: Duration = Duration::from_secs(15);

type Pull = Shared<BoxFuture<'static, Result<(), RuntimeError>>>;

/// One image on one engine.
pub(super) struct Image {
    docker: Docker,
    name: Arc<str>,
    call_timeout: Duration,
    seen: AtomicBool,
    pull: Mutex<Option<Attempt>>,
}

/// A pull that is under way or ended.
#[derive(Clone)]
struct Attempt {
    begun: Instant,
    pull: Pull,
    /// How the one before it failed, if it did.
    before: Option<RuntimeError>,
}

impl Attempt {
    /// How it ended, if it did. Looks at it by polling: a shared future that nobody polls does not know that it has ended.
    fn ended(&self) -> Option<Result<(), RuntimeError>> {
        self.pull.clone().now_or_never()
    }
}

impl Image {
    pub(super) fn new(docker: Docker, name: &str, call_timeout: Duration) -> Self {
        Self { docker, name: name.into(), call_timeout, seen: AtomicBool::new(false), pull: Mutex::new(None) }
    }

    /// Whether the image is there; asks the engine until it was seen once. A missing one is being pulled from now on.
    ///
    /// # Errors
    /// [`RuntimeError::NoImage`] with how the pull ended, or the one before it while it is under way.
    pub(super) async fn check(&self) -> Result<(), RuntimeError> {
        if self.seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        match within(self.call_timeout, self.docker.inspect_image(&self.name)).await? {
            Ok(_) => {
                self.seen.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) if status(&error) == Some(404) => {
                let attempt = self.attempt();
                let under_way =
                    || Err(attempt.before.clone().unwrap_or_else(|| self.missing("it is being pulled".into())));
                attempt.ended().unwrap_or_else(under_way)
            }
            Err(error) => Err(meaning(&error)),
        }
    }

    /// Pulls the image, or waits for the pull that is under way, at most for `patience`.
    ///
    /// # Errors
    /// [`RuntimeError::NoImage`] with the registry's words.
    pub(super) async fn fetch(&self, patience: Duration) -> Result<(), RuntimeError> {
        self.seen.store(false, Ordering::Relaxed);
        tokio::time::timeout(patience, self.attempt().pull)
            .await
            .unwrap_or_else(|_| Err(self.missing("it is still being pulled".into())))
    }

    fn missing(&self, why: String) -> RuntimeError {
        RuntimeError::NoImage { image: self.name.to_string(), why }
    }

    /// The pull that is under way, or that ended just now; else a new one.
    fn attempt(&self) -> Attempt {
        let mut current = self.pull.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut before = None;
        if let Some(attempt) = &*current {
            match attempt.ended() {
                Some(ended) if ended.is_ok() || attempt.begun.elapsed() >= REST_AFTER_PULL => before = ended.err(),
                _ => return attempt.clone(),
            }
        }
        tracing::info!(image = %self.name, "image.pull");
        let (docker, name) = (self.docker.clone(), self.name.clone());
        let task = tokio::spawn(async move {
            let ended = within(LONGEST_PULL, pull(&docker, &name)).await.and_then(|ended| ended);
            if let Err(error) = &ended {
                tracing::warn!(image = %name, %error, "image.pull_failed");
            }
            ended
        });
        let gone = self.missing("the pull was given up".into());
        let pull = task.map(move |ended| ended.unwrap_or(Err(gone))).boxed().shared();
        current.insert(Attempt { begun: Instant::now(), pull, before }).clone()
    }
}

async fn pull(docker: &Docker, name: &Arc<str>) -> Result<(), RuntimeError> {
    let options = CreateImageOptionsBuilder::new().from_image(&tagged(name)).build();
    let mut progress = std::pin::pin!(docker.create_image(Some(options), None, None));
    while let Some(step) = progress.next().await {
        if let Err(error) = step {
            return Err(match meaning(&error) {
                RuntimeError::Refused(_) => RuntimeError::NoImage { image: name.to_string(), why: words(&error) },
                other => other,
            });
        }
    }
    Ok(())
}

/// The name with a tag: an engine that is given none pulls all of them.
fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') || name.contains('@') { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_means_the_latest() {
        assert_eq!(tagged("redis"), "redis:latest");
        assert_eq!(tagged("registry:5000/redis"), "registry:5000/redis:latest");
        assert_eq!(tagged("redis:7"), "redis:7");
        assert_eq!(tagged("redis@sha256:00"), "redis@sha256:00");
    }
}
