//! Creates that wait for room, as long as growth is on the way, or nobody could say yet whether it is.
//!
//! Owns who waits, and what the autoscaler last said about growth. A slot that becomes free is taken for whoever's turn
//! it is in the same turn of the loop, so that nobody comes before them and no host is overfilled. Whoever stops
//! waiting, for whatever reason, gives the turn (and a slot that came at that moment) back.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

use super::{desk::Desk, line::Line, messages::CreateError};
use crate::{
    autoscaler::messages::{GrowthForeseen, PressureChanged},
    domain::{Cordon, Creator, Health, HostName, InstanceId, NoPlace},
    scheduler::messages::HostView,
};

/// A slot that was taken for an instance: on which host, and how many that host has.
pub(super) type Room = (HostName, u32);

/// Tells a create that nobody waits for its answer any more.
pub(super) type Left = Rc<Notify>;

/// What a waiting create is told through.
type Waiter = oneshot::Sender<Room>;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Queue {
    line: RefCell<Line<Waiter>>,
    /// What was said last, and when.
    growth: Cell<Option<(GrowthForeseen, Instant)>>,
    /// When the autoscaler looked at the hosts to say so.
    surveyed: Cell<Option<Instant>>,
    /// When a host was last forgotten.
    host_left: Cell<Option<Instant>>,
    /// Creates that had to wait and do so no more, and how long they did together.
    waited: Cell<(u64, Duration)>,
    /// Whether somebody is being served, which changes hosts, which is what people are served after.
    serving: Cell<bool>,
    /// Whether the server is about to stop.
    closed: Cell<bool>,
}

/// Waiting in numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// Creates that wait now.
    pub(super) waiting: u32,
    /// Creates that had to wait and do so no more.
    pub(super) waited: u64,
    /// How long those did, together.
    pub(super) waited_for: Duration,
}

/// Counts a wait when it is over, however it ends.
struct Wait<'a> {
    queue: &'a Queue,
    since: Instant,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let (waited, waited_for) = self.queue.waited.get();
        self.queue.waited.set((waited + 1, waited_for + self.since.elapsed()));
    }
}

impl Queue {
    pub(super) fn waits(&self) -> Waits {
        let (waited, waited_for) = self.waited.get();
        let waiting = u32::try_from(self.line.borrow().len()).unwrap_or(u32::MAX);
        Waits { waiting, waited, waited_for }
    }

    /// The autoscaler looks at the hosts.
    pub(super) fn survey(&self) {
        self.surveyed.set(Some(Instant::now()));
    }

    /// A host is gone, and the autoscaler may buy another one.
    pub(super) fn host_left(&self) {
        self.host_left.set(Some(Instant::now()));
    }

    /// Whether there is room on the way for anybody.
    pub(super) fn is_worth_it(&self) -> bool {
        self.growth.get().is_some_and(|(growth, _)| growth.booting > 0 || growth.may_grow)
    }

    /// How many may wait, where a machine that boots will have so many `slots`: for more than boots nobody waits, unless
    /// more would be ordered.
    fn places(&self, slots: u32) -> usize {
        match self.growth.get() {
            Some((growth, _)) if growth.may_grow => usize::MAX,
            Some((growth, _)) => (growth.booting as usize).saturating_mul(slots as usize),
            None => 0,
        }
    }

    /// A refusal with what is known of growth, where a machine that boots will have so many `slots`.
    fn foresee(&self, refusal: NoPlace, slots: u32) -> NoPlace {
        let Some((growth, told)) = self.growth.get() else { return refusal };
        let from_now = |time: Duration| time.saturating_sub(told.elapsed());
        let (is_worth_it, announced) = (self.is_worth_it(), growth.announced as usize);
        let spoken_for = growth.booting > 0 && self.line.borrow().len() >= self.places(slots);
        // A host whose engine has not answered since it was bought boots, and is nothing else.
        let silent = announced.min(refusal.unreachable);
        let joining = (announced - silent).min(refusal.joining);
        NoPlace {
            unreachable: refusal.unreachable - silent,
            joining: refusal.joining - joining,
            booting: growth.booting as usize,
            spoken_for,
            unheard: growth.unheard as usize,
            standstill: growth.standstill,
            ready_in: growth.ready_in.filter(|_| is_worth_it).map(from_now),
            next_order_in: growth.next_order_in.filter(|_| !is_worth_it).map(from_now),
            ..refusal
        }
    }
}

impl Desk {
    /// Waits for a slot if growth is on the way, until this moment; else it is refused as it was.
    pub(super) async fn wait_for_room(
        &self,
        id: &InstanceId,
        creator: &Creator,
        refusal: NoPlace,
        until: Instant,
        left: &Left,
    ) -> Result<Room, CreateError> {
        let (queue, settings) = (&self.queue, self.tools.settings.queue);
        let refuse = |refusal| match queue.closed.get() {
            true => Err(CreateError::Stopping),
            false => Err(CreateError::NoPlace(self.foresee(refusal))),
        };
        let knows_better_soon = self.takes_stock() || self.gives_hosts_back();
        let may_hope = queue.is_worth_it() || knows_better_soon;
        if queue.closed.get() || Instant::now() >= until || queue.line.borrow().len() >= settings.most || !may_hope {
            self.peers.pressure.do_send(PressureChanged);
            return refuse(refusal);
        }
        // There may be some since it was refused, and nobody is told of it twice.
        if let Ok(room) = self.reserve(id, &[]) {
            return Ok(room);
        }
        let (sender, mut receiver) = oneshot::channel();
        queue.line.borrow_mut().join(creator.clone(), id.clone(), sender);
        if !knows_better_soon {
            self.send_surplus_away();
        }
        let _wait = Wait { queue, since: Instant::now() };
        // Only now, because it asks how many wait.
        self.peers.pressure.do_send(PressureChanged);
        let room = tokio::select! {
            biased;
            room = &mut receiver => room.ok(),
            () = left.notified() => {
                self.leave_line(creator, id, &mut receiver);
                return Err(CreateError::GivenUp("nobody waits for it any more".to_owned()));
            }
            () = sleep_until(until) => None,
        };
        if let Some(room) = room {
            return Ok(room);
        }
        self.leave_line(creator, id, &mut receiver);
        let refusal = self.ledger.borrow().refusal(self.tools.settings.strategy).unwrap_or(refusal);
        refuse(refusal)
    }

    /// Whether it is too early to say that there is no room: the autoscaler has not told anything yet, or a host was
    /// announced that was not asked yet. Both end within a pass, with hosts or with a word of the autoscaler. Without a
    /// pool nobody would say that word.
    fn takes_stock(&self) -> bool {
        let joins = |host: &HostView| host.state == Health::Joining && host.cordon.is_none();
        self.tools.settings.scaling.is_some()
            && (self.queue.growth.get().is_none() || self.ledger.borrow().views().iter().any(joins))
    }

    /// Whether an empty host is about to be given back, or was since the autoscaler looked. It may be taken back, or its
    /// place be bought anew, which the next pass says: until then there is something to hope for.
    fn gives_hosts_back(&self) -> bool {
        let goes = |host: &HostView| host.cordon == Some(Cordon::Draining) && host.used == 0;
        let (left, surveyed) = (self.queue.host_left.get(), self.queue.surveyed.get());
        self.queue.growth.get().is_some() && (left > surveyed || self.ledger.borrow().views().iter().any(goes))
    }

    fn leave_line(&self, creator: &Creator, id: &InstanceId, room: &mut oneshot::Receiver<Room>) {
        self.queue.line.borrow_mut().leave(creator, id);
        if room.try_recv().is_ok() {
            self.release_slot(id);
        }
    }

    /// Gives what is free to those who wait. Called after every change of a host, in the same turn of the loop.
    pub(super) fn serve_waiting(&self) {
        let queue = &self.queue;
        if queue.line.borrow().len() == 0 || queue.serving.replace(true) {
            return;
        }
        loop {
            let served = queue.line.borrow_mut().serve(|id, _| {
                let strategy = self.tools.settings.strategy;
                let host = self.ledger.borrow_mut().reserve(id, strategy, &[]).ok()?;
                Some((id.clone(), host))
            });
            let Some((waiter, (id, host))) = served else { break };
            let slots = self.ledger.borrow().view(&host).map_or(0, |view| view.slots);
            if waiter.send((host.clone(), slots)).is_err() {
                self.ledger.borrow_mut().release(&id);
            }
            self.publish_host(&host);
        }
        queue.serving.set(false);
    }

    /// The autoscaler says what may be hoped for. Whoever has nothing to hope for is not kept waiting.
    pub(super) fn growth_foreseen(&self, growth: GrowthForeseen) {
        if !growth.blind || self.queue.growth.get().is_none() {
            self.queue.growth.set(Some((growth, Instant::now())));
        }
        if !self.takes_stock() {
            self.send_surplus_away();
        }
    }

    /// Refuses those who would be served last, as far as what boots has no place for them. Whether those who wait at other
    /// servers come first nobody knows, so they are not counted.
    fn send_surplus_away(&self) {
        self.queue.line.borrow_mut().keep_first(self.queue.places(self.slots_of_growth()));
    }

    /// A refusal with what is known of growth.
    pub(super) fn foresee(&self, refusal: NoPlace) -> NoPlace {
        self.queue.foresee(refusal, self.slots_of_growth())
    }

    fn slots_of_growth(&self) -> u32 {
        self.tools.settings.scaling.as_ref().map_or(0, |policy| policy.slots)
    }

    /// Refuses everybody who waits, and who would from now on.
    pub(super) fn let_nobody_wait(&self) {
        self.queue.closed.set(true);
        self.send_away();
    }

    /// Whether nobody is to be kept waiting any more.
    pub(super) fn lets_nobody_wait(&self) -> bool {
        self.queue.closed.get()
    }

    /// Refuses everybody who waits.
    pub(super) fn send_away(&self) {
        self.queue.line.borrow_mut().clear();
    }

    /// Wakes the autoscaler if what it decides by has changed with this host.
    pub(super) fn press(&self, before: Option<&HostView>, now: Option<&HostView>) {
        let Some(policy) = &self.tools.settings.scaling else { return };
        let by_slots = policy.standby_slots > 0 || policy.standby_percent > 0;
        let matters = |host: &HostView| {
            let used = if by_slots { host.used } else { 0 };
            (host.state, host.cordon, host.slots, host.used == 0, host.used >= host.slots, used)
        };
        if before.map(matters) != now.map(matters) {
            self.peers.pressure.do_send(PressureChanged);
        }
    }
}
