//! What becomes of one droplet, seen for itself: what it counts as, and what has to be done about it whatever the
//! others are.

use std::time::Duration;

use super::{
    super::{
        Timestamp, counted,
        host::{Cordon, Health},
        ids::HostName,
    },
    Action, Droplet, DropletHost, DropletState, ScalingPolicy, passed,
};

/// Why a row is closed.
pub(super) const GONE: &str = "the provider does not list it";

/// Why one that was ordered is not promised.
pub(super) const UNCONFIRMED: &str = "ordered, and the provider has not confirmed it";

/// What is wrong with one that answers and is missed at the provider: it is paid for, and cannot be deleted.
pub(super) const UNLISTED: &str = "and the provider does not list it; has it lost its tag?";

/// Why one is deleted whose inventory is not empty.
const STUCK: &str = "and what no instance claims cannot be removed from it";

/// Why one without a row stays: nobody else ever confirmed that it is empty.
const UNANSWERED: &str = "its engine does not answer this server, so nobody knows what runs there; it is paid for until you \
                          delete it at the provider";

/// What becomes of one droplet.
pub(super) enum Fate {
    /// It carries instances and takes more.
    Serving,
    /// It is empty and takes instances.
    Standby { idle: Duration },
    /// It will be a host.
    Coming,
    /// It was ordered, and the provider has neither confirmed it nor lists it; whether it had time to.
    Unconfirmed { settled: bool },
    /// It is empty and takes none.
    Drained,
    /// To be done at once, whatever the others are.
    Act(Action, String),
    /// It is no use: it never came up, or broke. What is to be done, if anything can be.
    Failed(Option<Action>, String),
    /// The provider does not have it any more, and instances are counted on it, which have to be given up first.
    Gone(String),
    /// It was deleted, and not everybody knows.
    Deleted(&'static str),
    /// Nothing can be done.
    Leave(String),
}

impl Droplet {
    /// Decides. `well` is since when hosts have been able to announce themselves.
    pub(super) fn fate(&self, policy: &ScalingPolicy, well: Option<Timestamp>, now: Timestamp) -> Fate {
        let settled = self.age(now) >= policy.list_grace;
        match self.row {
            None => self.fate_of_stray(policy, well, now),
            Some((DropletState::Deleted, _)) if self.used() == 0 => self.fate_of_deleted(policy, now),
            // By what was seen here as well: who ordered it may have had another time of day.
            Some((DropletState::Creating, _)) if self.is_unheard_of() => {
                let missing = self.missing_since.is_some_and(|since| passed(since, now) >= policy.list_grace);
                Fate::Unconfirmed { settled: settled && missing }
            }
            Some(_) if self.is_gone(policy, now) && self.used() == 0 => {
                Fate::Act(Action::Close(self.name.clone()), GONE.to_owned())
            }
            // Not while it could not have announced itself: nobody would know that it works.
            Some(_) if self.is_gone(policy, now) && well.is_some_and(|well| passed(well, now) >= policy.list_grace) => {
                Fate::Gone(format!("{GONE}; {} on it given up", counted(self.used())))
            }
            Some((DropletState::Deleting, _)) if self.instances > 0 => {
                let why = format!("it carries {} and is not deleted after all", counted(self.instances));
                Fate::Act(Action::Keep(self.name.clone()), why)
            }
            Some((state, _)) if state.is_condemned() => self.get_rid("it is being deleted"),
            Some(_) if self.twins > 0 && self.host.as_ref().is_some_and(|host| host.state.health.answers()) => {
                self.get_rid("the provider has more than one machine of this name, and all of them have to go")
            }
            Some(_) => match &self.host {
                None => self.fate_without_host(policy, well, now),
                Some(host) => self.fate_of_host(host, policy, well, now),
            },
        }
    }

    /// Whether it answers, as a host that takes instances or did so, and has been missed at the provider for long.
    pub(super) fn is_up_and_missed(&self, policy: &ScalingPolicy, now: Timestamp) -> bool {
        let is_up =
            self.host.as_ref().is_some_and(|host| host.state.health == Health::Up && host.state.cordon.is_none());
        is_up && self.missing_since.is_some_and(|since| passed(since, now) >= policy.list_grace)
    }

    /// What there is to add where it is silent: somebody may have deleted it, or switched it off.
    fn at_the_provider(&self) -> &'static str {
        match self.listed {
            None => ", and the provider does not list it",
            Some(_) if self.is_off => ", and the provider says that it is switched off",
            Some(_) => "",
        }
    }

    /// Whether its row is all that there is of it.
    fn is_unheard_of(&self) -> bool {
        self.listed.is_none() && self.host.is_none() && self.absent_since.is_none() && self.used() == 0
    }

    /// Whether the provider does not have it (any more): its list has been without it for long enough to be believed. One
    /// that answers is believed more than the list.
    pub(super) fn is_gone(&self, policy: &ScalingPolicy, now: Timestamp) -> bool {
        let answers = self.host.as_ref().is_some_and(|host| host.state.health.answers());
        let missing = self.missing_since.is_some_and(|since| passed(since, now) >= policy.list_grace);
        missing && self.age(now) >= policy.list_grace && !answers
    }

    /// Nobody ordered it, or nobody remembers. It takes no instance any more, which would only keep it, and is reported for
    /// some time before it goes. That is not while nobody could know it for a host that somebody uses.
    fn fate_of_stray(&self, policy: &ScalingPolicy, well: Option<Timestamp>, now: Timestamp) -> Fate {
        const WHAT: &str = "it carries our tag and has no row";
        let seen_for = self.stray_since.map_or(Duration::ZERO, |since| passed(since, now));
        match &self.alias_of {
            Some(host) => {
                Fate::Leave(format!("{WHAT}; by its address it is {host}, whose name it should be given back"))
            }
            None if seen_for < policy.list_grace => self.hold_back(format!("{WHAT}; it is given time")),
            None if well.is_none() => self.hold_back(format!("{WHAT}; it is given time, for the directory is away")),
            None => self.get_rid(WHAT),
        }
    }

    /// It stays for now, and is given nothing more.
    fn hold_back(&self, why: String) -> Fate {
        match &self.host {
            Some(host) if host.state.cordon.is_none() => Fate::Act(Action::Drain(self.name.clone()), why),
            _ => Fate::Leave(why),
        }
    }

    /// It is wanted and announces itself nowhere: it boots, or is gone.
    fn fate_without_host(&self, policy: &ScalingPolicy, well: Option<Timestamp>, now: Timestamp) -> Fate {
        let (since, allowed, what) = match self.absent_since {
            Some(gone) => (gone, policy.bad_after, "it does not announce itself any more"),
            None => (self.born().unwrap_or(now), policy.boot_deadline, "it did not come up in time"),
        };
        // While nobody can announce itself, nobody is late; and after that everybody has the whole time again.
        let late = well.is_some_and(|well| passed(since.max(well), now) >= allowed);
        match self.used() {
            0 if late => {
                let discard = self.listed.map(|_| Action::Discard(self.name.clone()));
                Fate::Failed(discard, format!("{what}{}", self.at_the_provider()))
            }
            0 if self.absent_since.is_some() => {
                Fate::Leave(format!("it has stopped announcing itself{}", self.at_the_provider()))
            }
            // If it is used, another server was the first to hear of it.
            _ if !late && self.absent_since.is_none() => Fate::Coming,
            used => Fate::Leave(format!(
                "it carries {} and does not announce itself{}",
                counted(used),
                self.at_the_provider()
            )),
        }
    }

    fn fate_of_host(
        &self,
        host: &DropletHost,
        policy: &ScalingPolicy,
        well: Option<Timestamp>,
        now: Timestamp,
    ) -> Fate {
        let used = self.used();
        match (host.state.health, host.state.cordon) {
            // Whoever has just started has asked nobody yet, which is over within a call. What carries instances was up.
            (Health::Up | Health::Joining, None) if used > 0 => Fate::Serving,
            (Health::Up, None) => Fate::Standby { idle: host.empty_since.map_or(Duration::ZERO, |t| passed(t, now)) },
            (Health::Up, Some(Cordon::Draining)) if used == 0 => Fate::Drained,
            (Health::Up, Some(Cordon::Draining)) if self.drained_by_plan => {
                Fate::Act(Action::Uncordon(self.name.clone()), "it was given an instance before it drained".to_owned())
            }
            (Health::Up, Some(Cordon::Draining)) => Fate::Leave(format!("it drains; {} left", counted(used))),
            (_, Some(Cordon::Cordoned)) => Fate::Leave("the operator cordoned it".to_owned()),
            (Health::Failing, _) => self.fate_of_failing(host, policy, now),
            _ => self.fate_of_silent(host, policy, well, now),
        }
    }

    /// Its engine answers and starts nothing. What runs on it runs on.
    fn fate_of_failing(&self, host: &DropletHost, policy: &ScalingPolicy, now: Timestamp) -> Fate {
        const WHAT: &str = "no instance starts on it";
        let late = passed(host.since, now) >= policy.bad_after;
        match (self.used(), host.state.cordon) {
            (0, Some(_)) if host.is_stuck(host.since, policy.bad_after, policy, now) => {
                Fate::Failed(Some(Action::Discard(self.name.clone())), format!("{WHAT}, {STUCK}"))
            }
            (0, Some(_)) => Fate::Act(Action::Delete(self.name.clone()), format!("{WHAT}, and it is empty")),
            (0, None) if late => Fate::Failed(Some(Action::Drain(self.name.clone())), format!("{WHAT} for too long")),
            (0, None) => Fate::Leave(format!("{WHAT}; it is given time")),
            (used, _) if late => Fate::Failed(None, format!("{WHAT} for too long; {} left on it", counted(used))),
            (used, _) => Fate::Leave(format!("{WHAT}; it carries {}", counted(used))),
        }
    }

    /// Its engine or its heartbeat stays away. It is deleted only when it has been silent for long and neither a row nor
    /// the ledger knows of anything on it; where its engine answers, that one is asked too.
    fn fate_of_silent(
        &self,
        host: &DropletHost,
        policy: &ScalingPolicy,
        well: Option<Timestamp>,
        now: Timestamp,
    ) -> Fate {
        let (what, allowed) = match host.was_up {
            true => ("it has been silent for too long", policy.bad_after),
            false => ("its engine did not answer in time", policy.boot_deadline),
        };
        let since = host.since.max(well.unwrap_or(now));
        let late = well.is_some() && passed(since, now) >= allowed;
        match (self.used(), host.state.cordon) {
            (0, None) if !late && !host.was_up => Fate::Coming,
            (0, _) if !late => Fate::Leave(format!("it is silent{}; it is given time", self.at_the_provider())),
            (0, None) => Fate::Failed(Some(Action::Drain(self.name.clone())), what.to_owned()),
            (0, _) if host.state.health.answers() && host.is_stuck(since, allowed, policy, now) => {
                Fate::Failed(Some(Action::Discard(self.name.clone())), format!("{what}, {STUCK}"))
            }
            (0, _) if host.state.health.answers() => {
                Fate::Failed(Some(Action::Delete(self.name.clone())), what.to_owned())
            }
            (0, _) if self.listed.is_some() => Fate::Failed(Some(Action::Discard(self.name.clone())), what.to_owned()),
            (0, _) => Fate::Failed(None, format!("{what}{}", self.at_the_provider())),
            (used, _) if late => Fate::Failed(
                None,
                format!("{what}{}; {} on it not given up yet", self.at_the_provider(), counted(used)),
            ),
            (used, _) if host.state.health == Health::Unannounced => Fate::Leave(format!(
                "it does not announce itself and carries {}{}",
                counted(used),
                self.at_the_provider()
            )),
            (used, _) => Fate::Leave(format!("it is silent and carries {}{}", counted(used), self.at_the_provider())),
        }
    }

    /// The provider has accepted its deletion.
    fn fate_of_deleted(&self, policy: &ScalingPolicy, now: Timestamp) -> Fate {
        let ago = self.deleted_since.map_or(Duration::ZERO, |since| passed(since, now));
        match (&self.listed, &self.host) {
            (Some(_), _) if ago >= policy.list_grace => self.get_rid("it was deleted, and the provider still lists it"),
            (Some(_), _) => Fate::Deleted("it was deleted, and the provider lists it for some time"),
            (None, None) if ago >= policy.propagation => {
                Fate::Act(Action::Close(self.name.clone()), "it was deleted".to_owned())
            }
            (None, _) => Fate::Deleted("it was deleted, and other servers are given time to notice"),
        }
    }

    /// The next step to its deletion. `used` may be more than zero only for a droplet without a row: it drains.
    fn get_rid(&self, why: &str) -> Fate {
        let used = self.used();
        let draining = self.host.as_ref().map(|host| host.state.cordon == Some(Cordon::Draining));
        let act = |action: fn(HostName) -> Action| Fate::Act(action(self.name.clone()), why.to_owned());
        match (draining, self.host.as_ref().map(|host| host.state.health)) {
            (Some(false), _) => act(Action::Drain),
            _ if used > 0 => Fate::Leave(format!("{why}, but carries {}", counted(used))),
            _ if self.listed.is_none() => Fate::Leave(format!("{why}, and the provider does not list it")),
            // It was a host, so somebody may be using it, and nobody can be asked.
            (None, _) if self.row.is_none() && self.absent_since.is_some() => {
                Fate::Leave(format!("{why}, but {UNANSWERED}"))
            }
            (None, _) => act(Action::Discard),
            (Some(true), Some(health)) if health.answers() => act(Action::Delete),
            // Its inventory was confirmed, or it was given up, before its row said so.
            (Some(true), _) if self.row.is_some() => act(Action::Discard),
            (Some(true), _) => Fate::Leave(format!("{why}, but {UNANSWERED}")),
        }
    }
}
