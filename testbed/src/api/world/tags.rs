//! Tags, and which droplets and images carry them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, Reply, Request, World, number, page::page};

/// Characters of a tag at most.
const LONGEST: usize = 255;

impl World {
    pub(super) fn list_tags(&self, request: &Request<'_>) -> Reply {
        page(request, "tags", self.tags.iter().map(|tag| self.tag(tag)).collect())
    }

    pub(super) fn create_tag(&mut self, request: &Request<'_>) -> Result<Reply, Refusal> {
        #[derive(Deserialize)]
        struct New {
            name: String,
        }
        let New { name } = request.json()?;
        self.learn_tag(&name)?;
        Ok(Reply::new(201, json!({ "tag": self.tag(&name) })))
    }

    pub(super) fn show_tag(&self, tag: &str) -> Result<Reply, Refusal> {
        self.known(tag)?;
        Ok(Reply::ok(json!({ "tag": self.tag(tag) })))
    }

    pub(super) fn delete_tag(&mut self, tag: &str) -> Result<Reply, Refusal> {
        self.known(tag)?;
        self.tags.remove(tag);
        self.droplets.values_mut().for_each(|droplet| droplet.tags.retain(|t| t != tag));
        self.images.values_mut().for_each(|image| image.tags.retain(|t| t != tag));
        Ok(Reply::no_content())
    }

    pub(super) fn tag_resources(&mut self, request: &Request<'_>, tag: &str, on: bool) -> Result<Reply, Refusal> {
        #[derive(Deserialize)]
        struct Resources {
            resources: Vec<Resource>,
        }
        #[derive(Deserialize)]
        struct Resource {
            resource_id: Value,
            resource_type: String,
        }
        self.known(tag)?;
        let Resources { resources } = request.json()?;
        for resource in resources {
            let id = number(resource.resource_id.to_string().trim_matches('"'))?;
            let tags = match resource.resource_type.as_str() {
                "droplet" => self.droplets.get_mut(&id).map(|droplet| &mut droplet.tags),
                "image" => self.images.get_mut(&id).map(|image| &mut image.tags),
                other => return Err(Refusal::unprocessable(format!("{other} is not a known resource type"))),
            };
            let tags = tags.ok_or_else(Refusal::not_found)?;
            tags.retain(|t| t != tag);
            if on {
                tags.push(tag.to_owned());
            }
        }
        Ok(Reply::no_content())
    }

    /// A tag is made by being used.
    pub(super) fn learn_tag(&mut self, tag: &str) -> Result<(), Refusal> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':');
        if tag.is_empty() || tag.len() > LONGEST || !tag.bytes().all(allowed) {
            return Err(Refusal::unprocessable(
                "Tag name may only contain letters, numbers, colons, dashes, and underscores",
            ));
        }
        self.tags.insert(tag.to_owned());
        Ok(())
    }

    fn known(&self, tag: &str) -> Result<(), Refusal> {
        if self.tags.contains(tag) { Ok(()) } else { Err(Refusal::not_found()) }
    }

    fn tag(&self, tag: &str) -> Value {
        let carries = |tags: &[String]| tags.iter().any(|t| t == tag);
        let droplets = self.droplets.values().filter(|droplet| carries(&droplet.tags)).count();
        let images = self.images.values().filter(|image| carries(&image.tags)).count();
        json!({ "name": tag, "resources": {
            "count": droplets + images, "droplets": { "count": droplets }, "images": { "count": images },
            "volumes": { "count": 0 }, "volume_snapshots": { "count": 0 }, "databases": { "count": 0 },
        }})
    }
}
