//! How a server starts: with nothing configured at all, and what it says when it cannot.

use std::{
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use crate::support::{browser::Browser, server::Server, tenant::ping};

/// Runs a server that ends by itself.
async fn refused(mut command: Command) -> String {
    command.stderr(Stdio::piped());
    let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_ne!(output.status.code(), Some(0));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn a_server_that_nobody_configured_serves_at_a_click_and_ends_in_order_at_ctrl_c() {
    let mut server = Server::start_unconfigured().await;
    let browser = Browser::open().await;
    browser.goto(&server.url()).await;
    browser.click("#get").await;
    let url = browser
        .reads("#redis-url", "a connection string", |text| text.starts_with("redis://").then(|| text.to_owned()))
        .await;
    server.secrets().keep(url.split([':', '@']).nth(2).unwrap());
    assert_eq!(ping(&url).await.unwrap(), "PONG");
    assert_eq!(server.containers().await.len(), 1);

    server.interrupt();
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(server.log().contains("SIGINT"), "it does not say why it ended");
    assert_eq!(ping(&url).await.unwrap(), "PONG", "what a tenant has lives on");
}

#[tokio::test]
async fn a_second_server_on_the_same_database_is_refused_and_told_what_to_do() {
    let server = Server::start(&[]).await;
    let words = refused(server.command(0)).await;
    assert!(words.contains("getaredis.db") && words.contains("another getaredis server is using it"), "{words}");
    assert!(words.contains("database.url"), "{words}");
    assert!(!words.contains("panicked"), "{words}");
    server.api().create().await;
}

#[tokio::test]
async fn a_database_of_another_deployment_or_another_master_key_is_refused_and_nothing_in_it_is_touched() {
    let mut server = Server::start(&[]).await;
    let instance = server.api().create().await;
    server.interrupt();
    server.ended().await;

    let mut renamed = server.command(0);
    renamed.env("GETAREDIS__FLEET__DEPLOYMENT", "renamed");
    let words = refused(renamed).await;
    assert!(words.contains("fleet.deployment is `renamed`") && words.contains("--take-over"), "{words}");
    let mut with_another_key = server.command(0);
    with_another_key.env("GETAREDIS__INSTANCES__MASTER_KEY_FILE", server.home().join("another.key"));
    let words = refused(with_another_key).await;
    assert!(words.contains("instances.master_key_file") && words.contains("--take-over"), "{words}");

    server.start_again().await;
    assert_eq!(server.api().show(&instance).await.body["state"], "running");
    assert_eq!(ping(&instance.redis_url).await.unwrap(), "PONG");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let server = Server::start(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let words = refused(server.command(taken.port())).await;
    assert!(words.contains(&taken.to_string()) && words.contains("http.bind"), "{words}");
    assert!(words.contains("in use"), "{words}");
}

#[tokio::test]
async fn everything_that_is_wrong_with_the_configuration_is_said_at_once() {
    let server = Server::start(&[]).await;
    let mut command = server.command(0);
    command.env("GETAREDIS__INSTANCES__MIN_TTL", "soon").env("GETAREDIS__FLEET__SLOTZ", "3");
    let words = refused(command).await;
    assert!(words.contains("instances.min_ttl") && words.contains("SLOTZ"), "{words}");
}

#[tokio::test]
async fn the_files_of_a_server_are_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start(&[]).await;
    server.api().create().await;
    for file in ["master.key", "getaredis.db"] {
        let mode = std::fs::metadata(server.home().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    let database = std::fs::read(server.home().join("getaredis.db")).unwrap();
    let log = std::fs::read(server.home().join("getaredis.db-wal")).unwrap_or_default();
    for bytes in [database, log] {
        assert_eq!(server.secrets().found_in(&String::from_utf8_lossy(&bytes)), Vec::<String>::new());
    }
}
