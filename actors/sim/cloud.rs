//! A simulated cloud: machines that are ordered, boot, announce themselves in a simulated directory and cost money.
//!
//! Owns the machines that are paid for. Must not forget one: what it counts is what the bill would say.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::sleep;

use super::{clock::SimClock, directory::SimDirectory, faults::Faults, runtime::SimRuntimes};
use crate::{
    domain::{HostName, Timestamp},
    ports::{Clock, Directory, Droplet, HostProvider, HostRecord, HourlyPrice, Listing, ProviderError},
};

/// What each machine costs: DigitalOcean's price of a small one.
const PRICE: HourlyPrice = HourlyPrice(8_930);

/// A cloud in memory. Clones are the same cloud. Faults strike at `cloud.list`, `cloud.create`,
/// `cloud.delete` and `cloud.price`.
#[derive(Debug, Clone)]
pub struct SimCloud(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// From the order to the first heartbeat.
    boot: Duration,
    /// Slots of a machine.
    slots: u32,
    clock: SimClock,
    directory: SimDirectory,
    runtimes: SimRuntimes,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    droplets: Vec<Droplet>,
    ordered: u32,
    most: usize,
    duds: u32,
    /// For how long machines run on after they were deleted.
    lingering: Duration,
    /// How far its list lags behind.
    lag: Duration,
    /// Machines that are gone, and since when, for as long as its list may show them.
    ghosts: Vec<(Droplet, Timestamp)>,
    /// Machines that bake images, which are nobody's hosts.
    builders: Vec<Droplet>,
    untagged: Vec<HostName>,
    sold_out: bool,
    locked_out: bool,
    /// Paid for machines that are gone.
    past: Duration,
}

impl State {
    /// Remembers the most machines that were paid for at once.
    fn count(&mut self) {
        self.most = self.most.max(self.droplets.len() + self.builders.len());
    }
}

impl SimCloud {
    /// A cloud without machines. Those it makes have `slots` slots, boot for `boot`, then announce themselves in
    /// `directory` and run an engine in `runtimes`.
    #[must_use]
    pub fn new(
        boot: Duration,
        slots: u32,
        clock: SimClock,
        directory: SimDirectory,
        runtimes: SimRuntimes,
        faults: Faults,
    ) -> Self {
        Self(Arc::new(Inner { boot, slots, clock, directory, runtimes, faults, state: Mutex::default() }))
    }

    /// The next `count` machines that are ordered never come up.
    pub fn next_never_boot(&self, count: u32) {
        self.state().duds = count;
    }

    /// From now on machines run on for so long after their deletion was accepted, and are neither listed nor paid for.
    pub fn linger(&self, time: Duration) {
        self.state().lingering = time;
    }

    /// From now on its list shows what was true so long ago.
    pub fn list_lags(&self, time: Duration) {
        self.state().lag = time;
    }

    /// What its list shows.
    fn listed(&self) -> Listing {
        let (mut state, now) = (self.state(), self.0.clock.now());
        let lag = state.lag;
        state.ghosts.retain(|(_, since)| passed(*since, now) < lag);
        let is_shown =
            |machine: &&Droplet| passed(machine.created_at, now) >= lag && !state.untagged.contains(&machine.name);
        let known = state.droplets.iter().filter(is_shown);
        Listing {
            droplets: known.chain(state.ghosts.iter().map(|(droplet, _)| droplet)).cloned().collect(),
            builders: state.builders.iter().filter(is_shown).map(|builder| builder.name.clone()).collect(),
        }
    }

    /// Whether it has no machine to sell from now on.
    pub fn sell_out(&self, sold_out: bool) {
        self.state().sold_out = sold_out;
    }

    /// Whether it does not accept our credentials from now on, for its list at least.
    pub fn lock_out(&self, locked_out: bool) {
        self.state().locked_out = locked_out;
    }

    /// A bake orders a machine of this name, which never announces itself.
    pub fn order_builder(&self, name: &HostName) {
        let created_at = self.0.clock.now();
        let mut state = self.state();
        state.builders.push(Droplet { name: name.clone(), created_at, address: None, is_off: false });
        state.count();
    }

    /// A bake gives the machines of this name back.
    pub fn delete_builder(&self, name: &HostName) {
        self.state().builders.retain(|builder| &builder.name != name);
    }

    /// Somebody takes our tag from a machine in the cloud's console: it is there, and not listed.
    pub fn untag(&self, name: &HostName) {
        self.state().untagged.push(name.clone());
    }

    /// Somebody gives a machine another name in the cloud's console. The machine itself does not know of it.
    pub fn rename(&self, name: &HostName, to: &HostName) {
        let mut state = self.state();
        state.droplets.iter_mut().filter(|droplet| &droplet.name == name).for_each(|droplet| droplet.name = to.clone());
    }

    /// The machines that are paid for now, but builders. Two orders of one name are two machines.
    #[must_use]
    pub fn alive(&self) -> Vec<Droplet> {
        self.state().droplets.clone()
    }

    /// The most machines that were ever paid for at once, builders included.
    #[must_use]
    pub fn most_ever(&self) -> usize {
        self.state().most
    }

    /// How many machines were ever ordered.
    #[must_use]
    pub fn ordered(&self) -> u32 {
        self.state().ordered
    }

    /// How long all machines together have been paid for.
    #[must_use]
    pub fn machine_time(&self) -> Duration {
        let (state, now) = (self.state(), self.0.clock.now());
        state.past + state.droplets.iter().map(|droplet| passed(droplet.created_at, now)).sum::<Duration>()
    }

    /// Orders a machine, whoever does: the cloud's own console, or the port.
    pub fn order(&self, name: &HostName) {
        let mut state = self.state();
        state.ordered += 1;
        let number = state.ordered.to_be_bytes();
        let public_address = IpAddr::V4(Ipv4Addr::new(10, number[1], number[2], number[3]));
        let created_at = self.0.clock.now();
        state.droplets.push(Droplet { name: name.clone(), created_at, address: Some(public_address), is_off: false });
        state.count();
        if state.duds > 0 {
            state.duds -= 1;
            return;
        }
        let record = HostRecord { name: name.clone(), public_address, engine: String::new(), slots: self.0.slots };
        let this = self.clone();
        tokio::spawn(async move {
            sleep(this.0.boot).await;
            if this.alive().iter().any(|droplet| droplet.name == record.name) {
                this.0.runtimes.switch_on(&record.name);
                this.0.directory.announce(record);
            }
        });
    }

    /// Destroys every machine of this name. Its last heartbeat outlives that by the directory's time to live.
    fn destroy(&self, name: &HostName) {
        let now = self.0.clock.now();
        let lingering = {
            let mut state = self.state();
            let gone: Vec<_> = state.droplets.extract_if(.., |droplet| &droplet.name == name).collect();
            state.past += gone.iter().map(|droplet| passed(droplet.created_at, now)).sum::<Duration>();
            state.ghosts.extend(gone.into_iter().map(|droplet| (droplet, now)));
            state.lingering
        };
        let (directory, runtimes, machine) = (self.0.directory.clone(), self.0.runtimes.clone(), name.clone());
        match lingering {
            Duration::ZERO => runtimes.destroy(name),
            time => after(time, move || runtimes.destroy(&machine)),
        }
        let name = name.clone();
        after(directory.ttl().unwrap_or_default(), move || directory.withdraw(&name));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(time: Duration, act: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        sleep(time).await;
        act();
    });
}

fn passed(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[async_trait]
impl HostProvider for SimCloud {
    async fn list(&self) -> Result<Listing, ProviderError> {
        let list = || match self.state().locked_out {
            true => Err(ProviderError::Unauthorized("the token is not valid".to_owned())),
            false => Ok(()),
        };
        let list = || list().map(|()| self.listed());
        self.0.faults.around("cloud.list", ProviderError::Unknown, list).await
    }

    async fn create(&self, name: &HostName) -> Result<(), ProviderError> {
        let create = || {
            if self.state().sold_out {
                return Err(ProviderError::SoldOut("not one machine is left".to_owned()));
            }
            if !self.alive().iter().any(|droplet| &droplet.name == name) {
                self.order(name);
            }
            Ok(())
        };
        self.0.faults.around("cloud.create", ProviderError::Unknown, create).await
    }

    async fn delete(&self, name: &HostName) -> Result<(), ProviderError> {
        let delete = || {
            self.destroy(name);
            Ok(())
        };
        self.0.faults.around("cloud.delete", ProviderError::Unknown, delete).await
    }

    async fn forget(&self, name: &HostName) -> Result<(), ProviderError> {
        match self.alive().iter().any(|droplet| &droplet.name == name) {
            true => Err(ProviderError::Unknown("a machine of this name is there".to_owned())),
            false => Ok(()),
        }
    }

    async fn price(&self) -> Result<HourlyPrice, ProviderError> {
        self.0.faults.around("cloud.price", ProviderError::Unknown, || Ok(PRICE)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::runtime::Pace;

    const BOOT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_machine_boots_announces_itself_and_is_counted_until_it_is_deleted() {
        let (clock, faults) = (SimClock::new(), Faults::default());
        let directory = SimDirectory::new(Some(Duration::from_secs(10)), faults.clone());
        let runtimes = SimRuntimes::new(Pace::default(), faults.clone());
        let cloud = SimCloud::new(BOOT, 40, clock, directory.clone(), runtimes.clone(), faults.clone());
        let name = HostName::parse("d-1").unwrap();

        faults.lie_next("cloud.create");
        cloud.create(&name).await.unwrap_err();
        cloud.create(&name).await.unwrap();
        assert_eq!((cloud.alive().len(), directory.hosts().len()), (1, 0));
        sleep(BOOT + Duration::from_millis(1)).await;
        assert_eq!(directory.hosts()[0].name, name);
        assert!(runtimes.machines().contains(&name));

        cloud.delete(&name).await.unwrap();
        assert_eq!((cloud.alive().len(), runtimes.machines().len(), directory.hosts().len()), (0, 0, 1));
        sleep(Duration::from_secs(11)).await;
        assert_eq!((cloud.most_ever(), directory.hosts().len()), (1, 0));
        assert_eq!(cloud.machine_time(), BOOT + Duration::from_millis(1));
    }
}
