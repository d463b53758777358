//! The servers that work on the same database, and which of them are dead.
//!
//! Owns how often a server gives a sign of life and when the lack of it means death. Plain and synchronous. Must not
//! believe any clock but this process' monotonic one: a server is dead when its count of signs stands still, however
//! the clocks of the machines are set.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{HostName, Instance, InstanceState, ServerId},
    ports::{Beat, Report},
};

/// How often a server gives a sign of life.
pub(super) const BEAT_EVERY: Duration = Duration::from_secs(2);

/// Six missed signs: longer than a database takes to come back after a restart, shorter than somebody waits who repeats
/// a request with its idempotency key.
const DEAD_AFTER: Duration = Duration::from_secs(12);

/// See the module's header.
#[derive(Debug)]
pub(super) struct Neighbours {
    own: ServerId,
    /// Every server that the last reading listed.
    heard: HashMap<ServerId, Heard>,
}

#[derive(Debug)]
struct Heard {
    beats: u64,
    /// When this count was first seen.
    since: Instant,
    /// For how long the count certainly did not change.
    silent_for: Duration,
    /// What it said last.
    report: Report,
}

impl Neighbours {
    pub(super) fn new(own: ServerId) -> Self {
        Self { own, heard: HashMap::new() }
    }

    /// Takes in a reading that was asked for and answered at these moments. Silence is measured between an answer and a
    /// later question, so that an answer that lay around for a while makes nobody dead.
    pub(super) fn hear(&mut self, beats: &[Beat], asked: Instant, answered: Instant) {
        let listed: BTreeSet<&ServerId> = beats.iter().map(|beat| &beat.server).collect();
        self.heard.retain(|server, _| listed.contains(server));
        for Beat { server, beats, report } in beats {
            match self.heard.get_mut(server) {
                Some(heard) if heard.beats == *beats => {
                    heard.silent_for = asked.saturating_duration_since(heard.since);
                }
                _ => {
                    let (since, silent_for) = (answered, Duration::ZERO);
                    let heard = Heard { beats: *beats, since, silent_for, report: report.clone() };
                    self.heard.insert(server.clone(), heard);
                }
            }
        }
    }

    /// Servers that are listed and dead.
    pub(super) fn dead(&self) -> Vec<ServerId> {
        self.heard.keys().filter(|server| self.is_dead(server)).cloned().collect()
    }

    /// Whether this server is the first of those that live: the one that does what one of them should do. While signs of
    /// life are on the way there may be two or none for a moment.
    pub(super) fn leads(&self) -> bool {
        let mut living = self.heard.keys().filter(|server| !self.is_dead(server));
        self.heard.contains_key(&self.own) && living.all(|server| *server >= self.own)
    }

    /// Creates that wait at the other servers that live.
    pub(super) fn waiting(&self) -> u32 {
        self.others().fold(0, |sum, report| sum.saturating_add(report.waiting))
    }

    /// Hosts on which the starts of another server that lives fail.
    pub(super) fn failing(&self) -> BTreeSet<HostName> {
        self.others().flat_map(|report| &report.failing).cloned().collect()
    }

    /// What the other servers that live said last.
    fn others(&self) -> impl Iterator<Item = &Report> {
        let others = self.heard.iter().filter(|(server, _)| **server != self.own && !self.is_dead(server));
        others.map(|(_, heard)| &heard.report)
    }

    fn is_dead(&self, server: &ServerId) -> bool {
        server != &self.own && self.heard.get(server).is_none_or(|heard| heard.silent_for >= DEAD_AFTER)
    }

    /// Whether nobody works on a row that is being created. The row must have been read before the signs of life that
    /// this is judged by, because a server gives its first sign before it writes its first row. `shared` says whether
    /// other servers may work on the store at all, and `is_ours` which ids this incarnation is creating.
    pub(super) fn is_abandoned(&self, row: &Instance, shared: bool, is_ours: bool) -> bool {
        if row.state != InstanceState::Creating || is_ours {
            return false;
        }
        match &row.server {
            // Written by a server that did not name itself: none that lives does so.
            None => true,
            // An earlier incarnation of this very process, or nobody else can live.
            Some(server) => !shared || server == &self.own || self.is_dead(server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::samples::{a_request, server};

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn beats(counts: &[(u8, u64)]) -> Vec<Beat> {
        counts.iter().map(|(n, beats)| Beat { server: server(*n), beats: *beats, report: Report::default() }).collect()
    }

    /// Neighbours of server 1 that hear these counts of server 2, each so many seconds after the start.
    fn after(readings: &[(u64, u64)]) -> Neighbours {
        let start = Instant::now();
        let mut neighbours = Neighbours::new(server(1));
        for (at, count) in readings {
            let at = start + seconds(*at);
            neighbours.hear(&beats(&[(1, at.duration_since(start).as_secs()), (2, *count)]), at, at);
        }
        neighbours
    }

    #[test]
    fn a_server_whose_count_stands_still_for_long_enough_is_dead_and_alive_again_when_it_moves() {
        assert_eq!(after(&[(0, 7), (11, 7)]).dead(), []);
        assert_eq!(after(&[(0, 7), (12, 7)]).dead(), [server(2)]);
        assert_eq!(after(&[(0, 7), (12, 7), (14, 8)]).dead(), []);
        assert_eq!(after(&[(0, 7), (8, 8), (12, 8)]).dead(), []);
    }

    #[test]
    fn who_was_away_for_long_believes_nobody_dead_because_of_that() {
        let start = Instant::now();
        let mut neighbours = Neighbours::new(server(1));
        neighbours.hear(&beats(&[(2, 7)]), start, start);
        // Asked right after, but the answer lay around until this process went on.
        neighbours.hear(&beats(&[(2, 7)]), start + seconds(1), start + seconds(60));
        assert_eq!(neighbours.dead(), []);
        neighbours.hear(&beats(&[(2, 36)]), start + seconds(60), start + seconds(60));
        assert_eq!(neighbours.dead(), []);
    }

    #[test]
    fn the_first_of_the_living_leads() {
        let start = Instant::now();
        let leads = |own: u8, readings: &[(u64, &[(u8, u64)])]| {
            let mut neighbours = Neighbours::new(server(own));
            for (at, counts) in readings {
                neighbours.hear(&beats(counts), start + seconds(*at), start + seconds(*at));
            }
            neighbours.leads()
        };
        assert!(!leads(1, &[]), "it has not given a sign of life yet");
        let both = [(0, [(1, 1), (2, 1)].as_slice())];
        assert!(leads(1, &both) && !leads(2, &both));
        let first_is_dead = [(0, [(1, 1), (2, 1)].as_slice()), (12, &[(1, 1), (2, 7)])];
        assert!(leads(2, &first_is_dead));
        assert!(leads(2, &[(0, &[(1, 1), (2, 1)]), (2, &[(2, 2)])]), "the first one has retired");
    }

    #[test]
    fn what_the_others_report_counts_and_what_a_dead_one_reported_does_not() {
        let start = Instant::now();
        let mut neighbours = Neighbours::new(server(1));
        let mut hear = |second: u64, at| {
            let beat = |n, beats, waiting, failing: &[&str]| {
                let failing = failing.iter().map(|host| HostName::parse(host).unwrap()).collect();
                Beat { server: server(n), beats, report: Report { waiting, failing } }
            };
            let beats = [beat(1, at, 100, &["own"]), beat(2, second, 3, &["a", "b"]), beat(3, at, 4, &["b", "c"])];
            neighbours.hear(&beats, start + seconds(at), start + seconds(at));
            let failing: Vec<_> = neighbours.failing().iter().map(ToString::to_string).collect();
            (neighbours.waiting(), failing.concat())
        };
        let (all, but_the_dead) = ((7, "abc".to_owned()), (4, "bc".to_owned()));
        assert_eq!([hear(1, 0), hear(1, 11), hear(1, 12), hear(2, 13)], [all.clone(), all.clone(), but_the_dead, all]);
    }

    #[test]
    fn what_is_being_created_is_abandoned_when_its_server_is_dead_or_gone() {
        let of = |n: Option<u8>| Instance { server: n.map(server), ..a_request(1).instance };
        let neighbours = after(&[(0, 7), (2, 8)]);
        let judged = |row: &Instance, is_ours| neighbours.is_abandoned(row, true, is_ours);
        assert!(!judged(&of(Some(2)), false), "it lives");
        assert!(judged(&of(Some(3)), false), "it is not listed");
        assert!(judged(&of(None), false));
        assert!(judged(&of(Some(1)), false), "of an earlier incarnation");
        assert!(!judged(&of(Some(1)), true), "of this one");
        assert!(!judged(&Instance { state: InstanceState::Running, ..of(Some(3)) }, false));
        assert!(neighbours.is_abandoned(&of(Some(2)), false, false), "nobody else works on a store of one's own");
    }
}
