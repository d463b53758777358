//! The server dies at every step of a bought host's life, on every database, and the next one pays for no host that it
//! does not know, and knows of none that it does not pay for.
//!
//! The provider is the imitation of DigitalOcean's API in this process. All its machines stand for the one engine that
//! the tests have, so there is never more than one of them.

use std::{net::Ipv4Addr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};
use getaredis::adapters::{
    crash_points,
    store::{SqlStore, StoreSettings},
};
use getaredis_actors::ports::{DropletState, Store};
use getaredis_testbed::api::{
    Api as Cloud, Fault, RateLimits, Settings,
    heartbeats::{Announce, Heartbeats, InRedis, Machine},
    machines::Addresses,
};
use reqwest::Method;

use crate::{
    backend::{Backend, tidy_up},
    databases::TestDatabase,
    support::{
        agreement::everything_agrees,
        api::{Answer, Instance, http},
        directory::DirectoryServer,
        eventually,
        proxy::EngineDoor,
        server::Server,
        unique,
    },
};

/// Scenarios that are played at once; most of them wait for a grace that is over in its own time.
const AT_ONCE: usize = 8;

/// Longest time until the pool is what it should be: a dead server is waited for, then the provider's list.
const SETTLED: Duration = Duration::from_secs(90);

const TOKEN: &str = "dop_v1_0123456789";

/// How long a machine is known after its last heartbeat.
const TTL: Duration = Duration::from_secs(4);

/// What is done until the server dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A host is ordered.
    Order,
    /// One that nobody needs is given back.
    GiveBack,
    /// Somebody else deleted it.
    Vanish,
    /// It was to be deleted and carries an instance.
    Keep,
    /// The provider does not say what became of an order.
    Refuse,
    /// The operator keeps it from being given instances.
    Cordon,
    /// The operator pauses the pool.
    Pause,
    /// A bake that was cut off has left a row, which is over.
    Overdue,
}

/// The ways on which a point of bought hosts is passed; none for any other point.
fn ways(point: &str) -> &'static [Way] {
    match point {
        "store.order_droplet" | "hostprovider.create" | "store.confirm_droplet" => &[Way::Order],
        "store.condemn_droplet" | "hostprovider.delete" | "store.bury_droplet" | "store.remove_droplet" => {
            &[Way::GiveBack]
        }
        "hostprovider.forget" => &[Way::Vanish],
        "store.keep_droplet" => &[Way::Keep],
        "store.hold_orders" => &[Way::Refuse],
        "store.order_cordon" => &[Way::Cordon],
        "store.order_pause" => &[Way::Pause],
        "store.close_builder" => &[Way::Overdue],
        _ => &[],
    }
}

/// Whether it is passed here.
pub fn passes(point: &str) -> bool {
    !ways(point).is_empty()
}

// What keeps the machines' hearts beating and the doors open must not wait for a database that is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_die_at_every_step_of_a_bought_host_on_every_database() {
    let directory = &DirectoryServer::start().await;
    let mut all = Vec::new();
    for backend in Backend::ALL {
        for point in crash_points::names() {
            let sides = || ["before", "after"].map(|side| format!("{point}:{side}"));
            all.extend(ways(point).iter().flat_map(|way| sides().map(|point| (backend, point, *way))));
        }
    }
    assert!(all.len() >= 72, "only {} scenarios", all.len());
    let failed: Vec<_> = stream::iter(all)
        .map(async |(backend, point, way)| {
            let played = AssertUnwindSafe(Scenario::play(directory, backend, &point, way)).catch_unwind().await;
            played.is_err().then(|| format!("{way:?} on {backend:?} with a crash at {point}"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Machines that announce themselves where the tests' engine is.
struct Here(InRedis);

#[async_trait]
impl Announce for Here {
    async fn beat(&self, machine: &Machine) {
        let addresses = Addresses { public: Ipv4Addr::LOCALHOST, private: Ipv4Addr::LOCALHOST };
        self.0.beat(&Machine { addresses, ..machine.clone() }).await;
    }

    async fn gone(&self, machine: &Machine) {
        self.0.gone(machine).await;
    }
}

/// One life of a server until its crash, and the next one.
struct Scenario {
    server: Server,
    cloud: Cloud,
    backend: Backend,
    database: Option<TestDatabase>,
    answered: Vec<Instance>,
}

impl Scenario {
    async fn play(directory: &DirectoryServer, backend: Backend, point: &str, way: Way) {
        let (database, url) = backend.create().await;
        let prefix = format!("{}:", unique());
        let announce = Here(InRedis::connect(&directory.url(), &prefix, TTL).await.unwrap());
        let machines = Heartbeats::new(Duration::from_millis(500), Duration::from_millis(500), Arc::new(announce));
        let cloud = Cloud::start(TOKEN, Settings::default(), Arc::new(machines)).unwrap();
        cloud.limit_rates(RateLimits { per_hour: 1_000_000, per_minute: 1_000_000 });
        let door = EngineDoor::open().await;
        let server = Server::unstarted(&[
            ("database.url", url.as_str()),
            ("database.pool", "3"),
            // There are many servers, and how fast a database lets them in is not what is tested.
            ("database.acquire_timeout", "20s"),
            ("docker.network", "bridge"),
            ("docker.publish_address", "0.0.0.0"),
            ("directory.kind", "redis"),
            ("directory.url", &directory.url()),
            ("directory.prefix", &prefix),
            ("directory.endpoint", &format!("tcp://{{private_address}}:{}", door.port())),
            ("directory.poll", "500ms"),
            ("directory.ttl", "4s"),
            ("fleet.provider", "digitalocean"),
            ("fleet.pass_every", "1s"),
            ("fleet.standby", "1"),
            ("fleet.max_hosts", "1"),
            ("fleet.idle", "0s"),
            ("fleet.cooldown", "0s"),
            ("fleet.retry_after", "1s"),
            ("fleet.list_grace", "4s"),
            ("digitalocean.api", cloud.url()),
            ("digitalocean.call_timeout", "2s"),
            ("digitalocean.token_file", "token"),
            ("digitalocean.user_data_file", "droplet.sh"),
            ("digitalocean.placements", r#"[{ region = "fra1", size = "s-1vcpu-1gb" }]"#),
        ]);
        std::fs::write(server.home().join("token"), TOKEN).unwrap();
        std::fs::write(server.home().join("droplet.sh"), "#!/bin/sh\n").unwrap();
        let mut scenario = Self { server, cloud, backend, database, answered: Vec::new() };
        scenario.go(way, point).await;
        scenario.server.crashes_within(SETTLED).await;

        scenario.server.crash_at(None);
        // It need not be ready for visitors to look after the pool.
        scenario.server.launch().await;
        let hosts = scenario.take_back(way, point).await;
        scenario.settles_at(hosts).await;
        if matches!(way, Way::Order | Way::Refuse) {
            scenario.answered.push(scenario.server.api().create().await);
        }
        let alive = everything_agrees(&scenario.server, &scenario.answered).await;
        assert_eq!(alive.len(), scenario.answered.len(), "what was created lives");
        scenario.rows_are_droplets().await;
        tidy_up((scenario, door)).await;
    }

    /// What leads to the crash.
    async fn go(&mut self, way: Way, point: &str) {
        if !matches!(way, Way::Order | Way::Refuse) {
            self.server.start_again().await;
            self.settles_at(1).await;
            if way == Way::Keep {
                self.answered.push(self.server.api().create().await);
            }
            // Nobody waits for one that ended in good order.
            self.server.terminate();
            assert!(self.server.ended().await.success());
        }
        match way {
            Way::Vanish => self.delete_by_hand().await,
            // As by a server that saw it empty.
            Way::Keep => self.execute("UPDATE droplets SET state = 'deleting'").await,
            Way::GiveBack => self.server.set_environment(&[("GETAREDIS__FLEET__STANDBY", "0")]),
            Way::Refuse => self.cloud.fault(Fault::on("POST", "/v2/droplets").status(500)),
            Way::Overdue => self.execute("INSERT INTO builders (name, ends_at) VALUES ('getaredis-b', 1)").await,
            Way::Order | Way::Cordon | Way::Pause => {}
        }
        self.server.crash_at(Some(point));
        if !self.server.try_start_again().await {
            return;
        }
        let order = match way {
            Way::Cordon => {
                self.settles_at(1).await;
                let host = &self.cloud.droplets()[0].name;
                format!("hosts/{host}/cordon")
            }
            Way::Pause => "scaling/pause".to_owned(),
            _ => return,
        };
        assert!(self.order(&order).await.is_err(), "it died while it was asked");
    }

    /// Takes back what the operator ordered before the crash. Returns how many hosts there should be.
    async fn take_back(&self, way: Way, point: &str) -> usize {
        let was_written = point.ends_with(":after");
        match way {
            Way::GiveBack => return 0,
            Way::Pause => {
                eventually("the pause that was written holds", SETTLED, async || {
                    let scaling = self.look("scaling").await;
                    let followed = scaling.body["paused"] == was_written && scaling.body["passes"] != 0;
                    if followed { Ok(()) } else { Err(format!("{scaling:?}")) }
                })
                .await;
                assert_eq!(self.order("scaling/resume").await.unwrap().body["paused"], false);
            }
            Way::Cordon => {
                self.settles_at(1).await;
                let hosts = self.look("hosts").await;
                assert_eq!(!hosts.body["hosts"][0]["cordon"].is_null(), was_written, "{hosts:?}");
                let host = &self.cloud.droplets()[0].name;
                assert_eq!(self.order(&format!("hosts/{host}/uncordon")).await.unwrap().status, 200);
            }
            Way::Order | Way::Refuse | Way::Vanish | Way::Keep | Way::Overdue => {}
        }
        1
    }

    /// Waits until there are so many hosts, each up and paid for, and the passes find nothing to do.
    async fn settles_at(&self, hosts: usize) {
        let mut since = None;
        eventually(&format!("the pool has {hosts} hosts and leaves it at that"), SETTLED, async || {
            let scaling = self.look("scaling").await;
            let paid = self.cloud.droplets().len();
            let known = scaling.body["droplets"].as_array().map_or(usize::MAX, Vec::len);
            let done = [&scaling.body["created"], &scaling.body["deleted"]].iter().all(|count| **count == 0);
            let passes = scaling.body["passes"].as_u64().unwrap_or_default();
            // A dead server is believed to look after it for a while.
            let leads = !scaling.body["explanation"].to_string().contains("another server looks after the pool");
            let is_settled = (paid, known) == (hosts, hosts) && done && leads && self.hosts_up().await == hosts;
            since = since.filter(|_| is_settled).or(is_settled.then_some(passes));
            // Its own pass may have begun before that.
            if since.is_some_and(|since| passes > since + 1) { Ok(()) } else { Err(format!("{paid}, {scaling:?}")) }
        })
        .await;
        assert!(self.cloud.most_droplets() <= 1, "{} droplets at once", self.cloud.most_droplets());
    }

    /// The server ends, and what it leaves in the database is what is paid for.
    async fn rows_are_droplets(&mut self) {
        self.server.terminate();
        assert!(self.server.ended().await.success());
        let file = || format!("sqlite://{}", self.server.home().join("getaredis.db").display());
        let url = self.database.as_ref().map_or_else(file, TestDatabase::url).into();
        let settings = StoreSettings { url, pool: 2, acquire_timeout: SETTLED, tls_ca: None };
        // It may be busy with the others' databases.
        let (rows, builders) = eventually("the database tells its droplets", SETTLED, async || {
            let store = SqlStore::open(&settings).await.map_err(|why| why.to_string())?;
            let (droplets, builders) = (store.droplets().await, store.builders().await);
            Ok((droplets.map_err(|why| why.to_string())?, builders.map_err(|why| why.to_string())?))
        })
        .await;
        assert_eq!(builders, []);
        let rows = rows.into_iter().filter(|row| row.state != DropletState::Deleted);
        let rows: Vec<_> = rows.map(|row| (row.name.to_string(), row.state)).collect();
        let paid = self.cloud.droplets().into_iter().map(|droplet| (droplet.name, DropletState::Created));
        assert_eq!(rows, paid.collect::<Vec<_>>());
    }

    async fn hosts_up(&self) -> usize {
        let capacity = self.server.api().get("/v1/capacity").await;
        capacity.body["hosts_up"].as_u64().map_or(usize::MAX, |hosts| hosts as usize)
    }

    async fn delete_by_hand(&self) {
        let url = format!("{}/v2/droplets/{}", self.cloud.url(), self.cloud.droplets()[0].id);
        let answer = http().delete(url).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    async fn execute(&self, sql: &str) {
        match (self.backend, &self.database) {
            (Backend::Server(_), Some(database)) => database.execute(sql).await,
            _ => self.server.execute(sql),
        }
    }

    async fn look(&self, what: &str) -> Answer {
        self.admin(Method::GET, what).await.unwrap()
    }

    async fn order(&self, what: &str) -> Result<Answer, reqwest::Error> {
        self.admin(Method::POST, what).await
    }

    async fn admin(&self, method: Method, what: &str) -> Result<Answer, reqwest::Error> {
        let api = self.server.api();
        let request = api.request(method, &format!("/v1/admin/{what}")).bearer_auth(self.server.admin_token());
        api.try_send(request).await
    }
}
