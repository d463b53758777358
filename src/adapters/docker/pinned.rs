//! The client's side of TLS to an engine whose public key is known beforehand, and the password that opens it.
//!
//! Owns the check that the engine is the one that was meant: the key of its certificate is exactly the pinned one and
//! the handshake was signed with it. No authority, no name and no date counts, so none has to be kept. Must never
//! print a password.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, header::InvalidHeaderValue};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, PeerIncompatible, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature},
    server::ParsedCertificate,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use secrecy::{ExposeSecret, SecretString};

use super::tls::{ClientTls, TlsError};

/// How an engine is recognised and what it is told so that it recognises us.
#[derive(Clone)]
pub(super) struct Pinned {
    /// Trusts one key.
    pub(super) tls: ClientTls,
    /// The header that opens the engine.
    pub(super) authorization: HeaderValue,
}

impl Pinned {
    /// An engine with this key (a DER-encoded `SubjectPublicKeyInfo`), user and password.
    pub(super) fn new(key: Vec<u8>, user: &str, password: &SecretString) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(ExactKey { key, provider: Arc::clone(&provider) });
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| TlsError::Use(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let authorization = basic(user, password).map_err(|e| TlsError::Use(e.to_string()))?;
        Ok(Self { tls: ClientTls(Arc::new(config)), authorization })
    }
}

/// The header of HTTP basic authentication, marked so that nobody prints it.
fn basic(user: &str, password: &SecretString) -> Result<HeaderValue, InvalidHeaderValue> {
    let credentials = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
    let mut value = HeaderValue::from_str(&format!("Basic {credentials}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Accepts the certificate with this key and no other.
#[derive(Debug)]
struct ExactKey {
    key: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ExactKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if ParsedCertificate::try_from(certificate)?.subject_public_key_info().as_ref() == self.key {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(WrongKey)))))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What an operator reads when something else answers where a host should.
struct WrongKey;

/// The same words: it is this form that the library puts into its error.
impl fmt::Debug for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its key is not the one that this host was set up with")
    }
}

impl std::error::Error for WrongKey {}
