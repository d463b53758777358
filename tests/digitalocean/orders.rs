//! What is bought, looked up and given back when nothing is wrong but the shelf being empty.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use getaredis::adapters::digitalocean::{ActionStatus, DigitalOcean, DigitalOceanSettings, InboundRule};
use getaredis_actors::ports::{HostProvider, HourlyPrice, ProviderError};
use getaredis_testbed::api::Fault;

use crate::harness::{SECRET, TAG, api, both, client, droplets, name, place, provider, settings};

#[tokio::test]
async fn a_droplet_is_bought_as_configured_listed_and_given_back() {
    let (api, provider) = both();
    provider.create(&name("test-1")).await.unwrap();
    let bought = api.droplets().remove(0);
    assert_eq!((bought.name.as_str(), bought.region.as_str()), ("test-1", "fra1"));
    assert_eq!((bought.size.as_str(), bought.image.as_str()), ("s-1vcpu-1gb", "debian-13-x64"));
    assert_eq!(bought.tags, [TAG]);
    assert_eq!(bought.user_data.unwrap(), format!("#!/bin/sh\n# test-1 {SECRET}\n"));
    let listed = provider.list().await.unwrap().droplets;
    assert_eq!((listed.len(), &listed[0].name), (1, &name("test-1")));

    provider.delete(&name("test-1")).await.unwrap();
    assert_eq!((provider.list().await.unwrap().droplets.len(), api.droplets().len()), (0, 0));
    provider.delete(&name("test-1")).await.unwrap();
}

#[tokio::test]
async fn of_a_droplet_that_is_switched_off_the_list_says_so() {
    let (api, provider) = both();
    let (id, client) = (api.plant("test-1", &[TAG]), client(&api));
    api.plant("test-2", &[TAG]);
    let off = client.act(id, "power_off").await.unwrap();
    assert_eq!(client.finished(off.id, Duration::from_secs(30)).await, Ok(ActionStatus::Completed));
    let mut listed = provider.list().await.unwrap().droplets;
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(listed.iter().map(|droplet| droplet.is_off).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_droplet_that_is_there_already_is_not_bought_again() {
    let (api, provider) = both();
    provider.create(&name("test-1")).await.unwrap();
    provider.create(&name("test-1")).await.unwrap();
    // The tag is attached a moment after a droplet was made.
    api.plant("test-2", &[]);
    provider.create(&name("test-2")).await.unwrap();
    assert_eq!((droplets(&api), api.count("POST", "/v2/droplets")), (vec!["test-1".into(), "test-2".into()], 1));
}

#[tokio::test]
async fn two_orders_for_one_name_at_once_are_one_droplet() {
    let (api, provider) = both();
    let orders = (0..8).map(|_| name("test-1")).collect::<Vec<_>>();
    let answers = futures_util::future::join_all(orders.iter().map(|name| provider.create(name))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(droplets(&api), ["test-1"]);
}

#[tokio::test]
async fn nothing_without_our_tag_is_listed_or_deleted() {
    let (api, provider) = both();
    api.plant("test-1", &["somebody-elses"]);
    api.plant("TEST-1", &[TAG]);
    api.plant("other", &["getaredis-test2", "getaredis"]);
    assert_eq!(provider.list().await.unwrap().droplets.len(), 1);
    // One that has lost its tag is paid for: nobody may think that it is gone.
    let refusal = provider.delete(&name("test-1")).await.unwrap_err();
    assert!(matches!(&refusal, ProviderError::Refused(why) if why.contains(TAG)), "{refusal}");
    provider.delete(&name("test-2")).await.unwrap();
    assert_eq!(droplets(&api), ["test-1", "TEST-1", "other"]);
    assert_eq!(api.count("DELETE", "/"), 0);
}

#[tokio::test]
async fn what_is_there_and_not_listed_is_not_forgotten() {
    let (api, provider) = both();
    api.plant("test-1", &["somebody-elses"]);
    let refusal = provider.forget(&name("test-1")).await.unwrap_err();
    assert!(matches!(&refusal, ProviderError::Refused(why) if why.contains(TAG)), "{refusal}");
    api.plant("test-2", &[TAG]);
    assert!(matches!(provider.forget(&name("test-2")).await, Err(ProviderError::Unknown(_))));
    provider.forget(&name("test-3")).await.unwrap();
    assert_eq!(droplets(&api), ["test-1", "test-2"]);
}

#[tokio::test]
async fn a_droplet_whose_name_no_host_can_have_is_listed_and_deleted_by_its_number() {
    let (api, provider) = both();
    let long = "x".repeat(70);
    let number = api.plant(&long, &[TAG]);
    let listed = provider.list().await.unwrap().droplets.remove(0).name;
    assert_eq!(listed.as_str(), format!("droplet-{number}"));
    // Only where it is ours, and has no name of its own.
    let others = [api.plant(&"y".repeat(70), &["somebody-elses"]), api.plant("test-1", &[TAG])];
    for other in others {
        provider.delete(&name(&format!("droplet-{other}"))).await.unwrap_or_default();
    }
    assert_eq!(api.droplets().len(), 3);
    provider.delete(&listed).await.unwrap();
    provider.delete(&listed).await.unwrap();
    provider.forget(&listed).await.unwrap();
    assert!(!droplets(&api).contains(&long));
}

#[tokio::test]
async fn all_droplets_of_one_name_are_deleted() {
    let (api, provider) = both();
    for name in ["test-1", "test-1", "test-2"] {
        api.plant(name, &[TAG]);
    }
    provider.delete(&name("test-1")).await.unwrap();
    assert_eq!(droplets(&api), ["test-2"]);
}

#[tokio::test]
async fn a_list_has_all_its_pages() {
    let (api, provider) = both();
    for n in 0..450 {
        api.plant(&format!("test-{n}"), &[TAG]);
        api.plant(&format!("other-{n}"), &["other"]);
    }
    let names: BTreeSet<_> = provider.list().await.unwrap().droplets.into_iter().map(|droplet| droplet.name).collect();
    assert_eq!(names.len(), 450);
    assert_eq!(api.count("GET", "/v2/droplets"), 3);
}

#[tokio::test]
async fn where_a_place_is_sold_out_the_next_one_is_asked() {
    let (api, provider) = both();
    api.set_open("fra1", false);
    api.set_in_stock("ams3", "s-1vcpu-1gb", false);
    provider.create(&name("test-1")).await.unwrap();
    let bought = api.droplets().remove(0);
    assert_eq!((bought.region.as_str(), bought.size.as_str()), ("lon1", "s-1vcpu-2gb"));
    // The best place is asked first again.
    api.set_open("fra1", true);
    provider.create(&name("test-2")).await.unwrap();
    assert_eq!(api.droplets()[1].region, "fra1");
}

#[tokio::test]
async fn where_all_places_are_sold_out_each_says_why() {
    let (api, provider) = both();
    api.set_open("fra1", false);
    api.set_in_stock("ams3", "s-1vcpu-1gb", false);
    api.set_in_stock("lon1", "s-1vcpu-2gb", false);
    let refused = provider.create(&name("test-1")).await.unwrap_err();
    assert_eq!(
        refused,
        ProviderError::SoldOut(
            "s-1vcpu-1gb in fra1: Region is not available; \
             s-1vcpu-1gb in ams3: Size is not available in this region; \
             s-1vcpu-2gb in lon1: Size is not available in this region"
                .to_owned()
        )
    );
    assert!(refused.without_effect() && refused.retry_after().as_secs() == 120);
    assert!(api.droplets().is_empty());
}

#[tokio::test]
async fn a_full_account_is_not_asked_elsewhere() {
    let (api, provider) = both();
    api.limit_droplets(1);
    api.plant("other", &[]);
    let refused = provider.create(&name("test-1")).await.unwrap_err();
    assert!(matches!(&refused, ProviderError::LimitReached(why) if why.contains("droplet limit")), "{refused}");
    assert!(refused.to_string().ends_with("; the account's limit is 1"), "{refused}");
    assert_eq!((api.count("POST", "/v2/droplets"), api.droplets().len()), (1, 1));

    // The limit is only a help: without it the refusal is what it was.
    api.fault(Fault::on("GET", "/v2/account").status(500));
    let refused = provider.create(&name("test-1")).await.unwrap_err();
    assert!(matches!(&refused, ProviderError::LimitReached(why) if why.ends_with("droplet limit")), "{refused}");
}

#[tokio::test]
async fn an_order_that_makes_no_sense_is_refused_in_the_words_of_the_api() {
    let (api, _) = both();
    let wrong = DigitalOceanSettings { image: "beos".to_owned(), ..settings(&api) };
    let refused = provider(wrong).create(&name("test-1")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the provider refused: DigitalOcean refused: You specified an invalid image for Droplet creation."
    );
    assert_eq!(api.count("POST", "/v2/droplets"), 1);
}

#[tokio::test]
async fn a_host_whose_user_data_cannot_be_made_is_not_bought() {
    let (api, _) = both();
    let provider = DigitalOcean::new(settings(&api), Arc::new(|_| Err("no template".to_owned()))).unwrap();
    let refused = provider.create(&name("test-1")).await.unwrap_err();
    assert_eq!(refused, ProviderError::Refused("no template".to_owned()));
    assert_eq!(api.count("POST", "/"), 0);
}

#[tokio::test]
async fn the_price_is_that_of_the_place_that_is_asked_first_and_asked_once() {
    let (api, provider) = both();
    assert_eq!(provider.price().await.unwrap(), HourlyPrice(8_930));
    assert_eq!(provider.price().await.unwrap().to_string(), "$0.00893 per hour");
    assert_eq!(api.count("GET", "/v2/sizes"), 1);
}

fn inbound(ports: &str, sources: &[&str]) -> InboundRule {
    InboundRule { ports: ports.to_owned(), sources: sources.iter().map(|s| (*s).to_owned()).collect() }
}

#[tokio::test]
async fn a_firewall_stands_in_front_of_the_first_droplet_and_lets_in_what_is_configured() {
    let api = api();
    let everybody = inbound("20000-29999", &["0.0.0.0/0", "::/0"]);
    let with = |rules: &[InboundRule]| provider(DigitalOceanSettings { inbound: rules.to_vec(), ..settings(&api) });
    let engine = inbound("2376", &["10.0.0.5/32"]);
    let first = with(&[everybody.clone(), engine.clone()]);
    first.create(&name("test-1")).await.unwrap();
    first.create(&name("test-2")).await.unwrap();
    let written = api.firewalls();
    assert_eq!((written.len(), &written[0]["name"], &written[0]["tags"][0]), (1, &TAG.into(), &TAG.into()));
    let ports = |firewall: &serde_json::Value| {
        let rules = firewall["inbound_rules"].as_array().unwrap();
        rules.iter().map(|rule| rule["ports"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ports(&written[0]), ["20000-29999", "2376"]);
    assert_eq!((api.count("POST", "/v2/firewalls"), api.count("PUT", "/v2/firewalls")), (1, 0));

    // Other rules change the one that is there; it keeps its id.
    with(&[everybody]).create(&name("test-3")).await.unwrap();
    let changed = api.firewalls();
    assert_eq!((changed.len(), ports(&changed[0])), (1, vec!["20000-29999".to_owned()]));
    assert_eq!(changed[0]["id"], written[0]["id"]);
}

#[tokio::test]
async fn without_its_firewall_no_droplet_is_bought() {
    let api = api();
    let rules = vec![inbound("22", &["192.0.2.1/32"])];
    let provider = provider(DigitalOceanSettings { inbound: rules, ..settings(&api) });
    api.fault(Fault::on("POST", "/v2/firewalls").status(403).message("no permission"));
    let refused = provider.create(&name("test-1")).await.unwrap_err();
    assert!(matches!(&refused, ProviderError::Unauthorized(why) if why.contains("no permission")), "{refused}");
    assert!(api.droplets().is_empty());
    provider.create(&name("test-1")).await.unwrap();
}

#[tokio::test]
async fn what_will_go_wrong_with_an_order_is_found_before_it_is_made() {
    let (api, fine) = both();
    assert_eq!(fine.preflight(5).await.unwrap().findings, Vec::<String>::new());
    api.set_open("fra1", false);
    api.set_in_stock("ams3", "s-1vcpu-1gb", false);
    let wrong = provider(DigitalOceanSettings {
        placements: vec![
            place("fra1", "s-1vcpu-1gb"),
            place("ams3", "s-1vcpu-1gb"),
            place("mars1", "s-1vcpu-1gb"),
            place("lon1", "huge"),
        ],
        image: "beos".to_owned(),
        ssh_keys: vec!["12:34".to_owned()],
        vpc: Some("no-such-network".to_owned()),
        ..settings(&api)
    });
    let findings = wrong.preflight(1001).await.unwrap().findings.join("\n");
    for finding in [
        "fleet.max_hosts is 1001, but the account may have 1000 droplets",
        "digitalocean.ssh_keys: 12:34",
        "digitalocean.vpc: no-such-network",
        "digitalocean.image: beos",
        "s-1vcpu-1gb in fra1: the region sells nothing at this time",
        "s-1vcpu-1gb in ams3: the size is not sold there at this time",
        "s-1vcpu-1gb in mars1: there is no such region",
        "huge in lon1: there is no such size",
    ] {
        assert!(findings.contains(finding), "{finding:?} is not in\n{findings}");
    }
    assert_eq!(api.count("POST", "/") + api.count("PUT", "/") + api.count("DELETE", "/"), 0);
}
