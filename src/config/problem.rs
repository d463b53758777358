//! What is wrong with a configuration, and where each value came from.
//!
//! Owns the words an operator reads. Must never show a secret: values pass through [`shown`] first.

use std::{fmt, path::PathBuf};

use toml::Value;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The `config.toml` that is built into the binary.
    BuiltIn,
    /// A file, and the line in it.
    File(PathBuf, usize),
    /// An environment variable of this name.
    Env(String),
    /// A command line argument, such as `--bind`.
    Argument(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Argument(name) => write!(f, "argument {name}"),
        }
    }
}

/// A key with its value and where that came from, as one problem mentions it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `section.key`, or whatever was found in its place.
    pub key: String,
    /// The value without secrets; nothing where the key itself is the problem.
    pub found: Option<String>,
    /// Where it came from.
    pub source: Source,
}

/// One thing that has to change before the configuration can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The keys involved, the one to change most likely first. Empty when a layer could not be read at all.
    pub places: Vec<Place>,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    /// For example `http.workers = "many" (env GETAREDIS__HTTP__WORKERS): must be a whole number …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, place) in self.places.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{}", place.key)?;
            if let Some(found) = &place.found {
                write!(f, " = {found}")?;
            }
            write!(f, " ({})", place.source)?;
        }
        let colon = if self.places.is_empty() { "" } else { ": " };
        write!(f, "{colon}{}", self.message)
    }
}

/// Everything that is wrong, in the order of the layers and then of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a problem:")?,
            n => write!(f, "the configuration has {n} problems:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

/// What stands in place of a secret.
const HIDDEN: &str = "(hidden)";

/// The value as it may be shown, written as TOML. Hidden are the hashes of tokens (a weak token could be found from its
/// hash), what signs notices and what may open a sink, and everything before the host of an address, in any key:
/// somebody may have put a password there.
pub(super) fn shown(key: &str, value: &Value) -> String {
    hide(key, value).to_string()
}

fn hide(key: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if key.ends_with("sha256") && !text.is_empty() => HIDDEN.into(),
        // An item that is no table is a mistake, and may be a token.
        Value::String(_) if key == "limits.tokens" => HIDDEN.into(),
        Value::String(text) if key == "webhooks.sinks.url" => without_path(&without_user_info(text)).into(),
        Value::String(_) if key.starts_with(SINKS) && !SHOWN_OF_SINKS.contains(&key) => HIDDEN.into(),
        Value::String(text) if key == "digitalocean.token" && !text.is_empty() => HIDDEN.into(),
        Value::String(text) => without_user_info(text).into(),
        Value::Array(items) => Value::Array(items.iter().map(|item| hide(key, item)).collect()),
        Value::Table(fields) => {
            Value::Table(fields.iter().map(|(k, v)| (k.clone(), hide(&format!("{key}.{k}"), v))).collect())
        }
        other => other.clone(),
    }
}

/// The key of the sinks. Whatever stands there in a wrong shape may be a secret.
const SINKS: &str = "webhooks.sinks";

/// What of a sink is shown beside the beginning of its address.
const SHOWN_OF_SINKS: [&str; 2] = ["webhooks.sinks.name", "webhooks.sinks.secret_file"];

/// `https://host/secret` as `https://host/(hidden)`.
fn without_path(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return HIDDEN.to_owned() };
    match rest.split_once(['/', '?', '#']) {
        Some((host, path)) if !path.is_empty() => format!("{scheme}://{host}/{HIDDEN}"),
        _ => text.to_owned(),
    }
}

/// `redis://user:secret@host` as `redis://(hidden)@host`. Hides up to the last `@`, so that a password with unescaped
/// characters in it is hidden in whole.
fn without_user_info(text: &str) -> String {
    let Some((secret, host)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme = secret.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
    format!("{scheme}{HIDDEN}@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_hidden_in_whole() {
        let value = Value::from("redis://me:p@ss/wo:rd@10.0.0.1:6379/0");
        assert_eq!(shown("directory.url", &value), r#""redis://(hidden)@10.0.0.1:6379/0""#);
        assert_eq!(shown("directory.url", &"redis://10.0.0.1".into()), r#""redis://10.0.0.1""#);
    }

    #[test]
    fn a_token_hash_is_hidden_and_an_empty_one_is_not() {
        assert_eq!(shown("admin.token_sha256", &"abc".into()), r#""(hidden)""#);
        assert_eq!(shown("admin.token_sha256", &"".into()), r#""""#);
    }

    #[test]
    fn a_token_in_a_list_shows_its_name_only() {
        let tokens: toml::Table = toml::from_str(r#"v = [{ name = "ci", sha256 = "abc", per_creator = 3 }]"#).unwrap();
        let text = shown("limits.tokens", &tokens["v"]);
        assert!(text.contains("ci") && text.contains('3') && !text.contains("abc"), "{text}");
        assert!(!shown("limits.tokens", &Value::Array(vec!["hunter2".into()])).contains("hunter2"));
        assert!(!shown("limits.tokens", &"hunter2".into()).contains("hunter2"));
    }

    #[test]
    fn of_a_sink_its_name_and_host_are_shown_and_neither_secret_nor_path() {
        let text = r#"v = [{ name = "a", url = "https://h:1/T0/hunter2?x=hunter2", secret = "whsec_hunter2" },
                           { name = "b", url = "https://u:hunter2@h", secret_file = "b.key" }, "hunter2"]"#;
        let sinks: toml::Table = toml::from_str(text).unwrap();
        let text = shown("webhooks.sinks", &sinks["v"]);
        assert!(!text.contains("hunter2"), "{text}");
        for part in ["\"a\"", "https://h:1/(hidden)", "https://(hidden)@h", "\"b.key\""] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(shown("webhooks.sinks", &"hunter2".into()), r#""(hidden)""#);
    }

    #[test]
    fn a_token_of_the_provider_is_hidden() {
        assert_eq!(shown("digitalocean.token", &"dop_v1_abc".into()), r#""(hidden)""#);
        assert_eq!(shown("digitalocean.token_file", &"/etc/do".into()), r#""/etc/do""#);
    }

    #[test]
    fn a_password_inside_a_list_of_hosts_is_hidden() {
        let hosts: toml::Table = toml::from_str(r#"v = [{ name = "a", endpoint = "https://u:secret@h" }]"#).unwrap();
        assert!(!shown("directory.hosts", &hosts["v"]).contains("secret"));
    }
}
