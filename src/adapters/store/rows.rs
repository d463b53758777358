//! Rows as they are stored, and the way between them and the words of the domain.
//!
//! Owns the spelling of every column. What is read is parsed here completely: nothing further in has to doubt it.

use std::fmt::Display;

use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};
use getaredis_actors::{
    domain::{Endpoint, Instance, InstanceState, Lease, Notice, SinkName, Timestamp},
    ports::{Attended, BuilderRow, Delivery, DropletRow, DropletState, StoreError},
};

use super::schema::{attended, builders, deliveries, droplets, instances, order_limits};

/// A row of `instances`. Every number is an `i64`, so that one that is out of bounds is noticed and not cut.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = instances, treat_none_as_null = true, treat_none_as_default_value = false)]
pub(super) struct InstanceRow {
    id: String,
    creator: String,
    flavour: String,
    label: Option<String>,
    host: String,
    state: String,
    reason: Option<String>,
    address: Option<String>,
    port: Option<i64>,
    idempotency_key: Option<String>,
    fingerprint: String,
    rotation: i64,
    created_at: i64,
    expires_at: i64,
    max_expires_at: i64,
    ended_at: Option<i64>,
    server: Option<String>,
    warn_at: Option<i64>,
    unreachable_since: Option<i64>,
}

impl From<&Instance> for InstanceRow {
    fn from(i: &Instance) -> Self {
        Self {
            id: i.id.to_string(),
            creator: i.creator.to_string(),
            flavour: i.flavour.clone(),
            label: i.label.as_ref().map(ToString::to_string),
            host: i.host.to_string(),
            state: i.state.as_str().to_owned(),
            reason: i.state.reason().map(|r| r.to_string()),
            address: i.endpoint.map(|e| e.address.to_string()),
            port: i.endpoint.map(|e| e.port.into()),
            idempotency_key: i.idempotency_key.as_ref().map(ToString::to_string),
            fingerprint: i.fingerprint.clone(),
            rotation: i.rotation.into(),
            created_at: i.created_at.as_millisecond(),
            expires_at: i.lease.expires_at.as_millisecond(),
            max_expires_at: i.lease.max_expires_at.as_millisecond(),
            ended_at: i.ended_at.map(Timestamp::as_millisecond),
            server: i.server.as_ref().map(ToString::to_string),
            warn_at: i.lease.warn_at.map(Timestamp::as_millisecond),
            unreachable_since: i.unreachable_since.map(Timestamp::as_millisecond),
        }
    }
}

impl TryFrom<InstanceRow> for Instance {
    type Error = StoreError;

    fn try_from(row: InstanceRow) -> Result<Self, StoreError> {
        let of = Culprit { table: "instance", key: &row.id };
        let reason = row.reason.as_deref().map(|r| of.column("reason", r.parse())).transpose()?;
        let state = of.column("state", InstanceState::from_parts(&row.state, reason))?;
        let endpoint = match (&row.address, row.port) {
            (Some(address), Some(port)) => Some(Endpoint {
                address: of.column("address", address.parse())?,
                port: of.column("port", u16::try_from(port))?,
            }),
            (None, None) => None,
            _ => return Err(of.bad("port", "address and port go together")),
        };
        if state.is_live() != row.ended_at.is_none() {
            return Err(of.bad("ended_at", "it is set if, and only if, the state is ended"));
        }
        Ok(Self {
            id: of.column("id", row.id.parse())?,
            creator: of.column("creator", row.creator.parse())?,
            label: row.label.as_deref().map(|l| of.column("label", l.parse())).transpose()?,
            host: of.column("host", row.host.parse())?,
            state,
            endpoint,
            idempotency_key: row
                .idempotency_key
                .as_deref()
                .map(|k| of.column("idempotency_key", k.parse()))
                .transpose()?,
            rotation: of.column("rotation", u32::try_from(row.rotation))?,
            created_at: of.time("created_at", row.created_at)?,
            lease: Lease {
                expires_at: of.time("expires_at", row.expires_at)?,
                max_expires_at: of.time("max_expires_at", row.max_expires_at)?,
                warn_at: row.warn_at.map(|t| of.time("warn_at", t)).transpose()?,
            },
            server: row.server.as_deref().map(|s| of.column("server", s.parse())).transpose()?,
            unreachable_since: row.unreachable_since.map(|t| of.time("unreachable_since", t)).transpose()?,
            ended_at: row.ended_at.map(|t| of.time("ended_at", t)).transpose()?,
            flavour: row.flavour,
            fingerprint: row.fingerprint,
        })
    }
}

/// A row of `deliveries`.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = deliveries, treat_none_as_default_value = false)]
pub(super) struct DeliveryRow {
    notice: String,
    sink: String,
    body: String,
    created_at: i64,
    due_at: i64,
    attempts: i64,
}

impl DeliveryRow {
    /// A delivery that nobody has taken yet.
    pub(super) fn new(notice: &Notice, sink: &SinkName, now: Timestamp) -> Self {
        Self {
            notice: notice.id.clone(),
            sink: sink.to_string(),
            body: notice.body.clone(),
            created_at: now.as_millisecond(),
            due_at: now.as_millisecond(),
            attempts: 0,
        }
    }

    /// The notice's id.
    pub(super) fn notice(&self) -> &str {
        &self.notice
    }
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StoreError;

    fn try_from(row: DeliveryRow) -> Result<Self, StoreError> {
        let of = Culprit { table: "delivery", key: &row.notice };
        Ok(Self {
            sink: of.column("sink", row.sink.parse())?,
            created_at: of.time("created_at", row.created_at)?,
            attempts: of.column("attempts", u32::try_from(row.attempts))?,
            notice: Notice { id: row.notice, body: row.body },
        })
    }
}

/// A row of `droplets`.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = droplets, treat_none_as_default_value = false)]
pub(super) struct DropletLine {
    name: String,
    state: String,
    created_at: i64,
}

impl From<&DropletRow> for DropletLine {
    fn from(d: &DropletRow) -> Self {
        Self { name: d.name.to_string(), state: d.state.as_str().to_owned(), created_at: d.created_at.as_millisecond() }
    }
}

impl TryFrom<DropletLine> for DropletRow {
    type Error = StoreError;

    fn try_from(line: DropletLine) -> Result<Self, StoreError> {
        let of = Culprit { table: "droplet", key: &line.name };
        let state = DropletState::from_word(&line.state)
            .ok_or_else(|| of.bad("state", "a droplet's state must be creating, created or deleting"))?;
        Ok(Self {
            state,
            created_at: of.time("created_at", line.created_at)?,
            name: of.column("name", line.name.parse())?,
        })
    }
}

/// A row of `builders`.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = builders, treat_none_as_default_value = false)]
pub(super) struct BuilderLine {
    name: String,
    ends_at: i64,
}

impl From<&BuilderRow> for BuilderLine {
    fn from(b: &BuilderRow) -> Self {
        Self { name: b.name.to_string(), ends_at: b.ends_at.as_millisecond() }
    }
}

impl TryFrom<BuilderLine> for BuilderRow {
    type Error = StoreError;

    fn try_from(line: BuilderLine) -> Result<Self, StoreError> {
        let of = Culprit { table: "builder", key: &line.name };
        Ok(Self { ends_at: of.time("ends_at", line.ends_at)?, name: of.column("name", line.name.parse())? })
    }
}

/// A row of `attended`.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = attended)]
pub(super) struct AttendedLine {
    pub(super) begins_at: i64,
    pub(super) ends_at: i64,
}

impl From<&Attended> for AttendedLine {
    fn from(span: &Attended) -> Self {
        Self { begins_at: span.begins_at.as_millisecond(), ends_at: span.ends_at.as_millisecond() }
    }
}

impl TryFrom<AttendedLine> for Attended {
    type Error = StoreError;

    fn try_from(line: AttendedLine) -> Result<Self, StoreError> {
        let of = Culprit { table: "attended", key: &line.begins_at.to_string() };
        Ok(Self { begins_at: of.time("begins_at", line.begins_at)?, ends_at: of.time("ends_at", line.ends_at)? })
    }
}

/// A row of `order_limits`.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = order_limits, treat_none_as_null = true, treat_none_as_default_value = false)]
pub(super) struct LimitLine {
    pub(super) kind: String,
    pub(super) ends_at: i64,
    pub(super) why: Option<String>,
}

impl LimitLine {
    pub(super) fn ends_at(&self) -> Result<Timestamp, StoreError> {
        Culprit { table: "order limit", key: &self.kind }.time("ends_at", self.ends_at)
    }
}

/// The row that an unreadable column is reported with, so that an operator can find and repair it.
struct Culprit<'a> {
    table: &'static str,
    key: &'a str,
}

impl Culprit<'_> {
    fn bad(&self, column: &str, why: impl Display) -> StoreError {
        StoreError::Corrupt(format!("{} {}, column {column}: {why}", self.table, self.key))
    }

    fn column<T, E: Display>(&self, column: &str, parsed: Result<T, E>) -> Result<T, StoreError> {
        parsed.map_err(|why| self.bad(column, why))
    }

    fn time(&self, column: &str, milliseconds: i64) -> Result<Timestamp, StoreError> {
        self.column(column, Timestamp::from_millisecond(milliseconds))
    }
}
