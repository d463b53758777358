//! Who may come in and how often, as a plain value. Its clock is tokio's, so that paused time moves it.

use std::{num::NonZeroU32, time::Duration};

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

/// The rates of all creators that were seen lately, and the bans.
#[derive(Debug)]
pub(super) struct Door {
    banned: Vec<IpNet>,
    clock: SinceStart,
    rates: RateLimiter<Creator, HashMapStateStore<Creator>, SinceStart, NoOpMiddleware<Duration>>,
}

impl Door {
    pub(super) fn new(rate: Rate, banned: Vec<IpNet>) -> Self {
        let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(at_least_one(rate.per_minute)).allow_burst(at_least_one(rate.burst));
        let clock = SinceStart(Instant::now());
        Self { banned, clock, rates: RateLimiter::new(quota, HashMapStateStore::default(), clock) }
    }

    /// Lets one request of this creator in, or says why not. Who is banned uses up nothing.
    pub(super) fn knock(&self, creator: Creator) -> Result<(), Refused> {
        if self.is_banned(creator) {
            return Err(Refused::Banned);
        }
        let refused = |until: governor::NotUntil<Duration>| until.wait_time_from(self.clock.now());
        self.rates.check_key(&creator).map_err(|until| Refused::TooFast { retry_after: refused(until) })
    }

    /// Forgets creators whose bucket is full again: they are like one that was never seen.
    pub(super) fn tidy(&self) {
        self.rates.retain_recent();
        self.rates.shrink_to_fit();
    }

    /// A ban of any part of a creator bans all of it, as nobody can tell its addresses apart.
    fn is_banned(&self, creator: Creator) -> bool {
        let whole = match creator {
            Creator::V4(v4) => IpNet::from(std::net::IpAddr::from(v4)),
            Creator::V6Net(net) => {
                Ipv6Net::new(net, CREATOR_PREFIX).map_or_else(|_| IpNet::from(std::net::IpAddr::from(net)), IpNet::V6)
            }
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

    fn creator(address: &str) -> Creator {
        Creator::of(address.parse().unwrap())
    }

    /// How many of `n` requests are let in.
    fn let_in(door: &Door, creator: Creator, n: usize) -> usize {
        (0..n).filter(|_| door.knock(creator).is_ok()).count()
    }

    fn retry_after(door: &Door, creator: Creator) -> Duration {
        match door.knock(creator) {
            Err(Refused::TooFast { retry_after }) => retry_after,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_in_and_the_next_waits_for_the_refill() {
        let (door, who) = (Door::new(RATE, Vec::new()), creator("192.0.2.1"));
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
        let door = Door::new(RATE, Vec::new());
        assert_eq!(let_in(&door, creator("192.0.2.1"), 20), 10);
        assert_eq!(let_in(&door, creator("192.0.2.2"), 20), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_64_is_one_creator() {
        let door = Door::new(RATE, Vec::new());
        assert_eq!(let_in(&door, creator("2001:db8::1"), 6), 6);
        assert_eq!(let_in(&door, creator("2001:db8::ffff"), 6), 4);
        assert_eq!(let_in(&door, creator("2001:db8:0:1::1"), 6), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_banned_is_not_let_in_and_a_ban_of_a_part_bans_the_whole_creator() {
        let banned = ["198.51.100.0/24", "2001:db8:1:2::7/128", "2001:db8:8000::/33"].map(|net| net.parse().unwrap());
        let door = Door::new(RATE, banned.to_vec());
        for who in ["198.51.100.77", "2001:db8:1:2::1", "2001:db8:ffff::1", "::ffff:198.51.100.1"] {
            assert_eq!(door.knock(creator(who)), Err(Refused::Banned), "{who}");
        }
        for who in ["198.51.101.1", "2001:db8:1:3::7"] {
            assert_eq!(door.knock(creator(who)), Ok(()), "{who}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_creators_are_forgotten_and_busy_ones_are_not() {
        let door = Door::new(RATE, Vec::new());
        for n in 0..1_000_u16 {
            let [high, low] = n.to_be_bytes();
            assert_eq!(let_in(&door, Creator::of([10, 0, high, low].into()), 1), 1);
        }
        advance(Duration::from_secs(10)).await;
        let busy = creator("192.0.2.1");
        let_in(&door, busy, 10);
        door.tidy();
        assert_eq!(door.rates.len(), 1);
        assert!(door.knock(busy).is_err());
        advance(Duration::from_secs(60)).await;
        door.tidy();
        assert!(door.rates.is_empty());
    }

    proptest! {
        /// In any stretch of time no more than the burst and the refill of that stretch are let in.
        #[test]
        fn the_rate_holds_in_the_long_run(pauses in prop::collection::vec(0u64..5_000, 1..80)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let (door, who, start) = (Door::new(RATE, Vec::new()), creator("192.0.2.1"), Instant::now());
                let mut admitted = 0.0;
                for pause in pauses {
                    advance(Duration::from_millis(pause)).await;
                    match door.knock(who) {
                        Ok(()) => admitted += 1.0,
                        Err(Refused::TooFast { retry_after }) => {
                            // Exact: not a moment before, and then at once.
                            advance(retry_after - Duration::from_millis(1)).await;
                            assert!(door.knock(who).is_err());
                            advance(Duration::from_millis(1)).await;
                            assert!(door.knock(who).is_ok());
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
