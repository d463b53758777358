//! Secrets are derived, never stored: one master key and an instance id give its password and management token.
//!
//! So a repeated request gets the same answer, a restarted server can still speak to its instances, and a stolen
//! database opens nothing. Must never print, log or serialise what it derives.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Digest, Sha256};

use super::ids::InstanceId;

/// Bytes of a master key: the block that HMAC-SHA256 is keyed with at full strength (RFC 2104 section 3).
pub const MASTER_KEY_BYTES: usize = 32;

/// What every management token begins with, so that no other token is taken for one.
pub const MANAGEMENT_TOKEN_PREFIX: &str = "gar_";

/// The key everything else is derived from. Lives in a file of mode 0600 or in the configuration.
pub struct MasterKey(SecretBox<[u8; MASTER_KEY_BYTES]>);

impl MasterKey {
    /// Takes the raw key.
    #[must_use]
    pub fn new(key: [u8; MASTER_KEY_BYTES]) -> Self {
        Self(SecretBox::new(Box::new(key)))
    }

    /// The Redis password of an instance: 43 URL-safe characters that need no escaping in a connection string.
    #[must_use]
    pub fn password(&self, id: &InstanceId, rotation: u32) -> SecretString {
        self.derive("password", id, rotation).into()
    }

    /// The token that extends, deletes and reads an instance. Another one than the password, so that a leaked
    /// connection string cannot manage the instance.
    #[must_use]
    pub fn management_token(&self, id: &InstanceId) -> SecretString {
        format!("{MANAGEMENT_TOKEN_PREFIX}{}", self.derive("management", id, 0)).into()
    }

    /// HMAC-SHA256 over purpose, id and rotation, each ended by a zero byte so that no two inputs run together.
    fn derive(&self, purpose: &str, id: &InstanceId, rotation: u32) -> String {
        // A key of any length is accepted by HMAC, so this cannot fail; an empty MAC would still never match.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()) else {
            return String::new();
        };
        for part in [purpose.as_bytes(), id.as_str().as_bytes(), &rotation.to_be_bytes()] {
            mac.update(part);
            mac.update(&[0]);
        }
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }
}

/// The lower-case hex SHA-256 of a secret: what the engine's ACL and the configuration are given instead of it.
#[must_use]
pub fn sha256_hex(secret: &SecretString) -> String {
    format!("{:x}", Sha256::digest(secret.expose_secret().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> InstanceId {
        InstanceId::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn secrets_differ_by_purpose_instance_rotation_and_key() {
        let (key, other) = (MasterKey::new([7; 32]), MasterKey::new([8; 32]));
        let all = [
            key.password(&id(1), 0),
            key.password(&id(1), 1),
            key.password(&id(2), 0),
            key.management_token(&id(1)),
            other.password(&id(1), 0),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().map(|s| s.expose_secret().to_owned()).collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn the_same_instance_always_gets_the_same_password() {
        let derive = || MasterKey::new([7; 32]).password(&id(1), 0).expose_secret().to_owned();
        assert_eq!(derive(), derive());
        assert_eq!(derive().len(), 43);
    }

    #[test]
    fn a_hash_is_sha256_in_hex() {
        assert_eq!(
            sha256_hex(&"abc".to_owned().into()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
