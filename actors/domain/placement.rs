//! Where a new instance goes: a bin-packing decision over a snapshot of the hosts, with a refusal that explains itself.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    host::{Health, HostState},
    ids::HostName,
};

/// How hosts are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The busiest host that has room, so that others run empty and can be given back.
    #[default]
    Fill,
    /// The host with the most free slots, so that tenants share a machine with as few as possible.
    Spread,
}

/// A host as placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: HostName,
    /// Where it stands.
    pub state: HostState,
    /// Instances it may carry.
    pub slots: u32,
    /// Slots that are taken or reserved.
    pub used: u32,
}

impl Candidate {
    fn free(&self) -> u32 {
        self.slots.saturating_sub(self.used)
    }
}

/// Why no host was found: each host counted once, under the first thing that stands in its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoPlace {
    /// Hosts without a free slot.
    pub full: usize,
    /// Hosts that are cordoned or draining.
    pub cordoned: usize,
    /// Hosts that have not answered yet.
    pub joining: usize,
    /// Hosts that do not answer.
    pub unreachable: usize,
    /// Hosts that answer and do not announce themselves any more.
    pub unannounced: usize,
    /// Hosts that answer and start nothing.
    pub failing: usize,
    /// Hosts that were tried for this very request and failed.
    pub failed: usize,
    /// Machines that were bought and boot.
    pub booting: usize,
    /// Whether those who wait already will take all that boots.
    pub spoken_for: bool,
    /// Machines that boot or may be up, and cannot announce themselves.
    pub unheard: usize,
    /// Why no machine is bought, where it is no matter of numbers.
    pub standstill: Option<Standstill>,
    /// When room is expected, as far as anybody can say.
    pub ready_in: Option<Duration>,
    /// In how long the next machine may be ordered, where nothing is on the way and it is known.
    pub next_order_in: Option<Duration>,
}

impl fmt::Display for NoPlace {
    /// For example `2 hosts full, 1 cordoned`, or `2 hosts full, 1 booting, ready in about 50 s`, or
    /// `no hosts, the next one can be ordered in about 40 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.full, "full"),
            (self.cordoned, "cordoned"),
            (self.joining, "joining"),
            (self.unreachable, "unreachable"),
            (self.unannounced, "unannounced"),
            (self.failing, "failing"),
            (self.failed, "failed"),
            (self.booting, "booting"),
            (self.unheard, "not heard of"),
        ];
        let mut first = true;
        for (count, word) in counts.into_iter().filter(|(count, _)| *count > 0) {
            if first {
                write!(f, "{count} {} {word}", if count == 1 { "host" } else { "hosts" })?;
            } else {
                write!(f, ", {count} {word}")?;
            }
            first = false;
        }
        if first {
            f.write_str("no hosts")?;
        }
        match (self.ready_in, self.next_order_in) {
            (Some(time), _) => write!(f, ", ready in about {} s", time.as_secs().max(1))?,
            (None, Some(time)) => write!(f, ", the next one can be ordered in about {} s", time.as_secs().max(1))?,
            (None, None) => {}
        }
        if self.spoken_for {
            f.write_str(", for those who wait already")?;
        }
        self.standstill.map_or(Ok(()), |why| write!(f, "; {why}"))
    }
}

impl std::error::Error for NoPlace {}

/// Why no machine is bought, whatever is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standstill {
    /// The operator has paused the pool.
    Paused,
    /// The directory is away, in which a machine would announce itself.
    DirectoryAway,
    /// The provider does not even show what there is.
    Refused,
    /// An order failed, or what was bought did: the next one waits longer.
    HeldBack,
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paused => "the pool is paused",
            Self::DirectoryAway => "the directory is away",
            Self::Refused => "the provider of hosts refuses",
            Self::HeldBack => "orders are held back after a failure",
        })
    }
}

/// Chooses a host for one instance. `hosts` come in their declared order, which decides between equals, so the
/// same snapshot always gives the same host. Hosts in `failed` were tried already and are passed over.
///
/// # Errors
/// [`NoPlace`] when no schedulable host has a free slot.
pub fn place<'a>(hosts: &'a [Candidate], strategy: Strategy, failed: &[HostName]) -> Result<&'a HostName, NoPlace> {
    let mut best: Option<&Candidate> = None;
    let mut refusal = NoPlace::default();
    for host in hosts {
        if failed.contains(&host.name) {
            refusal.failed += 1;
        } else if host.state.cordon.is_some() {
            refusal.cordoned += 1;
        } else if host.state.health == Health::Joining {
            refusal.joining += 1;
        } else if host.state.health == Health::Unreachable {
            refusal.unreachable += 1;
        } else if host.state.health == Health::Unannounced {
            refusal.unannounced += 1;
        } else if host.state.health == Health::Failing {
            refusal.failing += 1;
        } else if host.free() == 0 {
            refusal.full += 1;
        } else if best.is_none_or(|best| match strategy {
            Strategy::Fill => host.used > best.used,
            Strategy::Spread => host.free() > best.free(),
        }) {
            best = Some(host);
        }
    }
    best.map(|host| &host.name).ok_or(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::Cordon;
    use proptest::{
        prelude::{Just, prop, prop_assert, prop_assert_eq, prop_oneof},
        proptest,
        strategy::Strategy as Generator,
    };

    const UP: HostState = HostState { health: Health::Up, cordon: None };

    fn host(name: &str, slots: u32, used: u32) -> Candidate {
        Candidate { name: HostName::parse(name).unwrap(), state: UP, slots, used }
    }

    fn chosen(hosts: &[Candidate], strategy: Strategy) -> Option<&str> {
        place(hosts, strategy, &[]).ok().map(HostName::as_str)
    }

    #[test]
    fn fill_takes_the_busiest_host_that_has_room() {
        let hosts = [host("empty", 4, 0), host("busy", 4, 3), host("full", 4, 4)];
        assert_eq!(chosen(&hosts, Strategy::Fill), Some("busy"));
    }

    #[test]
    fn spread_takes_the_host_with_the_most_free_slots() {
        let hosts = [host("busy", 4, 3), host("empty", 4, 0), host("small", 2, 0)];
        assert_eq!(chosen(&hosts, Strategy::Spread), Some("empty"));
    }

    #[test]
    fn between_equals_the_declared_order_decides() {
        let hosts = [host("b", 4, 1), host("a", 4, 1)];
        assert_eq!(chosen(&hosts, Strategy::Fill), Some("b"));
        assert_eq!(chosen(&hosts, Strategy::Spread), Some("b"));
    }

    #[test]
    fn a_refusal_explains_itself() {
        let cordoned = Candidate { state: HostState { cordon: Some(Cordon::Cordoned), ..UP }, ..host("c", 4, 0) };
        let hosts = [host("a", 1, 1), host("b", 1, 1), cordoned];
        assert_eq!(place(&hosts, Strategy::Fill, &[]).unwrap_err().to_string(), "2 hosts full, 1 cordoned");
        assert_eq!(place(&[], Strategy::Fill, &[]).unwrap_err().to_string(), "no hosts");
        let only = [host("a", 1, 0)];
        let failed = [only[0].name.clone()];
        assert_eq!(place(&only, Strategy::Fill, &failed).unwrap_err().to_string(), "1 host failed");
        let soon = NoPlace { full: 2, booting: 1, ready_in: Some(Duration::from_secs(50)), ..NoPlace::default() };
        assert_eq!(soon.to_string(), "2 hosts full, 1 booting, ready in about 50 s");
        let deaf = NoPlace { full: 1, unheard: 2, standstill: Some(Standstill::DirectoryAway), ..NoPlace::default() };
        assert_eq!(deaf.to_string(), "1 host full, 2 not heard of; the directory is away");
        let taken = NoPlace { spoken_for: true, ..soon };
        assert_eq!(taken.to_string(), "2 hosts full, 1 booting, ready in about 50 s, for those who wait already");
        let paused = NoPlace { standstill: Some(Standstill::Paused), ..NoPlace::default() };
        assert_eq!(paused.to_string(), "no hosts; the pool is paused");
        let later = NoPlace { failing: 1, next_order_in: Some(Duration::from_secs(40)), ..NoPlace::default() };
        assert_eq!(later.to_string(), "1 host failing, the next one can be ordered in about 40 s");
        let held_back = NoPlace { standstill: Some(Standstill::HeldBack), ..later };
        let told = "1 host failing, the next one can be ordered in about 40 s; orders are held back after a failure";
        assert_eq!(held_back.to_string(), told);
    }

    fn any_host() -> impl Generator<Value = Candidate> {
        let (up, joining) = (Just(Health::Up), Just(Health::Joining));
        let away = prop_oneof![Just(Health::Unreachable), Just(Health::Unannounced), Just(Health::Failing)];
        let health = prop_oneof![joining, up, away];
        let cordon = prop_oneof![Just(None), Just(Some(Cordon::Cordoned)), Just(Some(Cordon::Draining))];
        ("[a-z]{1,4}", health, cordon, 0u32..6, 0u32..8).prop_map(|(name, health, cordon, slots, used)| Candidate {
            name: HostName::parse(&name).unwrap(),
            state: HostState { health, cordon },
            slots,
            used,
        })
    }

    proptest! {
        #[test]
        fn a_chosen_host_is_schedulable_and_has_room(hosts in prop::collection::vec(any_host(), 0..8), spread: bool) {
            let strategy = if spread { Strategy::Spread } else { Strategy::Fill };
            match place(&hosts, strategy, &[]) {
                Ok(name) => prop_assert!(hosts.iter().any(|h| &h.name == name && h.state.schedulable() && h.used < h.slots)),
                Err(why) => {
                    prop_assert!(!hosts.iter().any(|h| h.state.schedulable() && h.used < h.slots));
                    let away = why.joining + why.unreachable + why.unannounced + why.failing;
                    prop_assert_eq!(why.full + why.cordoned + away + why.failed, hosts.len());
                }
            }
        }

        #[test]
        fn placement_is_stable(hosts in prop::collection::vec(any_host(), 0..8)) {
            prop_assert_eq!(place(&hosts, Strategy::Fill, &[]), place(&hosts, Strategy::Fill, &[]));
            // A host that cannot be chosen does not change the choice among the others.
            let mut more = hosts.clone();
            more.push(host("zzzzz", 1, 1));
            prop_assert_eq!(place(&hosts, Strategy::Fill, &[]).ok(), place(&more, Strategy::Fill, &[]).ok());
        }
    }
}
