//! The rate limit through its one message.

use std::time::Duration;

use getaredis_actors::{
    domain::Creator,
    rate_limit::{
        RateLimitActor,
        messages::{Admit, Refused, WrongToken},
    },
    settings::{Rate, Settings},
    sim::harness,
    supervision::{AskError, Child, Cradle, Roster, Spec, ask, supervise},
};
use tokio::time::sleep;

use crate::support::{roster, seconds};

const PATIENCE: Duration = Duration::from_secs(1);

fn started(spec: Spec) -> (Child<RateLimitActor>, Roster) {
    tokio::time::pause();
    let banned = vec!["203.0.113.0/24".parse().unwrap()];
    let settings = Settings { rate: Rate { per_minute: 30, burst: 10 }, banned, ..harness::settings() };
    let roster = roster();
    (supervise(Cradle::new(), spec, &roster, move |_| RateLimitActor::new(&settings)), roster)
}

async fn admit(child: &Child<RateLimitActor>, who: &str) -> Result<(), Refused> {
    let address = who.parse().unwrap();
    ask(&child.addr().recipient(), Admit { creator: Creator::of(address), address }, PATIENCE).await.unwrap()
}

async fn let_in(child: &Child<RateLimitActor>, who: &str, n: usize) -> usize {
    let mut count = 0;
    for _ in 0..n {
        count += usize::from(admit(child, who).await.is_ok());
    }
    count
}

#[actix::test]
async fn a_creator_is_let_in_as_often_as_its_rate_allows_and_told_exactly_when_to_come_back() {
    let (child, _roster) = started(Spec::permanent("rate_limit"));
    assert_eq!(let_in(&child, "192.0.2.1", 20).await, 10);
    assert_eq!(let_in(&child, "192.0.2.2", 20).await, 10);
    let Err(Refused::TooFast { retry_after }) = admit(&child, "192.0.2.1").await else { panic!("let in") };
    assert!(retry_after > seconds(1) && retry_after <= seconds(2), "{retry_after:?}");
    // tokio's timers are exact to a millisecond.
    sleep(retry_after - Duration::from_millis(2)).await;
    assert!(admit(&child, "192.0.2.1").await.is_err());
    sleep(Duration::from_millis(2)).await;
    assert_eq!(admit(&child, "192.0.2.1").await, Ok(()));
    sleep(seconds(3600)).await;
    assert_eq!(let_in(&child, "192.0.2.1", 20).await, 10);
}

#[actix::test]
async fn who_is_banned_stays_out_after_a_restart_and_rates_begin_anew() {
    let (child, _roster) = started(Spec::permanent("rate_limit"));
    assert_eq!(let_in(&child, "192.0.2.1", 20).await, 10);
    assert_eq!(admit(&child, "203.0.113.9").await, Err(Refused::Banned));
    child.cut();
    sleep(seconds(5)).await;
    assert_eq!(admit(&child, "203.0.113.9").await, Err(Refused::Banned));
    assert_eq!(let_in(&child, "192.0.2.1", 20).await, 10);
}

#[actix::test]
async fn where_it_is_out_of_service_nobody_is_let_in() {
    let (child, _roster) = started(Spec::temporary("rate_limit"));
    assert_eq!(admit(&child, "192.0.2.1").await, Ok(()));
    child.cut();
    sleep(seconds(1)).await;
    let address = [192, 0, 2, 1].into();
    let answer = ask(&child.addr().recipient(), Admit { creator: Creator::of(address), address }, PATIENCE).await;
    assert_eq!(answer, Err(AskError::Down));
    let answer = ask(&child.addr().recipient(), WrongToken { address }, PATIENCE).await;
    assert_eq!(answer, Err(AskError::Down));
}
