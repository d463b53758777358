//! The file system of a SQLite database is full, and has room again.

use std::{fs::OpenOptions, io::Write, path::PathBuf};

use serde_json::json;

use crate::support::{SOON, agreement::everything_agrees, eventually, server::Server, tenant::must_work};

/// Room for a database and little more.
const SMALL: &str = "mount -t tmpfs -o size=2m tmpfs records && exec \"$0\" \"$@\"";

/// A server whose database is alone on a small file system, which nobody else sees.
async fn start() -> Server {
    let mut server = Server::unstarted(&[
        ("database.url", "sqlite://records/getaredis.db"),
        ("docker.network", "bridge"),
        ("limits.per_creator", "0"),
    ]);
    std::fs::create_dir(server.home().join("records")).unwrap();
    server.start_by(&["unshare", "--mount", "--", "sh", "-c", SMALL]);
    server.start_again().await;
    server
}

/// The file that fills it, as seen from here.
fn filler(server: &Server) -> PathBuf {
    let home = server.home().canonicalize().unwrap();
    let root = PathBuf::from(format!("/proc/{}/root", server.process()));
    root.join(home.strip_prefix("/").unwrap()).join("records/filler")
}

/// Writes until there is no room at all.
fn fill(file: &PathBuf) {
    let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
    for piece in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![b'x'; piece]).is_ok() {}
    }
}

#[tokio::test]
async fn a_full_disk_refuses_creates_clearly_and_ends_nothing_until_there_is_room_again() {
    let server = start().await;
    let api = server.api();
    let mut answered = vec![api.create().await];
    let filler = filler(&server);
    fill(&filler);
    // What has been written before may leave some room in the database's own files.
    let refused = eventually("a create is refused", SOON, async || {
        let answer = api.post(json!({})).await;
        if answer.status != 201 {
            return Ok(answer);
        }
        answered.push(answer.created());
        Err("there was room".to_owned())
    })
    .await;
    assert_eq!(refused.problem(503), "store-unavailable", "{refused:?}");
    assert!(refused.retry_after() > 0);
    for _ in 0..5 {
        assert_eq!(api.get("/readyz").await.status, 503, "visitors are sent elsewhere, however often it is asked");
    }
    assert_eq!(api.post(json!({})).await.problem(503), "store-unavailable");
    for instance in &answered {
        must_work(instance).await;
        assert_eq!(api.show(instance).await.status, 200, "what is written can be read");
    }

    std::fs::remove_file(&filler).unwrap();
    let new = eventually("creates go on", SOON, async || {
        let answer = api.post(json!({})).await;
        if answer.status == 201 { Ok(answer.created()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    must_work(&new).await;
    assert_eq!(api.get("/readyz").await.status, 200);
    answered.push(new);
    let ids = answered.iter().map(|instance| instance.id.clone()).collect();
    assert_eq!(everything_agrees(&server, &answered).await, ids);
    assert_eq!(api.delete(&answered[0]).await.status, 204);
}
