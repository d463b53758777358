//! Images that droplets are booted from, and the snapshots among them.

use getaredis_actors::domain::Timestamp;
use serde::Deserialize;

use super::{Api, ApiError};

/// An image.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it can be booted.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Gigabytes that a droplet's disk must have at least.
    #[serde(default)]
    pub min_disk_size: Option<u32>,
}

/// An image that was made of a droplet.
#[derive(Debug, Clone, Deserialize)]
pub struct Snapshot {
    /// Its id, which is also that of the image.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it can be booted.
    #[serde(default)]
    pub regions: Vec<String>,
}

#[derive(Deserialize)]
struct One {
    image: Image,
}

impl Api {
    /// The image of this slug or id.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn image(&self, reference: &str) -> Result<Image, ApiError> {
        let one: One = self.get(&format!("/v2/images/{reference}")).await?;
        Ok(one.image)
    }

    /// Every snapshot of a droplet.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn snapshots(&self) -> Result<Vec<Snapshot>, ApiError> {
        self.list("/v2/snapshots", &[("resource_type", "droplet")], "snapshots").await
    }

    /// Deletes a snapshot; fine when there is none.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn delete_snapshot(&self, id: &str) -> Result<(), ApiError> {
        self.delete(&format!("/v2/snapshots/{id}")).await
    }
}
