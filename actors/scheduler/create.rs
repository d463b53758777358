//! The life of a create request, from the slot to the running row.
//!
//! Every effect has its intent in the store before it. Whatever fails is undone here; what cannot be undone now is
//! left in a state that the reaper finishes.

use std::rc::Rc;

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    desk::Desk,
    messages::{CreateError, CreateInstance, Created, EndError},
    queue::{Left, Room},
};
use crate::{
    domain::{
        Creator, EndReason, Endpoint, Flavour, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId,
        InstanceState, NoPlace,
    },
    host::messages::StartInstance,
    patience,
    ports::{Admission, Admitted, Relocated, StoreError},
    supervision::ask,
};

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

/// Keeps other requests with the same idempotency key waiting until it is dropped.
struct KeyHold {
    desk: Rc<Desk>,
    key: (Creator, IdempotencyKey),
    _open: watch::Sender<()>,
}

impl KeyHold {
    /// Waits until nobody else in this process works on the key.
    async fn take(desk: &Rc<Desk>, creator: Creator, key: &IdempotencyKey) -> Self {
        let key = (creator, key.clone());
        loop {
            let other = desk.keys.borrow().get(&key).cloned();
            match other {
                // Errs when the holder drops the sender, which is all it ever does with it.
                Some(mut done) => while done.changed().await.is_ok() {},
                None => {
                    let (open, done) = watch::channel(());
                    desk.keys.borrow_mut().insert(key.clone(), done);
                    return Self { desk: Rc::clone(desk), key, _open: open };
                }
            }
        }
    }
}

impl Drop for KeyHold {
    fn drop(&mut self) {
        self.desk.keys.borrow_mut().remove(&self.key);
    }
}

impl Desk {
    /// Serves one create request.
    pub(super) async fn create(self: Rc<Self>, request: CreateInstance, left: Left) -> Result<Created, CreateError> {
        if !self.ready.get() {
            return Err(CreateError::Starting);
        }
        let _turn = Turn::take(&self)?;
        let Some(key) = &request.idempotency_key else { return self.create_new(&request, &left).await };
        let hold = KeyHold::take(&self, request.creator, key);
        let _hold = timeout(self.tools.settings.create_deadline, hold).await.map_err(|_| CreateError::KeyInUse)?;
        // Before a slot is looked for: a repeated request is answered also when the fleet is full.
        let earlier = patience::store(self.tools.store.by_key(&request.creator, key)).await;
        match earlier.map_err(CreateError::Store)? {
            Some(earlier) if earlier.fingerprint == fingerprint(&request) => replay(earlier),
            Some(_) => Err(CreateError::KeyConflict),
            None => self.create_new(&request, &left).await,
        }
    }

    async fn create_new(&self, request: &CreateInstance, left: &Left) -> Result<Created, CreateError> {
        let tools = &self.tools;
        let flavour = self.flavour(request.flavour.as_deref())?;
        let lease = |now| tools.settings.lease.grant(request.ttl, now).map_err(CreateError::Lease);
        // Nobody waits for room only to be told that the wish was wrong.
        lease(tools.clock.now())?;
        let id = tools.clock.new_id();
        let mut full = Vec::new();
        loop {
            let (host, slots) = self.room(&id, request.creator, &full, left).await?;
            // What was waited is not taken from the lease, nor from the time to start it.
            let (now, deadline) = (tools.clock.now(), Instant::now() + tools.settings.create_deadline);
            let lease = lease(now)?;
            let instance = Instance {
                id: id.clone(),
                creator: request.creator,
                flavour: flavour.name.clone(),
                label: request.label.clone(),
                host,
                server: Some(tools.server.clone()),
                state: InstanceState::Creating,
                endpoint: None,
                idempotency_key: request.idempotency_key.clone(),
                fingerprint: fingerprint(request),
                rotation: 0,
                created_at: now,
                lease,
                unreachable_since: None,
                ended_at: None,
            };
            let admission = Admission { instance: instance.clone(), quotas: tools.settings.quotas, slots };
            let refusal = match patience::store(tools.store.admit(admission)).await {
                Ok(Admitted::New) => {
                    self.publish_instance(&instance);
                    return self.start_somewhere(instance, &flavour, deadline).await;
                }
                Ok(Admitted::HostFull) => {
                    self.release_slot(&id);
                    full.push(instance.host);
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

    /// Takes a slot, and tells how many the host has.
    pub(super) fn reserve(&self, id: &InstanceId, failed: &[HostName]) -> Result<Room, NoPlace> {
        let host = self.ledger.borrow_mut().reserve(id, self.tools.settings.strategy, failed)?;
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
                Ok(endpoint) => return self.finish(instance, endpoint).await,
                Err(why) => why,
            };
            tracing::warn!(instance = %instance.id, host = %instance.host, why, "instance.start_failed");
            failed.push(instance.host.clone());
            let Some((host, slots)) = self.next_host(&instance, &failed, deadline) else {
                self.give_up(&instance).await;
                return Err(CreateError::Host(why));
            };
            self.clear(&instance).await;
            instance = self.relocate(instance, host, slots).await?;
        }
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

    /// Takes a slot on another host, if the deadline and the fleet allow.
    fn next_host(&self, instance: &Instance, failed: &[HostName], deadline: Instant) -> Option<(HostName, u32)> {
        if Instant::now() >= deadline {
            return None;
        }
        let room = self.reserve(&instance.id, failed).ok()?;
        self.publish_host(&instance.host);
        self.forget_empty_hosts();
        Some(room)
    }

    /// Writes the next host into the row before anything happens there.
    async fn relocate(&self, instance: Instance, host: HostName, slots: u32) -> Result<Instance, CreateError> {
        let now = self.tools.clock.now();
        let moved = patience::store(self.tools.store.relocate(&instance.id, &host, slots, now)).await;
        match moved {
            Ok(Relocated::Moved(moved)) => {
                self.publish_instance(&moved);
                Ok(*moved)
            }
            Ok(Relocated::HostFull) => {
                self.give_up(&instance).await;
                Err(CreateError::Host(format!("{host} was filled by another server")))
            }
            Err(error) => Err(self.not_ours_any_more(&instance, error).await),
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

    /// The row could not be moved on. Either it was ended meanwhile, and whoever ended it frees the slot once nothing
    /// is left; or the store failed, and the instance is given up as far as that is possible now.
    async fn not_ours_any_more(&self, instance: &Instance, error: StoreError) -> CreateError {
        match error {
            StoreError::Illegal(illegal) => {
                let _ = self.remove_from(&instance.host, &instance.id).await;
                CreateError::GivenUp(format!("it is {} already", illegal.from.as_str()))
            }
            error => {
                self.give_up(instance).await;
                CreateError::Store(error)
            }
        }
    }

    /// Ends an instance that never became ready. If the store does not answer now, the scheduler goes on until it does,
    /// because the row may even say that it is running.
    async fn give_up(&self, instance: &Instance) {
        if let Err(error @ EndError::Store(_)) = self.end(&instance.id, EndReason::Failed).await {
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
        InstanceState::Running => Ok(Created { instance: earlier, replayed: true }),
        // Another server works on it, or a crash left it to the reaper.
        _ => Err(CreateError::KeyInUse),
    }
}
