//! The client's side of TLS to an engine: the certificates are read once and kept in memory.

use std::{path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// PEM files for an engine that asks for a client certificate.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Who may have signed the engine's certificate. The machine's own list of authorities is not asked.
    pub ca: PathBuf,
    /// Our certificate, and what leads from it to the authority.
    pub cert: PathBuf,
    /// Our key.
    pub key: PathBuf,
}

/// Why the certificates cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read, or holds nothing of its kind.
    #[error("cannot read {what} from {}: {why}", path.display())]
    Read {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// They were read and do not fit together.
    #[error("the certificates for the container engine cannot be used: {0}")]
    Use(String),
}

/// A client that proves who it is and trusts one authority only.
#[derive(Clone)]
pub(super) struct ClientTls(pub(super) Arc<ClientConfig>);

impl ClientTls {
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("the authority's certificate", &files.ca)? {
            roots.add(authority).map_err(|e| TlsError::Use(e.to_string()))?;
        }
        let chain = certificates("our certificate", &files.cert)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| read("our key", &files.key, &e))?;
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map(|config| Self(Arc::new(config)))
            .map_err(|e| TlsError::Use(e.to_string()))
    }
}

fn certificates(what: &'static str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| read(what, path, &e))?;
    if all.is_empty() { Err(read(what, path, &"there is none in it")) } else { Ok(all) }
}

fn read(what: &'static str, path: &PathBuf, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::Read { what, path: path.clone(), why: why.to_string() }
}
