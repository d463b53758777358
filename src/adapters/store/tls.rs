//! Encryption on the way to a database server. Owns whom we believe: the authorities in `database.tls_ca` and nobody
//! else.

use std::{path::Path, sync::Arc};

use getaredis_actors::ports::StoreError;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// What an operator can do when there is no agreement about TLS.
pub(super) const REMEDY: &str =
    "give the server a certificate for the host in database.url, signed by an authority in database.tls_ca";

/// A client that requires TLS and verifies the server's chain and name.
pub(super) fn client(ca: &Path) -> Result<ClientConfig, StoreError> {
    let unusable = |why: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("cannot use {} (database.tls_ca): {why}", ca.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| unusable(&e))? {
        roots.add(certificate.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"it holds no certificate in PEM format"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
