//! The users of machines that are bought, on a real redis-server.

use std::sync::Arc;

use async_trait::async_trait;
use getaredis_actors::{
    domain::{HostName, MasterKey},
    ports::{Droplet, HostProvider, HourlyPrice, ProviderError},
};

use super::{
    EnrollingProvider, HostUsers,
    test_server::{PASSWORD, Server},
};
use crate::host_setup::directory_user;

/// Answers every order in the same way, and has nothing.
struct Shop(Result<(), ProviderError>);

#[async_trait]
impl HostProvider for Shop {
    async fn list(&self) -> Result<Vec<Droplet>, ProviderError> {
        Ok(Vec::new())
    }

    async fn create(&self, _: &HostName) -> Result<(), ProviderError> {
        self.0.clone()
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
    let sells = |answer| {
        let users = HostUsers::new(server.settings("p:", PASSWORD), Arc::new(MasterKey::new([7; 32]))).unwrap();
        EnrollingProvider::new(Arc::new(Shop(answer)), Arc::new(users))
    };
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
