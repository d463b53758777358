//! Images: the public ones, and snapshots of droplets.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, Reply, Request, World, now, page::page};

/// An image.
#[derive(Debug)]
pub(super) struct Image {
    id: u64,
    name: String,
    /// Of a public one.
    slug: Option<String>,
    /// The droplet that a snapshot was made of.
    of: Option<u64>,
    /// Where it is; everywhere if it is public.
    region: Option<String>,
    /// In gigabytes.
    min_disk_size: u32,
    pub(super) tags: Vec<String>,
    created_at: Timestamp,
    /// Whether it can be booted from yet.
    ready: bool,
}

impl Image {
    pub(super) fn public(id: u64, slug: String) -> Self {
        Self {
            id,
            name: slug.clone(),
            slug: Some(slug),
            of: None,
            region: None,
            min_disk_size: 10,
            tags: Vec::new(),
            created_at: now(),
            ready: true,
        }
    }

    /// What a droplet of it boots from: see [`Boot::image`](crate::api::Boot).
    pub(super) fn reference(&self) -> String {
        self.slug.clone().unwrap_or_else(|| self.id.to_string())
    }

    fn is_called(&self, reference: &str) -> bool {
        self.slug.as_deref() == Some(reference) || self.id.to_string() == reference
    }
}

impl World {
    pub(super) fn list_images(&self, request: &Request<'_>) -> Reply {
        let wanted = |image: &&Image| {
            let private = request.query("private") == Some("true");
            let tagged = request.query("tag_name").is_none_or(|tag| image.tags.iter().any(|t| t == tag));
            image.ready && tagged && (!private || image.slug.is_none())
        };
        page(request, "images", self.images.values().filter(wanted).map(|image| self.json_of(image)).collect())
    }

    pub(super) fn show_image(&self, reference: &str) -> Result<Reply, Refusal> {
        let image = self.image(reference).ok_or_else(Refusal::not_found)?;
        Ok(Reply::ok(json!({ "image": self.json_of(image) })))
    }

    pub(super) fn rename_image(&mut self, request: &Request<'_>, id: u64) -> Result<Reply, Refusal> {
        #[derive(Deserialize)]
        struct Change {
            name: Option<String>,
        }
        let Change { name } = request.json()?;
        let image = self.images.get_mut(&id).filter(|image| image.slug.is_none()).ok_or_else(Refusal::not_found)?;
        if let Some(name) = name {
            image.name = name;
        }
        self.show_image(&id.to_string())
    }

    /// Deletes a snapshot; the public ones are not ours.
    pub(super) fn delete_image(&mut self, id: u64) -> Result<Reply, Refusal> {
        let ours = self.images.get(&id).is_some_and(|image| image.slug.is_none() && image.ready);
        if !ours {
            return Err(Refusal::not_found());
        }
        self.images.remove(&id);
        Ok(Reply::no_content())
    }

    pub(super) fn list_snapshots(&self, request: &Request<'_>) -> Reply {
        let of_droplets = request.query("resource_type").is_none_or(|kind| kind == "droplet");
        let all = self.images.values().filter(|image| image.ready && image.slug.is_none() && of_droplets);
        page(request, "snapshots", all.map(snapshot_json).collect())
    }

    pub(super) fn list_snapshots_of(&self, request: &Request<'_>, droplet: u64) -> Result<Reply, Refusal> {
        self.droplet(droplet)?;
        let its = self.images.values().filter(|image| image.ready && image.of == Some(droplet));
        Ok(page(request, "snapshots", its.map(|image| self.json_of(image)).collect()))
    }

    pub(super) fn show_snapshot(&self, id: u64) -> Result<Reply, Refusal> {
        let snapshot = self.images.get(&id).filter(|image| image.ready && image.slug.is_none());
        Ok(Reply::ok(json!({ "snapshot": snapshot_json(snapshot.ok_or_else(Refusal::not_found)?) })))
    }

    /// The image of this slug or id, if it can be booted from in this region.
    pub(super) fn bootable(&self, reference: &str, region: &str) -> Result<&Image, Refusal> {
        let invalid = || Refusal::unprocessable("You specified an invalid image for Droplet creation.");
        let image = self.image(reference).ok_or_else(invalid)?;
        if image.region.as_deref().is_some_and(|only| only != region) {
            return Err(Refusal::unprocessable("Image is not available in the selected region."));
        }
        Ok(image)
    }

    /// A snapshot is being made; it is there once [`snapshot_made`](Self::snapshot_made) says so.
    pub(super) fn begin_snapshot(&mut self, of: u64, name: String, region: &str, disk: u32) -> u64 {
        let id = self.id();
        let snapshot = Image {
            name,
            slug: None,
            of: Some(of),
            region: Some(region.to_owned()),
            min_disk_size: disk,
            ready: false,
            ..Image::public(id, String::new())
        };
        self.images.insert(id, snapshot);
        id
    }

    pub(super) fn snapshot_made(&mut self, image: u64, made: bool) {
        if !made {
            self.images.remove(&image);
        } else if let Some(image) = self.images.get_mut(&image) {
            image.ready = true;
        }
    }

    pub(super) fn snapshots_of(&self, droplet: u64) -> Vec<u64> {
        self.images.values().filter(|image| image.ready && image.of == Some(droplet)).map(|image| image.id).collect()
    }

    fn image(&self, reference: &str) -> Option<&Image> {
        self.images.values().find(|image| image.ready && image.is_called(reference))
    }

    /// The image as the API describes it; nothing if there is none.
    pub(super) fn image_json(&self, reference: &str) -> Value {
        self.image(reference).map_or(Value::Null, |image| self.json_of(image))
    }

    fn json_of(&self, image: &Image) -> Value {
        let distribution = if image.name.contains("ubuntu") { "Ubuntu" } else { "Debian" };
        let regions: Vec<&str> = match &image.region {
            Some(region) => vec![region],
            None => self.catalogue.regions().collect(),
        };
        json!({
            "id": image.id, "name": image.name, "slug": image.slug, "public": image.slug.is_some(),
            "type": if image.slug.is_some() { "base" } else { "snapshot" }, "distribution": distribution,
            "regions": regions, "created_at": image.created_at, "min_disk_size": image.min_disk_size,
            "size_gigabytes": 0.6, "description": "", "tags": image.tags, "status": "available", "error_message": "",
        })
    }
}

fn snapshot_json(image: &Image) -> Value {
    json!({
        "id": image.id.to_string(), "name": image.name, "regions": [image.region], "created_at": image.created_at,
        "min_disk_size": image.min_disk_size, "size_gigabytes": 0.6, "tags": image.tags,
        "resource_id": image.of.unwrap_or_default().to_string(), "resource_type": "droplet",
    })
}
