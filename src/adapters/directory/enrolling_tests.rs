//! The users of machines that are bought, on a real redis-server.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use getaredis_actors::{
    domain::{HostName, MasterKey, Timestamp},
    ports::{Droplet, HostProvider, HourlyPrice, Listing, ProviderError},
};

use super::{
    EnrollingProvider, HostUsers,
    enrolling::MISSING,
    test_server::{DEADLINE, PASSWORD, Server},
};
use crate::host_setup::directory_user;

/// Answers every order in the same way; what it lists is up to the test.
struct Shop {
    answer: Result<(), ProviderError>,
    lists: Mutex<Vec<HostName>>,
}

impl Shop {
    fn new(answer: Result<(), ProviderError>) -> Self {
        Self { answer, lists: Mutex::default() }
    }
}

#[async_trait]
impl HostProvider for Shop {
    async fn list(&self) -> Result<Listing, ProviderError> {
        let droplet = |name: &HostName| Droplet {
            name: name.clone(),
            created_at: Timestamp::UNIX_EPOCH,
            address: None,
            is_off: false,
        };
        Ok(Listing { droplets: self.lists.lock().unwrap().iter().map(droplet).collect(), builders: Vec::new() })
    }

    async fn create(&self, _: &HostName) -> Result<(), ProviderError> {
        self.answer.clone()
    }

    async fn delete(&self, _: &HostName) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn forget(&self, _: &HostName) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn price(&self) -> Result<HourlyPrice, ProviderError> {
        Ok(HourlyPrice(1))
    }
}

fn users(server: &Server) -> Arc<HostUsers> {
    Arc::new(HostUsers::new(server.settings("p:", PASSWORD), Arc::new(MasterKey::new([7; 32]))).unwrap())
}

/// One of several servers, and what the provider's list says to it.
struct Control {
    shop: Arc<Shop>,
    users: Arc<HostUsers>,
    provider: EnrollingProvider,
}

impl Control {
    fn of(server: &Server) -> Self {
        let (shop, users) = (Arc::new(Shop::new(Ok(()))), users(server));
        Self { provider: EnrollingProvider::new(shop.clone(), Arc::clone(&users)), shop, users }
    }

    async fn reads(&self, list: &[&HostName]) {
        *self.shop.lists.lock().unwrap() = list.iter().map(|name| (*name).clone()).collect();
        self.provider.list().await.unwrap();
    }
}

/// As long as it takes until a machine that is missing is given up.
async fn after_long() {
    tokio::time::pause();
    tokio::time::advance(MISSING).await;
    tokio::time::resume();
}

/// Whether the directory has a user for this machine.
async fn is_let_in(server: &Server, machine: &HostName) -> bool {
    let mut control = server.connection().await.unwrap();
    let users: Vec<String> = redis::cmd("ACL").arg("USERS").query_async(&mut control).await.unwrap();
    users.contains(&directory_user("p:", machine))
}

#[tokio::test]
async fn a_machine_has_a_user_for_as_long_as_it_may_be_there() {
    let server = Server::start().await;
    let machine = HostName::parse("droplet-1").unwrap();
    let sells = |answer| EnrollingProvider::new(Arc::new(Shop::new(answer)), users(&server));
    let refused = ProviderError::SoldOut("none left".to_owned());
    assert_eq!(sells(Err(refused.clone())).create(&machine).await, Err(refused));
    assert!(!is_let_in(&server, &machine).await, "it was not sold");

    let unknown = ProviderError::Unknown("no answer".to_owned());
    for answer in [Err(unknown), Ok(())] {
        let shop = sells(answer.clone());
        assert_eq!(shop.create(&machine).await, answer);
        assert!(is_let_in(&server, &machine).await, "it may be there");
        shop.forget(&machine).await.unwrap();
        assert!(!is_let_in(&server, &machine).await, "it turned out not to be there");
        shop.create(&machine).await.ok();
        shop.delete(&machine).await.unwrap();
        assert!(!is_let_in(&server, &machine).await, "it was deleted");
        // Both may be repeated.
        shop.forget(&machine).await.unwrap();
        shop.delete(&machine).await.unwrap();
    }
}

#[tokio::test]
async fn a_list_that_lags_behind_brings_no_user_back_that_was_taken_away() {
    let server = Server::start().await;
    let (leader, follower) = (Control::of(&server), Control::of(&server));
    let machine = HostName::parse("droplet-1").unwrap();
    leader.provider.create(&machine).await.unwrap();
    for control in [&leader, &follower] {
        control.reads(&[&machine]).await;
    }
    leader.provider.delete(&machine).await.unwrap();
    for control in [&follower, &leader] {
        control.reads(&[&machine]).await;
        control.reads(&[]).await;
        control.reads(&[&machine]).await;
        assert!(!is_let_in(&server, &machine).await);
    }
}

#[tokio::test]
async fn a_machine_that_is_gone_from_the_lists_loses_the_user_that_a_late_server_made_for_it() {
    let mut server = Server::start().await;
    let late = Control::of(&server);
    let (machine, stays) = (HostName::parse("droplet-1").unwrap(), HostName::parse("droplet-2").unwrap());
    // It has never seen the machine, and the list that it reads first is an old one.
    late.reads(&[&machine, &stays]).await;
    assert!(is_let_in(&server, &machine).await);
    late.reads(&[&stays]).await;
    assert!(is_let_in(&server, &machine).await, "one list says little");
    after_long().await;
    late.reads(&[&stays]).await;
    assert!(!is_let_in(&server, &machine).await);
    assert!(is_let_in(&server, &stays).await);

    server.restart().await;
    while late.users.renew(Some("another run"), std::iter::empty()).await.is_err() {}
    assert!(is_let_in(&server, &stays).await);
    assert!(!is_let_in(&server, &machine).await, "nobody remembers it");
}

#[tokio::test]
async fn a_machine_that_announces_itself_keeps_its_user_whatever_the_lists_say() {
    let server = Server::start().await;
    let control = Control::of(&server);
    let machine = HostName::parse("droplet-1").unwrap();
    control.reads(&[&machine]).await;
    server.set("p:server:droplet-1", "{}").await;
    control.reads(&[]).await;
    after_long().await;
    control.reads(&[]).await;
    assert!(is_let_in(&server, &machine).await);
    server.command(redis::cmd("DEL").arg("p:server:droplet-1")).await;
    control.reads(&[]).await;
    assert!(!is_let_in(&server, &machine).await);
}

#[tokio::test]
async fn while_the_directory_is_away_nothing_is_ordered_and_nobody_has_refused() {
    let mut server = Server::start().await;
    let (unasked, machine) = (ProviderError::Refused("it was asked".to_owned()), HostName::parse("droplet-1").unwrap());
    let provider = EnrollingProvider::new(Arc::new(Shop::new(Err(unasked))), users(&server));
    server.kill();
    let answer = provider.create(&machine).await;
    assert!(matches!(&answer, Err(error @ ProviderError::NotYet(_)) if error.without_effect()), "{answer:?}");
}

#[tokio::test]
async fn a_directory_that_is_away_for_a_list_lets_machines_in_with_the_next_one() {
    let mut server = Server::start().await;
    let control = Control::of(&server);
    let machine = HostName::parse("droplet-1").unwrap();
    server.kill();
    control.reads(&[&machine]).await;
    server.restart_after_kill().await;
    let start = std::time::Instant::now();
    while !is_let_in(&server, &machine).await {
        assert!(start.elapsed() < DEADLINE, "it was never let in");
        control.reads(&[&machine]).await;
    }
}
