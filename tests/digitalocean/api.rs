//! The typed requests that the provider itself does not need, and that images are baked with.

use std::{sync::Arc, time::Duration};

use getaredis::adapters::digitalocean::{ActionStatus, ApiError, NewDroplets};
use getaredis_testbed::api::{Fault, heartbeats::Heartbeats};

use crate::harness::{api, api_with, client, place};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_snapshot_is_made_of_a_droplet_booted_from_and_deleted() {
    let api = api();
    let client = client(&api);
    let at = place("fra1", "s-1vcpu-1gb");
    let builder = NewDroplets::plain(&["builder", "spare"], &at, "debian-13-x64");
    let made = client.create_droplets(&builder).await.unwrap();
    assert_eq!((made.len(), made[0].status.as_str(), made[0].address("public")), (2, "new", None));
    let id = made[0].id;
    while client.droplet(id).await.unwrap().status != "active" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(client.droplet(id).await.unwrap().address("private").is_some());

    let off = client.act(id, "power_off").await.unwrap();
    assert_eq!(client.finished(off.id, PATIENCE).await, Ok(ActionStatus::Completed));
    assert_eq!(client.droplet(id).await.unwrap().status, "off");
    let snapshot = client.snapshot(id, "baked").await.unwrap();
    assert_eq!(client.finished(snapshot.id, PATIENCE).await, Ok(ActionStatus::Completed));
    let kinds: Vec<_> = client.actions_of(id).await.unwrap().into_iter().map(|action| action.kind).collect();
    assert_eq!(kinds, ["snapshot", "power_off", "create"]);
    let images = client.own_images().await.unwrap();
    assert_eq!((images.len(), images[0].name.as_str()), (1, "baked"));
    let number = images[0].id;
    let image = number.to_string();
    assert_eq!(client.image(&image).await.unwrap().regions, ["fra1"]);
    client.rename_image(number, "bread").await.unwrap();
    assert_eq!(client.tag_image(number, "nobody-has-it").await, Err(ApiError::NotFound));
    assert_eq!(client.image(&image).await.unwrap().name, "bread");

    client.create_droplets(&NewDroplets::plain(&["from-it"], &at, &image)).await.unwrap();
    let elsewhere = place("ams3", "s-1vcpu-1gb");
    let refused = client.create_droplets(&NewDroplets::plain(&["not-there"], &elsewhere, &image)).await.unwrap_err();
    assert!(refused.to_string().contains("not available in the selected region"), "{refused}");
    client.delete_image(number).await.unwrap();
    client.delete_image(number).await.unwrap();
    assert!(client.own_images().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_answer_does_not_end_the_wait_for_an_action() {
    let api = api();
    let client = client(&api);
    let at = place("fra1", "s-1vcpu-1gb");
    let made = client.create_droplets(&NewDroplets::plain(&["one"], &at, "debian-13-x64")).await.unwrap();
    while client.droplet(made[0].id).await.unwrap().status != "active" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let reboot = client.act(made[0].id, "reboot").await.unwrap();
    api.fault(Fault::on("GET", "/v2/actions").drop_answer());
    assert_eq!(client.finished(reboot.id, PATIENCE).await, Ok(ActionStatus::Completed));
    assert_eq!(client.finished(1, PATIENCE).await, Err(ApiError::NotFound));
}

#[tokio::test]
async fn an_action_that_fails_says_so_and_one_that_takes_too_long_is_unknown() {
    /// Its machines do nothing that they are told.
    struct Stubborn;
    #[async_trait::async_trait]
    impl getaredis_testbed::api::heartbeats::Announce for Stubborn {
        async fn beat(&self, _: &getaredis_testbed::api::heartbeats::Machine) {}
        async fn gone(&self, _: &getaredis_testbed::api::heartbeats::Machine) {}
    }
    let machines = Heartbeats::new(Duration::ZERO, Duration::from_secs(1), Arc::new(Stubborn));
    let api = api_with(Arc::new(machines));
    let client = client(&api);
    // Nothing stands behind it.
    let planted = api.plant("planted", &[]);
    let reboot = client.act(planted, "reboot").await.unwrap();
    assert_eq!(client.finished(reboot.id, PATIENCE).await, Ok(ActionStatus::Errored));

    api.set_activation(Duration::from_secs(60));
    let at = place("fra1", "s-1vcpu-1gb");
    let made = client.create_droplets(&NewDroplets::plain(&["slow"], &at, "debian-13-x64")).await.unwrap();
    let locked = client.act(made[0].id, "reboot").await.unwrap_err();
    assert!(matches!(&locked, ApiError::Refused { status: 422, message } if message.contains("pending event")));
    let create = reboot.id + 2;
    let waited = client.finished(create, Duration::from_millis(1)).await;
    assert!(matches!(waited, Err(ApiError::Unknown(_))), "{waited:?}");
}

#[tokio::test]
async fn a_region_has_a_default_network() {
    let api = api();
    let client = client(&api);
    let network = client.default_vpc("fra1").await.unwrap().unwrap();
    assert!(network.default && client.vpc(&network.id).await.unwrap().ip_range == network.ip_range);
    assert!(client.default_vpc("mars1").await.unwrap().is_none());
}
