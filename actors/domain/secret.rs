//! Secrets are derived, never stored: one master key and an instance id give its password and management token, one
//! master key and a host's name what that host is given and reached with.
//!
//! So a repeated request gets the same answer, a restarted server can still speak to its instances and hosts, and a
//! stolen database opens nothing. Must never print, log or serialise what it derives.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Digest, Sha256};

use super::ids::{HostName, InstanceId};

/// Bytes of a master key: the block that HMAC-SHA256 is keyed with at full strength (RFC 2104 section 3).
pub const MASTER_KEY_BYTES: usize = 32;

/// What every management token begins with, so that no other token is taken for one.
pub const MANAGEMENT_TOKEN_PREFIX: &str = "gar_";

/// The key everything else is derived from. Lives in a file of mode 0600 or in the configuration.
pub struct MasterKey(SecretBox<[u8; MASTER_KEY_BYTES]>);

/// Bytes of an Ed25519 private key (RFC 8032 section 5.1.5).
pub const TLS_SEED_BYTES: usize = 32;

impl MasterKey {
    /// Takes the raw key.
    #[must_use]
    pub fn new(key: [u8; MASTER_KEY_BYTES]) -> Self {
        Self(SecretBox::new(Box::new(key)))
    }

    /// The Redis password of an instance: 43 URL-safe characters that need no escaping in a connection string.
    #[must_use]
    pub fn password(&self, id: &InstanceId, rotation: u32) -> SecretString {
        self.derive_text("password", id.as_str(), rotation).into()
    }

    /// The token that extends, deletes and reads an instance. Another one than the password, so that a leaked
    /// connection string cannot manage the instance.
    #[must_use]
    pub fn management_token(&self, id: &InstanceId) -> SecretString {
        format!("{MANAGEMENT_TOKEN_PREFIX}{}", self.derive_text("management", id.as_str(), 0)).into()
    }

    /// What opens a host's container engine to us: 43 URL-safe characters. The host itself is given a hash.
    #[must_use]
    pub fn engine_password(&self, host: &HostName) -> SecretString {
        self.derive_text("host-engine", host.as_str(), 0).into()
    }

    /// What a host writes its own key of the directory with: 43 URL-safe characters.
    #[must_use]
    pub fn directory_password(&self, host: &HostName) -> SecretString {
        self.derive_text("host-directory", host.as_str(), 0).into()
    }

    /// The private key of a host's server certificate. Derived, so that its public half is known without asking.
    #[must_use]
    pub fn tls_seed(&self, host: &HostName) -> SecretBox<[u8; TLS_SEED_BYTES]> {
        SecretBox::new(Box::new(self.derive("host-tls", host.as_str(), 0)))
    }

    /// Tells this key from others, and nothing else about it: 43 URL-safe characters.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.derive_text("fingerprint", "", 0)
    }

    fn derive_text(&self, purpose: &str, subject: &str, rotation: u32) -> String {
        URL_SAFE_NO_PAD.encode(self.derive(purpose, subject, rotation))
    }

    /// HMAC-SHA256 over purpose, subject and rotation, each ended by a zero byte so that no two inputs run together.
    fn derive(&self, purpose: &str, subject: &str, rotation: u32) -> [u8; 32] {
        // HMAC fills a short key with zeroes up to its block; a whole block is what it takes without a way to fail.
        let mut block = [0; 64];
        block[..MASTER_KEY_BYTES].copy_from_slice(self.0.expose_secret());
        let mut mac = <Hmac<Sha256> as Mac>::new(&block.into());
        for part in [purpose.as_bytes(), subject.as_bytes(), &rotation.to_be_bytes()] {
            mac.update(part);
            mac.update(&[0]);
        }
        mac.finalize().into_bytes().into()
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

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
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
    fn what_is_derived_does_not_change_from_one_version_to_the_next() {
        let key = MasterKey::new([7; 32]);
        assert_eq!(key.password(&id(1), 0).expose_secret(), "oSuLX6NMSCEkNDmJmEc6UHChlmtLWPdTzj3XI09XnGg");
        assert_eq!(key.engine_password(&host("a")).expose_secret(), "MahKcL9O7nRamjzuPFm3s8zlVUME7lolwjKN893xE-4");
    }

    #[test]
    fn a_hosts_secrets_differ_by_purpose_host_and_key() {
        let (key, other) = (MasterKey::new([7; 32]), MasterKey::new([8; 32]));
        let (a, b) = (host("droplet-1"), host("droplet-10"));
        let all = [
            key.engine_password(&a),
            key.engine_password(&b),
            key.directory_password(&a),
            key.directory_password(&b),
            other.engine_password(&a),
            URL_SAFE_NO_PAD.encode(key.tls_seed(&a).expose_secret()).into(),
            URL_SAFE_NO_PAD.encode(key.tls_seed(&b).expose_secret()).into(),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().map(|s| s.expose_secret().to_owned()).collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_hash_is_sha256_in_hex() {
        assert_eq!(
            sha256_hex(&"abc".to_owned().into()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
