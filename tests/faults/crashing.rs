//! The server dies at every step that is persisted, on every database, and the next one makes good of it.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt, StreamExt, stream};
use getaredis::adapters::crash_points;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    backend::{Backend, tidy_up},
    buying,
    liar::{Liar, Lie},
    support::{
        SOON,
        agreement::{RECOVERY, everything_agrees},
        api::{Answer, Instance},
        engine, eventually,
        proxy::EngineDoor,
        receiver::Receiver,
        server::Server,
    },
};

/// Scenarios that are played at once, beside those that do little but wait.
const AT_ONCE: usize = 6;

/// The first purge comes at any time within a minute.
const LONG: Duration = Duration::from_secs(100);

/// What is done until the server dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Create,
    /// On a host that fails, with another one beside it.
    CreateElsewhere,
    Extend,
    Delete,
    Expire,
    Warn,
    Silence,
    SilenceAndReturn,
    SilenceForGood,
    /// A create is left by a crash before that.
    LeftCreate,
    Purge,
    Tell,
    TellTheDeaf,
    Cordon,
    Live,
    Leave,
    /// Rows and containers are compared.
    Sweep,
}

/// The ways on which a point is passed; none where this program never passes it.
fn ways(point: &str) -> &'static [Way] {
    match point {
        "store.admit" | "runtime.start" | "store.apply.Started" => &[Way::Create],
        "store.relocate" => &[Way::CreateElsewhere],
        "store.apply.Extended" => &[Way::Extend],
        "store.apply.StopRequested" | "store.apply.ConfirmedGone" | "runtime.remove" => &[Way::Delete, Way::Expire],
        "store.apply.Warned" => &[Way::Warn],
        "store.apply.HostSilent" => &[Way::Silence],
        "store.apply.HostAnswered" => &[Way::SilenceAndReturn],
        "store.apply.GivenUp" => &[Way::SilenceForGood],
        "store.apply.Abandoned" => &[Way::LeftCreate],
        "store.purge" => &[Way::Purge],
        "store.take_deliveries" | "store.close_delivery" | "webhooks.post" => &[Way::Tell],
        "store.postpone_delivery" => &[Way::TellTheDeaf],
        "store.order_cordon" => &[Way::Cordon],
        "store.beat" => &[Way::Live],
        "store.retire" => &[Way::Leave],
        "store.attend" => &[Way::Sweep],
        // Written by store.relocate, in its transaction.
        "store.apply.Moved" => &[],
        // Passed by the command that bakes images, and played with it: tests/digitalocean/beside.rs.
        "store.order_builder" => &[],
        // Nobody sells droplets to these servers.
        bought if buying::passes(bought) => &[],
        unknown => panic!("there is no way to {unknown} yet: add one"),
    }
}

/// Every scenario of a backend: where the server dies, and on which way.
fn scenarios(backend: Backend) -> Vec<(String, Way)> {
    let mut scenarios = Vec::new();
    for point in crash_points::names() {
        for way in ways(point) {
            // Only servers that share a database give signs of life.
            if matches!(way, Way::Live | Way::Leave) && !backend.is_shared() {
                continue;
            }
            // The first sign is given at the start, and the first look for what is to be told or compared taken.
            let time = if ["store.beat", "store.attend", "store.take_deliveries"].contains(&point) { "#2" } else { "" };
            scenarios.extend(["before", "after"].map(|side| (format!("{point}:{side}{time}"), *way)));
        }
    }
    scenarios
}

#[tokio::test]
async fn a_server_may_die_at_every_step_on_every_database() {
    let all =
        Backend::ALL.into_iter().flat_map(|backend| scenarios(backend).into_iter().map(move |one| (backend, one)));
    let (idle, busy): (Vec<_>, Vec<_>) = all.partition(|(_, (_, way))| *way == Way::Purge);
    let failed: Vec<Option<String>> = stream::select(
        stream::iter(idle).map(play).buffer_unordered(usize::MAX),
        stream::iter(busy).map(play).buffer_unordered(AT_ONCE),
    )
    .collect()
    .await;
    assert!(failed.len() > 100, "only {} scenarios", failed.len());
    let failed: Vec<_> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Which one it was, if it failed.
async fn play((backend, (point, way)): (Backend, (String, Way))) -> Option<String> {
    let played = AssertUnwindSafe(Scenario::play(backend, &point, way)).catch_unwind().await;
    played.is_err().then(|| format!("{way:?} on {backend:?} with a crash at {point}"))
}

/// One life of a server until its crash, and the next one.
struct Scenario {
    server: Server,
    door: EngineDoor,
    receiver: Receiver,
    /// What clients were answered with 201.
    answered: Vec<Instance>,
    /// Whether somebody was answered that the instance is deleted.
    deleted: bool,
}

impl Scenario {
    async fn play(backend: Backend, point: &str, way: Way) {
        let (database, url) = backend.create().await;
        let door = EngineDoor::open().await;
        let receiver = Receiver::answering(if way == Way::TellTheDeaf { "503 Busy" } else { "204 No Content" }).await;
        let liar = Liar::telling(lies()).await;
        let sinks = receiver.setting();
        let hosts = format!(
            r#"[{{ name = "a", endpoint = "{}" }}, {{ name = "b", endpoint = "{}" }}]"#,
            liar.endpoint(),
            engine::endpoint()
        );
        let endpoint = door.endpoint();
        let mut settings = vec![
            ("database.url", url.as_str()),
            ("docker.endpoint", &endpoint),
            ("docker.network", "bridge"),
            ("database.pool", "3"),
            ("webhooks.sinks", &sinks),
            // What the dead server had in hand is due again 21 s later; by default it is 37 s.
            ("webhooks.timeout", "2s"),
            ("reaper.poll", "300ms"),
            ("reaper.retry_max", "1s"),
            ("reaper.keep_ended", if way == Way::Purge { "1s" } else { "1h" }),
            ("reaper.lost_after", if way == Way::SilenceForGood { "1s" } else { "1h" }),
        ];
        if way == Way::CreateElsewhere {
            settings.push(("directory.hosts", &hosts));
        }
        let mut server = Server::unstarted(&settings);
        receiver.keep_secret(server.secrets());
        server.crash_at(Some(point));
        let mut scenario = Self { server, door, receiver, answered: Vec::new(), deleted: false };
        scenario.go(way, point).await;
        scenario.server.crashes_within(LONG).await;

        scenario.door.reopen();
        scenario.receiver.answer_with("204 No Content");
        scenario.server.crash_at(None);
        scenario.server.start_again().await;
        scenario.repeat(way).await;
        everything_agrees(&scenario.server, &scenario.answered).await;
        scenario.everything_was_told().await;
        // The server goes before its database.
        tidy_up((scenario, database)).await;
    }

    /// What leads to the crash, which may come at any moment of it.
    async fn go(&mut self, way: Way, point: &str) {
        if way == Way::LeftCreate {
            self.server.crash_at(Some("runtime.start:after"));
            if self.server.try_start_again().await {
                self.ask(json!({})).await;
            }
            self.server.crashes().await;
            self.server.crash_at(Some(point));
        }
        if !self.server.try_start_again().await {
            return;
        }
        if way == Way::CreateElsewhere {
            eventually("both hosts are up", SOON, async || {
                let capacity = self.server.api().capacity().await;
                if capacity.hosts_up == 2 { Ok(()) } else { Err(format!("{capacity:?}")) }
            })
            .await;
        }
        match way {
            Way::Live | Way::Sweep | Way::LeftCreate => return,
            Way::Leave => return self.server.terminate(),
            // Half of it is over before its owner is warned.
            Way::Warn => self.ask(json!({"ttl": 12})).await,
            Way::Expire => self.ask(json!({"ttl": 3})).await,
            _ => self.ask(json!({})).await,
        }
        let Some(instance) = self.answered.first() else { return };
        let api = self.server.api();
        match way {
            Way::Extend => assert!(api.try_extend(instance, json!("20h")).await.is_err(), "it died while it was asked"),
            Way::Delete => assert!(api.try_delete(instance).await.is_err(), "it died while it was asked"),
            // The first look for what is to be forgotten may come before it.
            Way::Purge => self.deleted = api.try_delete(instance).await.is_ok_and(|answer| answer.status == 204),
            Way::Cordon => assert!(self.order("cordon").await.is_err(), "it died while it was asked"),
            Way::Silence | Way::SilenceForGood => self.door.shut().await,
            Way::SilenceAndReturn => {
                self.door.shut().await;
                eventually("it is unreachable, or the server dead", SOON, async || {
                    match api.try_show(instance).await {
                        Ok(answer) if answer.body["state"] != "unreachable" => Err(format!("{answer:?}")),
                        _ => Ok(()),
                    }
                })
                .await;
                self.door.reopen();
            }
            _ => {}
        }
    }

    /// Asks for an instance of a server that may die of it.
    async fn ask(&mut self, wish: Value) {
        let request = self.server.api().request(Method::POST, "/v1/instances").header("idempotency-key", "one");
        match self.server.api().try_send(request.json(&wish)).await {
            Ok(answer) if answer.status == 201 => self.answered.push(answer.created()),
            Ok(refused) => drop(refused.problem(503)),
            // The server died, and nobody was told anything.
            Err(_) => {}
        }
    }

    /// The operator orders something of the only host.
    async fn order(&self, deed: &str) -> Result<Answer, reqwest::Error> {
        let api = self.server.api();
        let admin = |method, path: &str| api.request(method, path).bearer_auth(self.server.admin_token());
        let hosts = api.try_send(admin(Method::GET, "/v1/admin/hosts")).await?;
        let [host] = &hosts.body["hosts"].as_array().unwrap()[..] else { panic!("{hosts:?}") };
        let path = format!("/v1/admin/hosts/{}/{deed}", host["name"].as_str().unwrap());
        api.try_send(admin(Method::POST, &path)).await
    }

    /// A client repeats what was not answered, and gets what it wants.
    async fn repeat(&mut self, way: Way) {
        let api = self.server.api();
        match (way, self.answered.first()) {
            (Way::Delete, Some(instance)) => {
                let answer = api.delete(instance).await;
                assert!([202, 204, 410].contains(&answer.status), "{answer:?}");
                assert_eq!(api.until_ended(instance).await.body["reason"], "deleted");
            }
            (Way::Extend, Some(instance)) => {
                let answer = api.extend(instance, json!("20h")).await;
                assert!((19 * 3600..=20 * 3600).contains(&answer.instance().expires_in_s));
            }
            (Way::Expire | Way::Warn, Some(instance)) => {
                assert_eq!(api.until_ended(instance).await.body["reason"], "expired");
            }
            // It was ordered, or not; either way it can be taken back, and everybody is served again.
            (Way::Cordon, _) => {
                let answer = self.order("uncordon").await.unwrap();
                assert_eq!((answer.status, &answer.body["cordon"]), (200, &Value::Null), "{answer:?}");
            }
            // Its row may be forgotten, so that nobody knows it any more.
            (Way::Purge, Some(instance)) => {
                let answer = api.show(instance).await;
                assert!(!self.deleted || [404, 410].contains(&answer.status), "{answer:?}");
                // Else it was not told to end before the server died, and lives.
                if answer.body["state"] != "running" {
                    self.answered.clear();
                }
            }
            _ => {}
        }
        let again = eventually("the create that is repeated is answered", RECOVERY, async || {
            let answer = api.post_with_key("one").await;
            // Its host may be silent still.
            let runs = answer.status == 201 && answer.body["state"] == "running";
            if runs { Ok(answer.created()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        if let Some(first) = self.answered.first().filter(|_| matches!(way, Way::Tell | Way::TellTheDeaf)) {
            assert_eq!(again.id, first.id, "the same key is the same instance");
        }
        self.answered.push(again);
    }

    /// The receiver has heard of every instance that was answered.
    async fn everything_was_told(&self) {
        eventually("the receiver is told", RECOVERY, async || {
            let posted = self.receiver.posted();
            let missing: Vec<_> = self
                .answered
                .iter()
                .map(|instance| format!("{}_created", instance.id))
                .filter(|id| !posted.iter().any(|posted| posted.id == *id))
                .collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("not told: {missing:?}")) }
        })
        .await;
    }
}

/// An engine that starts nothing and has nothing.
fn lies() -> Vec<Lie> {
    let always = |method, path, status, body| Lie { method, path, status, body };
    vec![
        always("POST", "/containers/create", "500 Internal Server Error", r#"{"message":"no space left on device"}"#),
        always("GET", "/containers/json", "200 OK", "[]"),
    ]
}
