//! A droplet that people live on, beside an empty one: what most faults are tried on.

use getaredis_testbed::droplet::Droplet;
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::{
    SOON,
    api::Instance,
    eventually,
    tenant::{connect, must_work, ping},
    world::World,
};

/// Why a host is unreachable that neither answers nor announces itself, whichever was noticed first.
pub(crate) const SILENT: &[&str] = &["no answer within", "its announcement ran out"];

/// See the module's header.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    /// What they live on.
    pub(crate) machine: Droplet,
    /// They fill it.
    pub(crate) tenants: [Instance; 2],
    /// Their connections, open since they came.
    connections: Vec<MultiplexedConnection>,
}

impl<'a> Scene<'a> {
    /// Starts the server and waits until there are both droplets.
    pub(crate) async fn set(world: &'a World) -> Self {
        world.start();
        let only = world.settles_at(1).await.pop_first().unwrap();
        Self::on(world, &only).await
    }

    /// People come to live on this droplet, the only one that takes anybody.
    pub(crate) async fn on(world: &'a World, only: &str) -> Self {
        let tenants = [world.api().create().await, world.api().create().await];
        world.settles_at(2).await;
        let (machine, mut connections) = (world.machine(only), Vec::new());
        for tenant in &tenants {
            connections.push(connect(&tenant.redis_url).await.unwrap());
            assert_eq!(world.home_of(tenant).name(), only, "a host is filled before the next one is used");
        }
        Self { world, machine, tenants, connections }
    }

    /// The droplet's name.
    pub(crate) fn name(&self) -> &str {
        self.machine.name()
    }

    /// Whoever was connected notices nothing.
    pub(crate) async fn stays_connected(&self) {
        for connection in &self.connections {
            let answer: String = redis::cmd("PING").query_async(&mut connection.clone()).await.unwrap();
            assert_eq!(answer, "PONG");
        }
    }

    /// Everybody who lives there reaches it.
    pub(crate) async fn is_reached(&self) {
        for tenant in &self.tenants {
            assert_eq!(ping(&tenant.redis_url).await.unwrap(), "PONG");
        }
    }

    /// The operator sees the droplet in this state; their page's words about it.
    pub(crate) async fn shows(&self, state: &str) -> Value {
        self.world.shows(self.name(), state).await
    }

    /// All that is told of a host whose engine does not answer: to the operator, in some of these words, to its tenants,
    /// and to others, who are served elsewhere.
    pub(crate) async fn is_unreachable(&self, why: &[&str]) {
        // On a busy machine the first probe may have got no answer at all, whatever the next ones get.
        eventually(&format!("it is shown as unreachable for one of {why:?}"), SOON, async || {
            let shown = self.shows("unreachable").await;
            let reason = shown["reason"].as_str().unwrap_or_default();
            if why.iter().any(|words| reason.contains(words)) { Ok(()) } else { Err(shown.to_string()) }
        })
        .await;
        self.world.logs(&["host.unreachable", "host.lost"], self.name()).await;
        self.world.explains(&format!("{}: it is silent and carries 2 instances", self.name())).await;
        self.tenants_are("unreachable").await;
        self.others_are_served_elsewhere().await;
    }

    /// What the tenants are answered about their instances.
    pub(crate) async fn tenants_are(&self, state: &str) {
        for tenant in &self.tenants {
            self.tenant_is(tenant, state).await;
        }
    }

    /// What one tenant is answered.
    pub(crate) async fn tenant_is(&self, tenant: &Instance, state: &str) {
        let shown = eventually(&format!("the tenant is told {state}"), SOON, async || {
            let answer = self.world.api().show(tenant).await;
            if answer.body["state"] == state { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await;
        assert_eq!(shown.status, 200);
        let silent = shown.body["unreachable_since"].is_string();
        assert_eq!(silent, state == "unreachable", "{shown:?}");
    }

    /// Whoever comes now gets a Redis, and not on this droplet.
    pub(crate) async fn others_are_served_elsewhere(&self) {
        let other = self.world.api().create().await;
        assert_ne!(self.world.home_of(&other).name(), self.name());
        must_work(&other).await;
        assert_eq!(self.world.api().delete(&other).await.status, 204);
        self.world.api().until_ended(&other).await;
    }

    /// The fault is over: all is as before.
    pub(crate) async fn is_well_again(&self) {
        let shown = self.shows("up").await;
        assert!(shown["reason"].is_null(), "{shown}");
        self.tenants_are("running").await;
        eventually("everybody reaches it again", SOON, async || {
            for tenant in &self.tenants {
                ping(&tenant.redis_url).await.map_err(|error| error.to_string())?;
            }
            Ok(())
        })
        .await;
        assert!(self.world.paid_for().contains(self.name()), "no droplet with a live instance is deleted");
    }

    /// Waits until the droplet, of which a part is free, is given instances.
    pub(crate) async fn takes_instances_again(&self) {
        let world = self.world;
        let back = async || {
            let other = world.api().create().await;
            let home = world.home_of(&other).name().to_owned();
            must_work(&other).await;
            assert_eq!(world.api().delete(&other).await.status, 204);
            if home == self.name() { Ok(()) } else { Err(home) }
        };
        eventually("the droplet takes instances again", SOON, back).await;
    }
}
