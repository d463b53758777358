//! Every problem there is, written down once.

use std::time::Duration;

use actix_web::{
    ResponseError,
    http::{StatusCode, header},
};
use getaredis_actors::{
    domain::{Cordon, EndReason, Health, HostEvent, HostState, InstanceState, LeaseRefused, NoPlace, QuotaExceeded},
    ports::StoreError,
    rate_limit::messages::Refused,
    reaper::messages::ExtendError,
    scheduler::messages::{CordonError, CreateError, EndError},
    supervision::AskError,
};
use serde_json::{Value, json};

use super::kit::{in_state, instance, now};
use crate::web::problem::{Kind, Problem};

const SECRET: &str = "/var/lib/getaredis.db: SELECT * FROM instances";

fn create(error: CreateError) -> Problem {
    Problem::of_create(error, now())
}

fn extend(error: ExtendError) -> Problem {
    Problem::of_extend(error, now())
}

fn all() -> Vec<(&'static str, Problem)> {
    let secret = || SECRET.to_owned();
    let later = now() + Duration::from_millis(90_500);
    let lease = |refused| create(CreateError::Lease(refused));
    let bounds = LeaseRefused::OutOfBounds { min: Duration::from_secs(60), max: Duration::from_secs(86_400) };
    let illegal = instance().after(&getaredis_actors::domain::InstanceEvent::Moved { host: instance().host }, now());
    let full = NoPlace { full: 2, cordoned: 1, ..NoPlace::default() };
    let flavour = CreateError::UnknownFlavour { name: "valkey".into(), known: "redis, redis-large".into() };
    let quota = |frees_at| create(CreateError::Quota(QuotaExceeded::PerCreator { limit: 6, frees_at }));
    let stopping = in_state(InstanceState::Stopping(EndReason::Expired));
    let ended = in_state(InstanceState::Ended(EndReason::Deleted));
    let draining = HostState { health: Health::Up, cordon: Some(Cordon::Draining) };
    vec![
        ("create: lease out of bounds", lease(bounds)),
        ("create: lease beyond lifetime", lease(LeaseRefused::BeyondLifetime { max_expires_at: later })),
        ("create: lease shortens", lease(LeaseRefused::Shortens { expires_at: later })),
        ("create: unknown flavour", create(flavour)),
        ("create: quota of the creator", quota(Some(later))),
        ("create: quota of the creator, overdue", quota(Some(now() - Duration::from_secs(5)))),
        ("create: quota of the creator, nothing known", quota(None)),
        ("create: quota of all", create(CreateError::Quota(QuotaExceeded::Global { limit: 100 }))),
        ("create: key conflict", create(CreateError::KeyConflict)),
        ("create: key in use", create(CreateError::KeyInUse)),
        ("create: no place", create(CreateError::NoPlace(full))),
        ("create: busy", create(CreateError::Busy { in_flight: 256 })),
        ("create: starting", create(CreateError::Starting)),
        ("create: stopping", create(CreateError::Stopping)),
        ("create: store", create(CreateError::Store(StoreError::Unavailable(secret())))),
        ("create: host", create(CreateError::Host(secret()))),
        ("create: given up", create(CreateError::GivenUp(secret()))),
        ("end: not found", Problem::of_end(EndError::NotFound)),
        ("end: already ended", Problem::of_end(EndError::AlreadyEnded(Box::new(ended)))),
        ("end: not due", Problem::of_end(EndError::NotDue)),
        ("end: store", Problem::of_end(EndError::Store(StoreError::Unavailable(secret())))),
        ("extend: not found", extend(ExtendError::NotFound)),
        ("extend: creating", extend(ExtendError::NotRunning(Box::new(in_state(InstanceState::Creating))))),
        ("extend: stopping", extend(ExtendError::NotRunning(Box::new(stopping)))),
        ("extend: lease", extend(ExtendError::Lease(LeaseRefused::BeyondLifetime { max_expires_at: later }))),
        ("extend: store", extend(ExtendError::Store(StoreError::Unavailable(secret())))),
        ("cordon: no such host", Problem::of_cordon(CordonError::NoSuchHost)),
        ("cordon: draining", Problem::of_cordon(draining.after(HostEvent::Cordon).unwrap_err().into())),
        ("pool: no provider", Problem::no_provider()),
        ("rate: too fast", Problem::of_refused(&Refused::TooFast { retry_after: Duration::from_millis(1) })),
        ("rate: banned", Problem::of_refused(&Refused::Banned)),
        ("ask: restarting", Problem::of_ask(AskError::Restarting, "scheduler")),
        ("ask: down", Problem::of_ask(AskError::Down, "scheduler")),
        ("ask: timeout", Problem::of_ask(AskError::Timeout, "scheduler")),
        ("ask: busy", Problem::of_ask(AskError::Busy, "scheduler")),
        ("store: unavailable", Problem::of_store(StoreError::Unavailable(secret()))),
        ("store: not found", Problem::of_store(StoreError::NotFound)),
        ("store: illegal", Problem::of_store(StoreError::Illegal(illegal.unwrap_err()))),
        ("store: corrupt", Problem::of_store(StoreError::Corrupt(secret()))),
        ("request: field", Problem::invalid("ttl", "ttl: it makes no sense.")),
        ("request: too large", Problem::payload_too_large(16_384)),
        ("request: media type", Problem::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
        ("request: method", Problem::method_not_allowed(&["GET", "HEAD"])),
        ("request: unauthorized", Problem::new(Kind::Unauthorized, "The operator's token is missing or wrong.")),
        ("framework: 400", Problem::from_status(StatusCode::BAD_REQUEST)),
        ("framework: 404", Problem::from_status(StatusCode::NOT_FOUND)),
        ("framework: 405", Problem::from_status(StatusCode::METHOD_NOT_ALLOWED)),
        ("framework: 406", Problem::from_status(StatusCode::NOT_ACCEPTABLE)),
        ("framework: 413", Problem::from_status(StatusCode::PAYLOAD_TOO_LARGE)),
        ("framework: 500", Problem::from_status(StatusCode::INTERNAL_SERVER_ERROR)),
        ("codec: 400", Problem::of_codec(400)),
        ("codec: 408", Problem::of_codec(408)),
        ("codec: 431", Problem::of_codec(431)),
        ("codec: 500", Problem::of_codec(500)),
        ("bug", Problem::internal(SECRET)),
    ]
}

#[test]
fn all_problems_are_as_they_were() {
    let shown: Vec<Value> = all()
        .into_iter()
        .map(|(what, problem)| {
            let response = problem.error_response();
            assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), "application/problem+json");
            let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            json!({
                "what": what,
                "problem": problem.to_json(),
                "retry_after": header(header::RETRY_AFTER),
                "www_authenticate": header(header::WWW_AUTHENTICATE),
                "allow": header(header::ALLOW),
            })
        })
        .collect();
    insta::assert_json_snapshot!(shown);
}

#[test]
fn every_kind_is_among_them() {
    let types: Vec<Value> = all().into_iter().map(|(_, problem)| problem.to_json()["type"].clone()).collect();
    for kind in Kind::ALL {
        let own = Problem::new(*kind, "").to_json()["type"].clone();
        assert!(types.contains(&own), "{kind:?}");
    }
}

#[test]
fn no_problem_tells_what_only_the_log_should_know() {
    for (what, problem) in all() {
        assert!(!problem.to_json().to_string().contains("getaredis.db"), "{what}");
    }
    assert_eq!(Problem::of_store(StoreError::Corrupt(SECRET.to_owned())).cause(), Some(SECRET));
}

#[test]
fn what_asks_to_come_back_says_when() {
    for (what, problem) in all() {
        if problem.status_code() == StatusCode::SERVICE_UNAVAILABLE {
            assert!(problem.to_json()["retry_after_s"].as_u64().unwrap() >= 1, "{what}");
        }
    }
}
