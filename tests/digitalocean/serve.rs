//! The binary itself, configured to buy its hosts.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use getaredis_testbed::api::Api;
use tempfile::TempDir;

use crate::{
    harness::{SECRET, TOKEN, api},
    redis_server::RedisServer,
};

/// The longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// It is killed when it is dropped.
pub(crate) struct Serve {
    command: Command,
    child: Child,
    home: TempDir,
}

impl Serve {
    pub(crate) fn start(api: &Api, redis: &RedisServer, token: &str, settings: &[(&str, &str)]) -> Self {
        let home = TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(home.path().join(name), text).unwrap();
        write("token", &format!("{token}\n"));
        write("droplet.sh", &format!("#!/bin/sh\nset-up {{name}} {SECRET}\n"));
        let places = r#"[{ region = "fra1", size = "s-1vcpu-1gb" }, { region = "ams3", size = "s-1vcpu-2gb" }]"#;
        let url = redis.url();
        let mut command = Command::new(env!("CARGO_BIN_EXE_getaredis"));
        command.arg("serve").current_dir(home.path()).env_remove("GETAREDIS_CONFIG");
        let all = [
            ("http.bind", "127.0.0.1:0"),
            ("fleet.deployment", "test"),
            ("fleet.provider", "digitalocean"),
            ("fleet.pass_every", "200ms"),
            ("directory.kind", "redis"),
            ("directory.url", &url),
            ("docker.publish_address", "0.0.0.0"),
            ("digitalocean.api", api.url()),
            ("digitalocean.token_file", "token"),
            ("digitalocean.placements", places),
            ("digitalocean.image", "debian-12-x64"),
            ("digitalocean.user_data_file", "droplet.sh"),
            ("telemetry.log", "info,getaredis=debug,getaredis_actors=debug"),
        ];
        for (key, value) in all.iter().chain(settings) {
            command.args(["--set", &format!("{key}={value}")]);
        }
        let log = File::create(home.path().join("log")).unwrap();
        let child = command.stderr(log).spawn().unwrap();
        Self { command, child, home }
    }

    pub(crate) fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = self.command.spawn().unwrap();
    }

    /// From the next start on.
    pub(crate) fn set_environment(&mut self, variable: &str, value: &str) {
        self.command.env(variable, value);
    }

    /// The file in which it keeps everything.
    pub(crate) fn database(&self) -> String {
        format!("sqlite://{}", self.home.path().join("getaredis.db").display())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    pub(crate) async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", self.log());
            assert!(Instant::now() < deadline, "never came true: {what}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Fails if a secret was written anywhere.
    fn kept_its_secrets(&self, token: &str) {
        let holds = |file: &Path, secret: &str| {
            let text = fs::read(file).unwrap();
            text.windows(secret.len()).any(|part| part == secret.as_bytes())
        };
        for entry in fs::read_dir(self.home.path()).unwrap() {
            let file = entry.unwrap().path();
            if !file.ends_with("token") && !file.ends_with("droplet.sh") && file.is_file() {
                assert!(!holds(&file, token) && !holds(&file, SECRET), "{}", file.display());
            }
        }
        let arguments = fs::read(format!("/proc/{}/cmdline", self.child.id())).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains(token));
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_server_buys_what_it_is_configured_to_and_finds_it_again_after_a_crash() {
    let (api, redis) = (api(), RedisServer::start());
    let settings = [("fleet.standby", "2"), ("fleet.max_hosts", "3")];
    let mut serve = Serve::start(&api, &redis, TOKEN, &settings);
    serve.until("two are bought", |_| api.droplets().len() == 2).await;
    for droplet in api.droplets() {
        assert!(droplet.name.starts_with("test-"), "{droplet:?}");
        assert_eq!((droplet.region.as_str(), droplet.size.as_str()), ("fra1", "s-1vcpu-1gb"));
        assert_eq!((droplet.image.as_str(), &droplet.tags[..]), ("debian-12-x64", &["getaredis-test".to_owned()][..]));
        assert_eq!(droplet.user_data, Some(format!("#!/bin/sh\nset-up {} {SECRET}", droplet.name)));
    }
    serve.kept_its_secrets(TOKEN);

    let listed = api.count("GET", "/v2/droplets?");
    serve.kill_and_start_again();
    serve.until("it has looked again and again", |_| api.count("GET", "/v2/droplets?") > listed + 5).await;
    assert_eq!((api.droplets().len(), api.most_droplets()), (2, 2));
}

#[tokio::test]
async fn what_is_wrong_with_the_account_is_said_at_the_start() {
    let (api, redis) = (api(), RedisServer::start());
    let wrong = [("digitalocean.image", "beos"), ("fleet.max_hosts", "2000")];
    let mut serve = Serve::start(&api, &redis, TOKEN, &wrong);
    for finding in ["digitalocean.image: beos", "fleet.max_hosts is 2000, but the account may have 1000"] {
        serve.until(finding, |serve| serve.log().contains(finding)).await;
    }
    drop(serve);

    let mut serve = Serve::start(&api, &redis, "dop_v1_wrong", &[]);
    serve.until("401 is said", |serve| serve.log().contains("does not accept the token")).await;
    serve.kept_its_secrets("dop_v1_wrong");
}
