//! One tenant's data store and its life: `creating → running ⇄ unreachable → stopping → ended`.
//!
//! Owns the only transition function. The store persists what it returns and nothing else, so a state that is not
//! in the table of the tests below can never be written.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    creator::Creator,
    ids::{HostName, IdempotencyKey, InstanceId, InvalidName, Label, ServerId},
    lease::Lease,
};

/// Why an instance ended, or is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its lease ran out.
    Expired,
    /// Its owner, or the operator, deleted it.
    Deleted,
    /// Its engine stopped by itself, and with it its data.
    Exited,
    /// Its container is gone and nobody here removed it, or its host has been silent for too long.
    Lost,
    /// It never became ready.
    Failed,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Expired, Self::Deleted, Self::Exited, Self::Lost, Self::Failed];

    /// The word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Exited => "exited",
            Self::Lost => "lost",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EndReason {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .into_iter()
            .find(|r| r.as_str() == text)
            .ok_or(InvalidName { what: "an end reason", allowed: "expired, deleted, exited, lost or failed" })
    }
}

/// Where a running instance is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The public address of its host.
    pub address: IpAddr,
    /// The published TCP port.
    pub port: u16,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstanceState {
    /// The row is written, the container is on its way.
    Creating,
    /// It answered an authenticated PING and its creator knows its address.
    Running,
    /// It was running when its host fell silent; nobody knows how it is.
    Unreachable,
    /// It is to be removed for this reason; its container may still be there.
    Stopping(EndReason),
    /// Its container is confirmed gone.
    Ended(EndReason),
}

impl InstanceState {
    /// The word that is stored and shown; the reason stands beside it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Running => "running",
            Self::Unreachable => "unreachable",
            Self::Stopping(_) => "stopping",
            Self::Ended(_) => "ended",
        }
    }

    /// Why it ends or ended.
    #[must_use]
    pub fn reason(self) -> Option<EndReason> {
        match self {
            Self::Creating | Self::Running | Self::Unreachable => None,
            Self::Stopping(reason) | Self::Ended(reason) => Some(reason),
        }
    }

    /// Reads back what [`as_str`](Self::as_str) and [`reason`](Self::reason) gave.
    ///
    /// # Errors
    /// [`InvalidName`] for a word that is none of the states, or a reason missing or too many.
    pub fn from_parts(state: &str, reason: Option<EndReason>) -> Result<Self, InvalidName> {
        match (state, reason) {
            ("creating", None) => Ok(Self::Creating),
            ("running", None) => Ok(Self::Running),
            ("unreachable", None) => Ok(Self::Unreachable),
            ("stopping", Some(reason)) => Ok(Self::Stopping(reason)),
            ("ended", Some(reason)) => Ok(Self::Ended(reason)),
            _ => Err(InvalidName {
                what: "an instance state",
                allowed: "creating, running, unreachable, or stopping or ended with a reason",
            }),
        }
    }

    /// Whether it still takes a slot and counts towards quotas.
    #[must_use]
    pub fn is_live(self) -> bool {
        !matches!(self, Self::Ended(_))
    }

    /// Whether its owner has it in hand: it runs, or ran when its host fell silent.
    #[must_use]
    pub fn is_lent(self) -> bool {
        matches!(self, Self::Running | Self::Unreachable)
    }
}

/// What can happen to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceEvent {
    /// The host it was meant for failed; it is tried on another one.
    Moved {
        /// The next host.
        host: HostName,
    },
    /// Its engine answered an authenticated PING.
    Started {
        /// Where it is reached.
        endpoint: Endpoint,
    },
    /// The server that was creating it is dead, so nobody waits for it any more. Unlike a request to stop it, this can
    /// only happen to what is still being created: a server that was believed dead too early loses no running instance.
    Abandoned,
    /// Its owner moved its end.
    Extended {
        /// When it ends now.
        lease: Lease,
    },
    /// Its owner was warned of its end.
    Warned,
    /// Its host does not answer.
    HostSilent,
    /// Its host answers again.
    HostAnswered,
    /// It shall end. The first reason stands.
    StopRequested {
        /// Why.
        reason: EndReason,
    },
    /// Its container is confirmed gone.
    ConfirmedGone,
    /// Its host has been silent for so long that nothing of it is expected any more. Should the host come back all the
    /// same, the container is an orphan there.
    GivenUp,
}

/// An event that cannot happen in this state. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an instance that is {} cannot take {event:?}", from.as_str())]
pub struct IllegalTransition {
    /// Where the instance stands.
    pub from: InstanceState,
    /// What was tried.
    pub event: InstanceEvent,
}

/// One row: everything that is known of an instance. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its public id.
    pub id: InstanceId,
    /// Who asked for it.
    pub creator: Creator,
    /// The name of its recipe.
    pub flavour: String,
    /// Its creator's note.
    pub label: Option<Label>,
    /// The host that its container is, was or shall be on.
    pub host: HostName,
    /// The server that is creating it, as long as it is `creating`.
    pub server: Option<ServerId>,
    /// Where it stands.
    pub state: InstanceState,
    /// Where it is reached; known once it ran.
    pub endpoint: Option<Endpoint>,
    /// The idempotency key of its request, kept until it is stopped.
    pub idempotency_key: Option<IdempotencyKey>,
    /// What the request asked for, so that the same key with another request can be refused.
    pub fingerprint: String,
    /// How often its password was rotated.
    pub rotation: u32,
    /// When it was admitted.
    pub created_at: Timestamp,
    /// When it ends, and how far that can be moved.
    pub lease: Lease,
    /// Since when its host has been silent, if it is.
    pub unreachable_since: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Instance {
    /// The instance after `event`, the only way its state changes.
    ///
    /// # Errors
    /// [`IllegalTransition`] when `event` cannot happen in its state.
    pub fn after(&self, event: &InstanceEvent, now: Timestamp) -> Result<Self, IllegalTransition> {
        use InstanceState::{Creating, Ended, Running, Stopping, Unreachable};
        let illegal = || Err(IllegalTransition { from: self.state, event: event.clone() });
        let mut next = self.clone();
        match (self.state, event) {
            (Creating, InstanceEvent::Moved { host }) => next.host = host.clone(),
            (Creating, InstanceEvent::Started { endpoint }) => {
                next.state = Running;
                next.endpoint = Some(*endpoint);
            }
            (Creating, InstanceEvent::Abandoned) => next.state = Stopping(EndReason::Failed),
            // Of two extensions at once the longer one stays, whichever is written last. What is over stays over.
            (Running | Unreachable, InstanceEvent::Extended { lease })
                if lease.expires_at >= self.lease.expires_at && now < self.lease.expires_at =>
            {
                next.lease = *lease;
            }
            (Running | Unreachable, InstanceEvent::Warned) if self.lease.warn_at.is_some_and(|at| at <= now) => {
                next.lease.warn_at = None;
            }
            (Running, InstanceEvent::HostSilent) => {
                next.state = Unreachable;
                next.unreachable_since = Some(now);
            }
            (Stopping(_), InstanceEvent::HostSilent) if self.unreachable_since.is_none() => {
                next.unreachable_since = Some(now);
            }
            (Unreachable, InstanceEvent::HostAnswered) => {
                next.state = Running;
                next.unreachable_since = None;
            }
            (Stopping(_), InstanceEvent::HostAnswered) => next.unreachable_since = None,
            // A lease ends at its time and never before, whoever thinks otherwise.
            (Creating | Running | Unreachable, InstanceEvent::StopRequested { reason: EndReason::Expired })
                if now < self.lease.expires_at =>
            {
                return illegal();
            }
            (Creating | Running | Unreachable, InstanceEvent::StopRequested { reason }) => {
                next.state = Stopping(*reason);
            }
            (Creating, InstanceEvent::ConfirmedGone) => next.state = Ended(EndReason::Failed),
            (Running | Unreachable, InstanceEvent::ConfirmedGone) => next.state = Ended(EndReason::Lost),
            (Stopping(reason), InstanceEvent::ConfirmedGone) => next.state = Ended(reason),
            (Unreachable | Stopping(_), InstanceEvent::GivenUp) if self.unreachable_since.is_some() => {
                next.state = Ended(EndReason::Lost);
            }
            _ => return illegal(),
        }
        if next.state != Creating {
            next.server = None;
        }
        if matches!(next.state, Stopping(_) | Ended(_)) {
            // The key may be used again: its answer has stopped being true.
            next.idempotency_key = None;
        }
        if let Ended(_) = next.state {
            next.ended_at = Some(now);
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn instance(state: InstanceState) -> Instance {
        let now = Timestamp::UNIX_EPOCH;
        Instance {
            id: InstanceId::from_uuid(uuid::Uuid::from_u128(1)),
            creator: Creator::of([192, 0, 2, 1].into()),
            flavour: "redis".into(),
            label: None,
            host: HostName::parse("h1").unwrap(),
            state,
            endpoint: None,
            idempotency_key: Some(IdempotencyKey::parse("k").unwrap()),
            fingerprint: String::new(),
            rotation: 0,
            created_at: now,
            lease: Lease { expires_at: now + Duration::from_secs(1), max_expires_at: now, warn_at: Some(now) },
            server: Some(ServerId::parse("s1").unwrap()),
            unreachable_since: None,
            ended_at: None,
        }
    }

    fn events() -> Vec<InstanceEvent> {
        let at = Timestamp::UNIX_EPOCH + Duration::from_secs(9);
        vec![
            InstanceEvent::Moved { host: HostName::parse("h2").unwrap() },
            InstanceEvent::Started { endpoint: Endpoint { address: [192, 0, 2, 9].into(), port: 1 } },
            InstanceEvent::Abandoned,
            InstanceEvent::Extended { lease: Lease { expires_at: at, max_expires_at: at, warn_at: None } },
            InstanceEvent::Warned,
            InstanceEvent::HostSilent,
            InstanceEvent::HostAnswered,
            InstanceEvent::StopRequested { reason: EndReason::Deleted },
            InstanceEvent::ConfirmedGone,
            InstanceEvent::GivenUp,
        ]
    }

    #[test]
    fn the_transition_table_is_exactly_this() {
        use EndReason::{Deleted, Expired, Failed, Lost};
        use InstanceState::{Creating, Ended, Running, Stopping, Unreachable};
        let stopping = Stopping(Expired);
        // (state, whether its host is silent) and, in the order of `events`, where each event leads
        #[rustfmt::skip]
        let table = [
            // moved, started, abandoned, extended, warned, host silent, host answered, stop requested, confirmed gone, given up
            ((Creating, false), [Some(Creating), Some(Running), Some(Stopping(Failed)), None, None, None, None, Some(Stopping(Deleted)), Some(Ended(Failed)), None]),
            ((Running, false), [None, None, None, Some(Running), Some(Running), Some(Unreachable), None, Some(Stopping(Deleted)), Some(Ended(Lost)), None]),
            ((Unreachable, true), [None, None, None, Some(Unreachable), Some(Unreachable), None, Some(Running), Some(Stopping(Deleted)), Some(Ended(Lost)), Some(Ended(Lost))]),
            ((stopping, false), [None, None, None, None, None, Some(stopping), Some(stopping), None, Some(Ended(Expired)), None]),
            ((stopping, true), [None, None, None, None, None, None, Some(stopping), None, Some(Ended(Expired)), Some(Ended(Lost))]),
            ((Ended(Expired), false), [None; 10]),
        ];
        for ((from, silent), expected) in table {
            let since = silent.then_some(Timestamp::UNIX_EPOCH);
            let before = Instance { unreachable_since: since, ..instance(from) };
            for (event, to) in events().into_iter().zip(expected) {
                let result = before.after(&event, Timestamp::UNIX_EPOCH).ok().map(|i| i.state);
                assert_eq!(result, to, "{from:?} after {event:?}");
            }
        }
    }

    #[test]
    fn a_row_knows_since_when_its_host_is_silent_and_forgets_it_when_it_answers() {
        let at = |seconds| Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        let silent = instance(InstanceState::Running).after(&InstanceEvent::HostSilent, at(3)).unwrap();
        assert_eq!(silent.unreachable_since, Some(at(3)));
        let back = silent.after(&InstanceEvent::HostAnswered, at(4)).unwrap();
        assert_eq!((back.state, back.unreachable_since), (InstanceState::Running, None));
        let stop = InstanceEvent::StopRequested { reason: EndReason::Deleted };
        assert_eq!(silent.after(&stop, at(5)).unwrap().unreachable_since, Some(at(3)), "it is silent still");
    }

    #[test]
    fn a_warning_is_given_once_and_not_before_its_time() {
        let now = Timestamp::UNIX_EPOCH;
        let mut row = instance(InstanceState::Running);
        row.lease.warn_at = Some(now + Duration::from_secs(1));
        assert!(row.after(&InstanceEvent::Warned, now).is_err());
        let warned = row.after(&InstanceEvent::Warned, now + Duration::from_secs(1)).unwrap();
        assert!(warned.after(&InstanceEvent::Warned, now + Duration::from_secs(2)).is_err());
    }

    #[test]
    fn only_what_is_creating_belongs_to_a_server() {
        let started = InstanceEvent::Started { endpoint: Endpoint { address: [192, 0, 2, 9].into(), port: 1 } };
        let creating = instance(InstanceState::Creating);
        assert!(creating.server.is_some());
        assert_eq!(creating.after(&started, Timestamp::UNIX_EPOCH).unwrap().server, None);
    }

    #[test]
    fn what_is_stopped_gives_its_idempotency_key_free_and_what_has_ended_knows_when() {
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(5);
        let stop = InstanceEvent::StopRequested { reason: EndReason::Deleted };
        let stopping = instance(InstanceState::Running).after(&stop, now).unwrap();
        assert_eq!((&stopping.idempotency_key, stopping.ended_at), (&None, None));
        let ended = stopping.after(&InstanceEvent::ConfirmedGone, now).unwrap();
        assert_eq!(ended.ended_at, Some(now));
    }

    #[test]
    fn nothing_expires_before_its_time() {
        let now = Timestamp::UNIX_EPOCH;
        let expire = InstanceEvent::StopRequested { reason: EndReason::Expired };
        let lease = Lease { expires_at: now + Duration::from_millis(1), max_expires_at: now, warn_at: None };
        let early = Instance { lease, ..instance(InstanceState::Running) };
        assert!(early.after(&expire, now).is_err());
        assert!(early.after(&expire, lease.expires_at).is_ok());
    }

    #[test]
    fn a_lease_that_is_over_is_not_extended_any_more() {
        let running = instance(InstanceState::Running);
        let over = running.lease.expires_at;
        let at = over + Duration::from_secs(60);
        let longer = InstanceEvent::Extended { lease: Lease { expires_at: at, max_expires_at: at, warn_at: None } };
        assert!(running.after(&longer, over - Duration::from_millis(1)).is_ok());
        assert!(running.after(&longer, over).is_err());
    }

    #[test]
    fn every_state_is_read_back_as_it_was_written() {
        let states = [InstanceState::Creating, InstanceState::Running, InstanceState::Unreachable]
            .into_iter()
            .chain(EndReason::ALL.map(InstanceState::Stopping))
            .chain(EndReason::ALL.map(InstanceState::Ended));
        for state in states {
            assert_eq!(InstanceState::from_parts(state.as_str(), state.reason()), Ok(state));
        }
        assert!(InstanceState::from_parts("ended", None).is_err());
    }
}
