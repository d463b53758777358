//! A Docker Engine that carries instances, and where it stands.
//!
//! Two things are independent of each other: whether it answers (its health) and whether the operator or the
//! autoscaler wants new instances on it (its cordon). One transition function moves both.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a host answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Announced, not asked yet.
    Joining,
    /// Its engine answered the last probe.
    Up,
    /// Its engine stays away. What runs on it may still run.
    Unreachable,
    /// Its engine answers and its heartbeat stays away: what runs on it runs on, and the next thing that happens to it
    /// may be its end.
    Unannounced,
    /// Its engine answers and starts nothing: one start after the other failed. What runs on it runs on.
    Failing,
}

impl Health {
    /// Whether its engine answers, so that it can say what is on it.
    #[must_use]
    pub fn answers(self) -> bool {
        matches!(self, Self::Up | Self::Unannounced | Self::Failing)
    }
}

/// Why a host takes no new instance although it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cordon {
    /// Takes no new instance; those it has live on.
    Cordoned,
    /// Cordoned, and to be deleted once it is empty.
    Draining,
}

impl Cordon {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }

    /// What a word means, if anything.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Cordoned, Self::Draining].into_iter().find(|cordon| cordon.as_str() == word)
    }
}

/// Health and cordon together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostState {
    /// Whether it answers.
    pub health: Health,
    /// Whether it is kept from taking new instances.
    pub cordon: Option<Cordon>,
}

/// What can happen to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostEvent {
    /// Its engine answered.
    Answered,
    /// Its engine, or its heartbeat, stayed away.
    StayedAway,
    /// The operator cordons it.
    Cordon,
    /// The autoscaler wants to be rid of it.
    Drain,
    /// It is wanted again.
    Uncordon,
}

/// An event that cannot happen in this state. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a host that is {from} cannot take {event:?}")]
pub struct IllegalHostEvent {
    /// Where the host stands.
    pub from: HostState,
    /// What was tried.
    pub event: HostEvent,
}

impl HostState {
    /// A host that has just been announced.
    pub const JOINING: Self = Self { health: Health::Joining, cordon: None };

    /// Whether a new instance may be placed on it.
    #[must_use]
    pub fn schedulable(self) -> bool {
        self.health == Health::Up && self.cordon.is_none()
    }

    /// The host after `event`, the only way its state changes.
    ///
    /// # Errors
    /// [`IllegalHostEvent`]: a host that is draining must be uncordoned before it can be merely cordoned, so that
    /// nobody believes a machine safe that is about to be deleted; one without a cordon cannot be uncordoned.
    pub fn after(self, event: HostEvent) -> Result<Self, IllegalHostEvent> {
        let illegal = Err(IllegalHostEvent { from: self, event });
        match event {
            HostEvent::Answered => Ok(Self { health: Health::Up, ..self }),
            HostEvent::StayedAway => Ok(Self { health: Health::Unreachable, ..self }),
            HostEvent::Cordon if self.cordon == Some(Cordon::Draining) => illegal,
            HostEvent::Cordon => Ok(Self { cordon: Some(Cordon::Cordoned), ..self }),
            HostEvent::Drain => Ok(Self { cordon: Some(Cordon::Draining), ..self }),
            HostEvent::Uncordon if self.cordon.is_none() => illegal,
            HostEvent::Uncordon => Ok(Self { cordon: None, ..self }),
        }
    }
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.health {
            Health::Joining => "joining",
            Health::Up => "up",
            Health::Unreachable => "unreachable",
            Health::Unannounced => "unannounced",
            Health::Failing => "failing",
        })?;
        f.write_str(match self.cordon {
            None => "",
            Some(Cordon::Cordoned) => " and cordoned",
            Some(Cordon::Draining) => " and draining",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_HEALTH: [Health; 5] =
        [Health::Joining, Health::Up, Health::Unreachable, Health::Unannounced, Health::Failing];
    const ALL_CORDONS: [Option<Cordon>; 3] = [None, Some(Cordon::Cordoned), Some(Cordon::Draining)];

    #[test]
    fn a_host_is_schedulable_only_when_it_is_up_and_has_no_cordon() {
        for health in ALL_HEALTH {
            for cordon in ALL_CORDONS {
                let expected = health == Health::Up && cordon.is_none();
                assert_eq!(HostState { health, cordon }.schedulable(), expected);
            }
        }
    }

    #[test]
    fn the_cordon_table_is_exactly_this() {
        use HostEvent::{Cordon as DoCordon, Drain, Uncordon};
        let (none, cordoned, draining) = (None, Some(Cordon::Cordoned), Some(Cordon::Draining));
        let table = [
            (none, DoCordon, Some(cordoned)),
            (none, Drain, Some(draining)),
            (none, Uncordon, None),
            (cordoned, DoCordon, Some(cordoned)),
            (cordoned, Drain, Some(draining)),
            (cordoned, Uncordon, Some(none)),
            (draining, DoCordon, None),
            (draining, Drain, Some(draining)),
            (draining, Uncordon, Some(none)),
        ];
        for health in ALL_HEALTH {
            for (from, event, to) in table {
                let after = HostState { health, cordon: from }.after(event).ok();
                assert_eq!(after, to.map(|cordon| HostState { health, cordon }), "{from:?} after {event:?}");
            }
        }
    }

    #[test]
    fn answering_and_staying_away_never_touch_the_cordon() {
        for health in ALL_HEALTH {
            for cordon in ALL_CORDONS {
                let state = HostState { health, cordon };
                assert_eq!(state.after(HostEvent::Answered), Ok(HostState { health: Health::Up, cordon }));
                assert_eq!(state.after(HostEvent::StayedAway), Ok(HostState { health: Health::Unreachable, cordon }));
            }
        }
    }
}
