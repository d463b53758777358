//! Where each droplet of the pool stands, in one word for people and metrics.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        Timestamp,
        host::{Cordon, Health},
        ids::HostName,
    },
    Droplet, DropletState, FleetSnapshot, Plan,
};

/// Where a droplet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Its order is written down, and the provider has not confirmed it yet.
    Ordered,
    /// It is paid for and was not up yet.
    Booting,
    /// It takes instances.
    Up,
    /// It answers, and the operator wants no new instance on it.
    Cordoned,
    /// It is to be deleted once it is empty.
    Draining,
    /// It was up, and its engine or its heartbeat stays away.
    Silent,
    /// It was up, and no instance starts on it.
    Failing,
    /// It never came up, or was of no use for too long.
    Failed,
    /// The provider does not have it any more; what it carried is being given up.
    Gone,
    /// It is being deleted.
    Deleting,
    /// It carries our tag, and the database knows nothing of it.
    Stray,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 11] = [
        Self::Ordered,
        Self::Booting,
        Self::Up,
        Self::Cordoned,
        Self::Draining,
        Self::Silent,
        Self::Failing,
        Self::Failed,
        Self::Gone,
        Self::Deleting,
        Self::Stray,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Booting => "booting",
            Self::Up => "up",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Silent => "silent",
            Self::Failing => "failing",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Deleting => "deleting",
            Self::Stray => "stray",
        }
    }

    fn of(droplet: &Droplet) -> Self {
        match (&droplet.row, &droplet.host) {
            (None, _) => Self::Stray,
            (Some((state, _)), _) if state.is_condemned() => Self::Deleting,
            (Some((DropletState::Creating, _)), None) => Self::Ordered,
            (_, None) if droplet.absent_since.is_some() || droplet.instances > 0 => Self::Silent,
            (_, None) => Self::Booting,
            (_, Some(host)) => match (host.state.cordon, host.state.health) {
                (Some(Cordon::Draining), _) => Self::Draining,
                (None, Health::Joining) if droplet.used() > 0 => Self::Up,
                (_, Health::Joining) => Self::Booting,
                (_, Health::Unreachable | Health::Unannounced) if host.was_up => Self::Silent,
                (_, Health::Unreachable | Health::Unannounced) => Self::Booting,
                (_, Health::Failing) => Self::Failing,
                (Some(Cordon::Cordoned), Health::Up) => Self::Cordoned,
                (None, Health::Up) => Self::Up,
            },
        }
    }
}

/// A droplet as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropletView {
    /// Its name, which is its host's name.
    pub name: HostName,
    /// Where it stands.
    pub stage: Stage,
    /// When it was ordered, or made where nobody knows of an order.
    pub since: Option<Timestamp>,
}

impl FleetSnapshot {
    /// Every droplet that is paid for as it is shown, with what the plan found out about it.
    #[must_use]
    pub fn views(&self, plan: &Plan) -> Vec<DropletView> {
        let stage = |droplet: &Droplet| match Stage::of(droplet) {
            _ if plan.gone.contains(&droplet.name) => Stage::Gone,
            Stage::Deleting => Stage::Deleting,
            _ if plan.failed.contains(&droplet.name) => Stage::Failed,
            stage => stage,
        };
        let view = |d: &Droplet| DropletView { name: d.name.clone(), stage: stage(d), since: d.born() };
        self.paid_for().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{HostState, scaling::DropletHost},
        sim::samples::later,
    };

    fn droplet(row: Option<DropletState>, host: Option<(Health, Option<Cordon>, bool)>) -> Droplet {
        Droplet {
            name: HostName::parse("d").unwrap(),
            row: row.map(|state| (state, later(1))),
            listed: Some(later(2)),
            twins: 0,
            is_off: false,
            stray_since: None,
            alias_of: None,
            missing_since: None,
            deleted_since: None,
            host: host.map(|(health, cordon, was_up)| DropletHost {
                state: HostState { health, cordon },
                slots: 40,
                used: 0,
                since: later(3),
                was_up,
                empty_since: None,
            }),
            absent_since: None,
            instances: 0,
            drained_by_plan: false,
        }
    }

    #[test]
    fn each_droplet_has_one_word() {
        use DropletState::{Created, Creating, Deleted, Deleting};
        let (up, silent) = (Some((Health::Up, None, true)), Some((Health::Unreachable, None, true)));
        let never_up = Some((Health::Unreachable, None, false));
        for (row, host, stage) in [
            (Some(Creating), None, Stage::Ordered),
            (Some(Created), None, Stage::Booting),
            (Some(Created), Some((Health::Joining, None, false)), Stage::Booting),
            (Some(Created), never_up, Stage::Booting),
            (Some(Created), up, Stage::Up),
            (Some(Creating), up, Stage::Up),
            (Some(Created), silent, Stage::Silent),
            (Some(Created), Some((Health::Unannounced, None, true)), Stage::Silent),
            (Some(Created), Some((Health::Failing, None, true)), Stage::Failing),
            (Some(Created), Some((Health::Failing, Some(Cordon::Cordoned), true)), Stage::Failing),
            (Some(Created), Some((Health::Up, Some(Cordon::Cordoned), true)), Stage::Cordoned),
            (Some(Created), Some((Health::Unreachable, Some(Cordon::Draining), true)), Stage::Draining),
            (Some(Deleting), up, Stage::Deleting),
            (Some(Deleted), None, Stage::Deleting),
            (None, up, Stage::Stray),
        ] {
            assert_eq!(Stage::of(&droplet(row, host)), stage, "{row:?} {host:?}");
        }
        let away = Droplet { absent_since: Some(later(9)), ..droplet(Some(Created), None) };
        assert_eq!(Stage::of(&away), Stage::Silent);
        let away_before_we_looked = Droplet { instances: 1, ..droplet(Some(Created), None) };
        assert_eq!(Stage::of(&away_before_we_looked), Stage::Silent);
    }

    #[test]
    fn what_the_plan_calls_failed_is_shown_so_until_it_is_deleted_and_what_is_gone_until_it_is_closed() {
        let called = || HostName::parse("d").unwrap();
        let shown = |state, plan: Plan| {
            let snapshot = FleetSnapshot { droplets: vec![droplet(Some(state), None)], ..FleetSnapshot::default() };
            snapshot.views(&plan)[0].clone()
        };
        let failed = || Plan { failed: vec![called()], ..Plan::default() };
        assert_eq!(shown(DropletState::Created, failed()).stage, Stage::Failed);
        assert_eq!(shown(DropletState::Deleting, failed()).stage, Stage::Deleting);
        assert_eq!(shown(DropletState::Created, failed()).since, Some(later(1)));
        let gone = Plan { gone: vec![called()], ..Plan::default() };
        assert_eq!(shown(DropletState::Deleting, gone).stage, Stage::Gone);
    }

    #[test]
    fn the_word_is_the_one_that_is_written() {
        for stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
        }
    }
}
