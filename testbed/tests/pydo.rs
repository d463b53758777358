//! DigitalOcean's own client for Python against the imitated API, over HTTPS.

use std::{process::Command, sync::Arc};

use getaredis_testbed::api::{Api, Nothing, Scheme, Settings};
use tempfile::TempDir;

/// Names the Python that has it; `script/test` sets it, or says why it cannot.
const PYTHON: &str = "GETAREDIS_TEST_PYDO";

#[test]
fn digitaloceans_own_client_creates_lists_tags_and_deletes() {
    let Some(python) = std::env::var_os(PYTHON) else {
        #[expect(clippy::print_stderr, reason = "whoever runs it must see that it tested nothing")]
        {
            eprintln!("SKIPPED: {PYTHON} is not set, so nothing was tried with DigitalOcean's own client");
        }
        return;
    };
    let api = Api::start_at(0, Scheme::Https, "a-token", Settings::default(), Arc::new(Nothing)).unwrap();
    let dir = TempDir::new().unwrap();
    let certificate = dir.path().join("api.pem");
    std::fs::write(&certificate, api.certificate().unwrap()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/official_client.py");
    let ran = Command::new(python).args([script, api.url(), "a-token"]).arg(certificate).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ran.status.success(), "{}\n{}\n{:#?}", said(&ran.stdout), said(&ran.stderr), api.calls());
    assert!(api.calls().len() > 30 && api.droplets().is_empty());
}
