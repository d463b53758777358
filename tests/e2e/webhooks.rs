//! A receiver of notices is told a life from its beginning to its end, whatever happens in between.

use crate::support::{
    SOON, eventually,
    receiver::{Posted, Receiver},
    server::Server,
};

#[tokio::test]
async fn a_receiver_that_was_away_is_told_after_a_crash_what_it_missed_and_what_follows() {
    let receiver = Receiver::answering("503 Service Unavailable").await;
    let mut server = Server::start(&[("webhooks.sinks", &receiver.setting()), ("webhooks.timeout", "1s")]).await;
    let instance = server.api().create().await;
    // Not before something was posted: what is refused at the start may name an address.
    receiver.keep_secret(server.secrets());
    let [created, ended] = ["created", "ended"].map(|what| format!("{}_{what}", instance.id));
    receiver.told(std::slice::from_ref(&created)).await;
    server.kill();
    receiver.answer_with("204 No Content");
    let before = receiver.posted().len();
    server.start_again().await;
    eventually("it is told again", 2 * SOON, async || {
        if receiver.posted().len() > before { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    assert_eq!(server.api().delete(&instance).await.status, 204);
    receiver.told(&[created, ended]).await;

    let posted = receiver.posted();
    assert!(posted.iter().all(Posted::is_genuine), "{posted:#?}");
    let last = &posted.last().unwrap().body;
    assert_eq!((last["type"].as_str(), last["data"]["reason"].as_str()), (Some("instance.ended"), Some("deleted")));
    let answer = server.api().get("/metrics").await;
    assert_eq!(answer.status, 200);
}
