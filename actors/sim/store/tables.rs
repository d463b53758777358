//! What is in the simulated database, and its transactions.

use std::collections::BTreeMap;

use crate::{
    domain::{
        Creator, HostName, IdempotencyKey, Instance, InstanceEvent, InstanceId, Notice, ServerId, SinkName, Timestamp,
        Usage,
    },
    ports::{
        Admission, Admitted, Attended, Beat, BuilderRow, Delivery, DropletRow, DropletState, OrderLimits, Orders,
        Relocated, StoreError, Totals,
    },
};

#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) instances: BTreeMap<InstanceId, Instance>,
    pub(super) droplets: BTreeMap<HostName, DropletRow>,
    pub(super) builders: BTreeMap<HostName, BuilderRow>,
    pub(super) orders: Orders,
    pub(super) order_limits: OrderLimits,
    pub(super) totals: Totals,
    pub(super) beats: BTreeMap<ServerId, Beat>,
    /// By their beginnings.
    pub(super) attended: BTreeMap<Timestamp, Attended>,
    /// With the time at which each is due.
    pub(super) deliveries: Vec<(Timestamp, Delivery)>,
}

impl Tables {
    pub(super) fn live(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(|i| i.state.is_live())
    }

    pub(super) fn by_key(&self, creator: &Creator, key: &IdempotencyKey) -> Option<&Instance> {
        self.live().find(|i| i.creator == *creator && i.idempotency_key.as_ref() == Some(key))
    }

    pub(super) fn usage(&self, creator: &Creator) -> Usage {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let own = || self.live().filter(|i| i.creator == *creator && i.state.reason().is_none());
        Usage {
            of_creator: count(own().count()),
            total: count(self.live().count()),
            creator_frees_at: own().map(|i| i.lease.expires_at).min(),
        }
    }

    pub(super) fn has_room(&self, host: &HostName, slots: u32) -> bool {
        let condemned = self.droplets.get(host).is_some_and(|row| row.state.is_condemned());
        !condemned && self.on(host) < slots as usize
    }

    pub(super) fn on(&self, host: &HostName) -> usize {
        self.live().filter(|i| &i.host == host).count()
    }

    pub(super) fn admit(&mut self, Admission { instance, quotas, slots }: Admission) -> Result<Admitted, StoreError> {
        if let Some(key) = &instance.idempotency_key
            && let Some(live) = self.by_key(&instance.creator, key)
        {
            let same = live.fingerprint == instance.fingerprint;
            return Ok(if same { Admitted::Existing(Box::new(live.clone())) } else { Admitted::Conflict });
        }
        if let Err(quota) = quotas.check(self.usage(&instance.creator)) {
            return Ok(Admitted::Refused(quota));
        }
        if !self.has_room(&instance.host, slots) {
            return Ok(Admitted::HostFull);
        }
        if self.instances.contains_key(&instance.id) {
            return Err(StoreError::Corrupt(format!("instance {} is there already", instance.id)));
        }
        self.instances.insert(instance.id.clone(), whole_milliseconds(instance));
        Ok(Admitted::New)
    }

    pub(super) fn apply(
        &mut self,
        id: &InstanceId,
        event: &InstanceEvent,
        now: Timestamp,
        sinks: &[SinkName],
    ) -> Result<Instance, StoreError> {
        let row = self.instances.get_mut(id).ok_or(StoreError::NotFound)?;
        *row = whole_milliseconds(row.after(event, now)?);
        let row = row.clone();
        if matches!(event, InstanceEvent::Started { .. }) {
            self.totals.started += 1;
        }
        let created_at = whole_millisecond(now);
        if let Some(notice) = Notice::of(event, &row, created_at) {
            for sink in sinks {
                let delivery = Delivery { notice: notice.clone(), sink: sink.clone(), created_at, attempts: 0 };
                self.deliveries.push((created_at, delivery));
            }
        }
        Ok(row)
    }

    pub(super) fn relocate(
        &mut self,
        id: &InstanceId,
        host: &HostName,
        slots: u32,
        now: Timestamp,
    ) -> Result<Relocated, StoreError> {
        if !self.has_room(host, slots) && self.instances.contains_key(id) {
            return Ok(Relocated::HostFull);
        }
        let moved = self.apply(id, &InstanceEvent::Moved { host: host.clone() }, now, &[])?;
        Ok(Relocated::Moved(Box::new(moved)))
    }

    pub(super) fn put_droplet(&mut self, row: DropletRow) {
        let row = DropletRow { created_at: whole_millisecond(row.created_at), ..row };
        self.droplets.insert(row.name.clone(), row);
    }

    /// Rows that take a place in the pool, but those of this name.
    pub(super) fn places_but(&self, name: &HostName, now: Timestamp) -> usize {
        let droplets =
            self.droplets.values().filter(|row| &row.name != name && row.state != DropletState::Deleted).count();
        droplets + self.builders.values().filter(|row| &row.name != name && row.is_live(now)).count()
    }

    /// Takes its row from one state to another, if it is in the first.
    pub(super) fn move_droplet(&mut self, name: &HostName, from: DropletState, to: DropletState) -> bool {
        let row = self.droplets.get_mut(name).filter(|row| row.state == from);
        row.map(|row| row.state = to).is_some()
    }

    pub(super) fn attend(&mut self, last: Option<Attended>, now: Timestamp) -> Attended {
        if let Some(last) = last
            && let Some(span) = self.attended.get_mut(&last.begins_at).filter(|span| **span == last)
        {
            span.ends_at = span.ends_at.max(now);
            return *span;
        }
        self.attended.retain(|_, span| span.ends_at >= Attended::kept_since(now));
        *self.attended.entry(now).or_insert(Attended { begins_at: now, ends_at: now })
    }

    pub(super) fn purge(&mut self, ended_before: Timestamp, limit: u32) -> u32 {
        let mut ended: Vec<_> = self.instances.values().filter_map(|i| Some((i.ended_at?, i.id.clone()))).collect();
        ended.retain(|(ended_at, _)| *ended_at < ended_before);
        ended.sort();
        ended.truncate(limit as usize);
        for (_, id) in &ended {
            self.instances.remove(id);
            self.deliveries.retain(|(_, delivery)| !delivery.notice.id.starts_with(&format!("{id}.")));
        }
        u32::try_from(ended.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn take_deliveries(
        &mut self,
        sink: &SinkName,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Vec<Delivery> {
        self.deliveries.sort_by(|(a, x), (b, y)| (a, &x.notice.id).cmp(&(b, &y.notice.id)));
        let due = self.deliveries.iter_mut().filter(|(at, delivery)| &delivery.sink == sink && *at <= now);
        due.take(limit as usize)
            .map(|(at, delivery)| {
                *at = whole_millisecond(until);
                delivery.attempts += 1;
                delivery.clone()
            })
            .collect()
    }

    pub(super) fn delivery(&mut self, wanted: &Delivery) -> Option<&mut (Timestamp, Delivery)> {
        self.deliveries.iter_mut().find(|(_, d)| d.notice.id == wanted.notice.id && d.sink == wanted.sink)
    }
}

/// A row as a database gives it back: its times are whole milliseconds.
pub(super) fn whole_milliseconds(mut row: Instance) -> Instance {
    row.created_at = whole_millisecond(row.created_at);
    row.lease.expires_at = whole_millisecond(row.lease.expires_at);
    row.lease.max_expires_at = whole_millisecond(row.lease.max_expires_at);
    row.lease.warn_at = row.lease.warn_at.map(whole_millisecond);
    row.unreachable_since = row.unreachable_since.map(whole_millisecond);
    row.ended_at = row.ended_at.map(whole_millisecond);
    row
}

pub(super) fn whole_millisecond(time: Timestamp) -> Timestamp {
    // Cannot fail: a time that is there has its milliseconds.
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
