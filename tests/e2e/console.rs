//! The operator's page in a real browser.

use crate::support::{browser::Browser, server::Server};

#[tokio::test]
async fn the_operator_sees_hosts_actors_and_instances_as_they_change() {
    let server = Server::start(&[]).await;
    let browser = Browser::open().await;
    browser.goto(&format!("{}/admin", server.url())).await;

    browser.type_into("#token", "not-the-token").await;
    browser.click("#connect").await;
    browser.sees("#error").await;
    browser.reads("#error", "a refusal", |text| text.contains("Wrong token").then_some(())).await;

    browser.goto(&format!("{}/admin", server.url())).await;
    browser.type_into("#token", server.admin_token()).await;
    browser.click("#connect").await;
    browser.sees("#connection[data-state=open]").await;
    browser.sees("#hosts .row").await;
    browser
        .reads("#hosts .row", "the host", |text| (text.contains("local") && text.contains("0 of 40")).then_some(()))
        .await;
    browser
        .reads("#actors", "the actors", |text| (text.contains("scheduler") && text.contains("reaper")).then_some(()))
        .await;
    assert!(!browser.address().await.contains(server.admin_token()));

    let instance = server.api().create().await;
    browser
        .reads("#instances", "the new instance", |text| {
            (text.contains(&instance.id) && text.contains("running")).then_some(())
        })
        .await;
    browser.reads("#hosts .row", "its slot", |text| text.contains("1 of 40").then_some(())).await;
    browser.reads("#total", "the total", |text| (text == "1").then_some(())).await;
    assert_eq!(server.api().delete(&instance).await.status, 204);
    browser.reads("#instances", "its end", |text| (!text.contains(&instance.id)).then_some(())).await;
    browser.reads("#hosts .row", "its slot is free", |text| text.contains("0 of 40").then_some(())).await;
}
