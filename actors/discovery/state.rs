//! What discovery believes about the hosts, as a plain value that readings of the directory move.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::messages::DirectoryView;
use crate::{
    domain::HostName,
    ports::{DirectoryReading, HostRecord},
};

/// What a reading means for the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    Joined(HostRecord),
    Changed(HostRecord),
    Lost(HostName),
}

/// The hosts as the directory's good readings left them.
#[derive(Debug, Default)]
pub(super) struct Believed {
    /// What was read last, and the hosts that have some grace left.
    view: DirectoryView,
    /// Hosts that the directory does not show any more, and when they count as lost.
    missing: BTreeMap<HostName, Instant>,
    /// Whether the directory has been away since the last good reading.
    was_away: bool,
    /// Which run of the directory said what was read last, where it can be told.
    run: Option<String>,
}

impl Believed {
    pub(super) fn view(&self) -> &DirectoryView {
        &self.view
    }

    /// Takes in a good reading. `ttl` is how long an announcement stays without being renewed.
    ///
    /// A host that goes missing is lost: its announcement was not renewed for a whole `ttl`. Where that says nothing,
    /// because the directory was away or has restarted, which may have lost the keys, every missing host is given one
    /// `ttl` to announce itself again. A directory that does not tell one run from another has restarted, as far as
    /// anybody knows, when several hosts (or all of them) go missing at once.
    pub(super) fn read(&mut self, reading: DirectoryReading, ttl: Option<Duration>, now: Instant) -> Vec<News> {
        let before = std::mem::replace(&mut self.run, reading.run);
        let restarted = before.zip(self.run.as_ref()).map(|(before, run)| before != *run);
        // Nearly every reading says what the one before said.
        if !self.was_away && self.missing.is_empty() && self.view.hosts == reading.hosts && self.view.read_once {
            (self.view.vitals, self.view.malformed) = (reading.vitals, reading.malformed);
            return Vec::new();
        }
        let mut old: BTreeMap<_, _> = self.view.hosts.drain(..).map(|host| (host.name.clone(), host)).collect();
        let present = old.keys().filter(|name| !self.missing.contains_key(*name)).count();
        let (mut hosts, mut names, mut news) = (Vec::new(), BTreeSet::new(), Vec::new());
        for host in reading.hosts {
            // A name that is announced twice is one host: the first one.
            if names.insert(host.name.clone()) {
                self.missing.remove(&host.name);
                match old.remove(&host.name) {
                    Some(old) if old == host => {}
                    Some(_) => news.push(News::Changed(host.clone())),
                    None => news.push(News::Joined(host.clone())),
                }
                hosts.push(host);
            }
        }

        let vanished: Vec<_> = old.keys().filter(|name| !self.missing.contains_key(*name)).cloned().collect();
        let suspicious = restarted.unwrap_or(vanished.len() > 1 || vanished.len() == present);
        let graced = now + ttl.unwrap_or_default();
        self.missing.extend(vanished.into_iter().map(|name| (name, if suspicious { graced } else { now })));
        if std::mem::take(&mut self.was_away) || restarted == Some(true) {
            self.missing.values_mut().for_each(|lost_at| *lost_at = graced);
        }
        for (name, _) in self.missing.extract_if(.., |_, lost_at| *lost_at <= now) {
            old.remove(&name);
            news.push(News::Lost(name));
        }

        if !old.is_empty() {
            hosts.extend(old.into_values());
            // Only a directory with a time to live gives grace, and that one is read by name.
            hosts.sort_by(|a, b| a.name.cmp(&b.name));
        }
        self.view = DirectoryView {
            hosts,
            vitals: reading.vitals,
            read_once: true,
            unreachable: None,
            malformed: reading.malformed,
        };
        news
    }

    /// Takes in that the directory could not be read. Nobody is lost by that.
    pub(super) fn away(&mut self, why: String) {
        self.was_away = true;
        self.view.unreachable = Some(why);
    }

    /// Takes in which hosts the scheduler has. Those that the directory does not show left while nobody here was
    /// looking; they too have one `ttl` to announce themselves.
    pub(super) fn adopt(&mut self, theirs: impl IntoIterator<Item = HostName>, ttl: Option<Duration>, now: Instant) {
        for name in theirs {
            if !self.view.hosts.iter().any(|host| host.name == name) {
                self.missing.entry(name).or_insert(now + ttl.unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TTL: Option<Duration> = Some(Duration::from_secs(10));

    fn host(name: &str) -> HostRecord {
        HostRecord {
            name: HostName::parse(name).unwrap(),
            public_address: [192, 0, 2, 1].into(),
            engine: String::new(),
            slots: 40,
        }
    }

    fn reading(names: &[&str]) -> DirectoryReading {
        DirectoryReading { hosts: names.iter().map(|name| host(name)).collect(), ..DirectoryReading::default() }
    }

    /// The same of a directory that tells which run it is.
    fn reading_of(run: &str, names: &[&str]) -> DirectoryReading {
        DirectoryReading { run: Some(run.to_owned()), ..reading(names) }
    }

    fn lost(name: &str) -> News {
        News::Lost(HostName::parse(name).unwrap())
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_host_that_goes_missing_alone_is_lost_at_once() {
        let (mut believed, now) = (Believed::default(), Instant::now());
        assert_eq!(believed.read(reading(&["a", "b"]), TTL, now).len(), 2);
        assert_eq!(believed.read(reading(&["a"]), TTL, now), [lost("b")]);
        assert_eq!(believed.read(reading(&["a"]), TTL, now), []);
    }

    #[test]
    fn hosts_that_go_missing_together_are_lost_at_once_where_the_directory_did_not_restart() {
        for names in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
            let (mut believed, now) = (Believed::default(), Instant::now());
            believed.read(reading_of("1", names), TTL, now);
            let lost: Vec<_> = names.iter().map(|name| lost(name)).collect();
            assert_eq!(believed.read(reading_of("1", &[]), TTL, now), lost);
        }
    }

    #[test]
    fn whoever_is_missing_after_a_restart_has_one_ttl_and_no_more() {
        let (mut believed, start) = (Believed::default(), Instant::now());
        believed.read(reading_of("1", &["a", "b", "c"]), TTL, start);
        // One host alone, of which another directory would say that it did not renew its announcement.
        assert_eq!(believed.read(reading_of("2", &["a", "b"]), TTL, start), []);
        assert_eq!(believed.read(reading_of("2", &["a"]), TTL, start + seconds(4)), [lost("b")]);
        assert_eq!(believed.read(reading_of("2", &["a"]), TTL, start + seconds(9)), []);
        assert_eq!(believed.read(reading_of("2", &["a"]), TTL, start + seconds(10)), [lost("c")]);
    }

    #[test]
    fn a_restart_that_nothing_was_missing_after_is_over() {
        let (mut believed, start) = (Believed::default(), Instant::now());
        believed.read(reading_of("1", &["a", "b"]), TTL, start);
        assert_eq!(believed.read(reading_of("2", &["a", "b"]), TTL, start), []);
        assert_eq!(believed.read(reading_of("2", &[]), TTL, start + seconds(2)), [lost("a"), lost("b")]);
    }

    #[test]
    fn a_directory_that_stops_telling_its_run_is_believed_as_one_that_never_did() {
        let (mut believed, start) = (Believed::default(), Instant::now());
        believed.read(reading_of("1", &["a"]), TTL, start);
        assert_eq!(believed.read(reading(&[]), TTL, start), []);
        assert_eq!(believed.read(reading_of("1", &[]), TTL, start + seconds(9)), []);
        assert_eq!(believed.read(reading_of("1", &[]), TTL, start + seconds(10)), [lost("a")]);
    }

    #[test]
    fn a_host_that_announces_something_else_has_changed() {
        let (mut believed, now) = (Believed::default(), Instant::now());
        believed.read(reading(&["a"]), TTL, now);
        let bigger = HostRecord { slots: 80, ..host("a") };
        let news =
            believed.read(DirectoryReading { hosts: vec![bigger.clone()], ..DirectoryReading::default() }, TTL, now);
        assert_eq!(news, [News::Changed(bigger)]);
    }

    #[test]
    fn after_an_outage_missing_hosts_have_one_ttl_from_the_first_good_reading() {
        let (mut believed, start) = (Believed::default(), Instant::now());
        believed.read(reading(&["a", "b", "c"]), TTL, start);
        believed.away("connection refused".into());
        let back = start + seconds(600);
        assert_eq!(believed.read(reading(&["a", "b"]), TTL, back), []);
        assert_eq!(believed.view().hosts.len(), 3);
        assert_eq!(believed.read(reading(&["a", "b"]), TTL, back + seconds(9)), []);
        assert_eq!(believed.read(reading(&["a", "b"]), TTL, back + seconds(10)), [lost("c")]);
    }

    #[test]
    fn a_directory_that_lost_its_keys_unseen_loses_no_host_that_beats_again() {
        let (mut believed, start) = (Believed::default(), Instant::now());
        believed.read(reading(&["a", "b", "c"]), TTL, start);
        // One of them was quick.
        assert_eq!(believed.read(reading(&["b"]), TTL, start + seconds(2)), []);
        assert_eq!(believed.read(reading(&["a", "b", "c"]), TTL, start + seconds(4)), []);
        assert_eq!(believed.read(reading(&["a", "b"]), TTL, start + seconds(20)), [lost("c")]);
    }

    #[test]
    fn the_only_host_is_not_lost_with_the_keys() {
        let (mut believed, start) = (Believed::default(), Instant::now());
        believed.read(reading(&["a"]), TTL, start);
        assert_eq!(believed.read(reading(&[]), TTL, start), []);
        assert_eq!(believed.read(reading(&["a"]), TTL, start + seconds(4)), []);
    }

    #[test]
    fn a_host_that_is_taken_from_a_static_list_is_lost_at_once() {
        let (mut believed, now) = (Believed::default(), Instant::now());
        believed.read(reading(&["b", "a"]), None, now);
        assert_eq!(believed.view().hosts, [host("b"), host("a")]);
        assert_eq!(believed.read(reading(&[]), None, now), [lost("a"), lost("b")]);
    }

    #[test]
    fn a_name_that_is_announced_twice_is_one_host() {
        let mut believed = Believed::default();
        assert_eq!(believed.read(reading(&["a", "a"]), TTL, Instant::now()).len(), 1);
        assert_eq!(believed.view().hosts.len(), 1);
    }

    #[test]
    fn a_host_that_left_while_nobody_looked_is_lost_after_one_ttl() {
        let (mut believed, start) = (Believed::default(), Instant::now());
        believed.read(reading(&["a"]), TTL, start);
        believed.adopt(["a", "b"].map(|name| HostName::parse(name).unwrap()), TTL, start);
        assert_eq!(believed.read(reading(&["a"]), TTL, start + seconds(9)), []);
        assert_eq!(believed.read(reading(&["a"]), TTL, start + seconds(10)), [lost("b")]);
    }

    proptest! {
        /// Whoever only listens to the news knows what the view says.
        #[test]
        fn the_news_add_up_to_the_view(steps in prop::collection::vec((0u8..32, 0u64..12, any::<bool>(), 0u8..3), 1..60)) {
            let (mut believed, mut now) = (Believed::default(), Instant::now());
            let mut heard = BTreeSet::new();
            for (present, pause, away, run) in steps {
                now += seconds(pause);
                if away {
                    believed.away("away".into());
                    continue;
                }
                let names: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().enumerate()
                    .filter(|(bit, _)| present & (1 << bit) != 0).map(|(_, name)| name).collect();
                let run = (run > 0).then(|| run.to_string());
                for news in believed.read(DirectoryReading { run, ..reading(&names) }, TTL, now) {
                    match news {
                        News::Joined(host) => prop_assert!(heard.insert(host.name)),
                        News::Changed(_) => prop_assert!(false, "nothing changed"),
                        News::Lost(name) => {
                            prop_assert!(heard.remove(&name));
                            prop_assert!(!names.contains(&name.as_str()));
                        }
                    }
                }
                let view: BTreeSet<_> = believed.view().hosts.iter().map(|host| host.name.clone()).collect();
                prop_assert_eq!(&view, &heard);
            }
        }
    }
}
