//! Hosts that do not answer, and what that means for the instances there.
//!
//! Owns when a host counts as silent, and for how long this process has seen it so with its own eyes: an instance is given
//! up only when its row and this process' monotonic clock agree that it has been silent for long, so that no jump of
//! the time of day loses anything; or when the provider of its host does not have that host any more. What is to end is
//! given up by the same clocks on a host that answers and is no use: it may remove as little as it starts. Plain and
//! synchronous.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use super::state::Claim;
use crate::{
    discovery::messages::DirectoryView,
    domain::{
        Health, HostName, InstanceEvent, InstanceId, InstanceState, Timestamp,
        scaling::{DropletView, Stage},
    },
    scheduler::messages::FleetView,
};

/// A process that finds a host silent when it starts cannot know since when. It believes the row, but not before it
/// has looked for this long itself.
const LOOK_AT_LEAST: Duration = Duration::from_secs(60);

/// Whether a host answers, as far as anybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It answers.
    Answers,
    /// It does not, or the directory, which is well, does not know it any more.
    Silent,
    /// It does not, and its provider does not have it any more.
    Gone,
    /// Nobody can tell now.
    Unknown,
}

/// What the scheduler and the directory say of the hosts. The directory must have been asked first, so that a host
/// that joins in between is not taken for one that is gone.
pub(super) struct Hearsay {
    hosts: HashMap<HostName, Word>,
    /// Those that answer and are no use: no instance starts there, or they are not announced.
    unfit: HashSet<HostName>,
    /// What is true of a host that neither of them mentions.
    others: Word,
}

impl Hearsay {
    /// Takes the views together; `pool` are the machines that were bought.
    pub(super) fn of(directory: &DirectoryView, fleet: &FleetView, pool: &[DropletView]) -> Self {
        let announced = directory.hosts.iter().map(|host| (host.name.clone(), Word::Unknown));
        let known = fleet.hosts.iter().map(|host| {
            let word = match host.state {
                // A heartbeat that stays away harms no instance: the engine says that they are there.
                Health::Up | Health::Unannounced | Health::Failing => Word::Answers,
                Health::Unreachable => Word::Silent,
                Health::Joining => Word::Unknown,
            };
            (host.name.clone(), word)
        });
        let is_unfit = |state| matches!(state, Health::Unannounced | Health::Failing);
        let unfit = fleet.hosts.iter().filter(|host| is_unfit(host.state)).map(|host| host.name.clone()).collect();
        let is_whole = fleet.ready && directory.read_once && directory.unreachable.is_none();
        let others = if is_whole { Word::Silent } else { Word::Unknown };
        let mut hosts: HashMap<_, _> = announced.chain(known).collect();
        for machine in pool.iter().filter(|machine| machine.stage == Stage::Gone) {
            let word = hosts.entry(machine.name.clone()).or_insert(others);
            if *word == Word::Silent {
                *word = Word::Gone;
            }
        }
        Self { hosts, unfit, others }
    }

    fn word(&self, host: &HostName) -> Word {
        self.hosts.get(host).copied().unwrap_or(self.others)
    }

    /// The same, as it matters to one row. What is to end is nobody's any more, and a host that cannot be rid of it would
    /// be paid for without end.
    fn word_for(&self, row: &Claim) -> Word {
        match row.state {
            InstanceState::Stopping(_) if self.unfit.contains(&row.host) => Word::Silent,
            _ => self.word(&row.host),
        }
    }
}

/// What is to be done about the instances on hosts that fell silent or answer again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// What has happened to which row.
    pub(super) events: Vec<(InstanceId, InstanceEvent)>,
    /// Instances to give up.
    pub(super) give_up: Vec<InstanceId>,
}

/// For how long this process has seen which instance on a silent host.
#[derive(Debug, Default)]
pub(super) struct Silences {
    seen: HashMap<InstanceId, Seen>,
    /// Hosts that were seen to answer, so that a silence of theirs began after that.
    answered: HashSet<HostName>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    since: Instant,
    from_its_beginning: bool,
}

impl Silences {
    /// Takes in a look at the live rows. `wall` is the time of day at `now`.
    pub(super) fn look(
        &mut self,
        rows: &[Claim],
        hearsay: &Hearsay,
        lost_after: Duration,
        wall: Timestamp,
        now: Instant,
    ) -> Steps {
        let mut steps = Steps::default();
        let mut silent = HashSet::new();
        for row in rows.iter().filter(|row| row.state.is_lent() || matches!(row.state, InstanceState::Stopping(_))) {
            match (hearsay.word_for(row), row.unreachable_since) {
                (Word::Answers, since) => {
                    self.answered.insert(row.host.clone());
                    if since.is_some() {
                        steps.events.push((row.id.clone(), InstanceEvent::HostAnswered));
                    }
                }
                // It may have been silent all the time.
                (Word::Unknown, _) => {
                    silent.insert(row.id.clone());
                }
                (Word::Gone, None) => steps.events.push((row.id.clone(), InstanceEvent::HostSilent)),
                // Nobody waits for what cannot come back.
                (Word::Gone, Some(_)) => steps.give_up.push(row.id.clone()),
                (Word::Silent, since) => {
                    silent.insert(row.id.clone());
                    let from_its_beginning = since.is_none() || self.answered.contains(&row.host);
                    let seen = *self.seen.entry(row.id.clone()).or_insert(Seen { since: now, from_its_beginning });
                    let looked_for = now.saturating_duration_since(seen.since);
                    let must = if seen.from_its_beginning { lost_after } else { lost_after.min(LOOK_AT_LEAST) };
                    match since {
                        None => steps.events.push((row.id.clone(), InstanceEvent::HostSilent)),
                        Some(since) if looked_for >= must && is_over(since, lost_after, wall) => {
                            steps.give_up.push(row.id.clone());
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        self.seen.retain(|id, _| silent.contains(id));
        steps
    }
}

/// Whether so much time has passed since then by the time of day.
fn is_over(since: Timestamp, time: Duration, wall: Timestamp) -> bool {
    Duration::try_from(wall.duration_since(since)).is_ok_and(|passed| passed >= time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{EndReason, Instance},
        ports::HostRecord,
        scheduler::messages::HostView,
        sim::samples::a_request,
    };

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn host() -> HostName {
        a_request(1).instance.host
    }

    fn fleet(state: Option<Health>) -> FleetView {
        let view = |state| HostView {
            name: host(),
            address: [192, 0, 2, 1].into(),
            state,
            cordon: None,
            slots: 1,
            used: 1,
            reason: None,
            isolated: true,
            unannounced_since: None,
            vitals: None,
        };
        FleetView { hosts: state.map(view).into_iter().collect(), ready: true, ..FleetView::default() }
    }

    fn directory() -> DirectoryView {
        DirectoryView { read_once: true, ..DirectoryView::default() }
    }

    fn says(state: Health) -> Hearsay {
        Hearsay::of(&directory(), &fleet(Some(state)), &[])
    }

    fn row(state: InstanceState, since: Option<Timestamp>) -> Instance {
        Instance { state, unreachable_since: since, ..a_request(1).instance }
    }

    use InstanceState::{Creating, Running, Stopping, Unreachable};

    #[test]
    fn a_host_is_silent_when_it_does_not_answer_or_a_directory_that_is_well_does_not_know_it() {
        let word = |directory: &DirectoryView, fleet: &FleetView| Hearsay::of(directory, fleet, &[]).word(&host());
        assert_eq!(word(&directory(), &fleet(Some(Health::Up))), Word::Answers);
        assert_eq!(word(&directory(), &fleet(Some(Health::Unannounced))), Word::Answers);
        assert_eq!(word(&directory(), &fleet(Some(Health::Unreachable))), Word::Silent);
        assert_eq!(word(&directory(), &fleet(Some(Health::Joining))), Word::Unknown);
        assert_eq!(word(&directory(), &fleet(None)), Word::Silent);
        let unread = DirectoryView::default();
        let away = DirectoryView { unreachable: Some("away".into()), ..directory() };
        let record =
            HostRecord { name: host(), public_address: [192, 0, 2, 1].into(), engine: String::new(), slots: 1 };
        let announced = DirectoryView { hosts: vec![record], ..directory() };
        for cannot_tell in [&unread, &away, &announced] {
            assert_eq!(word(cannot_tell, &fleet(None)), Word::Unknown);
        }
        assert_eq!(word(&away, &fleet(Some(Health::Up))), Word::Answers);
        assert_eq!(word(&directory(), &FleetView { ready: false, ..fleet(None) }), Word::Unknown);
    }

    #[test]
    fn what_its_provider_does_not_have_is_gone_only_if_it_is_silent_too() {
        let machine = |stage| [DropletView { name: host(), stage, since: None }];
        let word = |state, stage| Hearsay::of(&directory(), &fleet(state), &machine(stage)).word(&host());
        assert_eq!(word(Some(Health::Unreachable), Stage::Gone), Word::Gone);
        assert_eq!(word(None, Stage::Gone), Word::Gone);
        assert_eq!(word(Some(Health::Up), Stage::Gone), Word::Answers);
        assert_eq!(word(Some(Health::Joining), Stage::Gone), Word::Unknown);
        assert_eq!(word(Some(Health::Unreachable), Stage::Silent), Word::Silent);
        let away = DirectoryView { unreachable: Some("away".into()), ..directory() };
        assert_eq!(Hearsay::of(&away, &fleet(None), &machine(Stage::Gone)).word(&host()), Word::Unknown);
    }

    #[test]
    fn what_was_on_a_machine_that_is_gone_is_told_of_silence_and_then_given_up() {
        let gone =
            Hearsay::of(&directory(), &fleet(None), &[DropletView { name: host(), stage: Stage::Gone, since: None }]);
        let mut silences = Silences::default();
        let mut look = |row| silences.look(&[Claim::from(&row)], &gone, HOUR, START, Instant::now());
        let id = a_request(1).instance.id;
        let told = Steps { events: vec![(id.clone(), InstanceEvent::HostSilent)], give_up: vec![] };
        assert_eq!(look(row(Running, None)), told);
        let given_up = Steps { events: vec![], give_up: vec![id] };
        assert_eq!(look(row(Unreachable, Some(START))), given_up);
        assert_eq!(look(row(Stopping(EndReason::Deleted), Some(START))), given_up);
    }

    #[test]
    fn a_row_is_told_once_of_silence_and_of_the_return() {
        let id = || a_request(1).instance.id;
        let looks = [
            (row(Running, None), Health::Up, None),
            (row(Running, None), Health::Unreachable, Some(InstanceEvent::HostSilent)),
            (row(Unreachable, Some(START)), Health::Unreachable, None),
            (row(Unreachable, Some(START)), Health::Up, Some(InstanceEvent::HostAnswered)),
            (row(Stopping(EndReason::Deleted), None), Health::Unreachable, Some(InstanceEvent::HostSilent)),
            (row(Stopping(EndReason::Deleted), Some(START)), Health::Up, Some(InstanceEvent::HostAnswered)),
            (row(Running, None), Health::Failing, None),
            (row(Unreachable, Some(START)), Health::Failing, Some(InstanceEvent::HostAnswered)),
            (row(Stopping(EndReason::Deleted), None), Health::Failing, Some(InstanceEvent::HostSilent)),
            (row(Stopping(EndReason::Deleted), Some(START)), Health::Unannounced, None),
            (row(Creating, None), Health::Unreachable, None),
            (row(Running, None), Health::Joining, None),
        ];
        for (row, health, event) in looks {
            let what = format!("{:?} {health:?}", row.state);
            let steps = Silences::default().look(&[Claim::from(&row)], &says(health), HOUR, START, Instant::now());
            assert_eq!(steps.events, event.map(|event| (id(), event)).into_iter().collect::<Vec<_>>(), "{what}");
        }
    }

    /// Whether an instance is given up at the last of these looks, each with the minutes that have passed, how the
    /// host is, and what the wall clock is set off by then.
    fn given_up(first: InstanceState, looks: &[(u32, Health, i64)]) -> bool {
        let (mut silences, start) = (Silences::default(), Instant::now());
        let mut known = row(first, (first == Unreachable).then_some(START));
        let mut steps = Steps::default();
        for (minutes, health, off) in looks {
            let at = *minutes * MINUTE;
            let wall = START + at + jiff::SignedDuration::from_mins(*off);
            steps = silences.look(&[Claim::from(&known)], &says(*health), HOUR, wall, start + at);
            for (_, event) in &steps.events {
                known = known.after(event, wall).unwrap();
            }
        }
        !steps.give_up.is_empty()
    }

    #[test]
    fn what_was_silent_for_long_enough_is_given_up_and_what_answered_in_between_is_not() {
        use Health::{Joining, Unreachable, Up};
        assert!(!given_up(Running, &[(0, Up, 0), (1, Unreachable, 0), (60, Unreachable, 0)]));
        assert!(given_up(Running, &[(0, Up, 0), (1, Unreachable, 0), (61, Unreachable, 0)]));
        assert!(!given_up(Running, &[(0, Up, 0), (1, Unreachable, 0), (30, Up, 0), (61, Unreachable, 0)]));
        assert!(given_up(Running, &[(0, Up, 0), (1, Unreachable, 0), (30, Joining, 0), (61, Unreachable, 0)]));
    }

    #[test]
    fn what_is_to_end_on_a_host_that_answers_and_is_no_use_is_given_up_and_what_runs_there_is_not() {
        use Health::{Failing, Unannounced, Up};
        let ends = || Stopping(EndReason::Expired);
        for unfit in [Failing, Unannounced] {
            assert!(!given_up(ends(), &[(0, Up, 0), (1, unfit, 0), (60, unfit, 0)]));
            assert!(given_up(ends(), &[(0, Up, 0), (1, unfit, 0), (61, unfit, 0)]));
            assert!(!given_up(ends(), &[(0, Up, 0), (1, unfit, 0), (30, Up, 0), (61, unfit, 0)]));
            assert!(!given_up(Running, &[(0, Up, 0), (1, unfit, 0), (600, unfit, 0)]));
        }
        assert!(!given_up(ends(), &[(0, Up, 0), (1, Up, 0), (600, Up, 0)]), "it may be removed yet");
    }

    #[test]
    fn no_jump_of_the_clock_loses_anything() {
        use Health::{Unreachable, Up};
        assert!(!given_up(Running, &[(0, Up, 0), (1, Unreachable, 0), (3, Unreachable, 600)]), "forwards");
        assert!(!given_up(Running, &[(0, Up, 0), (1, Unreachable, 600), (70, Unreachable, 0)]), "backwards");
        assert!(!given_up(InstanceState::Unreachable, &[(0, Unreachable, 600)]), "it was not looked at yet");
    }

    #[test]
    fn a_process_that_has_just_started_believes_the_row_after_a_minute() {
        use Health::Unreachable;
        assert!(!given_up(InstanceState::Unreachable, &[(90, Unreachable, 0)]));
        assert!(given_up(InstanceState::Unreachable, &[(90, Unreachable, 0), (91, Unreachable, 0)]));
    }
}
