//! Who may come in and how often, as a plain value. Its clock is tokio's, so that paused time moves it.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use governor::{Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, state::keyed::HashMapStateStore};
use ipnet::{IpNet, Ipv6Net};
use tokio::time::Instant;

use super::messages::Refused;
use crate::{domain::Creator, settings::Rate};

/// The prefix that all addresses of one IPv6 creator share.
const CREATOR_PREFIX: u8 = 64;

/// Time since the limit was made.
#[derive(Debug, Clone, Copy)]
struct SinceStart(Instant);

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Rates = RateLimiter<Creator, HashMapStateStore<Creator>, SinceStart, NoOpMiddleware<Duration>>;

/// The rates of all creators that were seen lately, and the bans.
#[derive(Debug)]
pub(super) struct Door {
    banned: Vec<IpNet>,
    clock: SinceStart,
    requests: Rates,
    wrong_tokens: Rates,
}

impl Door {
    pub(super) fn new(requests: Rate, wrong_tokens: Rate, banned: Vec<IpNet>) -> Self {
        let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let clock = SinceStart(Instant::now());
        let rates = |rate: Rate| {
            let quota = Quota::per_minute(at_least_one(rate.per_minute)).allow_burst(at_least_one(rate.burst));
            RateLimiter::new(quota, HashMapStateStore::default(), clock)
        };
        Self { banned, clock, requests: rates(requests), wrong_tokens: rates(wrong_tokens) }
    }

    /// Lets one request of this creator in, or says why not. Who is banned uses up nothing.
    pub(super) fn knock(&self, creator: &Creator, address: IpAddr) -> Result<(), Refused> {
        self.check(&self.requests, creator, address)
    }

    /// Lets one more wrong token of this address pass as a mistake, or says why not.
    pub(super) fn guess(&self, address: IpAddr) -> Result<(), Refused> {
        self.check(&self.wrong_tokens, &Creator::of(address), address)
    }

    fn check(&self, rates: &Rates, creator: &Creator, address: IpAddr) -> Result<(), Refused> {
        if self.is_banned(address) {
            return Err(Refused::Banned);
        }
        let refused = |until: governor::NotUntil<Duration>| until.wait_time_from(self.clock.now());
        rates.check_key(creator).map_err(|until| Refused::TooFast { retry_after: refused(until) })
    }

    /// Forgets creators whose bucket is full again: they are like one that was never seen.
    pub(super) fn tidy(&self) {
        for rates in [&self.requests, &self.wrong_tokens] {
            rates.retain_recent();
            rates.shrink_to_fit();
        }
    }

    /// A ban of any part of an IPv6 /64 bans all of it, as nobody can tell its addresses apart.
    fn is_banned(&self, address: IpAddr) -> bool {
        let whole = match address.to_canonical() {
            v4 @ IpAddr::V4(_) => IpNet::from(v4),
            IpAddr::V6(v6) => Ipv6Net::new(v6, CREATOR_PREFIX).map_or(IpNet::from(address), |net| net.trunc().into()),
        };
        self.banned.iter().any(|ban| ban.contains(&whole) || whole.contains(ban))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::time::advance;

    const RATE: Rate = Rate { per_minute: 30, burst: 10 };

    fn door(banned: &[&str]) -> Door {
        let banned = banned.iter().map(|net| net.parse().unwrap()).collect();
        Door::new(RATE, Rate { per_minute: 6, burst: 3 }, banned)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn knock(door: &Door, who: IpAddr) -> Result<(), Refused> {
        door.knock(&Creator::of(who), who)
    }

    /// How many of `n` requests are let in.
    fn let_in(door: &Door, who: IpAddr, n: usize) -> usize {
        (0..n).filter(|_| knock(door, who).is_ok()).count()
    }

    fn retry_after(door: &Door, who: IpAddr) -> Duration {
        match knock(door, who) {
            Err(Refused::TooFast { retry_after }) => retry_after,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_in_and_the_next_waits_for_the_refill() {
        let (door, who) = (door(&[]), address("192.0.2.1"));
        assert_eq!(let_in(&door, who, 20), 10);
        assert_eq!(retry_after(&door, who), Duration::from_secs(2));
        advance(Duration::from_millis(1_500)).await;
        assert_eq!(retry_after(&door, who), Duration::from_millis(500));
        advance(Duration::from_millis(500)).await;
        assert_eq!(let_in(&door, who, 5), 1);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(let_in(&door, who, 20), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn one_creator_does_not_use_up_another_ones_rate() {
        let door = door(&[]);
        assert_eq!(let_in(&door, address("192.0.2.1"), 20), 10);
        assert_eq!(let_in(&door, address("192.0.2.2"), 20), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_64_is_one_creator() {
        let door = door(&[]);
        assert_eq!(let_in(&door, address("2001:db8::1"), 6), 6);
        assert_eq!(let_in(&door, address("2001:db8::ffff"), 6), 4);
        assert_eq!(let_in(&door, address("2001:db8:0:1::1"), 6), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_banned_is_not_let_in_and_a_ban_of_a_part_bans_the_whole_creator() {
        let door = door(&["198.51.100.0/24", "2001:db8:1:2::7/128", "2001:db8:8000::/33"]);
        for who in ["198.51.100.77", "2001:db8:1:2::1", "2001:db8:ffff::1", "::ffff:198.51.100.1"] {
            assert_eq!(knock(&door, address(who)), Err(Refused::Banned), "{who}");
        }
        for who in ["198.51.101.1", "2001:db8:1:3::7"] {
            assert_eq!(knock(&door, address(who)), Ok(()), "{who}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_has_a_rate_of_its_own_and_a_ban_looks_at_where_it_comes_from() {
        let door = door(&["198.51.100.0/24"]);
        let token = Creator::Token(crate::domain::TokenName::parse("ci").unwrap());
        let from = |who: &str| door.knock(&token, address(who));
        assert_eq!(let_in(&door, address("192.0.2.1"), 20), 10);
        assert_eq!((0..20).filter(|n| from(&format!("192.0.2.{n}")).is_ok()).count(), 10);
        assert_eq!(from("198.51.100.7"), Err(Refused::Banned));
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_of_an_address_are_counted_by_themselves() {
        let door = door(&["198.51.100.0/24"]);
        let guesses = |who: &str, n: usize| (0..n).filter(|_| door.guess(address(who)).is_ok()).count();
        assert_eq!(guesses("192.0.2.1", 20), 3);
        assert_eq!(door.guess(address("192.0.2.1")), Err(Refused::TooFast { retry_after: Duration::from_secs(10) }));
        assert_eq!((guesses("192.0.2.2", 20), guesses("2001:db8::1", 2), guesses("2001:db8::2", 2)), (3, 2, 1));
        assert_eq!(let_in(&door, address("192.0.2.1"), 20), 10);
        assert_eq!(door.guess(address("198.51.100.1")), Err(Refused::Banned));
        advance(Duration::from_secs(3600)).await;
        door.tidy();
        assert!(door.wrong_tokens.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_creators_are_forgotten_and_busy_ones_are_not() {
        let door = door(&[]);
        for n in 0..1_000_u16 {
            let [high, low] = n.to_be_bytes();
            assert_eq!(let_in(&door, [10, 0, high, low].into(), 1), 1);
        }
        advance(Duration::from_secs(10)).await;
        let busy = address("192.0.2.1");
        let_in(&door, busy, 10);
        door.tidy();
        assert_eq!(door.requests.len(), 1);
        assert!(knock(&door, busy).is_err());
        advance(Duration::from_secs(60)).await;
        door.tidy();
        assert!(door.requests.is_empty());
    }

    proptest! {
        /// In any stretch of time no more than the burst and the refill of that stretch are let in.
        #[test]
        fn the_rate_holds_in_the_long_run(pauses in prop::collection::vec(0u64..5_000, 1..80)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let (door, who, start) = (door(&[]), address("192.0.2.1"), Instant::now());
                let mut admitted = 0.0;
                for pause in pauses {
                    advance(Duration::from_millis(pause)).await;
                    match knock(&door, who) {
                        Ok(()) => admitted += 1.0,
                        Err(Refused::TooFast { retry_after }) => {
                            // Exact: not a moment before, and then at once.
                            advance(retry_after - Duration::from_millis(1)).await;
                            assert!(knock(&door, who).is_err());
                            advance(Duration::from_millis(1)).await;
                            assert!(knock(&door, who).is_ok());
                            admitted += 1.0;
                        }
                        Err(Refused::Banned) => panic!("nobody is"),
                    }
                    assert!(admitted <= 10.0 + start.elapsed().as_secs_f64() * 0.5);
                }
            });
        }
    }
}
