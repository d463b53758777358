//! Identifiers and other short texts that cross borders: parsed once, valid ever after.
//!
//! Each is a newtype that can only be made through its `parse`, so that nothing further in has to check again.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Why a text was refused as a name. Says what would have been allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {allowed}")]
pub struct InvalidName {
    /// What the text was meant to be, such as "a host name".
    pub what: &'static str,
    /// What is allowed, in words.
    pub allowed: &'static str,
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rules above.
            ///
            /// # Errors
            /// [`InvalidName`] when the text breaks them.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { what: $what, allowed: $allowed })
                }
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", &self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

text_newtype!(
    /// The public id of an instance: 32 lower-case hex digits (a UUID v7 without hyphens, so ids sort by age).
    /// It appears in links, labels and logs and opens nothing.
    InstanceId,
    "an instance id",
    "32 lower-case hex digits",
    |t| t.len() == 32 && t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

impl InstanceId {
    /// The id that a UUID spells.
    #[must_use]
    pub fn from_uuid(uuid: uuid::Uuid) -> Self {
        Self(uuid.simple().to_string().into())
    }

    /// When it was made: every id of ours begins with that, in milliseconds (UUID version 7, RFC 9562 section 5.7). `None`
    /// of any other one.
    #[must_use]
    pub fn made_at(&self) -> Option<Timestamp> {
        let uuid = uuid::Uuid::try_parse(&self.0).ok().filter(|uuid| uuid.get_version_num() == 7)?;
        let (seconds, nanoseconds) = uuid.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
    }
}

text_newtype!(
    /// The name of a host: a DNS label or name, as a droplet's is.
    HostName,
    "a host name",
    "1 to 63 letters, digits, dots, hyphens or underscores, beginning with a letter or digit",
    |t| (1..=63).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && t.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
);

text_newtype!(
    /// Names this installation in every label, tag and key, so that two installations never touch each other.
    DeploymentId,
    "a deployment id",
    "1 to 32 lower-case letters, digits or hyphens, beginning with a letter or digit",
    |t| (1..=32).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && t.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
);

text_newtype!(
    /// One run of one server. Several servers may share a database; each row that is being created names the one that
    /// does it.
    ServerId,
    "a server id",
    "1 to 32 lower-case letters or digits",
    |t| (1..=32).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
);

impl ServerId {
    /// The server id that an unused instance id makes: both are random enough never to meet another one.
    #[must_use]
    pub fn from_unused(id: &InstanceId) -> Self {
        Self(id.0.clone())
    }
}

text_newtype!(
    /// Where notices are posted to, by the name that the operator gave it.
    SinkName,
    "the name of a sink",
    "1 to 32 lower-case letters, digits or hyphens",
    |t| (1..=32).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);

text_newtype!(
    /// The name of an API token, which stands for it wherever the token itself must not.
    TokenName,
    "the name of a token",
    "1 to 32 lower-case letters, digits or hyphens, beginning with a letter or digit",
    |t| DeploymentId::parse(t).is_ok()
);

text_newtype!(
    /// What a creator sends along so that a repeated request gets the first one's answer.
    /// Its scope is the creator: two creators with one key do not meet.
    IdempotencyKey,
    "an idempotency key",
    "1 to 128 visible ASCII characters",
    |t| (1..=128).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic())
);

text_newtype!(
    /// A creator's own note on an instance, shown back and never interpreted.
    Label,
    "a label",
    "1 to 100 characters without control characters",
    |t| (1..=100).contains(&t.chars().count()) && !t.chars().any(char::is_control)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_is_a_uuid_without_hyphens() {
        let id = InstanceId::from_uuid(uuid::Uuid::from_u128(0xabc));
        assert_eq!(id.as_str(), "00000000000000000000000000000abc");
        assert_eq!(InstanceId::parse(id.as_str()), Ok(id));
    }

    #[test]
    fn an_id_tells_when_it_was_made_if_it_is_one_of_ours() {
        let made = |text: &str| InstanceId::parse(text).unwrap().made_at();
        let at = Timestamp::from_millisecond(1_790_000_000_123).unwrap();
        assert_eq!(made("01a0c4506c7b7000800000000000002a"), Some(at));
        for other in ["01a0c4506c7b4000800000000000002a", "00000000000000000000000000000abc", &"f".repeat(32)] {
            assert_eq!(made(other), None, "{other}");
        }
    }

    #[test]
    fn names_outside_the_rules_are_refused_with_what_is_allowed() {
        for bad in ["", "-a", "a b", "a/b", &"x".repeat(64)] {
            assert!(HostName::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "A", "a_b", "-a"] {
            assert!(DeploymentId::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "ABC", "zz"] {
            assert!(InstanceId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(IdempotencyKey::parse("with space").is_err());
        assert!(Label::parse("tab\there").is_err());
        assert_eq!(
            Label::parse("").map_err(|e| e.to_string()),
            Err("a label must be 1 to 100 characters without control characters".into())
        );
    }
}
