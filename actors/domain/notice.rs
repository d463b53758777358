//! What the outside is told of an instance's life: that it was created, expires soon, or has ended.
//!
//! Owns which events are told and in which words. A notice holds no secret and not who its creator is, because it leaves
//! the house. Must not know how or where it is sent.

use serde::Serialize;

use super::{
    Timestamp,
    ids::{InstanceId, Label},
    instance::{EndReason, Endpoint, Instance, InstanceEvent, InstanceState},
};

/// What a notice tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum NoticeKind {
    /// The instance is running.
    #[serde(rename = "instance.created")]
    Created,
    /// Its lease ends soon.
    #[serde(rename = "instance.expiring")]
    Expiring,
    /// It has ended.
    #[serde(rename = "instance.ended")]
    Ended,
}

/// A notice as it is kept and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The same whenever the same thing is told, so that a receiver can tell a repetition.
    pub id: String,
    /// JSON in the shape of the Standard Webhooks specification: `type`, `timestamp`, `data`.
    pub body: String,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: NoticeKind,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    id: &'a InstanceId,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<EndReason>,
    flavour: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<Endpoint>,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
}

impl Notice {
    /// What there is to tell when `event` made an instance what it is `now`. Of one that never ran nothing is told.
    #[must_use]
    pub fn of(event: &InstanceEvent, after: &Instance, now: Timestamp) -> Option<Self> {
        let kind = match (event, after.state) {
            (InstanceEvent::Started { .. }, _) => NoticeKind::Created,
            (InstanceEvent::Warned, _) => NoticeKind::Expiring,
            (_, InstanceState::Ended(_)) if after.endpoint.is_some() => NoticeKind::Ended,
            _ => return None,
        };
        let id = match kind {
            NoticeKind::Created => format!("{}.created", after.id),
            // An extended lease is warned of again.
            NoticeKind::Expiring => format!("{}.expiring.{}", after.id, after.lease.expires_at.as_millisecond()),
            NoticeKind::Ended => format!("{}.ended", after.id),
        };
        let data = Data {
            id: &after.id,
            state: after.state.as_str(),
            reason: after.state.reason(),
            flavour: &after.flavour,
            label: after.label.as_ref(),
            endpoint: after.endpoint,
            created_at: after.created_at,
            expires_at: after.lease.expires_at,
            ended_at: after.ended_at,
        };
        // Texts and numbers always have a spelling in JSON.
        let body = serde_json::to_string(&Body { kind, timestamp: now, data }).ok()?;
        Some(Self { id, body })
    }
}
