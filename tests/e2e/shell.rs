//! The command line against a real server.

use crate::support::{
    cli::Person,
    free_port,
    server::Server,
    tenant::{must_work_at, ping},
};

#[tokio::test]
async fn a_person_gets_lists_shows_and_removes_a_redis() {
    let server = Server::start(&[]).await;
    let person = Person::of(server.url());
    let url = person.types(&["new", "--ttl", "2h", "--label", "from a shell", "--url"]).await.done();
    let url = url.trim_end();
    must_work_at(url).await;
    server.secrets().keep(url.split([':', '@']).nth(2).unwrap());

    let [container] = server.containers().await.try_into().unwrap();
    let id = &container.instance;
    let listed = person.types(&["ls"]).await.done();
    assert!(listed.contains(&id[..8]) && listed.contains("from a shell"), "{listed}");
    assert_eq!(person.types(&["show", id, "--url"]).await.done().trim_end(), url);
    let shown: serde_json::Value = serde_json::from_str(&person.types(&["show", id, "--json"]).await.done()).unwrap();
    assert_eq!((shown["id"].as_str(), shown["redis_url"].as_str()), (Some(id.as_str()), Some(url)));
    let lines = person.types(&["show", id, "--env"]).await.done();
    assert!(lines.contains("REDIS_URL=") && lines.contains(url), "{lines}");

    assert_eq!(person.types(&["rm", id]).await.code, 0);
    assert!(ping(url).await.is_err());
    assert!(server.containers().await.is_empty());
    assert!(!person.types(&["ls"]).await.done().contains(&id[..8]));
}

#[tokio::test]
async fn a_script_can_tell_failures_apart() {
    let mut server = Server::start(&[("limits.per_creator", "1")]).await;
    let person = Person::of(server.url());
    let made: serde_json::Value = serde_json::from_str(&person.types(&["new", "--json"]).await.done()).unwrap();
    let (id, token) = (made["id"].as_str().unwrap(), made["management_token"].as_str().unwrap());
    server.secrets().keep(token);
    server.secrets().keep(made["password"].as_str().unwrap());

    let refused = person.types(&["new"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (3, ""), "{refused:?}");
    assert!(!refused.err.is_empty());
    assert_eq!(person.types(&["new", "--ttl", "1000h"]).await.code, 2);
    let stranger = Person::of(server.url());
    assert_eq!(stranger.types(&["show", id, "--token", "gar_wrong"]).await.code, 7);
    assert_eq!(stranger.types(&["rm", id, "--token", token]).await.code, 0);
    let gone = person.types(&["show", id]).await;
    assert_eq!(gone.code, 5, "{gone:?}");
    server.kill();
    assert_eq!(person.types(&["new"]).await.code, 6);
    server.start_again().await;

    let nowhere = Person::of(format!("http://127.0.0.1:{}", free_port()));
    assert_eq!(nowhere.types(&["new", "--url"]).await.code, 6);
}

#[tokio::test]
async fn a_full_fleet_is_told_with_a_time_to_try_again() {
    let server = Server::start(&[("limits.per_creator", "0"), ("fleet.slots", "1")]).await;
    let brief = server.api().create().await;
    let person = Person::of(server.url());
    let refused = person.types(&["new", "--url"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (4, ""), "{refused:?}");
    assert!(refused.err.contains("full") && refused.err.contains("try again in"), "{refused:?}");
    assert_eq!(server.api().delete(&brief).await.status, 204);
    must_work_at(person.types(&["new", "--url"]).await.done().trim_end()).await;
}
