//! What one sink has in hand, and what becomes of a delivery that was not accepted: plain values, no waiting.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    domain::Timestamp,
    ports::{Delivery, WebhookError},
};

/// Deliveries of one sink that are in hand at once. A sink that hangs costs as many connections, and no more.
const MOST_IN_HAND: usize = 16;

/// The wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait of our own choice.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A wait is shortened by up to this share, so that what failed together does not come back in step.
const JITTER: f64 = 0.2;

/// Doubling any longer passes the longest wait.
const MOST_DOUBLINGS: u32 = 16;

/// A delivery that nobody else takes before `until`.
#[derive(Debug)]
struct Claimed {
    delivery: Delivery,
    until: Timestamp,
}

/// The deliveries of one sink that were taken and are not settled, by instance. The first of each instance is being
/// posted, the others wait for it: what happened to an instance is told in its order.
#[derive(Debug, Default)]
pub(super) struct Hand(BTreeMap<String, VecDeque<Claimed>>);

impl Hand {
    /// How many more may be taken.
    pub(super) fn room(&self) -> usize {
        MOST_IN_HAND.saturating_sub(self.0.values().map(VecDeque::len).sum())
    }

    /// Adds what was taken and is claimed `until` then, and says what is to be posted now.
    pub(super) fn add(&mut self, mut taken: Vec<Delivery>, until: Timestamp) -> Vec<Delivery> {
        // Two notices of the same millisecond can only be the first and the last one, which sort so by name as well.
        taken.sort_by(|a, b| (a.created_at, &a.notice.id).cmp(&(b.created_at, &b.notice.id)));
        taken.retain(|delivery| {
            let waiting = self.0.entry(subject(delivery)).or_default();
            let first = waiting.is_empty();
            // It is there already when its claim ran out before it was settled; one post of it is enough.
            match waiting.iter_mut().find(|known| known.delivery.notice.id == delivery.notice.id) {
                Some(known) => known.until = until,
                None => waiting.push_back(Claimed { delivery: delivery.clone(), until }),
            }
            first
        });
        taken
    }

    /// Puts away what was settled, and says what is to be posted next, if its claim holds until `end`, when its post is
    /// over. Without a claim it is the store's again, with all that waits behind it.
    pub(super) fn settled(&mut self, delivery: &Delivery, end: Timestamp) -> Option<Delivery> {
        let waiting = self.0.get_mut(&subject(delivery))?;
        waiting.retain(|known| known.delivery.notice.id != delivery.notice.id);
        let next = waiting.front().filter(|known| known.until >= end).map(|known| known.delivery.clone());
        if next.is_none() {
            self.put_back(delivery);
        }
        next
    }

    /// What waits behind a delivery.
    pub(super) fn behind(&self, delivery: &Delivery) -> Vec<Delivery> {
        let waiting = self.0.get(&subject(delivery)).into_iter().flatten();
        waiting.skip(1).map(|known| known.delivery.clone()).collect()
    }

    /// Puts away everything of an instance.
    pub(super) fn put_back(&mut self, delivery: &Delivery) {
        self.0.remove(&subject(delivery));
    }
}

/// What a delivery is about: the beginning of its notice's id is the instance's.
fn subject(delivery: &Delivery) -> String {
    delivery.notice.id.split('.').next().unwrap_or_default().to_owned()
}

/// What is to become of a delivery after a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was made.
    Accepted,
    /// Its sink wants no more of it.
    Unwanted,
    /// It was tried for long enough.
    GiveUp,
    /// It is to be tried again after this wait.
    Again(Duration),
}

/// Judges a post of `delivery` that ended at `now`. `chance` is from 0.0 to 1.0.
pub(super) fn judge(
    delivery: &Delivery,
    outcome: &Result<(), WebhookError>,
    give_up_after: Duration,
    now: Timestamp,
    chance: f64,
) -> Verdict {
    let asked = match outcome {
        Ok(()) => return Verdict::Accepted,
        Err(WebhookError::Unwanted) => return Verdict::Unwanted,
        Err(WebhookError::Refused { retry_after, .. }) => retry_after.unwrap_or_default(),
        Err(WebhookError::Unreachable(_)) => Duration::ZERO,
    };
    let age = age(delivery, now);
    if age >= give_up_after {
        return Verdict::GiveUp;
    }
    let doublings = delivery.attempts.saturating_sub(1).min(MOST_DOUBLINGS);
    let own =
        FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT).mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0));
    // A sink that asks for a longer rest than it has gets one last chance.
    Verdict::Again(own.max(asked).min(give_up_after - age))
}

/// Whether a delivery waited so long that it is not worth another post.
pub(super) fn is_too_old(delivery: &Delivery, give_up_after: Duration, now: Timestamp) -> bool {
    age(delivery, now) > give_up_after
}

fn age(delivery: &Delivery, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(delivery.created_at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Notice, SinkName};

    const DAY: Duration = Duration::from_secs(86_400);

    fn delivery(id: &str, at: i64) -> Delivery {
        Delivery {
            notice: Notice { id: id.to_owned(), body: String::new() },
            sink: SinkName::parse("a").unwrap(),
            created_at: Timestamp::from_millisecond(at).unwrap(),
            attempts: 1,
        }
    }

    fn ids(deliveries: &[Delivery]) -> Vec<&str> {
        deliveries.iter().map(|delivery| delivery.notice.id.as_str()).collect()
    }

    fn refused(retry_after: Option<Duration>) -> Result<(), WebhookError> {
        Err(WebhookError::Refused { why: "503".to_owned(), retry_after })
    }

    fn wait(attempts: u32, outcome: &Result<(), WebhookError>, age: Duration, chance: f64) -> Verdict {
        let delivery = Delivery { attempts, ..delivery("x.created", 0) };
        judge(&delivery, outcome, DAY, delivery.created_at + age, chance)
    }

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    #[test]
    fn the_notices_of_an_instance_are_posted_one_after_the_other_and_those_of_others_beside_them() {
        let mut hand = Hand::default();
        let (created, ended, other) = (delivery("x.created", 5), delivery("x.ended", 9), delivery("y.ended", 7));
        let now = hand.add(vec![ended.clone(), other.clone(), created.clone()], at(100));
        assert_eq!(ids(&now), ["x.created", "y.ended"]);
        assert_eq!(hand.room(), MOST_IN_HAND - 3);
        assert_eq!(ids(&hand.behind(&created)), ["x.ended"]);
        assert_eq!(hand.settled(&other, at(50)), None);
        assert_eq!(hand.settled(&created, at(100)), Some(ended.clone()));
        assert_eq!(hand.settled(&ended, at(50)), None);
        assert_eq!(hand.room(), MOST_IN_HAND);
    }

    #[test]
    fn what_is_taken_again_while_it_is_in_hand_is_not_posted_twice() {
        let mut hand = Hand::default();
        assert_eq!(hand.add(vec![delivery("x.created", 5)], at(50)).len(), 1);
        assert_eq!(hand.add(vec![delivery("x.created", 5), delivery("x.ended", 6)], at(100)), []);
        assert_eq!(hand.room(), MOST_IN_HAND - 2);
    }

    #[test]
    fn what_waits_behind_a_failed_delivery_goes_back_with_it() {
        let mut hand = Hand::default();
        let created = delivery("x.created", 5);
        hand.add(vec![created.clone(), delivery("x.ended", 9)], at(50));
        hand.put_back(&created);
        assert_eq!((hand.room(), hand.settled(&created, at(10))), (MOST_IN_HAND, None));
    }

    #[test]
    fn what_waited_for_so_long_that_its_claim_ran_out_is_left_to_the_store() {
        let mut hand = Hand::default();
        let created = delivery("x.created", 5);
        hand.add(vec![created.clone(), delivery("x.ended", 9)], at(50));
        assert_eq!(hand.settled(&created, at(51)), None);
        assert_eq!(hand.room(), MOST_IN_HAND);
    }

    #[test]
    fn waits_double_from_a_second_to_ten_minutes() {
        let waits: Vec<_> = [1, 2, 3, 9, 10, 11, 4_000_000_000]
            .map(|n| match wait(n, &refused(None), Duration::ZERO, 0.0) {
                Verdict::Again(wait) => wait.as_secs(),
                other => panic!("{other:?}"),
            })
            .to_vec();
        assert_eq!(waits, [1, 2, 4, 256, 512, 600, 600]);
    }

    #[test]
    fn chance_shortens_a_wait_by_a_fifth_at_most() {
        let unreachable = Err(WebhookError::Unreachable(String::new()));
        assert_eq!(wait(1, &unreachable, Duration::ZERO, 1.0), Verdict::Again(Duration::from_millis(800)));
    }

    #[test]
    fn a_sink_is_left_alone_for_as_long_as_it_asks_but_never_beyond_the_end_of_trying() {
        let hour = Duration::from_secs(3600);
        assert_eq!(wait(1, &refused(Some(hour)), Duration::ZERO, 0.0), Verdict::Again(hour));
        assert_eq!(wait(9, &refused(Some(FIRST_WAIT)), Duration::ZERO, 0.0), Verdict::Again(256 * FIRST_WAIT));
        assert_eq!(wait(1, &refused(Some(2 * DAY)), hour, 0.0), Verdict::Again(DAY - hour));
    }

    #[test]
    fn what_is_not_accepted_in_time_is_given_up_and_what_is_not_wanted_at_once() {
        assert_eq!(wait(1, &refused(None), DAY, 0.0), Verdict::GiveUp);
        assert_eq!(wait(1, &Err(WebhookError::Unwanted), Duration::ZERO, 0.0), Verdict::Unwanted);
        assert_eq!(wait(1, &Ok(()), 2 * DAY, 0.0), Verdict::Accepted);
    }
}
