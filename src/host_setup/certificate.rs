//! The server certificate of a host: made anew from the master key whenever it is needed, each time the same.
//!
//! Owns how a derived key becomes a certificate. It signs itself, because whoever checks it knows its key already.
//! Must never print the private key.

use getaredis_actors::domain::{HostName, MasterKey, secret::TLS_SEED_BYTES};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519, PublicKeyData};
use rustls_pki_types::PrivatePkcs8KeyDer;
use secrecy::{ExposeSecret, SecretString};

/// What stands before the 32 bytes of an Ed25519 key in PKCS #8, version 1 (RFC 8410 section 7).
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A host's key and the certificate it signed itself.
pub struct HostCertificate {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl HostCertificate {
    /// The certificate of the host of this name.
    ///
    /// # Errors
    /// [`rcgen::Error`] when the library does not take the key; it takes every key of this length.
    pub fn derive(master_key: &MasterKey, host: &HostName) -> Result<Self, rcgen::Error> {
        let mut pkcs8 = [0; PKCS8_HEAD.len() + TLS_SEED_BYTES];
        pkcs8[..PKCS8_HEAD.len()].copy_from_slice(&PKCS8_HEAD);
        pkcs8[PKCS8_HEAD.len()..].copy_from_slice(master_key.tls_seed(host).expose_secret());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()), &PKCS_ED25519)?;
        // Neither serial number nor dates are chosen here: the library takes the first from the key and fixed ones for
        // the others, so that the certificate is always the same one.
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host.as_str());
        let certificate = params.self_signed(&key)?;
        Ok(Self { key, certificate })
    }

    /// The public key as certificates carry it (DER): what the control plane pins.
    #[must_use]
    pub fn public_key_info(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// The certificate (PEM).
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The private key (PEM).
    #[must_use]
    pub fn key_pem(&self) -> SecretString {
        self.key.serialize_pem().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derive(key: u8, host: &str) -> HostCertificate {
        HostCertificate::derive(&MasterKey::new([key; 32]), &HostName::parse(host).unwrap()).unwrap()
    }

    #[test]
    fn the_same_host_always_has_the_same_certificate() {
        let (one, again) = (derive(7, "droplet-1"), derive(7, "droplet-1"));
        assert_eq!(one.pem(), again.pem());
        assert_eq!(one.key_pem().expose_secret(), again.key_pem().expose_secret());
        assert_eq!(one.public_key_info(), again.public_key_info());
    }

    #[test]
    fn no_two_hosts_and_no_two_installations_share_a_key() {
        let keys =
            [derive(7, "droplet-1"), derive(7, "droplet-2"), derive(8, "droplet-1")].map(|c| c.public_key_info());
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
    }

    #[test]
    fn the_certificate_carries_the_key_that_is_pinned() {
        let made = derive(7, "a_host.example");
        let parsed = rustls::server::ParsedCertificate::try_from(made.certificate.der()).unwrap();
        assert_eq!(parsed.subject_public_key_info().as_ref(), made.public_key_info());
    }
}
