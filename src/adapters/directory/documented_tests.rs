//! The access list that `docs/directory.md` tells operators to use, on a real redis-server: it is enough for all that is
//! done in the directory, no right in it is too many, and it opens nothing else.

use std::{fs, path::Path, sync::Arc};

use getaredis_actors::{
    domain::{HostName, MasterKey, secret::sha256_hex},
    ports::Directory,
};
use redis::{Value, aio::MultiplexedConnection};
use secrecy::{ExposeSecret, SecretString};

use super::{
    HostUsers, RedisDirectory,
    test_server::{PASSWORD, Server},
};
use crate::host_setup::directory_user;

const DOCUMENT: &str = include_str!("../../../docs/directory.md");

const CONTROL: &str = "controlcontrol";

/// The lines as they stand in the document, for our password.
fn documented() -> (&'static str, String) {
    let line = |start: &str| DOCUMENT.lines().find(|line| line.starts_with(start)).unwrap();
    let hash = sha256_hex(&SecretString::from(CONTROL));
    (line("user default "), line("user control ").replace("$HASH", &hash))
}

/// A directory whose users stand in a file, where nobody but us is let in yet.
async fn server() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users.acl");
    fs::write(&file, ours()).unwrap();
    let server = Server::start_with(|_| vec!["--aclfile".into(), file.display().to_string()]).await;
    (server, dir)
}

/// Lets us in as the tests' server expects it.
fn ours() -> String {
    format!("user default on >{PASSWORD} ~* &* +@all\n")
}

async fn load(server: &Server, dir: &Path, lines: &[&str]) {
    fs::write(dir.join("users.acl"), format!("{}\n", lines.join("\n"))).unwrap();
    let mut us = server.connection().await.unwrap();
    // Whoever is no user any more is thrown out, perhaps before the answer.
    let _ = redis::cmd("ACL").arg("LOAD").query_async::<Value>(&mut us).await;
}

async fn login(server: &Server, user: &str, password: &str) -> redis::RedisResult<MultiplexedConnection> {
    let url = format!("redis://{user}:{password}@127.0.0.1:{}", server.port);
    redis::Client::open(url)?.get_multiplexed_async_connection().await
}

/// Everything that is ever done in a directory, by the user that the document has; what went wrong.
async fn a_hosts_whole_life(server: &Server, dir: &Path) -> Result<(), String> {
    fn told<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
        result.map_err(|error| error.to_string())
    }
    let must = |is: bool, what: &str| is.then_some(()).ok_or_else(|| what.to_owned());
    let saved = || fs::read_to_string(dir.join("users.acl")).unwrap().contains("host-a ");
    let (a, key) = (HostName::parse("a").unwrap(), Arc::new(MasterKey::new([7; 32])));
    let mut settings = server.settings("", PASSWORD);
    settings.url = format!("redis://control:{CONTROL}@127.0.0.1:{}", server.port).into();
    let users = Arc::new(told(HostUsers::new(settings.clone(), Arc::clone(&key)))?);
    let directory = told(RedisDirectory::new(settings))?.with_users(Arc::clone(&users));

    told(users.grant(&a).await)?;
    must(saved(), "its user was not saved")?;
    let (user, password) = (directory_user("", &a), key.directory_password(&a));
    let mut host = told(login(server, &user, password.expose_secret()).await)?;
    let beat = r#"{"PublicIP":"203.0.113.5","PrivateIP":"10.0.0.5","Name":"a"}"#;
    told(redis::cmd("SET").arg(&["server:a", beat, "EX", "10"]).exec_async(&mut host).await)?;
    let reading = told(directory.read().await)?;
    must(reading.run.is_some(), "it does not know the run")?;
    must(reading.hosts.len() == 1 && reading.hosts[0].name == a, "the host was not found")?;
    must(told(users.announces(&a).await)?, "the host was not seen")?;
    told(users.revoke(&a).await)?;
    must(told(directory.read().await)?.hosts.is_empty(), "the host is still there")?;
    must(login(server, &user, password.expose_secret()).await.is_err(), "its user is still there")?;
    must(!saved(), "that it has no user was not saved")
}

#[tokio::test]
async fn the_documented_user_is_enough_for_a_hosts_whole_life_and_may_do_nothing_else() {
    let (server, dir) = server().await;
    let (default, control) = documented();
    load(&server, dir.path(), &[default, &control]).await;
    assert!(server.connection().await.is_err(), "nobody is let in without a name");
    assert_eq!(a_hosts_whole_life(&server, dir.path()).await, Ok(()));
    let mut control = login(&server, "control", CONTROL).await.unwrap();
    for command in
        ["SET server:a {}", "SET other {}", "GET server:a", "GETRANGE other 0 1", "DEL other", "KEYS *", "FLUSHALL"]
    {
        let words: Vec<_> = command.split(' ').collect();
        let answer = redis::cmd(words[0]).arg(&words[1..]).query_async::<Value>(&mut control).await;
        assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{command}");
    }
}

#[tokio::test]
async fn without_any_one_of_the_documented_rights_a_host_could_not_live() {
    let (server, dir) = server().await;
    let (_, control) = documented();
    let rights: Vec<_> = control.split(' ').filter(|word| word.starts_with('+')).collect();
    assert!(rights.len() > 5, "{control}");
    for right in rights {
        let without = control.replace(&format!(" {right}"), "");
        load(&server, dir.path(), &[ours().trim_end(), &without]).await;
        assert!(a_hosts_whole_life(&server, dir.path()).await.is_err(), "{right} is not needed");
    }
    load(&server, dir.path(), &[ours().trim_end(), &control]).await;
    assert_eq!(a_hosts_whole_life(&server, dir.path()).await, Ok(()));
}
