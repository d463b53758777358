//! The page in a real browser.

use crate::support::{
    browser::Browser,
    same,
    server::Server,
    tenant::{must_work_at, ping},
};

/// Seconds of a countdown such as `11:59:58` or `0:42`.
fn seconds(text: &str) -> Option<u64> {
    text.split(':').try_fold(0, |all, part| Some(all * 60 + part.parse::<u64>().ok()?))
}

#[tokio::test]
async fn one_click_gives_a_redis_that_works_can_be_extended_and_deleted() {
    let server = Server::start(&[]).await;
    let browser = Browser::open().await;
    browser.goto(&server.url()).await;
    browser.click("#get").await;
    let url = browser
        .reads("#redis-url", "a connection string", |text| text.starts_with("redis://").then(|| text.to_owned()))
        .await;
    must_work_at(&url).await;
    let [container] = server.containers().await.try_into().unwrap();
    assert_eq!(browser.address().await, format!("{}/i/{}", server.url(), container.instance));
    server.secrets().keep(url.split([':', '@']).nth(2).unwrap());

    let before = browser.reads("#countdown", "a countdown", seconds).await;
    assert!((11 * 3600..=12 * 3600).contains(&before), "{before}");
    let later =
        browser.reads("#countdown", "a countdown that runs", |text| seconds(text).filter(|now| *now < before)).await;
    browser.click("#extend").await;
    browser.reads("#countdown", "more time", |text| seconds(text).filter(|now| *now > later + 3600)).await;

    // The page shows the same after it was left and opened again.
    browser.goto(&format!("{}/i/{}", server.url(), container.instance)).await;
    browser.reads("#redis-url", "the same connection string", |text| (text == url).then_some(())).await;

    browser.click("#delete").await;
    browser.sees("#delete-question").await;
    ping(&url).await.unwrap();
    browser.click("#confirm-delete").await;
    browser.reads("#start-title", "that it is deleted", |text| (text == "Deleted").then_some(())).await;
    assert!(ping(&url).await.is_err());
    same(server.containers().await, Vec::new()).unwrap();
    browser.reads("#total", "how many were started", |text| (text == "1").then_some(())).await;
}

#[tokio::test]
async fn a_refusal_is_told_in_words_with_the_way_out() {
    let server = Server::start(&[("limits.per_creator", "1")]).await;
    server.api().create().await;
    let browser = Browser::open().await;
    browser.goto(&server.url()).await;
    browser.click("#get").await;
    browser.sees("#error").await;
    let words = browser.text("#error").await.unwrap();
    assert!(words.contains("You already have 1 running") && words.contains("Delete one"), "{words}");
    assert!(words.contains("You can try again in"), "{words}");
    assert_eq!(server.containers().await.len(), 1);
}

#[tokio::test]
async fn the_page_of_a_server_without_containers_warns() {
    let server = Server::start(&[("fleet.runtime", "process")]).await;
    let browser = Browser::open().await;
    browser.goto(&server.url()).await;
    browser.sees("#isolation-warning").await;
    browser.click("#get").await;
    browser.sees("#redis-url").await;
    assert!(browser.sees("#isolation-warning").await.text().await.unwrap().contains("not isolated"));
}
