//! One pass of the autoscaler: read, plan, carry out. Every paid effect has its intent in the database first, so that a
//! pass that is cut off anywhere is finished or undone by the next one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Pause, Peers,
    builders::Builders,
    messages::{GrowthForeseen, ScalingStatus},
    state::{Memory, Readings},
    steps::{Order, PEER_PATIENCE, Stop, failed},
};
use crate::{
    discovery::messages::{DescribeDirectory, DirectoryView},
    domain::{
        DeploymentId, Standstill,
        scaling::{Action, Decision, FleetSnapshot, Hold, Plan, ScalingPolicy},
    },
    patience,
    ports::{Clock, HostProvider, Journal, ProviderError, Store},
    scheduler::messages::SurveyFleet,
    supervision::ask,
};

/// The longest that one call to the cloud may take. Orders are slow; what is slower than this is looked for in the list,
/// and ordered again by its name when that had time to show it.
const CLOUD_PATIENCE: Duration = Duration::from_secs(30);

/// How long the journal may take to keep a line.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(5);

/// What a pass works with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) deployment: DeploymentId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) cloud: Arc<dyn HostProvider>,
    pub(super) journal: Option<Arc<dyn Journal>>,
    pub(super) policy: ScalingPolicy,
    pub(super) pause: Pause,
    pub(super) inventory_patience: Duration,
    pub(super) peers: Peers,
}

/// What came of a pass.
pub(super) struct Passed {
    pub(super) memory: Memory,
    pub(super) status: ScalingStatus,
    /// How long the cloud wants to be left alone.
    pub(super) rest: Option<Duration>,
    /// Whether the droplets were seen.
    pub(super) saw: bool,
    /// Whether this server looks after the pool, where they were.
    pub(super) leads: bool,
    /// What a create may hope for; nothing when the next pass will know better: the hosts are only just being found.
    pub(super) growth: Option<GrowthForeseen>,
}

fn is_order(action: &Action) -> bool {
    matches!(action, Action::Create | Action::Reorder(_))
}

/// Whether discovery knows the hosts, or that it cannot know them.
fn has_been_read(directory: &DirectoryView) -> bool {
    directory.read_once || directory.unreachable.is_some()
}

fn wants_rest(time: Duration) -> String {
    format!("the provider wants {} s of rest", time.as_secs())
}

impl Tools {
    /// Makes a pass. Where it is paused, or another server looks after the pool, it only looks and explains.
    /// While the provider still `rests`, it is not even asked for its list.
    pub(super) async fn pass(self, mut memory: Memory, rests: Option<Duration>) -> Passed {
        let mut status = ScalingStatus { max_hosts: self.policy.max_hosts, ..ScalingStatus::default() };
        let readings = match self.read(rests).await {
            Ok(readings) => readings,
            Err(why) => {
                let (mut rest, mut growth) = (None, Some(GrowthForeseen { blind: true, ..GrowthForeseen::default() }));
                match why {
                    Stop::NotNow(why) => {
                        status.explanation.push(why);
                        growth = None;
                    }
                    Stop::NotYet(why) => status.errors.push(why),
                    Stop::Failed(why, again) => {
                        status.errors.push(why);
                        // A clear refusal: whoever is not even shown the list is sold nothing.
                        let standstill = (!again.is_zero()).then_some(Standstill::Refused);
                        growth =
                            Some(GrowthForeseen { blind: again.is_zero(), standstill, ..GrowthForeseen::default() });
                    }
                    Stop::Rest(time) => {
                        status.errors.push(wants_rest(time));
                        rest = Some(time);
                    }
                }
                // As long as the hosts are only just being found, nobody can say that there are none.
                let directory = ask(&self.peers.directory, DescribeDirectory, PEER_PATIENCE).await;
                if directory.is_ok_and(|directory| !has_been_read(&directory)) {
                    growth = None;
                }
                // Nothing is bought, replaced or given back meanwhile.
                status.errors.iter().for_each(|error| tracing::warn!(%error, "scaling.blind"));
                return Passed { memory, status, rest, saw: false, leads: false, growth };
            }
        };
        let mut decision = self.decide(&mut memory, &readings, &mut status);
        self.write_down(&decision, &mut status).await;
        self.look_for_the_gone(&mut decision.plan).await;
        status.explanation.clone_from(&decision.plan.explanation);
        status.droplets = decision.snapshot.views(&decision.plan);
        let only_looks = match (self.pause.is_set(), readings.fleet.leads) {
            (true, _) => Some("paused by the operator: none of this is done"),
            (false, false) => Some("another server looks after the pool: none of this is done here"),
            (false, true) => None,
        };
        let rest = match only_looks {
            Some(why) => {
                status.explanation.insert(0, why.to_owned());
                None
            }
            None => {
                self.close_builders(&readings.builders, &mut status).await;
                let rest = self.carry_out_all(&decision, &readings.builders, &mut memory, &mut status).await;
                self.tell_of_a_hold(&mut memory, readings.limits.hold.as_ref(), &mut status).await;
                rest
            }
        };
        memory.complaints = status.errors.iter().cloned().collect();
        let now = self.clock.now();
        let outlook = decision.plan.outlook;
        let ordered = decision.plan.actions.iter().filter(|action| is_order(action)).count();
        // What was planned and not ordered is not on the way, and what stood in the way of it still does.
        let failed = u32::try_from(ordered.saturating_sub(status.created)).unwrap_or(u32::MAX);
        let is_left_to_another =
            !readings.fleet.leads && (ordered > 0 || readings.has_young_order(CLOUD_PATIENCE, now));
        let hold = memory.setbacks.hold(now);
        let allowed = !self.pause.is_set() && hold.is_none();
        let held_for = hold.as_ref().map(|hold| Duration::try_from(hold.until.duration_since(now)).unwrap_or_default());
        let growth = GrowthForeseen {
            booting: outlook.coming.saturating_sub(failed),
            announced: outlook.announced,
            unheard: outlook.unheard,
            standstill: match self.pause.is_set() {
                true => Some(Standstill::Paused),
                false if outlook.directory_away => Some(Standstill::DirectoryAway),
                false => hold.is_some().then_some(Standstill::HeldBack),
            },
            next_order_in: held_for.or(outlook.next_order_in).filter(|_| !self.pause.is_set()),
            may_grow: allowed && (outlook.may_grow || is_left_to_another),
            ready_in: memory.estimate(&outlook, now),
            blind: false,
        };
        status.ready_in_s = growth.ready_in.filter(|_| growth.booting > 0).map(|time| time.as_secs());
        let found = has_been_read(&readings.directory);
        Passed { memory, status, rest, saw: true, leads: readings.fleet.leads, growth: found.then_some(growth) }
    }

    fn decide(&self, memory: &mut Memory, readings: &Readings, status: &mut ScalingStatus) -> Decision {
        let now = self.clock.now();
        let known = memory.strays();
        let snapshot = memory.observe(readings, &self.policy, now);
        let decision = Decision::make(snapshot, &self.policy, now);
        for name in memory.strays().difference(&known) {
            tracing::warn!(droplet = %name, why = %decision.plan.why(name), "droplet.stray");
        }
        let news = memory.setbacks.failed(&decision.plan.failed, self.policy.retry_after, now);
        if news.is_empty() {
            return decision;
        }
        for name in news {
            let why = decision.plan.why(&name);
            tracing::warn!(droplet = %name, %why, "droplet.failed");
            status.errors.push(why);
        }
        // Droplets failed that nobody knew of: what is bought in their place may have to wait.
        let snapshot = FleetSnapshot { hold: memory.setbacks.hold(now), ..decision.snapshot };
        Decision::make(snapshot, &self.policy, now)
    }

    /// Whatever lives on a droplet is given up because the list is without it, which has to be true by its name too: one
    /// that lost its tag is not listed either.
    async fn look_for_the_gone(&self, plan: &mut Plan) {
        let mut gone = Vec::new();
        for name in std::mem::take(&mut plan.gone) {
            match self.cloud(self.cloud.forget(&name)).await {
                Ok(()) => gone.push(name),
                Err(why) => plan.explanation.push(format!("{name}: nothing on it is given up: {why}")),
            }
        }
        plan.gone = gone;
    }

    /// Keeps the decision and its grounds, so that it can be made again later.
    async fn write_down(&self, decision: &Decision, status: &mut ScalingStatus) {
        let Some(journal) = &self.journal else { return };
        let kept = match serde_json::to_string(decision) {
            Ok(line) => match timeout(JOURNAL_PATIENCE, journal.append(&line)).await {
                Ok(kept) => kept.map_err(|error| error.to_string()),
                Err(_) => Err("the journal does not answer".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = kept {
            tracing::warn!(error = %why, "scaling.not_written_down");
            status.errors.push(why);
        }
    }

    /// Forgets the rows of builders with which nobody is at work any more.
    async fn close_builders(&self, builders: &Builders, status: &mut ScalingStatus) {
        for name in builders.over() {
            match patience::store(self.store.close_builder(name)).await {
                Ok(closed) if closed => tracing::info!(builder = %name, "builder.row_closed"),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(builder = %name, %error, "builder.row_not_closed");
                    status.errors.push(error.to_string());
                }
            }
        }
    }

    /// Carries out the plan; tells how long the provider wants to be left alone, if it does.
    async fn carry_out_all(
        &self,
        decision: &Decision,
        builders: &Builders,
        memory: &mut Memory,
        status: &mut ScalingStatus,
    ) -> Option<Duration> {
        let snapshot = &decision.snapshot;
        for action in &decision.plan.actions {
            // A pass may take minutes, and whoever pauses does not want to see one more droplet.
            if self.pause.is_set() {
                status.explanation.push("paused by the operator: the rest of this was not done".to_owned());
                return None;
            }
            let (is_order, now) = (is_order(action), self.clock.now());
            if is_order && memory.setbacks.hold(now).is_some() {
                continue;
            }
            if is_order {
                memory.grows(now);
            }
            if *action == Action::Create {
                memory.spends(&self.policy, now);
            }
            let uncounted = snapshot.uncounted().saturating_add(builders.uncounted(now));
            let most = self.policy.max_hosts.saturating_sub(uncounted);
            let order = Order { at: now, most, budget: memory.budget() };
            let why = match self.carry_out(action, snapshot, order, status).await {
                Ok(()) => {
                    match action {
                        Action::Create | Action::Reorder(_) => memory.setbacks.sold(),
                        Action::Drain(name) => memory.drained(name.clone()),
                        Action::Uncordon(_) => memory.grows(self.clock.now()),
                        _ => {}
                    }
                    continue;
                }
                Err(Stop::NotNow(why)) => {
                    status.explanation.push(why);
                    continue;
                }
                Err(why) => why,
            };
            let words = match &why {
                Stop::NotNow(words) | Stop::NotYet(words) | Stop::Failed(words, _) => words.clone(),
                Stop::Rest(time) => wants_rest(*time),
            };
            let said = format!("{action}: {words}");
            // What fails at every pass until somebody comes is told once.
            if !memory.complaints.contains(&said) {
                tracing::warn!(%action, error = %words, "scaling.failed");
            }
            status.errors.push(said);
            let (first, now) = (self.policy.retry_after, self.clock.now());
            match why {
                Stop::Rest(time) if is_order => memory.setbacks.rests(&words, time, now),
                Stop::NotYet(_) if is_order => memory.setbacks.rests(&words, first, now),
                Stop::Failed(_, again) if is_order => memory.setbacks.refused(&words, first, again, now),
                _ => {}
            }
            if let Stop::Rest(time) = why {
                return Some(time);
            }
        }
        None
    }

    /// Lets the other servers know, and whoever comes after this one, until when nothing is bought and why.
    async fn tell_of_a_hold(&self, memory: &mut Memory, known: Option<&Hold>, status: &mut ScalingStatus) {
        let now = self.clock.now();
        let hold = memory.setbacks.hold(now);
        if hold.as_ref() == known.filter(|known| known.until > now) {
            return;
        }
        match patience::store(self.store.hold_orders(hold.as_ref())).await {
            Ok(()) => memory.setbacks.told(hold),
            Err(error) => {
                tracing::warn!(%error, "scaling.hold_not_told");
                status.errors.push(error.to_string());
            }
        }
    }

    async fn read(&self, rests: Option<Duration>) -> Result<Readings, Stop> {
        let resumed = self.pause.settle(&*self.store).await.map_err(failed)?;
        if let Some(time) = rests {
            return Err(Stop::Rest(time));
        }
        // The cloud's list is read before the rows, so that what is ordered in between has a row; and the fleet last, so
        // that it is the newest of all.
        let mut listed = self.cloud(self.cloud.list()).await?;
        let rows = patience::store(self.store.droplets()).await.map_err(failed)?;
        let builders = patience::store(self.store.builders()).await.map_err(failed)?;
        let builders = Builders::take_from(&mut listed, builders, self.clock.now());
        let listed = listed.droplets;
        let limits = patience::store(self.store.order_limits()).await.map_err(failed)?;
        let names: BTreeSet<_> = rows.iter().map(|row| &row.name).chain(listed.iter().map(|d| &d.name)).collect();
        let names: Vec<_> = names.into_iter().cloned().collect();
        let carried = patience::store(self.store.carried(&names)).await.map_err(failed)?;
        let directory = ask(&self.peers.directory, DescribeDirectory, PEER_PATIENCE).await;
        let fleet = ask(&self.peers.fleet, SurveyFleet, PEER_PATIENCE).await;
        let fleet = fleet.map_err(|error| failed(format!("the scheduler did not answer: {error}")))?.map_err(failed)?;
        if !fleet.ready {
            return Err(Stop::NotNow("the scheduler does not know its hosts yet".to_owned()));
        }
        // Without discovery nobody can say that a droplet is late.
        let directory = directory.unwrap_or_else(|error| DirectoryView {
            unreachable: Some(format!("discovery did not answer: {error}")),
            ..DirectoryView::default()
        });
        Ok(Readings { resumed, rows, limits, listed, builders, carried, fleet, directory })
    }

    pub(super) async fn cloud<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let late = |_| Err(ProviderError::Unknown(format!("no answer within {} s", CLOUD_PATIENCE.as_secs())));
        timeout(CLOUD_PATIENCE, call).await.unwrap_or_else(late)
    }
}
