//! What somebody who knows the future would pay.
//!
//! Two figures, because the best schedule itself is too hard to find. The *clairvoyant* packs the instances as well as a
//! good heuristic can that knows every arrival and every end, orders each droplet so that it is up in the moment it is
//! needed, and gives it back in the moment it is empty: a schedule that is possible. The *bound* could move instances
//! between droplets at any time and never waits for a boot: no schedule is cheaper.

use std::time::Duration;

use super::arrivals::Arrival;

/// What the clairvoyant pays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimum {
    /// Of the best packing that was found.
    pub clairvoyant_hours: f64,
    /// Of the bound.
    pub bound_hours: f64,
    /// Droplets of the packing at once.
    pub most_hosts: usize,
}

/// How the next droplet is chosen among those that have room.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// The one that was opened first.
    First,
    /// The one that has to live longer the least because of it, and of those the one that ends nearest.
    Ending,
}

/// Looks for the least that these arrivals cost up to `end`, on droplets of `slots` slots that boot for `boot`.
#[must_use]
pub fn optimum(arrivals: &[Arrival], slots: u32, boot: Duration, end: Duration) -> Optimum {
    let packed = [Rule::First, Rule::Ending].map(|rule| pack(arrivals, slots, boot, end, rule));
    let best = packed.into_iter().min_by_key(|(paid, _)| *paid).unwrap_or_default();
    Optimum { clairvoyant_hours: hours(best.0), bound_hours: bound(arrivals, slots, end), most_hosts: best.1 }
}

struct Open {
    ends: Vec<Duration>,
    closes: Duration,
    opened: Duration,
}

/// What a packing pays, and its most droplets at once.
fn pack(arrivals: &[Arrival], slots: u32, boot: Duration, end: Duration, rule: Rule) -> (Duration, usize) {
    let (mut open, mut paid, mut most) = (Vec::<Open>::new(), Duration::ZERO, 0);
    let price = |host: &Open| host.closes.min(end).saturating_sub(host.opened) + boot;
    for arrival in arrivals.iter().filter(|arrival| arrival.at < end) {
        for host in open.extract_if(.., |host| host.closes <= arrival.at) {
            paid += price(&host);
        }
        for host in &mut open {
            host.ends.retain(|end| *end > arrival.at);
        }
        let ends = arrival.at + arrival.ttl;
        let room = open.iter_mut().filter(|host| host.ends.len() < slots as usize);
        let chosen = match rule {
            Rule::First => room.into_iter().next(),
            Rule::Ending => room.min_by_key(|host| (ends.saturating_sub(host.closes), host.closes)),
        };
        match chosen {
            Some(host) => {
                host.ends.push(ends);
                host.closes = host.closes.max(ends);
            }
            None => open.push(Open { ends: vec![ends], closes: ends, opened: arrival.at }),
        }
        most = most.max(open.len());
    }
    (paid + open.iter().map(price).sum::<Duration>(), most)
}

/// Droplet-hours if every moment had just as many droplets as its instances fill.
fn bound(arrivals: &[Arrival], slots: u32, end: Duration) -> f64 {
    let begins = arrivals.iter().map(|arrival| (arrival.at, 1i64));
    let ends = arrivals.iter().map(|arrival| (arrival.at + arrival.ttl, -1));
    let mut events: Vec<_> = begins.chain(ends).filter(|(at, _)| *at < end).collect();
    events.push((end, 0));
    events.sort_unstable();
    let (mut paid, mut live, mut since) = (Duration::ZERO, 0i64, Duration::ZERO);
    for (at, change) in events {
        let hosts = u64::try_from(live).unwrap_or_default().div_ceil(u64::from(slots.max(1)));
        paid += (at - since) * u32::try_from(hosts).unwrap_or(u32::MAX);
        (live, since) = (live + change, at);
    }
    hours(paid)
}

pub(super) fn hours(time: Duration) -> f64 {
    time.as_secs_f64() / 3600.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::simulation::arrivals::Profile;

    fn arrival(hour: u64, hours: u64) -> Arrival {
        Arrival { at: Duration::from_secs(hour * 3600), ttl: Duration::from_secs(hours * 3600), creator: 0 }
    }

    fn of(arrivals: &[Arrival]) -> Optimum {
        optimum(arrivals, 2, Duration::from_secs(360), Duration::from_secs(100 * 3600))
    }

    #[test]
    fn one_droplet_is_paid_from_its_boot_to_its_last_end() {
        let expected = Optimum { clairvoyant_hours: 5.1, bound_hours: 5.0, most_hosts: 1 };
        assert_eq!(of(&[arrival(0, 3), arrival(1, 4)]), expected);
        assert_eq!(of(&[]), Optimum { clairvoyant_hours: 0.0, bound_hours: 0.0, most_hosts: 0 });
    }

    #[test]
    fn who_knows_the_ends_puts_together_what_ends_together() {
        // First come first served would keep both droplets for ten hours.
        let packed = of(&[arrival(0, 10), arrival(1, 2), arrival(1, 10), arrival(1, 2)]);
        assert!(packed.clairvoyant_hours < 15.0, "{packed:?}");
        assert_eq!(packed.bound_hours, 1.0 + 4.0 + 8.0);
    }

    #[test]
    fn no_packing_is_cheaper_than_the_bound() {
        for seed in 0..20 {
            let arrivals = Profile::Bursty.arrivals(2, seed);
            let found = optimum(&arrivals, 40, Duration::ZERO, Duration::from_secs(2 * 24 * 3600));
            assert!(found.clairvoyant_hours >= found.bound_hours, "{found:?}");
        }
    }
}
