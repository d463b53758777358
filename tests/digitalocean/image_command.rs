//! `getaredis image`, the binary itself, at an imitated API with machines that are tasks.

use std::{
    fs,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use getaredis::adapters::store::{Owner, SqlStore, StoreSettings};
use getaredis_actors::domain::DeploymentId;
use getaredis_testbed::api::{
    Api, RateLimits,
    heartbeats::{Announce, Heartbeats, Machine},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{TOKEN, api_with, droplets};

/// The longest that a bake may take; the command looks every few seconds.
const PATIENCE: Duration = Duration::from_secs(90);

struct Nobody;

#[async_trait]
impl Announce for Nobody {
    async fn beat(&self, _: &Machine) {}
    async fn gone(&self, _: &Machine) {}
}

pub(crate) fn api() -> Api {
    let api = api_with(Arc::new(Heartbeats::new(Duration::from_millis(100), PATIENCE, Arc::new(Nobody))));
    api.limit_rates(RateLimits { per_hour: 1_000_000, per_minute: 100_000 });
    api
}

/// The command in a home of its own, with the database there if nothing else is said.
pub(crate) fn command(api: &Api, home: &TempDir, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    fs::write(home.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_getaredis"));
    command.arg("image").args(arguments).current_dir(home.path()).env_remove("GETAREDIS_CONFIG");
    let all = [
        ("fleet.deployment", "test"),
        ("fleet.provider", "digitalocean"),
        ("directory.kind", "redis"),
        ("directory.url", "redis://control:hunter2@10.118.0.1:6379"),
        ("directory.endpoint", "https://{private_address}:2376"),
        ("docker.host_auth", "derived"),
        ("docker.publish_address", "0.0.0.0"),
        ("digitalocean.api", api.url()),
        ("digitalocean.token_file", "token"),
        ("digitalocean.placements", r#"[{ region = "fra1", size = "s-1vcpu-1gb" }]"#),
    ];
    for (key, value) in all.iter().chain(settings) {
        command.args(["--set", &format!("{key}={value}")]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!format!("{out}{err}").contains(TOKEN) && !format!("{out}{err}").contains("hunter2"));
    (output.status.code().unwrap(), out, err)
}

#[test]
fn an_image_is_baked_named_listed_and_deleted() {
    let (api, home) = (api(), TempDir::new().unwrap());
    let (code, out, err) = said(&command(&api, &home, &["bake", "--name", "bread"], &[]).output().unwrap());
    assert_eq!(code, 0, "{err}");
    let (first, line) = out.trim_end().split_once('\n').unwrap();
    let (id, name) = first.split_once(' ').unwrap();
    assert_eq!((name, line), ("bread", format!("digitalocean.image = \"{id}\"").as_str()));
    for step in
        ["no server has used this database", "bought, boots from debian-13-x64", "set up after", "image is made"]
    {
        assert!(err.contains(step), "{err}");
    }
    assert!(droplets(&api).is_empty());

    let used = [("digitalocean.image", id)];
    let (code, listed, _) = said(&command(&api, &home, &["ls"], &used).output().unwrap());
    assert!(code == 0 && listed.contains(id) && listed.contains("fra1  bread  in use"), "{listed}");
    let (code, _, err) = said(&command(&api, &home, &["rm", id], &used).output().unwrap());
    assert!(code == 2 && err.contains("digitalocean.image"), "{err}");
    let (code, removed, _) = said(&command(&api, &home, &["rm", id, "--json"], &[]).output().unwrap());
    assert_eq!((code, serde_json::from_str::<Value>(&removed).unwrap()["name"].as_str()), (0, Some("bread")));
    let (code, listed, _) = said(&command(&api, &home, &["ls", "--json"], &[]).output().unwrap());
    assert_eq!((code, listed.as_str()), (0, "[]\n"));
    let (code, _, err) = said(&command(&api, &home, &["rm", id], &[]).output().unwrap());
    assert!(code == 5 && err.contains(&format!("this deployment has no image {id}")), "{err}");
}

#[tokio::test]
async fn an_interrupt_deletes_the_builder() {
    let (api, home) = (api(), TempDir::new().unwrap());
    // So the builder never gets as far as to be set up.
    api.set_activation(PATIENCE);
    let child = command(&api, &home, &["bake", "--json"], &[]).spawn().unwrap();
    let begun = Instant::now();
    while api.count("GET", "/v2/droplets/") == 0 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(droplets(&api).len(), 1);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let (code, out, err) = said(&child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("SIGINT: tidying up") && err.ends_with("interrupted\n"), "{err}");
    assert!(droplets(&api).is_empty());
}

#[test]
fn what_cannot_work_is_said_with_its_exit_code_and_buys_nothing() {
    let (api, home) = (api(), TempDir::new().unwrap());
    fs::write(home.path().join("wrong"), "dop_v1_wrong").unwrap();
    fs::write(home.path().join("own.sh"), "#!/bin/sh\n").unwrap();
    for (settings, expected, words) in [
        (&[("fleet.provider", "none")][..], 2, "set fleet.provider"),
        (&[("digitalocean.user_data_file", "own.sh")], 2, "made by hand"),
        (&[("digitalocean.token_file", "nowhere")], 2, "digitalocean.token_file"),
        (&[("digitalocean.token_file", "wrong")], 7, "does not accept"),
        (&[("digitalocean.api", "http://127.0.0.1:9")], 6, "refused"),
        (&[("digitalocean.bake_from", "beos")], 2, "invalid image"),
        (&[("digitalocean.placements", r#"[{ region = "mars1", size = "s-1vcpu-1gb" }]"#)], 2, "region"),
    ] {
        let (code, out, err) = said(&command(&api, &home, &["bake"], settings).output().unwrap());
        assert_eq!((code, out.as_str()), (expected, ""), "{settings:?}: {err}");
        assert!(err.contains(words), "{settings:?}: {err}");
    }
    assert!(droplets(&api).is_empty());
    api.limit_droplets(0);
    let (code, _, err) = said(&command(&api, &home, &["bake"], &[]).output().unwrap());
    assert!(code == 4 && err.contains("droplet limit"), "{err}");
}

#[tokio::test]
async fn without_its_deployments_database_nothing_is_bought_and_images_are_listed_all_the_same() {
    let (api, home) = (api(), TempDir::new().unwrap());
    let of_another = format!("sqlite://{}", home.path().join("another.db").display());
    let settings = StoreSettings { url: of_another.clone().into(), pool: 1, acquire_timeout: PATIENCE, tls_ca: None };
    let store = SqlStore::open(&settings).await.unwrap();
    let owner = Owner { deployment: DeploymentId::parse("another").unwrap(), key_fingerprint: "k".to_owned() };
    store.claim(owner, false).await.unwrap();
    for (url, words) in [
        ("mysql://root:hunter2@127.0.0.1:9/nothing", "cannot use the MySQL database nothing at 127.0.0.1:9"),
        ("sqlite:///nowhere/at/all.db", "there is no directory /nowhere/at"),
        (&of_another, "it belongs to the deployment `another`, and fleet.deployment is `test`"),
    ] {
        let away = [("database.url", url)];
        let (code, out, err) = said(&command(&api, &home, &["bake"], &away).output().unwrap());
        assert_eq!((code, out.as_str()), (4, ""), "{url}: {err}");
        assert!(err.contains("so it is not bought: cannot use") && err.contains(words), "{url}: {err}");
        let (code, listed, err) = said(&command(&api, &home, &["ls", "--json"], &away).output().unwrap());
        assert_eq!((code, listed.as_str()), (0, "[]\n"), "{err}");
        let (code, _, err) = said(&command(&api, &home, &["rm", "123"], &away).output().unwrap());
        assert_eq!(code, 5, "{err}");
    }
    assert_eq!(api.count("POST", "/v2/droplets"), 0);
    assert!(!home.path().join("master.key").exists(), "it needs none");
}
