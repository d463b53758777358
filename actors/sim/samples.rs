//! Things to test with: small numbers in, valid values of the domain out, always the same.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::{
    domain::scaling::{Billing, ScalingPolicy},
    domain::{Creator, HostName, Instance, InstanceId, InstanceState, Lease, Quotas, ServerId, Timestamp},
    ports::{Admission, BuilderRow, DropletRow, DropletState},
};

/// The time at which samples take place.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

/// This many seconds after [`now`].
#[must_use]
pub fn later(seconds: u64) -> Timestamp {
    now() + Duration::from_secs(seconds)
}

/// The `n`-th id.
#[must_use]
pub fn id(n: u128) -> InstanceId {
    InstanceId::from_uuid(uuid::Uuid::from_u128(n))
}

/// The creator with this number.
#[must_use]
pub fn creator(n: u8) -> Creator {
    Creator::of([192, 0, 2, n].into())
}

/// The server with this number.
#[must_use]
pub fn server(n: u8) -> ServerId {
    ServerId::parse(&format!("s{n}")).unwrap()
}

/// A request to server 1 without caps and key, of creator 1, for an instance with the `n`-th id on a host that is never
/// full, for an hour with a warning ten minutes before its end, made `n` seconds after [`now`].
#[must_use]
pub fn a_request(n: u128) -> Admission {
    let created_at = later(u64::try_from(n).unwrap());
    let lease = Lease {
        expires_at: created_at + Duration::from_secs(3600),
        max_expires_at: created_at + Duration::from_secs(7200),
        warn_at: Some(created_at + Duration::from_secs(3000)),
    };
    let instance = Instance {
        id: id(n),
        creator: creator(1),
        flavour: "redis".into(),
        label: None,
        host: HostName::parse("h1").unwrap(),
        state: InstanceState::Creating,
        endpoint: None,
        idempotency_key: None,
        fingerprint: "ttl=3600".into(),
        rotation: 0,
        created_at,
        lease,
        server: Some(server(1)),
        unreachable_since: None,
        ended_at: None,
    };
    Admission { instance, quotas: Quotas { per_creator: 0, global: 0 }, slots: u32::MAX }
}

/// One empty host of 40 slots is kept, up to four; nothing but need decides when one is bought.
#[must_use]
pub fn scaling_policy() -> ScalingPolicy {
    const MINUTE: Duration = Duration::from_secs(60);
    ScalingPolicy {
        standby: 1,
        standby_slots: 0,
        standby_percent: 0,
        min_hosts: 0,
        max_hosts: 4,
        slots: 40,
        idle: 10 * MINUTE,
        min_age: 50 * MINUTE,
        cooldown: Duration::ZERO,
        boot_deadline: 5 * MINUTE,
        bad_after: 5 * MINUTE,
        list_grace: 2 * MINUTE,
        propagation: MINUTE / 4,
        retry_after: MINUTE / 2,
        create_burst: 1,
        creates_per_hour: 0,
        billing: Billing::Second,
    }
}

/// A droplet that shall be created.
#[must_use]
pub fn droplet(name: &str) -> DropletRow {
    DropletRow { name: HostName::parse(name).unwrap(), state: DropletState::Creating, created_at: now() }
}

/// A builder with which a bake may be at work until so many seconds after [`now`].
#[must_use]
pub fn builder(name: &str, ends: u64) -> BuilderRow {
    BuilderRow { name: HostName::parse(name).unwrap(), ends_at: later(ends) }
}
