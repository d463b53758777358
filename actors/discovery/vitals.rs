//! Which of the hosts' vitals are worth telling, as a plain value.
//!
//! A host tells them with every beat, and hardly two are the same. Somebody who looks sees no difference between 41 and
//! 42 percent, so only what differs visibly from what was told last is told again, and of one host at most every
//! [`PAUSE`]: what is told grows with the hosts and not with their beats.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{domain::HostName, ports::HostVitals};

/// The shortest time between two tellings of one host.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// Steps of memory and disk that can be seen on a meter, in percent.
const SHARE_STEP: u64 = 2;

/// Steps of load that can be seen on a meter, in percent of all cores.
const LOAD_STEP: u64 = 10;

/// What was told last of each host, and when.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<HostName, (Instant, HostVitals)>);

impl Told {
    /// Takes in what was read and returns what is to be told. Hosts that are not there are forgotten, so that one that
    /// comes back is told of at once.
    pub(super) fn worth_telling(
        &mut self,
        read: &BTreeMap<HostName, HostVitals>,
        now: Instant,
    ) -> Vec<(HostName, HostVitals)> {
        self.0.retain(|name, _| read.contains_key(name));
        let is_news = |(name, vitals): &(&HostName, &HostVitals)| match self.0.get(*name) {
            None => true,
            Some((at, told)) => now.duration_since(*at) >= PAUSE && differ(told, vitals),
        };
        let news: Vec<_> = read.iter().filter(is_news).map(|(name, vitals)| (name.clone(), vitals.clone())).collect();
        self.0.extend(news.iter().map(|(name, vitals)| (name.clone(), (now, vitals.clone()))));
        news
    }
}

/// Whether somebody who looks would see a difference.
fn differ(a: &HostVitals, b: &HostVitals) -> bool {
    let memory = |v: &HostVitals| used_percent(v.memory_total_bytes, v.memory_available_bytes);
    let disk = |v: &HostVitals| used_percent(v.disk_total_bytes, v.disk_free_bytes);
    let load = |v: &HostVitals| Some(u64::from(v.load_percent?) / u64::from(v.cpus?.max(1)));
    let measured = |v: &HostVitals| HostVitals {
        memory_total_bytes: None,
        memory_available_bytes: None,
        disk_total_bytes: None,
        disk_free_bytes: None,
        load_percent: None,
        ..v.clone()
    };
    far(memory(a), memory(b), SHARE_STEP)
        || far(disk(a), disk(b), SHARE_STEP)
        || far(load(a), load(b), LOAD_STEP)
        || measured(a) != measured(b)
}

fn far(a: Option<u64>, b: Option<u64>, step: u64) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.abs_diff(b) >= step,
        (a, b) => a.is_some() != b.is_some(),
    }
}

fn used_percent(total: Option<u64>, left: Option<u64>) -> Option<u64> {
    let (total, left) = (total.filter(|total| *total > 0)?, left?);
    u64::try_from(u128::from(total.saturating_sub(left)) * 100 / u128::from(total)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::EngineSeen;

    fn name(n: u32) -> HostName {
        HostName::parse(&format!("h{n}")).unwrap()
    }

    /// A host of 100 bytes and two cores.
    fn vitals(available: u64, load_percent: u32) -> HostVitals {
        HostVitals {
            memory_total_bytes: Some(100),
            memory_available_bytes: Some(available),
            disk_total_bytes: Some(100),
            disk_free_bytes: Some(50),
            cpus: Some(2),
            load_percent: Some(load_percent),
            engine: Some(EngineSeen::Up),
            ..HostVitals::default()
        }
    }

    fn read(vitals: HostVitals) -> BTreeMap<HostName, HostVitals> {
        [(name(1), vitals)].into()
    }

    #[test]
    fn only_what_can_be_seen_is_told_again() {
        let base = vitals(50, 100);
        for (next, news) in [
            (base.clone(), false),
            (vitals(51, 100), false),
            (vitals(52, 100), true),
            (vitals(50, 119), false),
            (vitals(50, 120), true),
            (HostVitals { disk_free_bytes: Some(48), ..base.clone() }, true),
            (HostVitals { disk_free_bytes: None, ..base.clone() }, true),
            (HostVitals { engine: Some(EngineSeen::Silent), ..base.clone() }, true),
            (HostVitals { engine_version: Some("27".to_owned()), ..base.clone() }, true),
        ] {
            let (mut told, now) = (Told::default(), Instant::now());
            assert_eq!(told.worth_telling(&read(base.clone()), now).len(), 1, "a host that was never told of");
            assert_eq!(told.worth_telling(&read(next.clone()), now + PAUSE).len(), usize::from(news), "{next:?}");
        }
    }

    #[test]
    fn what_creeps_away_from_what_was_told_is_told_in_the_end() {
        let (mut told, mut now) = (Told::default(), Instant::now());
        let tellings: Vec<_> = (0..=10)
            .filter(|n| {
                now += PAUSE;
                !told.worth_telling(&read(vitals(50 - n, 0)), now).is_empty()
            })
            .collect();
        assert_eq!(tellings, [0, 2, 4, 6, 8, 10]);
    }

    #[test]
    fn a_host_that_changes_with_every_beat_is_told_of_once_in_a_while() {
        let (mut told, start) = (Told::default(), Instant::now());
        let tellings = (0..1800u64)
            .filter(|n| {
                let beat = read(vitals(if n % 2 == 0 { 10 } else { 90 }, 0));
                !told.worth_telling(&beat, start + Duration::from_secs(2 * n)).is_empty()
            })
            .count();
        assert!((300..=360).contains(&tellings), "{tellings} in an hour of beats");
    }

    #[test]
    fn a_host_that_comes_back_is_told_of_at_once() {
        let (mut told, now) = (Told::default(), Instant::now());
        assert_eq!(told.worth_telling(&read(vitals(50, 0)), now).len(), 1);
        assert_eq!(told.worth_telling(&BTreeMap::new(), now), []);
        assert_eq!(told.worth_telling(&read(vitals(50, 0)), now).len(), 1);
    }
}
