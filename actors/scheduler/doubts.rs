//! Hosts on which a start failed. They are chosen last for a while: a host may answer its engine's probes and start
//! nothing, or tenants may not reach it, and each create that is sent there waits for that.
//!
//! Owns when a start failed where, or was tried again: a circuit breaker for each host that is half open after a while,
//! when one create tries the host and the others keep away until that one has its answer. Must never keep a host from
//! being chosen when no other has room.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::domain::HostName;

/// How long the others keep away after a failed start, or after one that tries it again. As short as a host needs that
/// was restarted; one create in so long may wait in vain.
const DOUBT: Duration = Duration::from_secs(10);

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Doubts(RefCell<HashMap<HostName, Instant>>);

impl Doubts {
    /// A start failed there.
    pub(super) fn raise(&self, host: &HostName) {
        self.0.borrow_mut().insert(host.clone(), Instant::now());
    }

    /// A start succeeded there, or the host is gone.
    pub(super) fn dispel(&self, host: &HostName) {
        self.0.borrow_mut().remove(host);
    }

    /// Hosts to keep away from now.
    pub(super) fn doubted(&self) -> Vec<HostName> {
        let doubts = self.0.borrow();
        doubts.iter().filter(|(_, since)| since.elapsed() < DOUBT).map(|(host, _)| host.clone()).collect()
    }

    /// A create goes there; if it is the one that tries the host again, the others wait for what becomes of it.
    pub(super) fn try_out(&self, host: &HostName) {
        if let Some(since) = self.0.borrow_mut().get_mut(host) {
            *since = Instant::now();
        }
    }
}
