//! The room of discovery: watches the directory in which hosts announce themselves.
//!
//! - **Owns** what the directory last said, and the grace of hosts that it does not show any more.
//! - **Decides** which hosts joined, changed or are lost.
//! - **Must never** take silence for news: a directory that does not answer, or answers with what cannot be read, loses
//!   no host that is known. It does not ask any host whether it is well; that is the host's room. It passes on how a
//!   host says it fares, and decides nothing by that.
//! - **Forgets on restart** everything. It then tells every host anew, which is harmless for one that is known, and
//!   asks the scheduler for the hosts it has, so that one that left meanwhile is lost as well.

pub mod messages;
mod state;
mod vitals;

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, Recipient, WrapFuture};
use tokio::time::{Instant, timeout};

use self::{
    messages::{DescribeDirectory, DirectoryView, HostChanged, HostJoined, HostLost, VitalsSeen},
    state::{Believed, News},
    vitals::Told,
};
use crate::{
    answers_probe,
    ports::{Directory, DirectoryError, DirectoryReading},
    scheduler::messages::{DescribeFleet, FleetView},
    supervision::ask,
};

/// The longest that one reading may take. Longer than any healthy directory needs, and short enough that an outage is
/// seen within seconds.
const READING_TAKES_AT_MOST: Duration = Duration::from_secs(5);

/// The longest that the scheduler may take to say which hosts it has; it is asked again at the next reading.
const ANSWER_TAKES_AT_MOST: Duration = Duration::from_secs(1);

/// Whom discovery speaks to: the scheduler, in all five.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Is told of hosts that have announced themselves.
    pub joined: Recipient<HostJoined>,
    /// Is told of hosts that announce something else.
    pub changed: Recipient<HostChanged>,
    /// Is told of hosts whose announcement ran out.
    pub lost: Recipient<HostLost>,
    /// Is told how hosts fare.
    pub vitals: Recipient<VitalsSeen>,
    /// Is asked once after a start which hosts it has.
    pub fleet: Recipient<DescribeFleet>,
}

/// Reads the directory, again and again. See the module.
pub struct DiscoveryActor {
    directory: Arc<dyn Directory>,
    poll: Duration,
    peers: Peers,
    believed: Believed,
    told: Told,
    /// Whether the scheduler's hosts have been taken in.
    adopted: bool,
}

impl DiscoveryActor {
    /// A discovery that has read nothing yet. It reads at once when it is started, then every `poll`.
    #[must_use]
    pub fn new(directory: Arc<dyn Directory>, poll: Duration, peers: Peers) -> Self {
        Self { directory, poll, peers, believed: Believed::default(), told: Told::default(), adopted: false }
    }

    /// One pass; the next one is armed when it is over, so two never overlap.
    fn pass(&mut self, ctx: &mut Context<Self>) {
        let directory = self.directory.clone();
        let fleet = (!self.adopted).then(|| self.peers.fleet.clone());
        let pass = async move {
            let late = |_| Err(DirectoryError::Unreachable("no answer in time".to_owned()));
            let reading = timeout(READING_TAKES_AT_MOST, directory.read()).await.unwrap_or_else(late);
            let theirs = match fleet {
                // After the reading, so that a host that joins in between is not taken for one that left.
                Some(fleet) if reading.is_ok() => ask(&fleet, DescribeFleet, ANSWER_TAKES_AT_MOST).await.ok(),
                _ => None,
            };
            (reading, theirs)
        };
        ctx.spawn(pass.into_actor(self).map(|(reading, theirs), this, ctx| {
            this.settle(reading, theirs);
            ctx.run_later(this.poll, Self::pass);
        }));
    }

    fn settle(&mut self, reading: Result<DirectoryReading, DirectoryError>, theirs: Option<FleetView>) {
        let reading = match reading {
            Ok(reading) => reading,
            Err(DirectoryError::Unreachable(why)) => {
                if self.believed.view().unreachable.is_none() {
                    tracing::warn!(error = %why, "directory.unreachable");
                }
                return self.believed.away(why);
            }
        };
        if self.believed.view().unreachable.is_some() {
            tracing::info!("directory.reachable");
        }
        for (entry, why) in &reading.malformed {
            if !self.believed.view().malformed.iter().any(|known| known.0 == *entry && known.1 == *why) {
                tracing::warn!(%entry, error = %why, "directory.malformed");
            }
        }
        let (ttl, now) = (self.directory.ttl(), Instant::now());
        for news in self.believed.read(reading, ttl, now) {
            self.tell(news);
        }
        // After the hosts, because nobody takes in how one fares that is not known.
        for (name, vitals) in self.told.worth_telling(&self.believed.view().vitals, now) {
            self.peers.vitals.do_send(VitalsSeen { name, vitals });
        }
        if let Some(fleet) = theirs.filter(|fleet| fleet.ready) {
            self.believed.adopt(fleet.hosts.into_iter().map(|host| host.name), ttl, now);
            self.adopted = true;
        }
    }

    fn tell(&self, news: News) {
        match news {
            News::Joined(host) => {
                tracing::debug!(host = %host.name, "directory.shows_new_host");
                self.peers.joined.do_send(HostJoined(host));
            }
            News::Changed(host) => {
                tracing::debug!(host = %host.name, "directory.shows_changed_host");
                self.peers.changed.do_send(HostChanged(host));
            }
            News::Lost(name) => {
                tracing::debug!(host = %name, "directory.lost_host");
                self.peers.lost.do_send(HostLost { name });
            }
        }
    }
}

impl Actor for DiscoveryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.pass(ctx);
    }
}

answers_probe!(DiscoveryActor);

impl Handler<DescribeDirectory> for DiscoveryActor {
    type Result = MessageResult<DescribeDirectory>;

    fn handle(&mut self, _: DescribeDirectory, _: &mut Context<Self>) -> Self::Result {
        let view: DirectoryView = self.believed.view().clone();
        MessageResult(view)
    }
}
