//! Droplets: ordered, looked up, listed, deleted.

use std::{collections::HashSet, net::IpAddr};

use getaredis_actors::domain::{HostName, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use super::{Api, ApiError, Placement};

/// A droplet.
#[derive(Debug, Clone, Deserialize)]
pub struct Droplet {
    /// Its id, by which it is acted upon.
    pub id: u64,
    /// Its name, which others may have too.
    pub name: String,
    /// `new`, `active`, `off` or `archive`.
    pub status: String,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    networks: Networks,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Networks {
    #[serde(default)]
    v4: Vec<Address>,
}

/// Where a droplet is reached.
#[derive(Debug, Clone, Deserialize)]
pub struct Address {
    /// The address.
    pub ip_address: IpAddr,
    /// `public` or `private`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Before its id it is the name under which a droplet is known that has our tag and a name that no host can have.
pub(super) const NAMELESS: &str = "droplet-";

impl Droplet {
    /// The name that a host on it would have.
    pub(super) fn host_name(&self) -> Option<HostName> {
        HostName::parse(&self.name)
            .or_else(|error| {
                tracing::warn!(droplet = self.id, %error, "droplet.has_a_strange_name");
                HostName::parse(&format!("{NAMELESS}{}", self.id))
            })
            .ok()
    }

    /// Its IPv4 address of this kind (`public` or `private`); none until it is active.
    #[must_use]
    pub fn address(&self, kind: &str) -> Option<IpAddr> {
        self.networks.v4.iter().find(|address| address.kind == kind).map(|address| address.ip_address)
    }
}

/// An order of up to ten droplets that differ in nothing but their names.
#[derive(Debug, Clone, Serialize)]
pub struct NewDroplets<'a> {
    /// Their names.
    pub names: &'a [&'a str],
    /// The slug of a region.
    pub region: &'a str,
    /// The slug of a size.
    pub size: &'a str,
    /// The slug of a public image or the id of a snapshot.
    #[serde(serialize_with = "id_or_text")]
    pub image: &'a str,
    /// The private network; none is the default one of the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc_uuid: Option<&'a str>,
    /// Ids or fingerprints of keys that may log in as root.
    #[serde(serialize_with = "ids_or_texts")]
    pub ssh_keys: &'a [String],
    /// Their tags.
    pub tags: &'a [&'a str],
    /// Whether DigitalOcean's agent is installed.
    pub monitoring: bool,
    /// What they set themselves up with; secret, and the same for all of them.
    #[serde(serialize_with = "exposed", skip_serializing_if = "Option::is_none")]
    pub user_data: Option<&'a SecretString>,
}

impl<'a> NewDroplets<'a> {
    /// An order that has nothing special.
    #[must_use]
    pub fn plain(names: &'a [&'a str], at: &'a Placement, image: &'a str) -> Self {
        Self {
            names,
            region: &at.region,
            size: &at.size,
            image,
            vpc_uuid: None,
            ssh_keys: &[],
            tags: &[],
            monitoring: false,
            user_data: None,
        }
    }
}

#[derive(Deserialize)]
struct Made {
    droplets: Vec<Droplet>,
}

#[derive(Deserialize)]
struct One {
    droplet: Droplet,
}

impl Api {
    /// Orders droplets. They are `new` and without addresses at first.
    ///
    /// # Errors
    /// [`ApiError`]; after [`ApiError::Unknown`] some may have been made.
    pub async fn create_droplets(&self, order: &NewDroplets<'_>) -> Result<Vec<Droplet>, ApiError> {
        let made: Made = self.post("/v2/droplets", order).await?;
        Ok(made.droplets)
    }

    /// A droplet.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn droplet(&self, id: u64) -> Result<Droplet, ApiError> {
        let one: One = self.get(&format!("/v2/droplets/{id}")).await?;
        Ok(one.droplet)
    }

    /// Every droplet with this tag.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn droplets_tagged(&self, tag: &str) -> Result<Vec<Droplet>, ApiError> {
        Ok(each_once(self.list("/v2/droplets", &[("tag_name", tag)], "droplets").await?, tag))
    }

    /// Every droplet of this name.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn droplets_named(&self, name: &str) -> Result<Vec<Droplet>, ApiError> {
        let all: Vec<Droplet> = self.list("/v2/droplets", &[("name", name)], "droplets").await?;
        // It does not tell upper from lower case.
        Ok(all.into_iter().filter(|droplet| droplet.name == name).collect())
    }

    /// Deletes a droplet; fine when there is none.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn delete_droplet(&self, id: u64) -> Result<(), ApiError> {
        self.delete(&format!("/v2/droplets/{id}")).await
    }
}

/// Whatever is listed, what does not carry the tag is not ours. And a droplet that is ordered while the pages are read
/// moves another one from its page to the next, where it is listed again.
fn each_once(listed: Vec<Droplet>, tag: &str) -> Vec<Droplet> {
    let mut ids = HashSet::new();
    let is_ours = |droplet: &Droplet| droplet.tags.iter().any(|t| t == tag);
    listed.into_iter().filter(|droplet| is_ours(droplet) && ids.insert(droplet.id)).collect()
}

/// Ids are numbers, slugs and fingerprints are texts.
#[derive(Serialize)]
#[serde(untagged)]
enum Reference<'a> {
    Id(u64),
    Text(&'a str),
}

impl<'a> Reference<'a> {
    fn of(text: &'a str) -> Self {
        text.parse().map_or(Self::Text(text), Self::Id)
    }
}

fn id_or_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Reference::of(text).serialize(serializer)
}

fn ids_or_texts<S: Serializer>(texts: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(|text| Reference::of(text)))
}

fn exposed<S: Serializer>(secret: &Option<&SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.map(ExposeSecret::expose_secret).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_pages_list_is_one_droplet_and_two_of_one_name_are_two() {
        let droplet = |id: u64, tag: &str| {
            let text = serde_json::json!({
                "id": id, "name": "d", "status": "active", "created_at": "2026-01-01T00:00:00Z", "tags": [tag],
            });
            serde_json::from_value::<Droplet>(text).unwrap()
        };
        let listed = vec![droplet(2, "ours"), droplet(1, "ours"), droplet(1, "ours"), droplet(3, "theirs")];
        assert_eq!(each_once(listed, "ours").iter().map(|droplet| droplet.id).collect::<Vec<_>>(), [2, 1]);
    }
}
