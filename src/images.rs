//! Images that hosts are booted from: what the command line asks of the provider that keeps them.
//!
//! Owns the trait and its words, so that the command line knows no provider. An image is made of a *builder*: a machine
//! that is bought for it, set up as far as all hosts are alike, and given back.

use std::time::Duration;

use async_trait::async_trait;
use getaredis_actors::{
    domain::Timestamp,
    ports::{ProviderError, StoreError},
};
use serde::Serialize;
use tokio::sync::watch;

/// An image of this deployment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostImage {
    /// Its id, which is what a configuration names it by.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where hosts can be booted from it.
    pub regions: Vec<String>,
    /// What is paid for, in gigabytes.
    pub size_gigabytes: f64,
    /// The smallest disk that it fits on, in gigabytes.
    pub min_disk_gigabytes: u32,
    /// Whether it may be used. One that is not is left of a bake that was cut off; the next one deletes it.
    pub finished: bool,
}

/// What came of a bake that succeeded.
#[derive(Debug, Clone, PartialEq)]
pub struct Baked {
    /// The image.
    pub image: HostImage,
    /// What is still there and paid for, a sentence, if something is.
    pub left: Option<String>,
}

/// Who watches a bake.
pub struct Watcher<'a> {
    /// Hears how far it is, a sentence each time.
    pub tell: &'a dyn Fn(&str),
    /// Becomes true when it shall end. The builder is deleted first.
    pub stop: watch::Receiver<bool>,
}

/// Why there is no image, or it is still there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Somebody wanted it to end.
    #[error("interrupted")]
    Interrupted,
    /// The provider did not do it.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// It did not happen in time.
    #[error("waited {} in vain until {what}{}", humantime::format_duration(*.waited), and(.trouble))]
    TooLate {
        /// What was waited for.
        what: &'static str,
        /// How long.
        waited: Duration,
        /// What the provider said last, if it complained.
        trouble: Option<ProviderError>,
    },
    /// As many machines are paid for as may be.
    #[error(
        "{there} droplets are paid for or ordered and fleet.max_hosts allows {allowed}, so there is no room for a \
         builder{}; bake when one has been given back, or allow this command one more: GETAREDIS__FLEET__MAX_HOSTS={}",
        keeping(*.kept_until),
        .there + 1
    )]
    NoRoom {
        /// Machines of this deployment, and the places that bakes keep.
        there: usize,
        /// As many as may be.
        allowed: usize,
        /// Until when a bake keeps one of them, if one does.
        kept_until: Option<Timestamp>,
    },
    /// The database, in which the builder is written down before it is bought.
    #[error("the builder cannot be written down in the database, so it is not bought: {}", plain(.0))]
    Database(#[from] StoreError),
    /// The builder is not there any more.
    #[error("the builder is gone: somebody deleted it, or another bake of this deployment began and took its place")]
    BuilderGone,
    /// The provider failed to make the image.
    #[error("the provider failed to make the image")]
    NotMade,
    /// There is no such image, or it is not one of this deployment.
    #[error("this deployment has no image {0}")]
    NoSuchImage(String),
    /// What was asked for, or the configuration, makes no sense.
    #[error("{0}")]
    Invalid(String),
}

fn and(trouble: &Option<ProviderError>) -> String {
    trouble.as_ref().map(|error| format!("; {error}")).unwrap_or_default()
}

fn keeping(kept_until: Option<Timestamp>) -> String {
    let told = |until| {
        format!(" (one of them is another bake's, which is at work or was cut off: its place is kept until {until:.0})")
    };
    kept_until.map(told).unwrap_or_default()
}

/// The reason is a whole sentence by itself.
fn plain(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(why) | StoreError::Corrupt(why) => why.clone(),
        other => other.to_string(),
    }
}

/// The images of this deployment at its provider.
#[async_trait(?Send)]
pub trait HostImages {
    /// Makes an image of this name, or of one with the time in it. Whatever comes of it, its builder is deleted and no
    /// unfinished image is left, nor are those of earlier bakes. Two at once are no good: the one that begins last wins.
    /// The builder has a row in the database from before it is ordered until it is gone.
    ///
    /// # Errors
    /// Any [`ImageError`]; what could not be deleted was told.
    async fn bake(&self, name: Option<&str>, watcher: Watcher<'_>) -> Result<Baked, ImageError>;

    /// Every image of this deployment, the oldest first.
    ///
    /// # Errors
    /// [`ImageError::Provider`]
    async fn list(&self) -> Result<Vec<HostImage>, ImageError>;

    /// Deletes an image of this deployment.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::Provider`]
    async fn remove(&self, id: &str) -> Result<HostImage, ImageError>;
}
