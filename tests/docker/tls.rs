//! An engine behind TLS that asks for a client certificate, as Docker's own `--tlsverify` does.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use getaredis::adapters::docker::{DockerRuntimes, TlsError, TlsFiles};
use getaredis_actors::ports::{Runtime, RuntimeError, Runtimes};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    contract,
    harness::{Deployment, engine_socket, host, settings},
};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// The files of a client that trusts `trusted` and is known to us.
    fn client(&self, directory: &Path, trusted: &Self) -> TlsFiles {
        let (cert, key) = self.issue("control-plane");
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        TlsFiles {
            ca: write("ca.pem", trusted.0.pem()),
            cert: write("cert.pem", cert.pem()),
            key: write("key.pem", key.serialize_pem()),
        }
    }

    /// TLS in front of the engine's socket, for clients that this authority knows.
    async fn guard_the_engine(&self) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.0.der().to_vec())).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        let (cert, key) = self.issue("127.0.0.1");
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![CertificateDer::from(cert.der().to_vec())], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut outside) = acceptor.accept(stream).await else { return };
                    let mut engine = UnixStream::connect(engine_socket()).await.unwrap();
                    let _ = copy_bidirectional(&mut outside, &mut engine).await;
                });
            }
        });
        address
    }
}

fn runtime(deployment: &Deployment, tls: TlsFiles, engine: &str) -> Arc<dyn Runtime> {
    let mut settings = settings(&deployment.id);
    settings.tls = Some(tls);
    DockerRuntimes::new(settings).unwrap().open(&host(engine)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_its_certificate_works_as_over_the_socket() {
    let (deployment, authority) = (Deployment::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let address = authority.guard_the_engine().await;
    let files = authority.client(directory.path(), &authority);
    let runtime = runtime(&deployment, files, &format!("https://{address}"));
    // The files are not needed any more.
    drop(directory);
    runtime.probe().await.unwrap();
    contract::a_started_instance_takes_its_password_and_no_other(runtime.clone()).await;
    contract::what_is_removed_is_gone_and_may_be_removed_again(runtime).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_the_engine_does_not_know_is_turned_away() {
    let (deployment, authority, stranger) = (Deployment::new(), Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let address = authority.guard_the_engine().await;
    // `tcp://` means TLS as soon as there are certificates.
    let unknown = runtime(&deployment, stranger.client(directory.path(), &authority), &format!("tcp://{address}"));
    let error = unknown.probe().await.unwrap_err();
    assert!(matches!(error, RuntimeError::Unreachable(_)), "{error}");

    let mut plain = settings(&deployment.id);
    plain.tls = None;
    let plain = DockerRuntimes::new(plain).unwrap();
    let error = plain.open(&host(&format!("tcp://{address}"))).unwrap().probe().await.unwrap_err();
    assert!(matches!(error, RuntimeError::Unreachable(_)), "{error}");
    let error = plain.open(&host(&format!("https://{address}"))).err().unwrap();
    assert!(matches!(error, RuntimeError::Refused(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_we_do_not_know_is_not_spoken_to() {
    let (deployment, authority, stranger) = (Deployment::new(), Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let address = authority.guard_the_engine().await;
    let files = authority.client(directory.path(), &stranger);
    let error = runtime(&deployment, files, &format!("https://{address}")).probe().await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Unreachable(why) if why.contains("invalid peer certificate")), "{error}");
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let deployment = Deployment::new();
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let mut files = authority.client(directory.path(), &authority);
    files.key = directory.path().join("nothing.pem");
    let mut settings = settings(&deployment.id);
    settings.tls = Some(files);
    let error = DockerRuntimes::new(settings).err().unwrap();
    assert!(matches!(&error, TlsError::Read { what: "our key", .. }), "{error}");
}
