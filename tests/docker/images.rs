//! An image that is not there.

use std::time::Duration;

use futures_util::future::join_all;
use getaredis_actors::ports::RuntimeError;

use crate::{
    contract::{self, eventually},
    harness::Deployment,
};

/// Nothing listens on port 1, so no registry is asked for it.
const NOWHERE: &str = "127.0.0.1:1/nobody/nothing:7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_image_is_told_with_the_words_of_the_registry() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime_with(|settings| settings.image = NOWHERE.into());
    let specs = [contract::spec(), contract::spec(), contract::spec()];
    for started in join_all(specs.iter().map(|spec| runtime.start(spec))).await {
        let error = started.unwrap_err();
        let RuntimeError::NoImage { image, why } = &error else { panic!("{error}") };
        assert_eq!(image, NOWHERE);
        assert!(why.contains("127.0.0.1:1"), "{why}");
    }
    assert_eq!(runtime.inventory().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_says_that_the_image_is_missing_and_does_not_wait_for_it() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime_with(|settings| settings.image = NOWHERE.into());
    let error = tokio::time::timeout(Duration::from_secs(5), runtime.probe()).await.unwrap().unwrap_err();
    assert!(matches!(error, RuntimeError::NoImage { .. }), "{error}");
    eventually("the probe tells what the registry said", async || {
        let error = runtime.probe().await.unwrap_err().to_string();
        error.contains("connection refused").then_some(())
    })
    .await;
}

#[tokio::test]
async fn while_an_image_is_pulled_again_the_words_of_the_registry_stand() {
    let deployment = Deployment::new();
    let runtime = deployment.runtime_with(|settings| settings.image = NOWHERE.into());
    let told = async || runtime.probe().await.unwrap_err().to_string();
    eventually("the first pull has failed", async || told().await.contains("connection refused").then_some(())).await;
    // The rest after a failed pull is over.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    let (again, later) = (told().await, told().await);
    assert!(again.contains("connection refused") && again == later, "{again}; {later}");
}
