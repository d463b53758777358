//! Images that droplets are booted from, and those among them that are the account's own.

use getaredis_actors::domain::Timestamp;
use serde::Deserialize;
use serde_json::json;

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
    /// Gigabytes that are paid for, if it is the account's own.
    #[serde(default)]
    pub size_gigabytes: f64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
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

    /// Every image of the account's own: snapshots, backups and what was uploaded.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn own_images(&self) -> Result<Vec<Image>, ApiError> {
        self.list("/v2/images", &[("private", "true")], "images").await
    }

    /// Gives an image of the account's own this tag, which exists.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn tag_image(&self, id: u64, tag: &str) -> Result<(), ApiError> {
        let resources = json!({ "resources": [{ "resource_id": id.to_string(), "resource_type": "image" }] });
        self.post_silently(&format!("/v2/tags/{tag}/resources"), &resources).await
    }

    /// Gives an image of the account's own this name.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn rename_image(&self, id: u64, name: &str) -> Result<Image, ApiError> {
        let one: One = self.put(&format!("/v2/images/{id}"), &json!({ "name": name })).await?;
        Ok(one.image)
    }

    /// Deletes an image of the account's own; fine when there is none.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn delete_image(&self, id: u64) -> Result<(), ApiError> {
        self.delete(&format!("/v2/images/{id}")).await
    }
}
