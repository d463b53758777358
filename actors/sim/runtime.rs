//! Simulated container engines, one a host, all made by one [`SimRuntimes`].
//!
//! Owns the containers, which outlive the actors that started them, and the machines they run on. Must not know rows
//! or slots: an engine carries whatever it is told to start.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{sync::mpsc, time::sleep};

use super::faults::{Faults, Gate, Op};
use crate::{
    domain::{Endpoint, HostName, InstanceId},
    ports::{Found, HostRecord, Removal, Runtime, RuntimeError, Runtimes, StartSpec},
};

/// Where the published ports of every host begin, as with an engine that chooses them.
const FIRST_PORT: u16 = 32_768;

/// How long things take on a simulated host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the order to a container that answers.
    pub start: Duration,
    /// Any other call.
    pub call: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { start: Duration::from_millis(300), call: Duration::from_millis(5) }
    }
}

/// How a host's engine can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// It answers.
    #[default]
    Well,
    /// It refuses connections: every call fails at once.
    Refusing,
    /// It takes calls and never answers.
    Silent,
    /// It answers and starts nothing, for its disk is full.
    Full,
    /// It answers, and that it can start and remove nothing; starts and removals are never answered.
    Unfit,
}

/// All simulated engines. Clones are the same engines. Each call is one operation of the faults, named after
/// the host as well: `runtime.start:<host>`, `runtime.remove:<host>`, `runtime.inventory:<host>`, `runtime.probe:<host>`.
#[derive(Debug, Clone)]
pub struct SimRuntimes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pace: Pace,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    machines: BTreeMap<HostName, Machine>,
    casualties: Vec<InstanceId>,
}

#[derive(Debug, Default)]
struct Machine {
    reach: Reach,
    containers: BTreeMap<InstanceId, Container>,
    most: usize,
    ports: u16,
    listeners: Vec<mpsc::UnboundedSender<Result<InstanceId, RuntimeError>>>,
}

#[derive(Debug)]
struct Container {
    running: bool,
    port: u16,
}

impl Machine {
    /// Takes a container in, if there is space.
    fn insert(&mut self, id: &InstanceId, running: bool) -> Result<(), RuntimeError> {
        match self.reach {
            Reach::Full => Err(RuntimeError::Refused("no space left on device".to_owned())),
            _ => self.hold(id, running),
        }
    }

    /// Holds a container; the engine refuses a second one of the same name.
    fn hold(&mut self, id: &InstanceId, running: bool) -> Result<(), RuntimeError> {
        if self.containers.contains_key(id) {
            return Err(RuntimeError::Refused(format!("the name of {id} is in use")));
        }
        let port = FIRST_PORT + self.ports % (u16::MAX - FIRST_PORT);
        self.ports = self.ports.wrapping_add(1);
        self.containers.insert(id.clone(), Container { running, port });
        self.most = self.most.max(self.containers.len());
        Ok(())
    }

    /// Stops a container and tells whoever listens; says whether it ran.
    fn stop(&mut self, id: &InstanceId) -> bool {
        let ran = self.containers.get_mut(id).is_some_and(|container| std::mem::take(&mut container.running));
        if ran && matches!(self.reach, Reach::Well | Reach::Full) {
            self.listeners.retain(|listener| listener.send(Ok(id.clone())).is_ok());
        }
        ran
    }

    /// The streams of exits break off.
    fn hang_up(&mut self, why: &str) {
        for listener in self.listeners.drain(..) {
            let _ = listener.send(Err(RuntimeError::Unreachable(why.to_owned())));
        }
    }
}

impl SimRuntimes {
    /// No hosts yet.
    #[must_use]
    pub fn new(pace: Pace, faults: Faults) -> Self {
        Self(Arc::new(Inner { pace, faults, state: Mutex::default() }))
    }

    /// Switches a machine on. An engine that nobody switched on is unreachable.
    pub fn switch_on(&self, host: &HostName) {
        self.state().machines.entry(host.clone()).or_default();
    }

    /// Destroys a machine with everything on it. Containers that ran are remembered as [casualties](Self::casualties).
    pub fn destroy(&self, host: &HostName) {
        let mut state = self.state();
        if let Some(mut machine) = state.machines.remove(host) {
            machine.hang_up("the machine is gone");
            state.casualties.extend(machine.containers.into_iter().filter(|(_, c)| c.running).map(|(id, _)| id));
        }
    }

    /// Changes how an engine is reached. Its containers run on; exits meanwhile are told to nobody.
    pub fn reach(&self, host: &HostName, reach: Reach) {
        self.on(host, |machine| {
            machine.reach = reach;
            if reach == Reach::Refusing {
                machine.hang_up("connection reset");
            }
        });
    }

    /// The engine restarts: every container stops, and the streams break off before anybody is told.
    pub fn reboot(&self, host: &HostName) {
        self.on(host, |machine| {
            machine.hang_up("the engine restarts");
            machine.containers.values_mut().for_each(|container| container.running = false);
        });
    }

    /// A container's engine dies. It stays, stopped.
    pub fn crash(&self, host: &HostName, id: &InstanceId) {
        self.on(host, |machine| {
            machine.stop(id);
        });
    }

    /// Somebody removes a container behind our back.
    pub fn remove_by_hand(&self, host: &HostName, id: &InstanceId) {
        self.on(host, |machine| {
            machine.stop(id);
            machine.containers.remove(id);
        });
    }

    /// A running container of this deployment that no row knows, on a machine that is there, however full it is.
    pub fn plant(&self, host: &HostName, id: &InstanceId) {
        self.on(host, |machine| {
            let _ = machine.hold(id, true);
        });
    }

    /// What is on a host now.
    #[must_use]
    pub fn containers(&self, host: &HostName) -> Vec<Found> {
        self.state().machines.get(host).map(found).unwrap_or_default()
    }

    /// The most containers a host ever had at once.
    #[must_use]
    pub fn most_ever(&self, host: &HostName) -> usize {
        self.state().machines.get(host).map_or(0, |machine| machine.most)
    }

    /// Every container on every machine, running or not: what must be nothing at the end of a test.
    #[must_use]
    pub fn leftovers(&self) -> Vec<(HostName, InstanceId)> {
        let state = self.state();
        let all = state.machines.iter().flat_map(|(host, m)| m.containers.keys().map(move |id| (host, id)));
        all.map(|(host, id)| (host.clone(), id.clone())).collect()
    }

    /// Containers that ran on a machine that was destroyed.
    #[must_use]
    pub fn casualties(&self) -> Vec<InstanceId> {
        self.state().casualties.clone()
    }

    /// The machines that are on.
    #[must_use]
    pub fn machines(&self) -> BTreeSet<HostName> {
        self.state().machines.keys().cloned().collect()
    }

    /// The engine of a host.
    #[must_use]
    pub fn runtime(&self, host: &HostName, address: IpAddr) -> SimRuntime {
        SimRuntime { host: host.clone(), address, all: self.clone() }
    }

    fn on(&self, host: &HostName, change: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.state().machines.get_mut(host) {
            change(machine);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtimes for SimRuntimes {
    fn open(&self, host: &HostRecord) -> Result<Arc<dyn Runtime>, RuntimeError> {
        Ok(Arc::new(self.runtime(&host.name, host.public_address)))
    }
}

/// One host's simulated engine.
#[derive(Debug, Clone)]
pub struct SimRuntime {
    host: HostName,
    address: IpAddr,
    all: SimRuntimes,
}

impl SimRuntime {
    /// A whole call: the gate of the faults, then the work.
    async fn pass<T>(
        &self,
        verb: &str,
        work: impl Future<Output = Result<T, RuntimeError>> + Send,
    ) -> Result<T, RuntimeError> {
        let op = operation(verb, &self.host);
        match self.all.0.faults.gate(op).await {
            Gate::Proceed => work.await,
            Gate::Fail => Err(RuntimeError::Unreachable(format!("simulated failure of {op}"))),
            Gate::AfterEffectFail => {
                work.await?;
                Err(RuntimeError::Unreachable(format!("simulated loss of the answer of {op}")))
            }
            Gate::LastBreath => {
                let _ = work.await;
                self.all.0.faults.die().await
            }
        }
    }

    /// Waits as long as it takes, then reaches for the machine. `change` runs in one turn, as in an engine.
    async fn hangs_if_unfit(&self) {
        let machine = self.all.state().machines.get(&self.host).map(|machine| machine.reach);
        if machine == Some(Reach::Unfit) {
            std::future::pending::<()>().await;
        }
    }

    async fn reach<T>(
        &self,
        takes: Duration,
        change: impl FnOnce(&mut Machine) -> Result<T, RuntimeError> + Send,
    ) -> Result<T, RuntimeError> {
        sleep(takes).await;
        if self.all.0.faults.is_frozen() {
            // The process died in the middle of the call, so its next step is never asked for.
            std::future::pending::<()>().await;
        }
        let reach = self.all.state().machines.get(&self.host).map_or(Reach::Refusing, |machine| machine.reach);
        match reach {
            Reach::Well | Reach::Full | Reach::Unfit => {}
            Reach::Refusing => return Err(RuntimeError::Unreachable("connection refused".to_owned())),
            Reach::Silent => std::future::pending().await,
        }
        let mut state = self.all.state();
        let machine = state.machines.get_mut(&self.host);
        machine.map_or_else(|| Err(RuntimeError::Unreachable("no route to host".to_owned())), change)
    }
}

#[async_trait]
impl Runtime for SimRuntime {
    /// A start that is given up halfway leaves a container that does not run.
    async fn start(&self, spec: &StartSpec) -> Result<Endpoint, RuntimeError> {
        let pace = self.all.0.pace;
        let start = async {
            self.hangs_if_unfit().await;
            self.reach(pace.call, |machine| machine.insert(&spec.id, false)).await?;
            self.reach(pace.start.saturating_sub(pace.call), |machine| match machine.containers.get_mut(&spec.id) {
                Some(container) => {
                    container.running = true;
                    Ok(Endpoint { address: self.address, port: container.port })
                }
                None => Err(RuntimeError::NotReady("the container was removed while it started".to_owned())),
            })
            .await
        };
        self.pass("start", start).await
    }

    async fn remove(&self, id: &InstanceId) -> Result<Removal, RuntimeError> {
        let remove = async {
            self.hangs_if_unfit().await;
            self.reach(self.all.0.pace.call, |machine| {
                machine.stop(id);
                Ok(match machine.containers.remove(id) {
                    Some(_) => Removal::Removed,
                    None => Removal::AlreadyGone,
                })
            })
            .await
        };
        self.pass("remove", remove).await
    }

    async fn inventory(&self) -> Result<Vec<Found>, RuntimeError> {
        let inventory = self.reach(self.all.0.pace.call, |machine| Ok(found(machine)));
        self.pass("inventory", inventory).await
    }

    async fn probe(&self) -> Result<(), RuntimeError> {
        let probe = self.reach(self.all.0.pace.call, |machine| match machine.reach {
            Reach::Unfit => Err(RuntimeError::Unfit("its containerd hangs".to_owned())),
            _ => Ok(()),
        });
        self.pass("probe", probe).await
    }

    fn exits(&self) -> BoxStream<'static, Result<InstanceId, RuntimeError>> {
        let mut state = self.all.state();
        let machine = state.machines.get_mut(&self.host).filter(|machine| machine.reach != Reach::Refusing);
        let Some(machine) = machine else {
            let refused = RuntimeError::Unreachable("connection refused".to_owned());
            return stream::once(std::future::ready(Err(refused))).boxed();
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        machine.listeners.push(sender);
        stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|exit| (exit, receiver)) })
            .boxed()
    }

    fn isolated(&self) -> bool {
        true
    }
}

/// The name of an operation on one host. Names live as long as the process, which is fine for the hosts of a simulation.
fn operation(verb: &str, host: &HostName) -> Op {
    static NAMES: Mutex<BTreeSet<Op>> = Mutex::new(BTreeSet::new());
    let name = format!("runtime.{verb}:{host}");
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let name: Op = name.leak();
    names.insert(name);
    name
}

fn found(machine: &Machine) -> Vec<Found> {
    machine.containers.iter().map(|(id, c)| Found { id: id.clone(), running: c.running }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Flavour;

    fn id(n: u128) -> InstanceId {
        InstanceId::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn spec(n: u128) -> StartSpec {
        let flavour = Flavour { name: "redis".into(), memory_bytes: 1, connections: 1, cpus: 1.0, pids: 1 };
        StartSpec { id: id(n), flavour, password: "secret".to_owned().into() }
    }

    fn one_host() -> (SimRuntimes, HostName, SimRuntime, Faults) {
        let faults = Faults::default();
        let all = SimRuntimes::new(Pace::default(), faults.clone());
        let host = HostName::parse("h1").unwrap();
        all.switch_on(&host);
        let runtime = all.runtime(&host, [192, 0, 2, 1].into());
        (all, host, runtime, faults)
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_runs_from_its_start_to_its_removal_and_both_are_seen() {
        let (all, host, runtime, _) = one_host();
        let mut exits = runtime.exits();
        let endpoint = runtime.start(&spec(1)).await.unwrap();
        assert_eq!(endpoint.port, FIRST_PORT);
        assert_eq!(runtime.inventory().await.unwrap(), [Found { id: id(1), running: true }]);
        assert_eq!(runtime.remove(&id(1)).await.unwrap(), Removal::Removed);
        assert_eq!(runtime.remove(&id(1)).await.unwrap(), Removal::AlreadyGone);
        assert_eq!(exits.next().await.unwrap().unwrap(), id(1));
        assert!(all.leftovers().is_empty());
        assert_eq!(all.most_ever(&host), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_is_given_up_halfway_leaves_a_container_that_does_not_run() {
        let (all, host, runtime, _) = one_host();
        let half = Pace::default().start / 2;
        tokio::time::timeout(half, runtime.start(&spec(1))).await.unwrap_err();
        assert_eq!(all.containers(&host), [Found { id: id(1), running: false }]);
        assert!(matches!(runtime.start(&spec(1)).await, Err(RuntimeError::Refused(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lie_leaves_the_container_running_and_a_failure_leaves_nothing() {
        let (all, host, runtime, faults) = one_host();
        faults.fail_next("runtime.start:h1", 1);
        faults.lie_next("runtime.start:h1");
        runtime.start(&spec(1)).await.unwrap_err();
        assert!(all.leftovers().is_empty());
        runtime.start(&spec(1)).await.unwrap_err();
        assert_eq!(all.containers(&host), [Found { id: id(1), running: true }]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_refuses_ends_the_streams_and_keeps_its_containers() {
        let (all, host, runtime, _) = one_host();
        runtime.start(&spec(1)).await.unwrap();
        let mut exits = runtime.exits();
        all.reach(&host, Reach::Refusing);
        assert!(exits.next().await.unwrap().is_err());
        assert!(exits.next().await.is_none());
        assert!(runtime.exits().next().await.unwrap().is_err());
        runtime.probe().await.unwrap_err();
        all.reach(&host, Reach::Well);
        assert_eq!(runtime.inventory().await.unwrap().len(), 1);
        all.crash(&host, &id(1));
        assert_eq!(runtime.inventory().await.unwrap(), [Found { id: id(1), running: false }]);
    }
}
