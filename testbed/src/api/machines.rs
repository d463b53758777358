//! What stands behind the droplets of the API.

use std::net::Ipv4Addr;

use async_trait::async_trait;

/// A droplet that was bought and shall boot.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The droplet's id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What it boots from: the slug of a public image, or the id of a snapshot.
    pub image: String,
    /// Its size.
    pub size: String,
    /// Its region.
    pub region: String,
    /// What it was given to set itself up with.
    pub user_data: Option<String>,
    /// Public keys that may log in as root.
    pub ssh_keys: Vec<String>,
    /// Its tags at the time of the order.
    pub tags: Vec<String>,
}

/// Where a booted machine is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// By everybody.
    pub public: Ipv4Addr,
    /// In its private network.
    pub private: Ipv4Addr,
}

impl Addresses {
    /// Addresses that belong to nobody, different for each id: of the ranges for documentation and for benchmarks.
    #[must_use]
    pub fn invented(id: u64) -> Self {
        let [.., high, low] = id.to_be_bytes();
        Self { public: Ipv4Addr::new(198, 18, high, low), private: Ipv4Addr::new(10, 118, high, low) }
    }
}

/// What a droplet is told by its power button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Restart in good order.
    Reboot,
    /// Restart without a warning.
    Cycle,
    /// Stop in good order.
    Shutdown,
    /// Stop without a warning.
    Off,
    /// Start again.
    On,
}

/// What stands behind the droplets. The API calls it after it has answered its own client, never for the same droplet
/// twice at once but for [`destroy`](Self::destroy), which may come at any time.
#[async_trait]
pub trait Machines: Send + Sync {
    /// Boots the machine and returns once it has its addresses, which is when the droplet becomes active.
    ///
    /// # Errors
    /// Why it cannot be booted; the droplet's creation then ends as `errored`.
    async fn boot(&self, order: Boot) -> Result<Addresses, String>;

    /// Takes the machine away without a goodbye; fine when there is none.
    async fn destroy(&self, id: u64);

    /// Presses its power button, and returns when that was done.
    ///
    /// # Errors
    /// Why it could not be done.
    async fn power(&self, id: u64, power: Power) -> Result<(), String>;

    /// Returns once the machine has powered itself off, which is told of a machine once; never for one that does not.
    async fn powered_itself_off(&self, _: u64) {
        std::future::pending().await
    }

    /// Keeps its disk as an image of this id, from which others can be booted.
    ///
    /// # Errors
    /// Why it could not be done.
    async fn snapshot(&self, id: u64, image: u64) -> Result<(), String>;
}

/// No machines at all: droplets are entries in the books.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

#[async_trait]
impl Machines for Nothing {
    async fn boot(&self, order: Boot) -> Result<Addresses, String> {
        Ok(Addresses::invented(order.id))
    }

    async fn destroy(&self, _: u64) {}

    async fn power(&self, _: u64, _: Power) -> Result<(), String> {
        Ok(())
    }

    async fn snapshot(&self, _: u64, _: u64) -> Result<(), String> {
        Ok(())
    }
}
