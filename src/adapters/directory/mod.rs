//! Where hosts announce themselves: a list in the configuration, or keys in a Redis.

#[cfg(test)]
mod documented_tests;
mod enrolling;
#[cfg(test)]
mod enrolling_tests;
mod heartbeat;
mod redis;
#[cfg(test)]
mod redis_tests;
#[cfg(test)]
mod test_server;
mod users;
#[cfg(test)]
mod users_tests;

pub use self::{
    enrolling::EnrollingProvider,
    redis::{RedisDirectory, RedisSettings},
    users::{GrantError, HostUsers},
};

use std::time::Duration;

use async_trait::async_trait;
use getaredis_actors::ports::{Directory, DirectoryError, DirectoryReading, HostRecord};

/// Hosts that the configuration declares; they are always there.
#[derive(Debug, Clone)]
pub struct StaticDirectory {
    hosts: Vec<HostRecord>,
}

impl StaticDirectory {
    /// Takes the hosts in their declared order.
    #[must_use]
    pub fn new(hosts: Vec<HostRecord>) -> Self {
        Self { hosts }
    }
}

#[async_trait]
impl Directory for StaticDirectory {
    async fn read(&self) -> Result<DirectoryReading, DirectoryError> {
        Ok(DirectoryReading { hosts: self.hosts.clone(), ..DirectoryReading::default() })
    }

    fn ttl(&self) -> Option<Duration> {
        None
    }
}
