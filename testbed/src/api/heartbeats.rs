//! Machines that are tasks: they boot for a while, then announce themselves in a directory until they are destroyed. One
//! whose user-data says that it powers itself off announces nothing and does that.
//!
//! Owns the tasks. What an announcement is, and what else a host is made of, is up to [`Announce`]: keys in a real
//! Redis, or a simulated directory with simulated engines.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use getaredis_actors::{
    domain::HostName,
    ports::{Directory, HostRecord},
    sim::{directory::SimDirectory, runtime::SimRuntimes},
};
use redis::{AsyncTypedCommands, aio::ConnectionManager};
use tokio::{task::AbortHandle, time::sleep};

use super::machines::{Addresses, Boot, Machines, Power};

/// A machine that is up.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub addresses: Addresses,
}

/// How machines announce themselves.
#[async_trait]
pub trait Announce: Send + Sync {
    /// The machine is up and says so; called again and again.
    async fn beat(&self, machine: &Machine);

    /// The machine is no more, and says nothing about it.
    async fn gone(&self, machine: &Machine);
}

/// Machines that are tasks. See the module.
pub struct Heartbeats {
    boot: Duration,
    every: Duration,
    announce: Arc<dyn Announce>,
    machines: Mutex<BTreeMap<u64, (Machine, Option<AbortHandle>)>>,
    /// Those that boot and power themselves off.
    passing: Mutex<BTreeSet<u64>>,
    duds: AtomicU32,
}

/// What the user-data of a machine has that powers itself off once it is set up.
const POWERS_OFF: &str = "\npower_state:";

impl Heartbeats {
    /// Machines that take `boot` from the order to their first heartbeat, and beat as often as `every`.
    #[must_use]
    pub fn new(boot: Duration, every: Duration, announce: Arc<dyn Announce>) -> Self {
        let (machines, passing) = (Mutex::default(), Mutex::default());
        Self { boot, every, announce, machines, passing, duds: AtomicU32::new(0) }
    }

    /// The next `count` machines become active and never come up.
    pub fn next_never_boot(&self, count: u32) {
        self.duds.store(count, Ordering::SeqCst);
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<u64, (Machine, Option<AbortHandle>)>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, machine: Machine) -> AbortHandle {
        let (boot, every, announce) = (self.boot, self.every, Arc::clone(&self.announce));
        let life = async move {
            sleep(boot).await;
            loop {
                announce.beat(&machine).await;
                sleep(every).await;
            }
        };
        tokio::spawn(life).abort_handle()
    }
}

#[async_trait]
impl Machines for Heartbeats {
    async fn boot(&self, order: Boot) -> Result<Addresses, String> {
        let machine = Machine { name: order.name, addresses: Addresses::invented(order.id) };
        let addresses = machine.addresses;
        let one_less = |duds: u32| duds.checked_sub(1);
        let dud = self.duds.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        let passes = order.user_data.is_some_and(|text| text.contains(POWERS_OFF));
        if passes && !dud {
            self.passing.lock().unwrap_or_else(PoisonError::into_inner).insert(order.id);
        }
        let life = (!dud && !passes).then(|| self.live(machine.clone()));
        self.machines().insert(order.id, (machine, life));
        Ok(addresses)
    }

    async fn destroy(&self, id: u64) {
        let Some((machine, life)) = self.machines().remove(&id) else { return };
        if let Some(life) = life {
            life.abort();
            self.announce.gone(&machine).await;
        }
    }

    async fn power(&self, id: u64, power: Power) -> Result<(), String> {
        let mut machines = self.machines();
        let (machine, life) = machines.get_mut(&id).ok_or("there is no such machine")?;
        if let Some(life) = life.take() {
            life.abort();
        }
        if !matches!(power, Power::Shutdown | Power::Off) {
            *life = Some(self.live(machine.clone()));
        }
        Ok(())
    }

    async fn powered_itself_off(&self, id: u64) {
        if !self.passing.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            std::future::pending::<()>().await;
        }
        sleep(self.boot).await;
    }

    async fn snapshot(&self, id: u64, _: u64) -> Result<(), String> {
        self.machines().contains_key(&id).then_some(()).ok_or_else(|| "there is no such machine".to_owned())
    }
}

/// Announces machines in a Redis, as droplets do.
pub struct InRedis {
    connection: ConnectionManager,
    prefix: String,
    ttl: Duration,
}

impl InRedis {
    /// Announces in this Redis, under `<prefix>server:<name>`, for `ttl` each time.
    ///
    /// # Errors
    /// When the Redis does not answer.
    pub async fn connect(url: &str, prefix: &str, ttl: Duration) -> redis::RedisResult<Self> {
        let connection = ConnectionManager::new(redis::Client::open(url)?).await?;
        Ok(Self { connection, prefix: prefix.to_owned(), ttl })
    }
}

#[async_trait]
impl Announce for InRedis {
    async fn beat(&self, machine: &Machine) {
        let Addresses { public, private } = machine.addresses;
        let beat = serde_json::json!({
            "PublicIP": public, "PrivateIP": private, "Name": machine.name, "NumberOfContainers": 0,
        });
        let key = format!("{}server:{}", self.prefix, machine.name);
        // A directory that is away hears the next one.
        let _ = self.connection.clone().set_ex(key, beat.to_string(), self.ttl.as_secs().max(1)).await;
    }

    /// Its key runs out by itself.
    async fn gone(&self, _: &Machine) {}
}

/// Announces machines in a simulated directory, each with a simulated engine.
#[derive(Debug, Clone)]
pub struct InSimulation {
    directory: SimDirectory,
    runtimes: SimRuntimes,
    slots: u32,
}

impl InSimulation {
    /// Announces there; every host has `slots` slots.
    #[must_use]
    pub fn new(directory: SimDirectory, runtimes: SimRuntimes, slots: u32) -> Self {
        Self { directory, runtimes, slots }
    }
}

#[async_trait]
impl Announce for InSimulation {
    async fn beat(&self, machine: &Machine) {
        let Ok(name) = HostName::parse(&machine.name) else { return };
        self.runtimes.switch_on(&name);
        self.directory.announce(HostRecord {
            name,
            public_address: machine.addresses.public.into(),
            engine: String::new(),
            slots: self.slots,
        });
    }

    /// Its last heartbeat outlives it by the directory's time to live.
    async fn gone(&self, machine: &Machine) {
        let Ok(name) = HostName::parse(&machine.name) else { return };
        self.runtimes.destroy(&name);
        sleep(self.directory.ttl().unwrap_or_default()).await;
        self.directory.withdraw(&name);
    }
}
