//! Tokens: who has an API token is a creator, and who guesses tokens is slowed down.

use reqwest::Method;
use sha2::{Digest, Sha256};

use crate::support::{cli::Person, server::Server, tenant::must_work_at, unique};

/// A token, and the setting that lets it in under the name `ci` with this quota.
fn api_token(per_creator: u32) -> (String, String) {
    let token = format!("api-token-{}", unique());
    let setting =
        format!("[{{ name = \"ci\", sha256 = \"{:x}\", per_creator = {per_creator} }}]", Sha256::digest(&token));
    (token, setting)
}

#[tokio::test]
async fn the_holder_of_an_api_token_has_a_quota_of_its_own_that_survives_a_restart() {
    let (token, setting) = api_token(2);
    let mut server = Server::start(&[("limits.per_creator", "1"), ("limits.tokens", &setting)]).await;
    server.secrets().keep(&token);
    let api = server.api();
    let create = async |token: &str| api.send(api.request(Method::POST, "/v1/instances").bearer_auth(token)).await;
    api.create().await;
    for _ in 0..2 {
        let created = create(&token).await;
        assert_eq!(created.status, 201, "{created:?}");
        must_work_at(created.body["redis_url"].as_str().unwrap()).await;
    }
    assert_eq!(create(&token).await.problem(429), "quota-exceeded");
    assert_eq!(create("somebody-elses").await.problem(401), "unauthorized");
    assert_eq!(server.containers().await.len(), 3);

    server.kill();
    server.start_again().await;
    let api = server.api();
    let again = api.send(api.request(Method::POST, "/v1/instances").bearer_auth(&token)).await;
    assert_eq!(again.problem(429), "quota-exceeded");
}

#[tokio::test]
async fn the_command_line_takes_an_api_token_from_a_file() {
    let (token, setting) = api_token(1);
    let server = Server::start(&[("limits.per_creator", "1"), ("limits.tokens", &setting)]).await;
    server.secrets().keep(&token);
    let (file, wrong) = (server.home().join("ci.token"), server.home().join("wrong.token"));
    std::fs::write(&file, format!("{token}\n")).unwrap();
    std::fs::write(&wrong, "not-a-token-of-this-server\n").unwrap();
    let person = Person::of(server.url());
    let new =
        async |file: &std::path::Path| person.types(&["new", "--url", "--token-file", file.to_str().unwrap()]).await;
    server.api().create().await;
    let url = new(&file).await.done();
    server.secrets().keep(url.split([':', '@']).nth(2).unwrap());
    must_work_at(url.trim_end()).await;
    assert_eq!(new(&file).await.code, 3);
    assert_eq!(new(&wrong).await.code, 7);
}

#[tokio::test]
async fn who_guesses_tokens_is_told_to_wait_and_who_has_the_right_one_is_not() {
    let server = Server::start(&[("limits.wrong_tokens_per_minute", "3")]).await;
    let api = server.api();
    let instance = api.create().await;
    let path = format!("/v1/instances/{}", instance.id);
    let ask =
        async |method: Method, path: &str, token: &str| api.send(api.request(method, path).bearer_auth(token)).await;
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        assert_eq!(ask(method, &path, "gar_guess").await.problem(401), "unauthorized");
    }
    for (method, path) in
        [(Method::DELETE, path.as_str()), (Method::GET, "/v1/admin/actors"), (Method::POST, "/v1/instances")]
    {
        let refused = ask(method, path, "gar_guess").await;
        assert_eq!(refused.problem(429), "rate-limited");
        assert!((1..=20).contains(&refused.retry_after()));
    }
    assert_eq!(ask(Method::GET, &path, &instance.management_token).await.status, 200);
    api.create().await;
    assert_eq!(ask(Method::DELETE, &path, &instance.management_token).await.status, 204);
}
