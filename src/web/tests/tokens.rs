//! API tokens as creators, and what wrong tokens of any kind cost.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::{http::Method, test::TestRequest};
use getaredis_actors::{
    rate_limit::messages::{Admit, Refused, WrongToken},
    scheduler::messages::{CreateInstance, Created},
};

use super::kit::{API_TOKEN, Kit, OPERATOR_TOKEN, bearing, dead, door, get, instance, own, post, recording, token};

/// A kit whose doors remember who came: to create, and with a wrong token.
struct Watched {
    kit: Kit,
    admitted: Arc<Mutex<Vec<Admit>>>,
    created: Arc<Mutex<Vec<CreateInstance>>>,
    guessed: Arc<Mutex<Vec<WrongToken>>>,
}

fn watched() -> Watched {
    let mut kit = Kit::new();
    let (admit, admitted) = recording(|_: Admit| Ok(()));
    let (create, created) = recording(|_: CreateInstance| Ok(Created { instance: instance(), replayed: false }));
    let (wrong_token, guessed) = recording(|_: WrongToken| Ok(()));
    (kit.doors.admit, kit.doors.create, kit.doors.wrong_token) = (admit, create, wrong_token);
    Watched { kit, admitted, created, guessed }
}

#[actix_web::test]
async fn the_holder_of_an_api_token_is_a_creator_of_its_own_and_its_address_is_still_looked_at() {
    for path in ["/v1/instances", "/instance"] {
        let Watched { kit, admitted, created, guessed } = watched();
        let answer = kit.ask(bearing(post(path), API_TOKEN)).await;
        assert!(answer.status.is_success(), "{path}");
        let admitted = admitted.lock().unwrap();
        assert_eq!(admitted[0].creator.to_string(), "token:ci");
        assert_eq!(admitted[0].address, "198.51.100.1".parse::<IpAddr>().unwrap());
        assert_eq!(created.lock().unwrap()[0].creator.to_string(), "token:ci");
        assert!(guessed.lock().unwrap().is_empty());
    }
}

#[actix_web::test]
async fn a_create_with_another_token_is_refused_and_never_counted_by_its_address() {
    let with = |value: &'static str| post("/v1/instances").insert_header(("authorization", value));
    let twice = post("/v1/instances")
        .append_header(("authorization", format!("Bearer {API_TOKEN}")))
        .append_header(("authorization", "Bearer other"));
    let requests =
        [bearing(post("/v1/instances"), "wrong"), bearing(post("/instance"), &token()), with("Bearer"), twice];
    for request in requests {
        let Watched { kit, admitted, created, guessed } = watched();
        let answer = kit.ask(request).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (401, "unauthorized"));
        assert!(admitted.lock().unwrap().is_empty() && created.lock().unwrap().is_empty());
        assert_eq!(guessed.lock().unwrap()[0].address, "198.51.100.1".parse::<IpAddr>().unwrap());
    }
}

#[actix_web::test]
async fn another_scheme_belongs_to_a_proxy_and_says_nothing_about_the_creator() {
    let Watched { kit, created, .. } = watched();
    let answer = kit.ask(post("/v1/instances").insert_header(("authorization", "Basic dTpw"))).await;
    assert_eq!(answer.status, 201);
    assert_eq!(created.lock().unwrap()[0].creator.to_string(), "198.51.100.1");
}

#[actix_web::test]
async fn the_capacity_tells_the_cap_of_who_asks() {
    let cap = async |request: TestRequest| Kit::new().ask(request).await.json()["defaults"]["per_creator"].clone();
    assert_eq!(cap(get("/v1/capacity")).await, 6);
    assert_eq!(cap(bearing(get("/v1/capacity"), API_TOKEN)).await, 20);
    assert_eq!(Kit::new().ask(bearing(get("/v1/capacity"), "wrong")).await.slug(), "unauthorized");
}

/// Every request that a token is shown in.
fn with_token(token: &str) -> Vec<TestRequest> {
    let mut all: Vec<_> =
        [Method::GET, Method::HEAD, Method::PATCH, Method::DELETE].map(|method| get(&own()).method(method)).into();
    all.extend([get("/v1/admin/actors"), get("/v1/admin/feed"), get("/v1/capacity"), post("/v1/instances")]);
    all.into_iter().map(|request| bearing(request, token)).collect()
}

#[actix_web::test]
async fn who_guesses_tokens_is_told_to_wait_wherever_the_guess_is_sent() {
    for request in with_token("guess") {
        let Watched { mut kit, .. } = watched();
        let retry_after = Duration::from_secs(7);
        kit.doors.wrong_token = door(move |_: WrongToken| Err(Refused::TooFast { retry_after }));
        let answer = kit.ask(request).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"));
        assert_eq!(answer.slug(), "rate-limited");
    }
}

#[actix_web::test]
async fn a_guess_is_refused_also_while_nobody_counts_it() {
    for request in with_token("guess") {
        let mut kit = Kit::new();
        kit.doors.wrong_token = dead();
        assert_eq!(kit.ask(request).await.slug(), "restarting");
    }
}

#[actix_web::test]
async fn right_tokens_and_missing_ones_are_no_guesses() {
    let right = [
        bearing(get(&own()), &token()),
        bearing(get(&own()).method(Method::DELETE), &token()),
        bearing(get("/v1/admin/actors"), OPERATOR_TOKEN),
        bearing(get("/v1/capacity"), API_TOKEN),
        get(&own()),
        get("/v1/admin/actors"),
    ];
    for request in right {
        let Watched { kit, guessed, .. } = watched();
        assert_ne!(kit.ask(request).await.status, 429);
        assert!(guessed.lock().unwrap().is_empty());
    }
}
