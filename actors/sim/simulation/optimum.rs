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
    instances: Vec<Stay>,
    /// When there is a droplet, in order and apart from each other.
    droplets: Vec<Stay>,
}

impl Bin {
    /// Whether one more fits in at every moment of its stay.
    fn has_room(&self, stay: Stay, slots: usize) -> bool {
        let overlapping = || self.instances.iter().filter(|other| other.from < stay.to && stay.from < other.to);
        // The fullest moment is one at which somebody begins.
        let begins = overlapping().map(|other| other.from.max(stay.from));
        overlapping().count() < slots
            || begins.into_iter().all(|at| overlapping().filter(|o| o.from <= at && at < o.to).count() < slots)
    }

    /// How much longer there would be a droplet because of it.
    fn longer(&self, stay: Stay) -> Duration {
        let shared = |droplet: &Stay| droplet.to.min(stay.to).saturating_sub(droplet.from.max(stay.from));
        (stay.to - stay.from).saturating_sub(self.droplets.iter().map(shared).sum())
    }

    fn take(&mut self, stay: Stay) {
        self.instances.push(stay);
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
    let stays = || bins.iter().flat_map(|bin| &bin.droplets);
    stays().map(|stay| stays().filter(|o| o.from <= stay.from && stay.from < o.to).count()).max().unwrap_or_default()
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
    fn no_packing_is_cheaper_than_the_bound() {
        for seed in 0..20 {
            let arrivals = Profile::Bursty.arrivals(2, seed);
            let found = optimum(&arrivals, 40, Duration::ZERO, Duration::from_secs(2 * 24 * 3600));
            assert!(found.clairvoyant_hours >= found.bound_hours, "{found:?}");
        }
    }
}
