//! The users of hosts on a real redis-server, and the heartbeat that hosts run, written by such a user.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use getaredis_actors::{
    domain::{HostName, MasterKey},
    ports::{Directory, EngineSeen, HostVitals},
};
use redis::{Cmd, RedisResult, Value, aio::MultiplexedConnection};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{
    HostUsers, RedisDirectory,
    test_server::{DEADLINE, PASSWORD, Server},
};
use crate::host_setup::{directory_key, directory_user};

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn master_key() -> Arc<MasterKey> {
    Arc::new(MasterKey::new([7; 32]))
}

fn users(server: &Server, prefix: &str) -> HostUsers {
    HostUsers::new(server.settings(prefix, PASSWORD), master_key()).unwrap()
}

/// A connection as this host has it.
async fn connect(server: &Server, prefix: &str, name: &str) -> RedisResult<MultiplexedConnection> {
    let info: redis::ConnectionInfo = format!("redis://127.0.0.1:{}", server.port).parse().unwrap();
    let password = master_key().directory_password(&host(name));
    let user = directory_user(prefix, &host(name));
    let login = info.redis_settings().clone().set_username(user).set_password(password.expose_secret());
    redis::Client::open(info.set_redis_settings(login))?.get_multiplexed_async_connection().await
}

fn words(command: &str) -> Cmd {
    let mut words = command.split(' ');
    let mut all = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        all.arg(word);
    });
    all
}

async fn refused(connection: &mut MultiplexedConnection, command: &str) -> bool {
    match words(command).query_async::<Value>(connection).await {
        Ok(answer) => panic!("{command} was answered with {answer:?}"),
        Err(error) => error.to_string().contains("NOPERM") || error.code() == Some("NOPERM"),
    }
}

#[tokio::test]
async fn a_host_may_renew_its_own_key_and_do_nothing_else() {
    let server = Server::start().await;
    users(&server, "p:").ensure([&host("a"), &host("ab")]).await.unwrap();
    let mut a = connect(&server, "p:", "a").await.unwrap();
    words("SET p:server:a {} EX 10").exec_async(&mut a).await.unwrap();
    words("PING").exec_async(&mut a).await.unwrap();
    for command in [
        "SET p:server:ab {} EX 10",
        "SET p:server:A {}",
        "SET server:a {}",
        "SET other {}",
        "GET p:server:a",
        "GET p:server:ab",
        "DEL p:server:a",
        "EXPIRE p:server:a 1000000",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "CONFIG GET *",
        "SUBSCRIBE news",
        "PUBLISH news x",
        "EVAL return(1) 0",
        "FLUSHALL",
        "INFO",
        "ACL LIST",
        "CLIENT LIST",
        "MONITOR",
        "SHUTDOWN",
        "REPLICAOF 127.0.0.1 1",
    ] {
        assert!(refused(&mut a, command).await, "{command}");
    }
}

#[tokio::test]
async fn a_name_or_prefix_never_opens_another_key_by_looking_like_a_pattern() {
    let server = Server::start().await;
    let prefix = "a*[b]?:";
    users(&server, prefix).grant(&host("h.1")).await.unwrap();
    let mut connection = connect(&server, prefix, "h.1").await.unwrap();
    let own = directory_key(prefix, &host("h.1"));
    words(&format!("SET {own} {{}}")).exec_async(&mut connection).await.unwrap();
    for other in ["axxb1:server:h.1", "ab:server:h.1", "axxb1:server:hx1"] {
        assert!(refused(&mut connection, &format!("SET {other} {{}}")).await, "{other}");
    }
}

#[tokio::test]
async fn only_the_password_that_is_derived_for_a_host_opens_its_user() {
    let server = Server::start().await;
    let users = users(&server, "");
    users.grant(&host("a")).await.unwrap();
    assert!(connect(&server, "", "a").await.is_ok());
    assert!(connect(&server, "", "b").await.is_err(), "nobody has made it");
    // Whatever somebody made of the user by hand, it is what it should be afterwards.
    server.command(&words("ACL SETUSER host-a nopass +@all ~*")).await;
    users.grant(&host("a")).await.unwrap();
    let mut connection = connect(&server, "", "a").await.unwrap();
    assert!(refused(&mut connection, "GET anything").await);
    let listed: Vec<String> = words("ACL LIST").query_async(&mut server.connection().await.unwrap()).await.unwrap();
    let password = master_key().directory_password(&host("a"));
    assert!(listed.iter().all(|line| !line.contains(password.expose_secret()) && !line.contains("nopass ~* +@all")));
}

#[tokio::test]
async fn a_revoked_host_is_out_at_once_and_may_be_revoked_again() {
    let server = Server::start().await;
    let users = users(&server, "");
    users.grant(&host("a")).await.unwrap();
    let mut connection = connect(&server, "", "a").await.unwrap();
    words("SET server:a {}").exec_async(&mut connection).await.unwrap();
    users.revoke(&host("a")).await.unwrap();
    assert!(words("PING").exec_async(&mut connection).await.is_err(), "its connection was ended");
    assert!(connect(&server, "", "a").await.is_err());
    assert_eq!(server.directory("").read().await.unwrap().malformed, [], "its key is gone with it");
    users.revoke(&host("a")).await.unwrap();
}

#[tokio::test]
async fn a_directory_that_restarts_without_its_users_gets_those_that_are_known_and_no_other() {
    let mut server = Server::start().await;
    let users = Arc::new(users(&server, ""));
    let directory = RedisDirectory::new(server.settings("", PASSWORD)).unwrap().with_users(Arc::clone(&users));
    users.ensure([&host("bought"), &host("given-back")]).await.unwrap();
    users.revoke(&host("given-back")).await.unwrap();
    let beat = r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"brought"}"#;
    server.set("server:brought", beat).await;
    assert_eq!(directory.read().await.unwrap().hosts.len(), 1);
    server.restart().await;
    assert!(connect(&server, "", "bought").await.is_err(), "the server has forgotten it");
    let start = Instant::now();
    while directory.read().await.is_err() || connect(&server, "", "bought").await.is_err() {
        assert!(start.elapsed() < DEADLINE, "the user was not made again");
    }
    assert!(connect(&server, "", "brought").await.is_ok(), "it was seen in the directory");
    assert!(connect(&server, "", "given-back").await.is_err());
}

#[tokio::test]
async fn users_outlive_a_restart_where_the_directory_has_a_file_for_them() {
    let mut server = Server::start_with(|dir| {
        let file = dir.join("users.acl");
        fs::write(&file, format!("user default on >{PASSWORD} ~* &* +@all\n")).unwrap();
        vec!["--aclfile".into(), file.display().to_string()]
    })
    .await;
    users(&server, "").grant(&host("a")).await.unwrap();
    server.restart().await;
    assert!(connect(&server, "", "a").await.is_ok());
}

#[tokio::test]
async fn a_directory_that_lets_nobody_manage_users_says_so_without_a_password() {
    let server = Server::start().await;
    server.command(&words("ACL SETUSER reader on >letmein +@read +info ~*")).await;
    let mut settings = server.settings("", "");
    settings.url = format!("redis://reader:letmein@127.0.0.1:{}", server.port).into();
    let why = HostUsers::new(settings, master_key()).unwrap().grant(&host("a")).await.unwrap_err().to_string();
    assert!(why.contains("NOPERM") || why.contains("permission"), "{why}");
    assert!(!why.contains("letmein"), "{why}");
}

#[tokio::test]
async fn the_name_of_another_deployments_host_is_not_taken_from_it() {
    let server = Server::start().await;
    let beat = |deployment: &str| {
        format!(r#"{{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a","Deployment":"{deployment}"}}"#)
    };
    server.set("server:a", &beat("theirs")).await;
    let refused = users(&server, "").grant(&host("a")).await.unwrap_err().to_string();
    assert!(refused.starts_with("deployment theirs has a host a"), "{refused}");
    assert!(connect(&server, "", "a").await.is_err(), "no user was made");
    server.set("server:a", &beat("ours")).await;
    users(&server, "").grant(&host("a")).await.unwrap();
}

#[tokio::test]
async fn a_directory_of_two_deployments_that_forgets_its_users_gets_back_only_ours() {
    let mut server = Server::start().await;
    let users = Arc::new(users(&server, ""));
    let directory = RedisDirectory::new(server.settings("", PASSWORD)).unwrap().with_users(Arc::clone(&users));
    let beat = r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"stray","Deployment":"theirs"}"#;
    server.set("server:stray", beat).await;
    assert_eq!(directory.read().await.unwrap().malformed.len(), 1);
    users.grant(&host("a")).await.unwrap();
    server.restart().await;
    let start = Instant::now();
    while directory.read().await.is_err() || connect(&server, "", "a").await.is_err() {
        assert!(start.elapsed() < DEADLINE, "the user was not made again");
    }
    assert!(connect(&server, "", "stray").await.is_err(), "its own deployment knows its password");
}

/// The heartbeat as hosts run it. Ends with this value.
struct Heart(Child);

impl Heart {
    fn start(dir: &Path, directory: &serde_json::Value) -> Self {
        let settings = json!({
            "name": "a", "deployment": "ours", "key": "server:a", "ttl_s": 2, "every_s": 0.3, "slots": 7, "setup_version": "0.1.0",
            "directory": directory,
        });
        fs::write(dir.join("host.json"), settings.to_string()).unwrap();
        fs::write(dir.join("addresses.json"), r#"{"public": "203.0.113.5", "private": "10.0.0.5"}"#).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/host/heartbeat");
        let child = Command::new("python3")
            .arg("-B")
            .arg(program)
            .args([dir, &dir.join("engine.sock")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn access(server: &Server, ca: Option<String>) -> serde_json::Value {
    let password = master_key().directory_password(&host("a"));
    json!({
        "host": "127.0.0.1", "port": server.port, "tls": ca.is_some(), "ca": ca,
        "user": directory_user("", &host("a")), "password": password.expose_secret(),
    })
}

/// An engine with two containers, which falls silent without closing anything once it is told to.
fn engine(dir: &Path, silent: Arc<AtomicBool>) {
    let listener = UnixListener::bind(dir.join("engine.sock")).unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            if silent.load(Ordering::SeqCst) {
                kept.push(stream);
                continue;
            }
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut request) {
                    let versions = request[..read].starts_with(b"GET /version");
                    let body = if versions { r#"{"Version":"26.1.5"}"# } else { r#"[{"Id":"1"},{"Id":"2"}]"# };
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// Waits until the host says something of this kind.
async fn until(directory: &RedisDirectory, what: &str, met: impl Fn(&HostVitals) -> bool) -> HostVitals {
    let start = Instant::now();
    loop {
        let reading = directory.read().await.unwrap();
        assert_eq!(reading.malformed, []);
        match reading.vitals.get(&host("a")) {
            Some(vitals) if met(vitals) => return vitals.clone(),
            other => assert!(start.elapsed() < DEADLINE, "never {what}: {other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_host_goes_on_beating_with_the_last_count_while_its_engine_hangs() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    users(&server, "").grant(&host("a")).await.unwrap();
    let silent = Arc::new(AtomicBool::new(false));
    engine(dir.path(), Arc::clone(&silent));
    let directory = server.directory("");
    let _heart = Heart::start(dir.path(), &access(&server, None));
    let seen = until(&directory, "up", |vitals| vitals.engine == Some(EngineSeen::Up)).await;
    assert_eq!((seen.containers, seen.engine_version.as_deref()), (Some(2), Some("26.1.5")));
    assert!(seen.memory_total_bytes.is_some_and(|total| total > seen.memory_available_bytes.unwrap()));
    assert!(seen.disk_total_bytes > seen.disk_free_bytes && seen.cpus > Some(0) && seen.load_percent.is_some());
    assert!(seen.booted_at.is_some() && seen.kernel.is_some());
    assert_eq!(seen.setup_version.as_deref(), Some("0.1.0"));
    assert_eq!(directory.read().await.unwrap().hosts[0].slots, 7);

    silent.store(true, Ordering::SeqCst);
    let seen = until(&directory, "silent", |vitals| vitals.engine == Some(EngineSeen::Silent)).await;
    assert_eq!(seen.containers, Some(2));
}

#[tokio::test]
async fn a_host_comes_back_by_itself_after_the_directory_forgot_it() {
    let (mut server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    users(&server, "").grant(&host("a")).await.unwrap();
    let _heart = Heart::start(dir.path(), &access(&server, None));
    until(&server.directory(""), "there", |_| true).await;
    server.restart().await;
    let directory = server.directory("");
    assert_eq!(directory.read().await.unwrap().hosts.len(), 0, "its user is gone, so it is not heard");
    users(&server, "").grant(&host("a")).await.unwrap();
    until(&directory, "back", |vitals| vitals.engine == Some(EngineSeen::Silent)).await;
}

/// A directory that speaks TLS only, and who signed its certificate.
async fn tls_server() -> (Server, String) {
    let authority = rcgen::CertifiedIssuer::self_signed(
        {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            // Another name than the server's certificate has by default, or that one would look self-signed.
            params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
            params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
            params
        },
        rcgen::KeyPair::generate().unwrap(),
    )
    .unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let (ca, certificate, key) = (authority.pem(), certificate.pem(), key.serialize_pem());
    let written = ca.clone();
    let tls = move |dir: &Path| {
        let write = |name: &str, text: &str| -> PathBuf {
            fs::write(dir.join(name), text).unwrap();
            dir.join(name)
        };
        let (cert, key) = (write("cert.pem", &certificate), write("key.pem", &key));
        let ca = write("ca.pem", &written);
        ["--tls-cert-file", "--tls-key-file", "--tls-ca-cert-file"]
            .into_iter()
            .zip([cert, key, ca])
            .flat_map(|(name, path)| [name.to_owned(), path.display().to_string()])
            .chain(["--tls-auth-clients", "no", "--tls-port"].map(str::to_owned))
            .collect()
    };
    (Server::start_tls(tls).await, ca)
}

#[tokio::test]
async fn over_tls_host_and_server_trust_the_given_authority_only() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (server, ca) = tls_server().await;
    let (_, stranger) = (tls_server().await.0, tls_server().await.1);
    let mut settings = server.settings("", PASSWORD);
    settings.url = format!("rediss://:{PASSWORD}@127.0.0.1:{}", server.tls_port()).into();
    settings.ca = Some(ca.clone().into_bytes());
    let users = HostUsers::new(settings.clone(), master_key()).unwrap();
    users.grant(&host("a")).await.unwrap();
    let mut wrong = settings.clone();
    wrong.ca = Some(stranger.clone().into_bytes());
    assert!(RedisDirectory::new(wrong).unwrap().read().await.is_err());

    let directory = RedisDirectory::new(settings).unwrap();
    let with = |ca: String| {
        let mut access = access(&server, Some(ca));
        access["port"] = server.tls_port().into();
        access
    };
    let dir = tempfile::tempdir().unwrap();
    let heart = Heart::start(dir.path(), &with(ca));
    until(&directory, "there", |_| true).await;
    drop(heart);
    server.command(&words("DEL server:a")).await;
    let mut deceived = Heart::start(dir.path(), &with(stranger));
    let start = Instant::now();
    while start.elapsed() < std::time::Duration::from_secs(4) {
        assert_eq!(directory.read().await.unwrap().hosts, [], "it told a stranger's server its password");
        assert!(deceived.0.try_wait().unwrap().is_none(), "it ended");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
