//! The children that are held, and the port's methods over them.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use getaredis_actors::{
    domain::{Endpoint, InstanceId},
    ports::{Found, Removal, Runtime, RuntimeError, StartSpec},
};
use tokio::sync::{broadcast, watch};

use super::{
    ProcessSettings,
    child::{self, LastWords},
    nursery::Nursery,
};
use crate::adapters::readiness;

/// A port is chosen before the engine listens on it, so somebody else may take it in between.
const PORT_TRIES: usize = 5;
/// What Redis logs when it did.
const PORT_TAKEN: &str = "Address already in use";
/// Exits that a listener may be late by.
const EXITS_KEPT: usize = 1024;
/// The longest a killed process may take to be gone.
const DYING: Duration = Duration::from_secs(5);

/// Every child of this process.
pub(super) struct Children {
    settings: ProcessSettings,
    home: PathBuf,
    nursery: Nursery,
    held: Mutex<HashMap<InstanceId, Held>>,
    exits: broadcast::Sender<InstanceId>,
}

/// A child that has not been removed. It stays held when it has exited, as a stopped container does.
#[derive(Clone)]
struct Held {
    /// Set to have it killed.
    kill: watch::Sender<bool>,
    /// Turns true when the process is gone.
    gone: watch::Receiver<bool>,
}

impl Children {
    pub(super) fn new(settings: ProcessSettings, home: PathBuf) -> io::Result<Self> {
        let (exits, _) = broadcast::channel(EXITS_KEPT);
        Ok(Self { settings, home, nursery: Nursery::new()?, held: Mutex::default(), exits })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<InstanceId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One attempt on a port that is free at this moment.
    async fn start_once(&self, spec: &StartSpec, directory: &Path) -> Result<u16, Failure> {
        let refused = |error: io::Error| Failure::Final(RuntimeError::Refused(error.to_string()));
        let publish = self.settings.publish_address;
        let port = free_port(publish).map_err(refused)?;
        let address = SocketAddr::new(publish, port);
        let born =
            child::start(&self.nursery, &self.settings.binary, spec, directory, address).await.map_err(refused)?;
        let last_words = born.last_words.clone();
        let held = self.hold(spec.id.clone(), born);
        let reach = SocketAddr::new(readiness::reachable_at(publish, publish, true), port);
        let vitals = || std::future::ready(vitals(&held, &last_words));
        match readiness::wait(reach, &spec.password, self.settings.start_timeout, vitals).await {
            Ok(()) => Ok(port),
            Err(_) if *held.gone.borrow() && last_words.text().contains(PORT_TAKEN) => Err(Failure::PortTaken),
            Err(error) => Err(Failure::Final(error)),
        }
    }

    /// Takes the child in; a task of its own waits for its end, so that nobody has to ask.
    fn hold(&self, id: InstanceId, born: child::Born) -> Held {
        let (kill, mut killed) = watch::channel(false);
        let (ended, gone) = watch::channel(false);
        let exits = self.exits.clone();
        let held = Held { kill, gone };
        self.held().insert(id.clone(), held.clone());
        tokio::spawn(async move {
            let child::Born { mut child, outputs, .. } = born;
            // Errs when nobody holds the child any more, which ends it as well.
            let told = async { killed.wait_for(|kill| *kill).await.map(drop) };
            let ended_itself = tokio::select! {
                _ = child.wait() => true,
                _ = told => false,
            };
            if !ended_itself && let Err(error) = child.kill().await {
                tracing::warn!(instance = %id, %error, "process.kill");
            }
            for output in outputs {
                // What it said is complete before it counts as gone. A reader cannot fail.
                let _ = output.await;
            }
            ended.send_replace(true);
            // An error only means that nobody listens.
            let _ = exits.send(id);
        });
        held
    }

    /// Kills the process and waits until it is gone. The directory stays.
    async fn end(&self, held: &Held) -> Result<(), RuntimeError> {
        held.kill.send_replace(true);
        let mut gone = held.gone.clone();
        match tokio::time::timeout(DYING, gone.wait_for(|gone| *gone)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(RuntimeError::Unreachable("the process was killed and is still there".into())),
        }
    }

    async fn start(&self, spec: &StartSpec) -> Result<u16, RuntimeError> {
        let directory = child::make_directory(&self.home, spec)
            .map_err(|e| RuntimeError::Refused(format!("cannot make the directory of {}: {e}", spec.id)))?;
        for _ in 0..PORT_TRIES {
            match self.start_once(spec, &directory).await {
                Ok(port) => return Ok(port),
                Err(Failure::PortTaken) => {}
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        Err(RuntimeError::Refused(format!("somebody took the port before us {PORT_TRIES} times")))
    }

    async fn remove(&self, id: &InstanceId) -> Result<Removal, RuntimeError> {
        let held = self.held().get(id).cloned();
        if let Some(held) = &held {
            self.end(held).await?;
        }
        let cleared = match fs::remove_dir_all(self.home.join(id.as_str())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(RuntimeError::Refused(format!("cannot remove the directory of {id}: {error}"))),
            Ok(()) => true,
        };
        if let Entry::Occupied(entry) = self.held().entry(id.clone()) {
            entry.remove();
        }
        Ok(if held.is_some() || cleared { Removal::Removed } else { Removal::AlreadyGone })
    }
}

enum Failure {
    PortTaken,
    Final(RuntimeError),
}

fn free_port(address: IpAddr) -> io::Result<u16> {
    Ok(TcpListener::bind((address, 0))?.local_addr()?.port())
}

fn vitals(held: &Held, last_words: &LastWords) -> Result<(), RuntimeError> {
    if *held.gone.borrow() {
        return Err(RuntimeError::NotReady(format!("the process ended: {}", last_words.text())));
    }
    Ok(())
}

/// This machine, seen as a host.
pub struct ProcessRuntime {
    children: Arc<Children>,
    public_address: IpAddr,
}

impl ProcessRuntime {
    pub(super) fn new(children: Arc<Children>, public_address: IpAddr) -> Self {
        Self { children, public_address }
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn start(&self, spec: &StartSpec) -> Result<Endpoint, RuntimeError> {
        self.children.start(spec).await.map(|port| Endpoint { address: self.public_address, port })
    }

    async fn remove(&self, id: &InstanceId) -> Result<Removal, RuntimeError> {
        self.children.remove(id).await
    }

    async fn inventory(&self) -> Result<Vec<Found>, RuntimeError> {
        let held = self.children.held();
        Ok(held.iter().map(|(id, held)| Found { id: id.clone(), running: !*held.gone.borrow() }).collect())
    }

    async fn probe(&self) -> Result<(), RuntimeError> {
        fs::read_dir(&self.children.home)
            .map(drop)
            .map_err(|e| RuntimeError::Refused(format!("cannot use {}: {e}", self.children.home.display())))
    }

    fn exits(&self) -> BoxStream<'static, Result<InstanceId, RuntimeError>> {
        stream::unfold(Some(self.children.exits.subscribe()), async |receiver| {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Ok(id) => Some((Ok(id), Some(receiver))),
                Err(broadcast::error::RecvError::Closed) => None,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    Some((Err(RuntimeError::Unreachable(format!("{missed} exits were missed"))), None))
                }
            }
        })
        .boxed()
    }

    fn isolated(&self) -> bool {
        false
    }
}
