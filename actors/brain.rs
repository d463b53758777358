//! placeholder: the wiring of the rooms
use crate::{
    autoscaler::messages::*, discovery::messages::*, feed::messages::*, ports::*, rate_limit::messages::*,
    reaper::messages::*, scheduler::messages::*,
};
use actix::Recipient;
use std::sync::Arc;

/// What the brain reaches outside through.
#[derive(Clone)]
pub struct Ports {
    /// Time and ids.
    pub clock: Arc<dyn Clock>,
    /// The database.
    pub store: Arc<dyn Store>,
    /// Makes hosts' runtimes.
    pub runtimes: Arc<dyn Runtimes>,
    /// Where hosts announce themselves.
    pub directory: Arc<dyn Directory>,
    /// Where droplets are bought, if anywhere.
    pub cloud: Option<Arc<dyn Cloud>>,
}

/// Every door into the brain: what the edge and the tests send messages through. Cheap to clone; `Send + Sync`.
#[derive(Clone)]
pub struct Doors {
    /// Rate limit.
    pub admit: Recipient<Admit>,
    /// Scheduler.
    pub create: Recipient<CreateInstance>,
    /// Scheduler.
    pub delete: Recipient<DeleteInstance>,
    /// Scheduler.
    pub fleet: Recipient<DescribeFleet>,
    /// Scheduler.
    pub cordon: Recipient<CordonHost>,
    /// Reaper.
    pub extend: Recipient<ExtendLease>,
    /// Reaper.
    pub reaper: Recipient<DescribeReaper>,
    /// Reaper.
    pub sweep: Recipient<SweepNow>,
    /// Discovery.
    pub directory: Recipient<DescribeDirectory>,
    /// Autoscaler.
    pub scale: Recipient<ScaleNow>,
    /// Autoscaler.
    pub scaling: Recipient<DescribeScaling>,
    /// Feed.
    pub subscribe: Recipient<Subscribe>,
}
