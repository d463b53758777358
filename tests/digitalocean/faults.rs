//! What becomes of an order when the API is slow, wrong or silent.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use getaredis::adapters::digitalocean::DigitalOceanSettings;
use getaredis_actors::ports::{HostProvider, ProviderError};
use getaredis_testbed::api::{Api, Fault, Nothing, RateLimits, Scheme, Settings};

use crate::{
    harness::{SECRET, TAG, TOKEN, both, client, droplets, name, provider, settings},
    ports::free_port,
};

fn order() -> Fault {
    Fault::on("POST", "/v2/droplets")
}

#[tokio::test]
async fn an_order_whose_answer_is_lost_is_looked_up_and_is_one_droplet() {
    for lost in [order().drop_answer(), order().status(500), order().status(504), order().status(200)] {
        let (api, provider) = both();
        let what = format!("{lost:?}");
        api.fault(lost.after_effect());
        provider.create(&name("test-1")).await.expect(&what);
        assert_eq!((droplets(&api), api.count("POST", "/v2/droplets")), (vec!["test-1".into()], 1), "{what}");
    }
}

#[tokio::test]
async fn an_order_that_had_no_effect_has_an_unknown_outcome_and_may_be_repeated() {
    for lost in [order().drop_answer(), order().status(500), order().status(503)] {
        let (api, provider) = both();
        let what = format!("{lost:?}");
        api.fault(lost);
        let unknown = provider.create(&name("test-1")).await.unwrap_err();
        assert!(matches!(unknown, ProviderError::Unknown(_)), "{what}: {unknown}");
        assert!(api.droplets().is_empty(), "{what}");
        // Not before it is sure that it will have none.
        let begun = Instant::now();
        while provider.create(&name("test-1")).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(droplets(&api), ["test-1"], "{what}");
    }
}

#[tokio::test]
async fn an_order_that_is_found_by_nobody_at_once_is_found_before_the_next_one() {
    let (api, provider) = both();
    api.fault(order().drop_answer().after_effect());
    api.fault(Fault { skip: 1, ..Fault::on("GET", "/v2/droplets").drop_answer() });
    let unknown = provider.create(&name("test-1")).await.unwrap_err();
    assert!(matches!(unknown, ProviderError::Unknown(_)), "{unknown}");
    provider.create(&name("test-1")).await.unwrap();
    assert_eq!((droplets(&api), api.count("POST", "/v2/droplets")), (vec!["test-1".into()], 1));
}

#[tokio::test]
async fn without_knowing_whether_there_is_one_no_droplet_is_ordered() {
    let (api, provider) = both();
    api.fault(Fault::on("GET", "/v2/droplets").status(503));
    provider.create(&name("test-1")).await.unwrap_err();
    assert_eq!(api.count("POST", "/"), 0);
}

#[tokio::test]
async fn an_order_that_takes_effect_late_is_not_made_twice() {
    let (api, _) = both();
    let hasty = DigitalOceanSettings {
        call_timeout: Duration::from_millis(500),
        settle: Duration::from_secs(60),
        ..settings(&api)
    };
    let provider = provider(hasty);
    api.fault(order().delay_ms(8_000));
    let begun = Instant::now();
    let late = provider.create(&name("test-1")).await.unwrap_err();
    assert_eq!(late.to_string(), "the provider's answer is unknown: DigitalOcean does not answer: no answer in time");
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    let waiting = provider.create(&name("test-1")).await.unwrap_err();
    assert!(waiting.to_string().contains("may still take effect"), "{waiting}");
    provider.create(&name("test-2")).await.unwrap();
    while provider.create(&name("test-1")).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((droplets(&api), api.count("POST", "/v2/droplets")), (vec!["test-2".into(), "test-1".into()], 2));
}

#[tokio::test]
async fn an_order_that_nobody_waits_for_any_more_is_not_made_twice() {
    let (api, _) = both();
    let provider = provider(DigitalOceanSettings { settle: Duration::from_secs(60), ..settings(&api) });
    api.fault(order().delay_ms(1_000));
    let cut_off = tokio::time::timeout(Duration::from_millis(500), provider.create(&name("test-1"))).await;
    cut_off.expect_err("it was cut off");
    let begun = Instant::now();
    while provider.create(&name("test-1")).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(droplets(&api), ["test-1"]);
}

#[tokio::test]
async fn nobody_at_the_address_is_an_unknown_outcome_that_says_so() {
    let (api, _) = both();
    let port = free_port();
    let away = DigitalOceanSettings { url: format!("http://127.0.0.1:{port}"), ..settings(&api) };
    let unknown = provider(away).list().await.unwrap_err();
    assert!(unknown.to_string().contains("refused"), "{unknown}");
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_said_clearly_and_never_shown() {
    let (api, _) = both();
    let wrong = DigitalOceanSettings { token: "dop_v1_wrong".into(), ..settings(&api) };
    let provider = provider(wrong.clone());
    for refused in [
        provider.list().await.unwrap_err(),
        provider.create(&name("test-1")).await.unwrap_err(),
        provider.delete(&name("test-1")).await.unwrap_err(),
        provider.price().await.unwrap_err(),
    ] {
        assert!(matches!(refused, ProviderError::Unauthorized(_)) && refused.without_effect());
        assert_eq!(
            refused.to_string(),
            "the provider does not accept our credentials: DigitalOcean does not accept the token \
             (digitalocean.token, digitalocean.token_file): Unable to authenticate you"
        );
    }
    assert!(!format!("{wrong:?}").contains("dop_v1_wrong"));
}

#[tokio::test]
async fn too_many_requests_are_a_rest_of_the_length_that_the_api_says() {
    let (api, provider) = both();
    api.fault(Fault { retry_after: Some(17), ..Fault::on("GET", "/v2/droplets").status(429) });
    assert_eq!(provider.list().await, Err(ProviderError::RateLimited(Duration::from_secs(17))));

    api.limit_rates(RateLimits { per_hour: 5000, per_minute: 2 });
    provider.list().await.unwrap();
    let refused = loop {
        match provider.list().await {
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    let ProviderError::RateLimited(rest) = refused else { panic!("{refused}") };
    assert!((1..=60).contains(&rest.as_secs()) && refused.retry_after() == rest, "{rest:?}");
}

#[tokio::test]
async fn while_few_requests_are_left_lists_wait_for_a_minute_and_orders_do_not() {
    let (api, provider) = both();
    api.limit_rates(RateLimits { per_hour: 100, per_minute: 100 });
    let begun = Instant::now();
    let rest = loop {
        match provider.list().await {
            Ok(_) => {}
            Err(ProviderError::RateLimited(rest)) => break rest,
            Err(error) => panic!("{error}"),
        }
    };
    // It is held back here: the API would have served it.
    assert_eq!(api.count("GET", "/v2/droplets"), 81);
    assert!(rest <= Duration::from_secs(60) && rest + begun.elapsed() >= Duration::from_secs(60), "{rest:?}");
    provider.create(&name("test-1")).await.unwrap();
    provider.delete(&name("test-1")).await.unwrap();
    assert!(api.droplets().is_empty());
}

#[tokio::test]
async fn an_order_that_met_the_limit_of_requests_had_no_effect() {
    let (api, provider) = both();
    api.fault(order().status(429));
    let refused = provider.create(&name("test-1")).await.unwrap_err();
    assert!(matches!(refused, ProviderError::RateLimited(_)) && refused.without_effect());
    assert!(api.droplets().is_empty());
}

#[tokio::test]
async fn a_deletion_whose_answer_is_lost_is_repeated_until_it_is_done() {
    let (api, provider) = both();
    api.plant("test-1", &[TAG]);
    api.fault(Fault::on("DELETE", "/v2/droplets").drop_answer().after_effect());
    let unknown = provider.delete(&name("test-1")).await.unwrap_err();
    assert!(matches!(unknown, ProviderError::Unknown(_)), "{unknown}");
    assert!(api.droplets().is_empty());
    provider.delete(&name("test-1")).await.unwrap();

    // Somebody else was faster.
    api.plant("test-2", &[TAG]);
    api.fault(Fault::on("DELETE", "/v2/droplets").status(404).after_effect());
    provider.delete(&name("test-2")).await.unwrap();
    assert!(api.droplets().is_empty());
}

#[tokio::test]
async fn a_list_of_which_one_page_is_missing_is_no_list() {
    let (api, provider) = both();
    for n in 0..250 {
        api.plant(&format!("test-{n}"), &[TAG]);
    }
    api.fault(Fault { skip: 1, ..Fault::on("GET", "/v2/droplets").status(502) });
    assert!(matches!(provider.list().await, Err(ProviderError::Unknown(_))));
    assert_eq!(provider.list().await.unwrap().droplets.len(), 250);
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_read_is_read_again() {
    let (api, provider) = both();
    let first = api.plant("test-first", &[TAG]);
    for n in 0..300 {
        api.plant(&format!("test-{n}"), &[TAG]);
    }
    // What is deleted from the first page moves the first of the second page out of sight.
    api.fault(Fault { skip: 1, ..Fault::on("GET", "/v2/droplets").delay_ms(700) });
    let delete = async {
        while api.count("GET", "/v2/droplets") < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client(&api).delete_droplet(first).await.unwrap();
    };
    let (listed, ()) = tokio::join!(provider.list(), delete);
    let names: BTreeSet<_> = listed.unwrap().droplets.into_iter().map(|droplet| droplet.name).collect();
    assert_eq!((names.len(), api.count("GET", "/v2/droplets")), (300, 4));
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_the_end() {
    let (api, provider) = both();
    api.fault(order().status(422).message(&"x".repeat(9 * 1024 * 1024)));
    let unknown = provider.create(&name("test-1")).await.unwrap_err();
    assert!(unknown.to_string().ends_with("it is too long"), "{unknown}");
}

#[tokio::test]
async fn an_address_that_cannot_prove_who_it_is_never_sees_the_token() {
    let machines = Arc::new(Nothing);
    let api = Api::start_at(0, Scheme::Https, TOKEN, Settings::default(), machines).unwrap();
    let unknown = provider(settings(&api)).list().await.unwrap_err();
    assert!(unknown.to_string().to_lowercase().contains("certificate"), "{unknown}");
    assert!(api.calls().is_empty());
}

#[tokio::test]
async fn no_error_shows_the_token_or_what_a_droplet_is_given() {
    let (api, provider) = both();
    for status in [400, 401, 403, 409, 422, 429, 500] {
        api.fault(order().status(status));
        let said = format!("{:?}", provider.create(&name("test-1")).await);
        assert!(!said.contains(TOKEN) && !said.contains(SECRET), "{said}");
    }
    let log = serde_json::to_string(&api.calls()).unwrap();
    assert!(!log.contains(TOKEN) && !log.contains(SECRET));
}
