//! `GET`, `PATCH` and `DELETE` of an instance.

use std::time::Duration;

use actix_web::{http::Method, test::TestRequest};
use getaredis_actors::{
    domain::{EndReason, Instance, InstanceId, InstanceState, LeaseRefused},
    ports::StoreError,
    reaper::messages::{ExtendError, ExtendLease},
    scheduler::messages::{DeleteInstance, EndError, Ending},
};
use secrecy::ExposeSecret;
use serde_json::json;

use super::kit::{
    ID, Kit, bearing, dead, door, get, id, in_state, instance, key, now, own, recording, silent, token, with_json,
};

fn patch(body: &str) -> TestRequest {
    bearing(with_json(get(&own()).method(Method::PATCH), body), &token())
}

fn delete() -> TestRequest {
    bearing(get(&own()).method(Method::DELETE), &token())
}

#[actix_web::test]
async fn its_token_shows_an_instance_and_no_other_one_does() {
    let answer = Kit::new().ask(bearing(get(&own()), &token())).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json()["management_token"], token());
    assert_eq!(answer.json()["password"], key().password(&id(), 0).expose_secret());

    let other = InstanceId::parse("ffffffffffffffffffffffffffffffff").unwrap();
    let others_token = key().management_token(&other).expose_secret().to_owned();
    let password = key().password(&id(), 0).expose_secret().to_owned();
    let shorter = token()[..token().len() - 1].to_owned();
    for method in [Method::GET, Method::HEAD, Method::PATCH, Method::DELETE] {
        for wrong in [&others_token, &password, &shorter, "gar_", ""] {
            let answer = Kit::new().ask(bearing(get(&own()).method(method.clone()), wrong)).await;
            assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (401, "unauthorized"), "{method} {wrong}");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            let text = String::from_utf8(answer.body).unwrap();
            assert!(!text.contains(&password) && !text.contains(&token()));
        }
        let in_the_address = get(&format!("{}?token={}", own(), token())).method(method);
        assert_eq!(Kit::new().ask(in_the_address).await.slug(), "unauthorized");
    }
}

#[actix_web::test]
async fn what_nobody_made_is_not_found() {
    for id in ["ffffffffffffffffffffffffffffffff", "0192F0C1A2B37C4D8E5F60718293A4B5", "x", "%ff", "..", "%2e%2e"] {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let request = bearing(get(&format!("/v1/instances/{id}")).method(method), &token());
            let answer = Kit::new().ask(request).await;
            assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (404, "not-found"), "{id}");
        }
    }
}

#[actix_web::test]
async fn an_ended_instance_says_why_and_when_to_its_owner_only() {
    for reason in EndReason::ALL {
        for request in [bearing(get(&own()), &token()), patch(r#"{"ttl":"1h"}"#), delete()] {
            let answer = Kit::new().row(in_state(InstanceState::Ended(reason))).ask(request).await;
            assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (410, "instance-ended"));
            assert_eq!(answer.json()["reason"], reason.as_str());
            assert_eq!(answer.json()["ended_at"], "2026-03-01T12:00:00Z");
        }
        let answer = Kit::new().row(in_state(InstanceState::Ended(reason))).ask(get(&own())).await;
        assert_eq!(answer.slug(), "unauthorized");
    }
}

#[actix_web::test]
async fn an_extension_is_counted_from_now_by_the_reaper() {
    let mut kit = Kit::new();
    let (extend, seen) = recording(|asked: ExtendLease| {
        let mut longer = instance();
        longer.lease.expires_at = now() + asked.ttl;
        Ok(longer)
    });
    kit.doors.extend = extend;
    let answer = kit.ask(patch(r#"{"ttl":"20h"}"#)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["expires_in_s"], 72_000);
    assert_eq!(seen.lock().unwrap()[0].ttl, Duration::from_secs(72_000));
    assert_eq!(seen.lock().unwrap()[0].id, id());
}

#[actix_web::test]
async fn an_extension_that_is_not_to_be_had_says_what_is() {
    let refusing = |error: ExtendError| door(move |_: ExtendLease| Err(error.clone()));
    let max_expires_at = now() + Duration::from_millis(3_600_500);
    for (error, status, slug, allowed) in [
        (
            ExtendError::Lease(LeaseRefused::OutOfBounds { min: Duration::from_secs(60), max: Duration::from_secs(9) }),
            400,
            "invalid-request",
            json!({"min_s": 60, "max_s": 9}),
        ),
        (
            ExtendError::Lease(LeaseRefused::BeyondLifetime { max_expires_at }),
            400,
            "invalid-request",
            json!({"max_s": 3600, "max_expires_at": max_expires_at}),
        ),
        (
            ExtendError::Lease(LeaseRefused::Shortens { expires_at: max_expires_at }),
            400,
            "invalid-request",
            json!({"min_s": 3601, "min_expires_at": max_expires_at}),
        ),
        (ExtendError::NotRunning(Box::new(in_state(InstanceState::Creating))), 409, "not-running", json!(null)),
        (
            ExtendError::NotRunning(Box::new(in_state(InstanceState::Stopping(EndReason::Expired)))),
            410,
            "instance-ended",
            json!(null),
        ),
        (ExtendError::NotFound, 404, "not-found", json!(null)),
        (ExtendError::Store(StoreError::Unavailable("x".into())), 503, "store-unavailable", json!(null)),
    ] {
        let mut kit = Kit::new();
        kit.doors.extend = refusing(error);
        let answer = kit.ask(patch(r#"{"ttl":60}"#)).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (status, slug));
        let problem = answer.json();
        assert_eq!(problem["allowed"], allowed);
        assert_eq!(problem["field"] == "ttl", status == 400);
    }
}

#[actix_web::test]
async fn an_extension_without_a_ttl_is_refused_by_name() {
    for (body, field) in [("{}", "ttl"), (r#"{"ttl":null}"#, "ttl"), ("", "ttl"), (r#"{"label":"x"}"#, "label")] {
        let mut kit = Kit::new();
        kit.doors.extend = dead();
        let answer = kit.ask(patch(body)).await;
        assert_eq!((answer.status.as_u16(), answer.json()["field"].as_str()), (400, Some(field)), "{body}");
    }
}

#[actix_web::test]
async fn a_deletion_is_confirmed_promised_or_too_late() {
    let mut kit = Kit::new();
    let (confirm, seen) =
        recording(|_: DeleteInstance| Ok(Ending::Gone(Box::new(in_state(InstanceState::Ended(EndReason::Deleted))))));
    kit.doors.delete = confirm;
    let answer = kit.ask(delete()).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(seen.lock().unwrap()[0].reason, EndReason::Deleted);

    let mut kit = Kit::new();
    kit.doors.delete = door(|_: DeleteInstance| {
        let instance = Box::new(in_state(InstanceState::Stopping(EndReason::Deleted)));
        Ok(Ending::Pending { instance, why: "unix:///secret.sock refused".to_owned() })
    });
    let answer = kit.ask(delete()).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json(), json!({"id": ID, "state": "stopping"}));

    for (error, status, slug) in [
        (EndError::AlreadyEnded(Box::new(in_state(InstanceState::Ended(EndReason::Lost)))), 410, "instance-ended"),
        (EndError::NotFound, 404, "not-found"),
        (EndError::Store(StoreError::Unavailable("x".into())), 503, "store-unavailable"),
    ] {
        let mut kit = Kit::new();
        kit.doors.delete = door(move |_: DeleteInstance| Err(error.clone()));
        let answer = kit.ask(delete()).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (status, slug));
    }
}

#[actix_web::test]
async fn a_stopping_instance_can_be_asked_to_go_again() {
    let kit = Kit::new().row(in_state(InstanceState::Stopping(EndReason::Expired)));
    assert_eq!(kit.ask(delete()).await.status, 204);
}

#[actix_web::test]
async fn a_database_or_an_actor_that_is_away_is_said_so_in_plain_words() {
    let mut kit = Kit::new();
    kit.rows.fails = Some(StoreError::Unavailable("no such file: /var/lib/getaredis.db".to_owned()));
    let answer = kit.ask(bearing(get(&own()), &token())).await;
    assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (503, "store-unavailable"));
    assert!(!String::from_utf8(answer.body).unwrap().contains("/var/lib"));

    let mut kit = Kit::new();
    kit.doors.delete = dead();
    let answer = kit.ask(delete()).await;
    assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (503, "restarting"));
}

#[actix_web::test]
async fn a_database_or_an_actor_that_hangs_is_not_waited_for_for_ever() {
    tokio::time::pause();
    let mut kit = Kit::new();
    kit.rows.hangs = true;
    assert_eq!(kit.ask(bearing(get(&own()), &token())).await.slug(), "store-unavailable");
    for request in [patch(r#"{"ttl":60}"#), delete()] {
        let mut kit = Kit::new();
        (kit.doors.extend, kit.doors.delete) = (silent(), silent());
        assert_eq!(kit.ask(request).await.slug(), "busy");
    }
}

#[actix_web::test]
async fn a_flavour_that_is_no_longer_offered_has_no_limits_to_show() {
    let kit = Kit::new().row(Instance { flavour: "old".to_owned(), ..instance() });
    let body = kit.ask(bearing(get(&own()), &token())).await.json();
    assert_eq!((&body["flavour"], &body["limits"]), (&json!("old"), &json!(null)));
}
