//! What somebody who knows the future would pay.
//!
//! Two figures, because the best schedule itself is too hard to find (it is bin packing with times); it lies between them.
//!
//! - The *clairvoyant* packs the instances as well as a good heuristic can that knows every arrival and every end, orders
//!   each droplet so that it is up in the moment it is needed, and gives it back in the moment it is empty: a schedule that
//!   is possible, serves everybody at once and pays for boots as everybody does. The best one costs as much or less.
//! - The *bound* is what no schedule can be cheaper than. Whoever serves everybody at once has, at every moment, room for
//!   all that live then, and n instances need at least n divided by the slots of a droplet, rounded up. The bound pays for
//!   just as many at every moment, as if instances could be moved for nothing and droplets needed no boot.

use std::{collections::BTreeMap, time::Duration};

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

/// Looks for the least that these arrivals cost up to `end`, on droplets of `slots` slots that boot for `boot`.
#[must_use]
pub fn optimum(arrivals: &[Arrival], slots: u32, boot: Duration, end: Duration) -> Optimum {
    let by_time: Vec<_> = arrivals
        .iter()
        .filter(|arrival| arrival.at < end)
        .map(|arrival| Stay { from: arrival.at, to: (arrival.at + arrival.ttl).min(end) })
        .collect();
    let mut longest_first = by_time.clone();
    longest_first.sort_by_key(|stay| (std::cmp::Reverse(stay.to - stay.from), stay.from));
    let packed = [by_time, longest_first].map(|stays| pack(&stays, slots as usize));
    let price = |bins: &Vec<Bin>| bins.iter().map(|bin| bin.price(boot)).sum::<Duration>();
    let best = packed.into_iter().min_by_key(price).unwrap_or_default();
    Optimum {
        clairvoyant_hours: hours(price(&best)),
        bound_hours: bound(arrivals, slots, end),
        most_hosts: most_at_once(&best),
    }
}

/// From when to when an instance, or a droplet, is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stay {
    from: Duration,
    to: Duration,
}

/// Droplets one after the other, of which one is there at a time.
#[derive(Debug, Default)]
struct Bin {
    /// How many instances there are from each of these moments to the next; none before the first.
    levels: BTreeMap<Duration, usize>,
    /// When there is a droplet, in order and apart from each other.
    droplets: Vec<Stay>,
}

impl Bin {
    /// Whether one more fits in at every moment of its stay.
    fn has_room(&self, stay: Stay, slots: usize) -> bool {
        self.level(stay.from) < slots && self.levels.range(stay.from..stay.to).all(|(_, level)| *level < slots)
    }

    /// How many instances there are at this moment.
    fn level(&self, at: Duration) -> usize {
        self.levels.range(..=at).next_back().map_or(0, |(_, level)| *level)
    }

    /// How much longer there would be a droplet because of it.
    fn longer(&self, stay: Stay) -> Duration {
        let shared = |droplet: &Stay| droplet.to.min(stay.to).saturating_sub(droplet.from.max(stay.from));
        let first = self.droplets.partition_point(|droplet| droplet.to <= stay.from);
        let overlapping = self.droplets.iter().skip(first).take_while(|droplet| droplet.from < stay.to);
        (stay.to - stay.from).saturating_sub(overlapping.map(shared).sum())
    }

    fn take(&mut self, stay: Stay) {
        for at in [stay.from, stay.to] {
            let level = self.level(at);
            self.levels.insert(at, level);
        }
        self.levels.range_mut(stay.from..stay.to).for_each(|(_, level)| *level += 1);
        let touching = |droplet: &mut Stay| droplet.from <= stay.to && stay.from <= droplet.to;
        let merged = self
            .droplets
            .extract_if(.., touching)
            .fold(stay, |all, droplet| Stay { from: all.from.min(droplet.from), to: all.to.max(droplet.to) });
        let at = self.droplets.partition_point(|droplet| droplet.from < merged.from);
        self.droplets.insert(at, merged);
    }

    fn price(&self, boot: Duration) -> Duration {
        self.droplets.iter().map(|droplet| droplet.to - droplet.from + boot).sum()
    }
}

/// Puts each stay where it makes a droplet live longer by the least.
fn pack(stays: &[Stay], slots: usize) -> Vec<Bin> {
    let mut bins = Vec::<Bin>::new();
    for stay in stays {
        let with_room = bins.iter_mut().filter(|bin| bin.has_room(*stay, slots));
        match with_room.min_by_key(|bin| bin.longer(*stay)) {
            Some(bin) => bin.take(*stay),
            None => {
                let mut bin = Bin::default();
                bin.take(*stay);
                bins.push(bin);
            }
        }
    }
    bins
}

fn most_at_once(bins: &[Bin]) -> usize {
    let droplets = bins.iter().flat_map(|bin| &bin.droplets);
    let mut events: Vec<_> = droplets.flat_map(|droplet| [(droplet.from, 1i64), (droplet.to, -1)]).collect();
    // Who ends at a moment ends before others begin.
    events.sort_unstable();
    let counts = events.iter().scan(0, |there, (_, change)| {
        *there += change;
        Some(*there)
    });
    counts.max().and_then(|most| usize::try_from(most).ok()).unwrap_or_default()
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
        // In the order of their coming, two droplets would be kept for ten hours each.
        let packed = of(&[arrival(0, 10), arrival(1, 2), arrival(1, 10), arrival(1, 2)]);
        assert!(packed.clairvoyant_hours < 15.0, "{packed:?}");
        assert_eq!(packed.bound_hours, 1.0 + 4.0 + 8.0);
    }

    #[test]
    fn a_packing_overfills_no_droplet_and_forgets_nobody() {
        let (arrivals, end) = (Profile::Bursty.arrivals(2, 1), Duration::from_secs(3 * 24 * 3600));
        let stay = |arrival: &Arrival| Stay { from: arrival.at, to: (arrival.at + arrival.ttl).min(end) };
        let stays: Vec<_> = arrivals.iter().map(stay).collect();
        let packed = pack(&stays, 4);
        let mut held = Duration::ZERO;
        for levels in packed.iter().map(|bin| &bin.levels) {
            assert!(levels.values().all(|level| *level <= 4) && levels.values().next_back() == Some(&0));
            let next = levels.keys().skip(1);
            held += levels
                .iter()
                .zip(next)
                .map(|((at, level), next)| (*next - *at) * u32::try_from(*level).unwrap())
                .sum::<Duration>();
        }
        assert_eq!(held, stays.iter().map(|stay| stay.to - stay.from).sum());
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
