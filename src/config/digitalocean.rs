//! `[digitalocean]`: the account, and what is bought with it.

use std::{collections::BTreeSet, ops::RangeInclusive, path::PathBuf, time::Duration};

use ipnet::IpNet;
use secrecy::SecretString;
use toml::Value;

use super::{
    fields::table,
    kinds::{Read, duration, list, network, optional_path, optional_text, parsed, text},
    reader::{Reader, read_section},
};
use crate::loopback::is_loopback;

/// Where a droplet can be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The slug of a region.
    pub region: String,
    /// The slug of a size.
    pub size: String,
}

/// TCP that may come in to droplets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// A port, or the first and last of a range such as `20000-29999`.
    pub ports: String,
    /// Where it may come from.
    pub from: Vec<IpNet>,
}

/// DigitalOcean.
#[derive(Debug, Clone)]
pub struct DigitalOcean {
    /// Where its API is.
    pub api: String,
    /// What opens it; see also [`token_file`](Self::token_file).
    pub token: Option<SecretString>,
    /// The file that what opens it stands in.
    pub token_file: Option<PathBuf>,
    /// Where droplets are bought, the best place first.
    pub placements: Vec<Placement>,
    /// What they are booted from.
    pub image: String,
    /// What builders of images are booted from.
    pub bake_from: String,
    /// Longest time that making an image may take.
    pub bake_deadline: Duration,
    /// Their private network; nothing is the default one of the region.
    pub vpc: Option<String>,
    /// Keys that may log in.
    pub ssh_keys: Vec<String>,
    /// What may come in; with nothing, no firewall is looked after.
    pub inbound: Vec<Inbound>,
    /// What they set themselves up with, `{name}` standing for the droplet's name.
    pub user_data_file: Option<PathBuf>,
    /// Longest wait for one answer.
    pub call_timeout: Duration,
}

impl DigitalOcean {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let section = read_section!(reader, "digitalocean" => DigitalOcean {
            api: parsed(api),
            token: |value: &Value| {
                let token = optional_text(value)?;
                token.iter().try_for_each(|token| one_word(token))?;
                Ok(token.map(SecretString::from))
            },
            token_file: optional_path,
            placements: list(placement),
            image: parsed(image_name),
            bake_from: parsed(image_name),
            bake_deadline: duration(Duration::from_secs(1), Duration::from_secs(24 * 3600)),
            vpc: |value: &Value| if value.as_str() == Some("") { Ok(None) } else { parsed(network_id)(value).map(Some) },
            ssh_keys: list(parsed(key)),
            inbound: list(inbound),
            user_data_file: optional_path,
            call_timeout: duration(Duration::from_millis(100), Duration::from_secs(60)),
        });
        section.rules(reader);
        Some(section)
    }

    fn rules(&self, reader: &mut Reader<'_>) {
        reader.rule(
            self.token.is_none() || self.token_file.is_none(),
            &["digitalocean.token", "digitalocean.token_file"],
            "the token is given twice; leave one of them out",
        );
        let places: BTreeSet<_> = self.placements.iter().map(|place| (&place.region, &place.size)).collect();
        reader.rule(
            places.len() == self.placements.len(),
            &["digitalocean.placements"],
            "the same place twice is asked twice in vain",
        );
    }

    /// Whether the firewall lets somebody in at each of these ports, or none is looked after.
    pub(super) fn lets_in(&self, ports: &RangeInclusive<u16>) -> bool {
        let mut open: Vec<_> = self.inbound.iter().filter_map(|rule| port_range(&rule.ports)).collect();
        open.sort_by_key(|range| *range.start());
        // The first port that no rule so far lets in; one more than a port can be when all are.
        let closed = open.iter().fold(u32::from(*ports.start()), |closed, range| {
            let joined = u32::from(*range.start()) <= closed;
            if joined { closed.max(u32::from(*range.end()) + 1) } else { closed }
        });
        self.inbound.is_empty() || closed > u32::from(*ports.end())
    }
}

/// The token travels with every request, so only loopback may be spoken to in the clear.
fn api(url: &str) -> Result<String, &'static str> {
    let refused = "must be an address on https:// such as https://api.digitalocean.com, or on http:// at loopback";
    let parsed = reqwest::Url::parse(url).map_err(|_| refused)?;
    let plain = parsed.username().is_empty() && parsed.password().is_none() && parsed.query().is_none();
    match parsed.scheme() {
        "https" if plain && parsed.has_host() => Ok(url.trim_end_matches('/').to_owned()),
        "http" if plain && is_loopback(&parsed) => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(refused),
    }
}

/// What a token is: it travels in a header, which can carry nothing else.
pub(super) fn one_word(token: &str) -> Result<(), &'static str> {
    if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("must be the token as DigitalOcean showed it: one word of letters, digits and signs")
    }
}

/// What DigitalOcean calls a thing by; it becomes part of an address.
fn slug(text: &str) -> Result<String, &'static str> {
    let proper = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !text.is_empty() && text.bytes().all(proper) {
        Ok(text.to_owned())
    } else {
        Err("must be what DigitalOcean calls it: letters, digits and hyphens")
    }
}

/// The name of a public image, or the number of one's own.
fn image_name(text: &str) -> Result<String, &'static str> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u64>() {
        Err(_) if is_number && !text.is_empty() => Err("must be an image's name or id; no id is as long"),
        _ => slug(text),
    }
}

fn network_id(text: &str) -> Result<String, &'static str> {
    match uuid::Uuid::try_parse(text) {
        Ok(id) if id.hyphenated().to_string() == text.to_ascii_lowercase() => Ok(text.to_owned()),
        _ => Err("must be the id of a network, as 5a4981aa-9653-4bd1-bef5-d6bff52042e4 is one"),
    }
}

fn key(text: &str) -> Result<String, &'static str> {
    let proper = |b: u8| b.is_ascii_hexdigit() || b == b':';
    if !text.is_empty() && text.bytes().all(proper) {
        Ok(text.to_owned())
    } else {
        Err("must be the id or the fingerprint of a key, as the account shows them")
    }
}

fn placement(value: &Value) -> Read<Placement> {
    table(value, "region and size", |fields| {
        let (region, size) = (fields.must("region", parsed(slug)), fields.must("size", parsed(slug)));
        Some(Placement { region: region?, size: size? })
    })
}

fn inbound(value: &Value) -> Read<Inbound> {
    table(value, "ports and from", |fields| {
        let ports = fields.must("ports", ports);
        let from = fields.must("from", |value| match list(network)(value)? {
            from if from.is_empty() => Err("must name at least one network".to_owned()),
            from => Ok(from),
        });
        Some(Inbound { ports: ports?, from: from? })
    })
}

fn ports(value: &Value) -> Read<String> {
    let text = text(value)?;
    match port_range(&text) {
        Some(_) => Ok(text),
        None => Err("must be a port or a range of ports such as \"20000-29999\"".to_owned()),
    }
}

fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(port(first)?..=port(last)?).filter(|range| !range.is_empty())
}
