//! What the tests of all rooms share.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler, Message, MessageResult, Recipient};
use getaredis_actors::{
    domain::{Health, HostName, Timestamp},
    ports::HostRecord,
    scheduler::messages::HostView,
    supervision::Roster,
};
use tokio::time::{Instant, sleep};

/// Long enough for anything that is not broken, on paused time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3600);

pub(crate) fn name(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

pub(crate) fn host(host: &str, slots: u32) -> HostRecord {
    HostRecord { name: name(host), public_address: IpAddr::from([192, 0, 2, 1]), engine: String::new(), slots }
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Waits until `condition` holds; fails the test when it never does.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Stands in for any actor: answers with a function.
pub(crate) struct Stand<M: Message>(Box<dyn FnMut(M) -> M::Result>);

impl<M: Message + 'static> Actor for Stand<M> {
    type Context = Context<Self>;
}

impl<M: Message + 'static> Handler<M> for Stand<M> {
    type Result = MessageResult<M>;

    fn handle(&mut self, message: M, _: &mut Context<Self>) -> MessageResult<M> {
        MessageResult((self.0)(message))
    }
}

/// An actor that answers `M` with `answer`.
pub(crate) fn stand<M>(answer: impl FnMut(M) -> M::Result + 'static) -> Recipient<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    Stand(Box::new(answer)).start().recipient()
}

/// An actor that keeps what it is told.
pub(crate) fn record<M, T>(into: &Arc<Mutex<Vec<T>>>, as_what: impl Fn(M) -> T + 'static) -> Recipient<M>
where
    M: Message<Result = ()> + Send + 'static,
    T: 'static,
{
    let into = into.clone();
    stand(move |message| into.lock().unwrap().push(as_what(message)))
}

/// A roster that nobody reads the time of.
pub(crate) fn roster() -> Roster {
    Roster::new(Arc::new(|| Timestamp::UNIX_EPOCH))
}

/// A host that is up, as the scheduler shows it.
pub(crate) fn host_view(host: &str, slots: u32, used: u32) -> HostView {
    HostView {
        name: name(host),
        address: IpAddr::from([192, 0, 2, 1]),
        state: Health::Up,
        cordon: None,
        slots,
        used,
        reason: None,
        isolated: true,
        unannounced_since: None,
        vitals: None,
    }
}
