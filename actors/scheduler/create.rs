//! The life of a create request, from the slot to the running row.
//!
//! Every effect has its intent in the store before it. Whatever fails is undone here; what cannot be undone now is
//! left in a state that the reaper finishes.

use std::{rc::Rc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    desk::Desk,
    messages::{CreateError, CreateInstance, Created, EndError},
    queue::{Left, Room},
};
use crate::{
    domain::{
        EndReason, Endpoint, Flavour, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, InstanceState,
        NoPlace,
    },
    host::messages::StartInstance,
    patience,
    ports::{Admission, Admitted, Relocated, StoreError},
    supervision::ask,
};

/// How often it is looked whether a request with the same key, on which another server works, is answered.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// One of the creates that may be worked on at once; gives its turn back when it is dropped.
struct Turn(Rc<Desk>);

impl Turn {
    fn take(desk: &Rc<Desk>) -> Result<Self, CreateError> {
        let in_flight = desk.in_flight.get();
        if in_flight >= desk.tools.settings.max_in_flight {
            return Err(CreateError::Busy { in_flight });
        }
        desk.in_flight.set(in_flight + 1);
        Ok(Self(Rc::clone(desk)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

/// What this incarnation is creating, until it is dropped. See [`Desk::making`].
struct Making<'a> {
    desk: &'a Desk,
    id: InstanceId,
}

impl<'a> Making<'a> {
    fn new(desk: &'a Desk, id: &InstanceId) -> Self {
        desk.making.borrow_mut().insert(id.clone());
        Self { desk, id: id.clone() }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.desk.making.borrow_mut().remove(&self.id);
    }
}

impl Desk {
    /// Serves one create request.
    pub(super) async fn create(self: Rc<Self>, request: CreateInstance, left: Left) -> Result<Created, CreateError> {
        if !self.ready.get() {
            return Err(CreateError::Starting);
        }
        let _turn = Turn::take(&self)?;
        let settings = &self.tools.settings;
        // The first request with a key may wait for room too, and those behind it for its answer.
        let end = Instant::now() + settings.longest_create();
        let deadline = || end.min(Instant::now() + settings.create_deadline);
        let Some(key) = &request.idempotency_key else { return self.create_new(&request, deadline(), &left).await };
        let turn = self.keys.take((request.creator.clone(), key.clone()));
        let _turn = timeout_at(end, turn).await.map_err(|_| CreateError::KeyInUse)?;
        loop {
            match self.create_once(&request, key, deadline(), &left).await {
                // Another server works on it, or did when it died. Either it is answered in time, or the key gets free.
                Err(CreateError::KeyInUse) if self.lets_nobody_wait() => return Err(CreateError::Stopping),
                Err(CreateError::KeyInUse) if Instant::now() + ASK_AGAIN < end => sleep(ASK_AGAIN).await,
                answer => return answer,
            }
        }
    }

    async fn create_once(
        &self,
        request: &CreateInstance,
        key: &IdempotencyKey,
        deadline: Instant,
        left: &Left,
    ) -> Result<Created, CreateError> {
        // Before a slot is looked for: a repeated request is answered also when the fleet is full.
        let earlier = patience::store(self.tools.store.by_key(&request.creator, key)).await;
        match earlier.map_err(CreateError::Store)? {
            Some(earlier) if earlier.fingerprint == fingerprint(request) => replay(earlier),
            Some(_) => Err(CreateError::KeyConflict),
            None => self.create_new(request, deadline, left).await,
        }
    }

    async fn create_new(
        &self,
        request: &CreateInstance,
        mut deadline: Instant,
        left: &Left,
    ) -> Result<Created, CreateError> {
        let tools = &self.tools;
        let flavour = self.flavour(request.flavour.as_deref())?;
        let lease = |now| tools.settings.lease.grant(request.ttl, now).map_err(CreateError::Lease);
        let mut now = tools.clock.now();
        // Nobody waits for room only to be told that the wish was wrong.
        let mut granted = lease(now)?;
        let id = tools.clock.new_id();
        let _making = Making::new(self, &id);
        let on = |host, slots, created_at, lease| Admission {
            instance: Instance {
                id: id.clone(),
                creator: request.creator.clone(),
                flavour: flavour.name.clone(),
                label: request.label.clone(),
                host,
                server: Some(tools.server.clone()),
                state: InstanceState::Creating,
                endpoint: None,
                idempotency_key: request.idempotency_key.clone(),
                fingerprint: fingerprint(request),
                rotation: 0,
                created_at,
                lease,
                unreachable_since: None,
                ended_at: None,
            },
            quotas: tools.settings.quotas_of(&request.creator),
            slots,
        };
        let waits_until = Instant::now() + tools.settings.queue.wait;
        let (mut full, mut unread) = (Vec::new(), None);
        loop {
            let (host, slots) = match self.find_place(&id, &full).await {
                Ok(room) => room,
                Err(no_place) => {
                    // Where the ledger could not learn why a host was full, it would only be tried again and again.
                    if let Some(error) = unread.take() {
                        return Err(CreateError::Store(error));
                    }
                    // Hosts that were passed over here were full, whatever the ledger believed.
                    let no_place = NoPlace { full: no_place.full + no_place.failed, failed: 0, ..no_place };
                    if let Some(why) = self.refused_with_room_too(|host| on(host, 0, now, granted)).await {
                        return Err(why);
                    }
                    let since = Instant::now();
                    let room = self.wait_for_room(&id, &request.creator, no_place, waits_until, left).await?;
                    // What was waited is not taken from the lease, nor from the time to start it. The ledger has learnt
                    // which hosts were full, and one of them may have room now.
                    (now, deadline) = (tools.clock.now(), deadline + since.elapsed());
                    granted = lease(now)?;
                    full.clear();
                    room
                }
            };
            if let Err(error) = self.be_alive().await {
                self.release_slot(&id);
                return Err(CreateError::Store(error));
            }
            let admission = on(host, slots, now, granted);
            let instance = admission.instance.clone();
            let refusal = match patience::store(tools.store.admit(admission)).await {
                Ok(Admitted::New) => {
                    self.publish_instance(&instance);
                    return self.start_somewhere(instance, &flavour, deadline).await;
                }
                Ok(Admitted::HostFull) => {
                    full.push(instance.host);
                    // The slot is given back after that, lest somebody who waits is sent to the same host.
                    unread = self.refresh(Instant::now()).await.err();
                    self.release_slot(&id);
                    continue;
                }
                Ok(Admitted::Existing(earlier)) => replay(*earlier),
                Ok(Admitted::Conflict) => Err(CreateError::KeyConflict),
                Ok(Admitted::Refused(quota)) => Err(CreateError::Quota(quota)),
                // The row may be written all the same, and is ended as soon as the store answers.
                Err(error) => {
                    self.unfinished.borrow_mut().push(id.clone());
                    Err(CreateError::Store(error))
                }
            };
            self.release_slot(&id);
            return refusal;
        }
    }

    /// Where there is no room, a creator that has as many instances as it may have is told that instead: others leaving
    /// would not help it. So is everybody while the database is away or takes no writes, for it may be what keeps the
    /// slots taken. The database looks at quotas before it looks at slots, so nothing is admitted to none.
    async fn refused_with_room_too(&self, on: impl Fn(HostName) -> Admission) -> Option<CreateError> {
        let any = self.ledger.borrow().views().into_iter().next()?.name;
        match patience::store(self.tools.store.admit(on(any))).await {
            Ok(Admitted::Refused(quota)) => Some(CreateError::Quota(quota)),
            Err(error) => Some(CreateError::Store(error)),
            // Nothing was written by that: on a full disk slots are taken by creates that are about to fail.
            Ok(_) => patience::store(self.tools.store.ping()).await.err().map(CreateError::Store),
        }
    }

    /// Takes a slot, and tells how many its host has. Where there is none, other servers may have left some meanwhile.
    async fn find_place(&self, id: &InstanceId, passed_over: &[HostName]) -> Result<Room, NoPlace> {
        match self.reserve(id, passed_over) {
            Err(_) if self.tools.store.is_shared() => {
                // Should it fail, the refusal stands as it is.
                let _ = self.refresh(Instant::now()).await;
                self.reserve(id, passed_over)
            }
            found => found,
        }
    }

    /// Takes a slot by what the ledger knows, on a host that is in doubt only if there is no other.
    pub(super) fn reserve(&self, id: &InstanceId, failed: &[HostName]) -> Result<Room, NoPlace> {
        let reserve = |failed: &[HostName]| self.ledger.borrow_mut().reserve(id, self.tools.settings.strategy, failed);
        let host = match reserve(&[failed, &self.doubts.doubted()].concat()).or_else(|_| reserve(failed)) {
            // Were it to fail there, the others have room.
            Ok(host) if failed.is_empty() => self.reserve_on_trial(id, self.doubts.due()).unwrap_or(host),
            Ok(host) => host,
            // What is on the way is worth more than a host that starts nothing.
            Err(why) if self.queue.is_worth_it() => return Err(why),
            Err(why) => {
                let untried = self.doubts.failing().into_iter().filter(|host| !failed.contains(host));
                self.reserve_on_trial(id, untried.collect()).ok_or(why)?
            }
        };
        self.doubts.try_out(&host);
        self.publish_host(&host);
        let slots = self.ledger.borrow().view(&host).map_or(0, |view| view.slots);
        Ok((host, slots))
    }

    /// Starts an admitted instance on its host, or on the next one when that fails, until the deadline.
    async fn start_somewhere(
        &self,
        mut instance: Instance,
        flavour: &Flavour,
        deadline: Instant,
    ) -> Result<Created, CreateError> {
        let mut failed = Vec::new();
        loop {
            let why = match self.start_on(&instance, flavour, deadline).await {
                Ok(endpoint) => {
                    self.trust(&instance.host);
                    return self.finish(instance, endpoint).await;
                }
                Err(why) => why,
            };
            self.doubt(&instance.host, &why);
            tracing::warn!(instance = %instance.id, host = %instance.host, why, "instance.start_failed");
            failed.push(instance.host.clone());
            instance = match self.try_elsewhere(instance, &mut failed, deadline).await? {
                Ok(moved) => moved,
                Err(instance) => {
                    self.give_up(&instance).await;
                    return Err(CreateError::Host(why));
                }
            };
        }
    }

    /// Gives an instance whose host failed a slot on another one, if the deadline and the fleet allow; else it is given
    /// back as it is.
    async fn try_elsewhere(
        &self,
        instance: Instance,
        failed: &mut Vec<HostName>,
        deadline: Instant,
    ) -> Result<Result<Instance, Instance>, CreateError> {
        let mut cleared = false;
        while Instant::now() < deadline {
            let Ok((host, slots)) = self.find_place(&instance.id, failed).await else { break };
            self.publish_host(&instance.host);
            self.forget_empty_hosts();
            if !std::mem::replace(&mut cleared, true) {
                self.clear(&instance).await;
            }
            // The next host is in the row before anything happens there.
            let now = self.tools.clock.now();
            match patience::store(self.tools.store.relocate(&instance.id, &host, slots, now)).await {
                Ok(Relocated::Moved(moved)) => {
                    self.publish_instance(&moved);
                    return Ok(Ok(*moved));
                }
                // Other servers have filled it; its slot here is given back when the next one is taken, or at the end.
                Ok(Relocated::HostFull) => failed.push(host),
                Err(error) => return Err(self.not_ours_any_more(&instance, error).await),
            }
        }
        Ok(Err(instance))
    }

    /// Takes away whatever a failed start left. If that fails too, it keeps its slot on that host until the sweep,
    /// which finds it claimed by no row there, has removed it.
    async fn clear(&self, instance: &Instance) {
        self.ledger.borrow_mut().leave_behind(&instance.id, &instance.host);
        if let Err(error) = self.remove_from(&instance.host, &instance.id).await {
            tracing::warn!(instance = %instance.id, host = %instance.host, %error, "instance.leftover");
        }
    }

    async fn start_on(&self, instance: &Instance, flavour: &Flavour, deadline: Instant) -> Result<Endpoint, String> {
        let doors = self.doors(&instance.host).map_err(|e| e.to_string())?;
        let start = StartInstance { id: instance.id.clone(), flavour: flavour.clone(), rotation: instance.rotation };
        match ask(&doors.start, start, deadline.saturating_duration_since(Instant::now())).await {
            Ok(Ok(endpoint)) => Ok(endpoint),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(format!("the host's actor did not answer: {error}")),
        }
    }

    /// The instance is ready: the row says so, and then its creator is told.
    async fn finish(&self, instance: Instance, endpoint: Endpoint) -> Result<Created, CreateError> {
        let event = InstanceEvent::Started { endpoint };
        let running = patience::store(self.tools.store.apply(&instance.id, &event, self.tools.clock.now())).await;
        match running {
            Ok(running) => {
                self.ledger.borrow_mut().commit(&running.id);
                self.publish_instance(&running);
                self.count_started();
                tracing::info!(instance = %running.id, host = %running.host, "instance.running");
                Ok(Created { instance: running, replayed: false })
            }
            Err(error) => Err(self.not_ours_any_more(&instance, error).await),
        }
    }

    /// The row could not be moved on. Either it was ended meanwhile, and whoever ends it frees the slot once nothing is
    /// left; or the store failed, and the instance is given up as far as that is possible now.
    async fn not_ours_any_more(&self, instance: &Instance, error: StoreError) -> CreateError {
        match error {
            StoreError::Illegal(illegal) => {
                let removed = self.remove_from(&instance.host, &instance.id).await;
                if let InstanceState::Ended(reason) = illegal.from {
                    // Another server may have ended it, which knows nothing of slots here.
                    self.note_end(&instance.id, reason);
                    if removed.is_err() {
                        self.ledger.borrow_mut().leave_behind(&instance.id, &instance.host);
                    }
                }
                CreateError::GivenUp(format!("it is {} already", illegal.from.as_str()))
            }
            error => {
                self.give_up(instance).await;
                CreateError::Store(error)
            }
        }
    }

    /// Nobody heard of what was made, so nobody can use or delete it, unless by asking again with its key.
    pub(super) async fn take_back(&self, created: Created) {
        let Created { instance, replayed } = created;
        if !replayed && instance.idempotency_key.is_none() {
            tracing::info!(instance = %instance.id, host = %instance.host, "instance.nobody_was_told");
            self.end_at_last(&instance, EndReason::Deleted).await;
        }
    }

    /// Ends an instance that never became ready.
    async fn give_up(&self, instance: &Instance) {
        self.end_at_last(instance, EndReason::Failed).await;
    }

    /// If the store does not answer now, the scheduler goes on until it does, because the row may say that it is running.
    async fn end_at_last(&self, instance: &Instance, reason: EndReason) {
        if let Err(error @ EndError::Store(_)) = self.end(&instance.id, reason).await {
            tracing::warn!(instance = %instance.id, %error, "instance.not_ended_yet");
            self.unfinished.borrow_mut().push(instance.id.clone());
        }
    }

    fn flavour(&self, wish: Option<&str>) -> Result<Flavour, CreateError> {
        let flavours = &self.tools.settings.flavours;
        let found = match wish {
            None => flavours.first(),
            Some(name) => flavours.iter().find(|f| f.name == name),
        };
        found.cloned().ok_or_else(|| CreateError::UnknownFlavour {
            name: wish.unwrap_or(Flavour::DEFAULT).to_owned(),
            known: flavours.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// What a request asks for, so that a repeated idempotency key can be told from a reused one.
fn fingerprint(request: &CreateInstance) -> String {
    let ttl = request.ttl.map_or_else(|| "default".to_owned(), |ttl| format!("{}ms", ttl.as_millis()));
    let flavour = request.flavour.as_deref().unwrap_or(Flavour::DEFAULT);
    let label = request.label.as_ref().map_or("", |label| label.as_str());
    format!("ttl={ttl} flavour={flavour} label={label}")
}

fn replay(earlier: Instance) -> Result<Created, CreateError> {
    match earlier.state {
        state if state.is_lent() => Ok(Created { instance: earlier, replayed: true }),
        // Another server works on it, or did when it died.
        _ => Err(CreateError::KeyInUse),
    }
}
