//! The machine's clock is set an hour forwards, or backwards, while the server runs.

use std::{fs, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::{
    backend::{Backend, on_every_database},
    databases::TestDatabase,
    support::{
        SOON, agreement::everything_agrees, api::Instance, eventually, given, server::Server, tenant::must_work,
    },
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A server whose clock the test sets.
struct Clockwork {
    server: Server,
    clock: PathBuf,
    /// Goes after the server.
    _database: Option<TestDatabase>,
}

impl Clockwork {
    async fn start(backend: Backend) -> Self {
        let (database, url) = backend.create().await;
        let mut server =
            Server::unstarted(&[("database.url", &url), ("docker.network", "bridge"), ("reaper.keep_ended", "30m")]);
        let clock = server.home().join("clock");
        server.set_environment(&[
            ("LD_PRELOAD", &given("GETAREDIS_TEST_FAKETIME")),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            // Timers go on as they do on a machine whose clock is set.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        let clockwork = Self { server, clock, _database: database };
        clockwork.set("+0");
        let mut clockwork = clockwork;
        clockwork.server.start_again().await;
        clockwork
    }

    /// Sets the clock so far from the true time.
    fn set(&self, offset: &str) {
        // In one step: the server may read at any moment.
        let next = self.clock.with_extension("next");
        fs::write(&next, offset).unwrap();
        fs::rename(next, &self.clock).unwrap();
    }

    /// Asks for an instance whose times must be by a clock that is off by `offset`.
    async fn create_for(&self, seconds: u64, offset: SignedDuration) -> Instance {
        must_be_off_by(offset, self.server.api().create_for(seconds).await)
    }

    /// The same, for little more than so many seconds.
    async fn create_brief(&self, left_s: u64, offset: SignedDuration) -> Instance {
        must_be_off_by(offset, self.server.api().create_brief(left_s).await)
    }
}

fn must_be_off_by(offset: SignedDuration, instance: Instance) -> Instance {
    let off = instance.created_at.duration_since(Timestamp::now()) - offset;
    assert!(off.abs() < SignedDuration::from_secs(60), "the server's clock is off by another {off:?}");
    instance
}

async fn jumps_forward(backend: Backend) {
    let clockwork = Clockwork::start(backend).await;
    let (server, api) = (&clockwork.server, clockwork.server.api());
    let due = clockwork.create_for(30 * 60, SignedDuration::ZERO).await;
    let lasting = clockwork.create_for(10 * 3600, SignedDuration::ZERO).await;
    let deleted = clockwork.create_for(10 * 3600, SignedDuration::ZERO).await;
    assert_eq!(api.delete(&deleted).await.status, 204);

    clockwork.set("+3600");
    assert_eq!(api.until_ended(&due).await.body["reason"], "expired");
    must_work(&lasting).await;
    let new = clockwork.create_for(30 * 60, HOUR).await;
    must_work(&new).await;
    let (lasting_id, new_id) = (lasting.id.clone(), new.id.clone());
    // What has ended is still known with its reason, although it looks old.
    let alive = everything_agrees(server, &[due.clone(), lasting.clone(), deleted.clone(), new.clone()]).await;
    assert_eq!(alive, [lasting_id.clone(), new_id.clone()].into());

    // Somebody sets it right again.
    clockwork.set("+0");
    let brief = clockwork.create_brief(1, SignedDuration::ZERO).await;
    assert_eq!(api.until_ended(&brief).await.body["reason"], "expired");
    let alive = everything_agrees(server, &[due, lasting, deleted, new, brief]).await;
    assert_eq!(alive, [lasting_id, new_id].into());
}

async fn jumps_backward(backend: Backend) {
    let clockwork = Clockwork::start(backend).await;
    let (server, api) = (&clockwork.server, clockwork.server.api());
    let lasting = clockwork.create_for(30 * 60, SignedDuration::ZERO).await;
    let deferred = clockwork.create_brief(5, SignedDuration::ZERO).await;

    clockwork.set("-3600");
    let brief = clockwork.create_brief(1, -HOUR).await;
    assert_eq!(api.until_ended(&brief).await.body["reason"], "expired");
    eventually("the deferred one's first time is over", SOON, async || {
        if Timestamp::now() > deferred.expires_at { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    // By the clock that counts it has an hour left.
    must_work(&deferred).await;
    must_work(&lasting).await;

    clockwork.set("+0");
    assert_eq!(api.until_ended(&deferred).await.body["reason"], "expired");
    let id = lasting.id.clone();
    assert_eq!(everything_agrees(server, &[lasting, deferred, brief]).await, [id].into());
}

#[tokio::test]
async fn a_clock_that_jumps_forward_ends_what_it_makes_due_and_nothing_else() {
    on_every_database(jumps_forward).await;
}

#[tokio::test]
async fn a_clock_that_jumps_backward_ends_nothing_before_its_time_and_creates_go_on() {
    on_every_database(jumps_backward).await;
}
