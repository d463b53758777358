//! The engine's events as a stream of instances whose container stopped.

use std::{collections::HashMap, time::Duration};

use bollard::{Docker, models::EventMessage, query_parameters::EventsOptionsBuilder};
use futures_util::{StreamExt, stream::BoxStream};
use getaredis_actors::{
    domain::{DeploymentId, InstanceId},
    ports::RuntimeError,
};

use super::{DEPLOYMENT_LABEL, INSTANCE_LABEL, error::meaning};

/// Opens the stream when it is first polled. It ends after its first error.
pub(super) fn exits(
    docker: &Docker,
    deployment: &DeploymentId,
    call_timeout: Duration,
) -> BoxStream<'static, Result<InstanceId, RuntimeError>> {
    let options = EventsOptionsBuilder::new()
        .filters(&HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("event", vec!["die".to_owned(), "oom".to_owned()]),
            ("label", vec![format!("{DEPLOYMENT_LABEL}={deployment}")]),
        ]))
        .build();
    // The library bounds the wait for the headers, which an engine sends at once; what follows may be quiet for ever.
    let events = docker.clone().with_timeout(call_timeout.max(Duration::from_secs(1))).events(Some(options));
    let deployment = deployment.clone();
    events
        .scan(false, move |failed, event| {
            let next = match event {
                _ if *failed => None,
                Ok(event) => Some(stopped(&deployment, &event).map(Ok)),
                Err(error) => {
                    *failed = true;
                    Some(Some(Err(meaning(&error))))
                }
            };
            std::future::ready(next)
        })
        .filter_map(std::future::ready)
        .boxed()
}

/// The instance that an event says has stopped. The label is looked at again: what is ours is not decided by a filter
/// of somebody else's.
fn stopped(deployment: &DeploymentId, event: &EventMessage) -> Option<InstanceId> {
    let attributes = event.actor.as_ref()?.attributes.as_ref()?;
    if attributes.get(DEPLOYMENT_LABEL).map(String::as_str) != Some(deployment.as_str()) {
        return None;
    }
    let id = InstanceId::parse(attributes.get(INSTANCE_LABEL)?).ok()?;
    match event.action.as_deref() {
        Some("die") => Some(id),
        Some("oom") => {
            // The kernel ended a process in it; when that was the engine, its own event follows.
            tracing::warn!(instance = %id, "container.out_of_memory");
            None
        }
        _ => None,
    }
}
