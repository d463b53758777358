//! `[webhooks]`: who is told what happened to instances.

use std::{collections::BTreeSet, fmt, path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use getaredis_actors::{domain::SinkName, settings::WebhookSettings};
use reqwest::Url;
use secrecy::{SecretSlice, SecretString};
use toml::Value;

use super::{
    fields::table,
    kinds::{Read, duration, list, parsed, some_text, text, yes_or_no},
    reader::{Reader, read_section},
};
use crate::loopback::is_loopback;

/// What a written secret begins with.
const SECRET_PREFIX: &str = "whsec_";

/// Fewer bytes than the Standard Webhooks specification asks for are too easily guessed, more add nothing.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A receiver of notices.
#[derive(Debug, Clone)]
pub struct Sink {
    /// What it is called in logs and metrics.
    pub name: SinkName,
    /// Where notices are posted. Some services write what opens them into the path, so it is a secret.
    pub url: SinkUrl,
    /// What notices are signed with.
    pub secret: SinkSecret,
}

/// The address of a sink; shown without what may be secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct SinkUrl(pub Url);

impl fmt::Debug for SinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/…", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

/// Where the secret of a sink is.
#[derive(Debug, Clone)]
pub enum SinkSecret {
    /// In the configuration.
    Key(SecretSlice<u8>),
    /// In a file, written as it would be in the configuration.
    File(PathBuf),
}

/// The webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// The receivers.
    pub sinks: Vec<Sink>,
    /// Longest wait for an answer of one.
    pub timeout: Duration,
    /// How long something is still told to one that does not accept it.
    pub give_up_after: Duration,
    /// Whether notices may travel unencrypted beyond this machine.
    pub allow_plain_http: bool,
}

impl Webhooks {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let webhooks = read_section!(reader, "webhooks" => Webhooks {
            sinks: list(sink),
            timeout: duration(Duration::from_millis(100), Duration::from_secs(60)),
            give_up_after: duration(Duration::from_secs(1), Duration::from_secs(30 * 24 * 3600)),
            allow_plain_http: yes_or_no,
        });
        webhooks.rules(reader);
        Some(webhooks)
    }

    fn rules(&self, reader: &mut Reader<'_>) {
        let names: BTreeSet<_> = self.sinks.iter().map(|sink| &sink.name).collect();
        reader.rule(names.len() == self.sinks.len(), &["webhooks.sinks"], "every sink needs a name of its own");
        let private = |sink: &Sink| sink.url.0.scheme() == "https" || is_loopback(&sink.url.0);
        reader.rule(
            self.allow_plain_http || self.sinks.iter().all(private),
            &["webhooks.sinks", "webhooks.allow_plain_http"],
            "a sink on another machine must be reached by https, or plain http be allowed",
        );
    }

    /// The receivers' names, for the store.
    #[must_use]
    pub fn names(&self) -> Vec<SinkName> {
        self.sinks.iter().map(|sink| sink.name.clone()).collect()
    }

    /// As the brain is told.
    #[must_use]
    pub fn settings(&self) -> WebhookSettings {
        WebhookSettings { sinks: self.names(), timeout: self.timeout, give_up_after: self.give_up_after }
    }
}

fn sink(value: &Value) -> Read<Sink> {
    table(value, "name, url and secret_file (or secret)", |fields| {
        let name = fields.must("name", parsed(SinkName::parse));
        let url = fields.must("url", url);
        let key = fields.may("secret", parsed(signing_key));
        let file = fields.may("secret_file", |file| Ok(PathBuf::from(some_text(file)?)));
        let secret = match (key?, file?) {
            (Some(key), None) => SinkSecret::Key(key),
            (None, Some(file)) => SinkSecret::File(file),
            _ => {
                fields.refuse("must have either secret_file or secret");
                return None;
            }
        };
        Some(Sink { name: name?, url: url?, secret })
    })
}

fn url(value: &Value) -> Read<SinkUrl> {
    let url = Url::parse(&text(value)?).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .map(SinkUrl)
        .ok_or_else(|| "must be an address such as https://hooks.example.org/getaredis, without a user".to_owned())
}

/// Reads a secret as the Standard Webhooks specification writes it.
///
/// # Errors
/// What would be one; the text itself is not repeated.
pub fn signing_key(text: &str) -> Result<SecretSlice<u8>, &'static str> {
    let secret = SecretString::from(text.trim());
    let encoded = secrecy::ExposeSecret::expose_secret(&secret).strip_prefix(SECRET_PREFIX);
    encoded
        .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok())
        .filter(|key| SECRET_BYTES.contains(&key.len()))
        .map(SecretSlice::from)
        .ok_or("must be whsec_ and the base64 of 24 to 64 random bytes: echo whsec_$(openssl rand -base64 32)")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_a_prefix_and_the_base64_of_enough_bytes() {
        let text = format!("whsec_{}\n", BASE64_STANDARD.encode([7; 32]));
        assert_eq!(signing_key(&text).unwrap().expose_secret(), [7; 32]);
        for bad in ["", "whsec_", "hunter2", "whsec_c2hvcnQ=", "whsec_?", &BASE64_STANDARD.encode([7; 32])] {
            assert!(signing_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        let url = SinkUrl(Url::parse("https://hooks.example.org/T0/hunter2?token=hunter2").unwrap());
        assert_eq!(format!("{url:?}"), "https://hooks.example.org/…");
    }
}
