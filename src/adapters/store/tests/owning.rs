//! Whose database it is.

use super::*;

pub(super) fn owner(deployment: &str, key: &str) -> Owner {
    Owner { deployment: DeploymentId::parse(deployment).unwrap(), key_fingerprint: key.to_owned() }
}

async fn belongs_to_its_first_owner_until_it_is_taken_over(store: &SqlStore) {
    let mine = owner("mine", "k1");
    tokio::try_join!(store.claim(mine.clone(), false), store.claim(mine.clone(), false)).unwrap();
    for (other, said) in [
        (owner("other", "k1"), "it belongs to the deployment `mine`, and fleet.deployment is `other`; set that back"),
        (owner("mine", "k2"), "another master key; put that key back (instances.master_key_file)"),
    ] {
        let Err(StoreError::Unavailable(why)) = store.claim(other.clone(), false).await else { panic!("{other:?}") };
        assert!(why.contains(said) && !why.contains("k1"), "{why}");
        store.claim(mine.clone(), false).await.unwrap();
        store.claim(other.clone(), true).await.unwrap();
        assert!(store.claim(mine.clone(), false).await.is_err());
        store.claim(other, false).await.unwrap();
        store.claim(mine.clone(), true).await.unwrap();
    }
}

/// A guest is let in by the deployment alone, and leaves a database that is nobody's as it is.
async fn a_guest_is_let_into_its_deployments_database(store: &SqlStore) {
    let visit = |deployment: &str| store.visit(DeploymentId::parse(deployment).unwrap());
    assert!(!visit("other").await.unwrap());
    store.claim(owner("mine", "k1"), false).await.unwrap();
    assert!(visit("mine").await.unwrap());
    let Err(StoreError::Unavailable(why)) = visit("other").await else { panic!("it was let in") };
    assert!(why.starts_with("cannot use the database: it belongs to the deployment `mine`, and"), "{why}");
    store.claim(owner("mine", "k1"), false).await.unwrap();
}

#[tokio::test]
async fn a_guest_is_let_into_a_database_of_its_deployment_and_of_nobody() {
    let (file, _dir) = empty_file().await;
    a_guest_is_let_into_its_deployments_database(&file).await;
    for kind in Kind::ALL {
        let (store, _database) = empty(kind).await;
        a_guest_is_let_into_its_deployments_database(&store).await;
    }
}

#[tokio::test]
async fn a_sqlite_file_belongs_to_its_first_owner_until_it_is_taken_over() {
    let (store, _dir) = empty_file().await;
    belongs_to_its_first_owner_until_it_is_taken_over(&store).await;
}

async fn of_two_that_claim_it_at_once_one_gets_it(kind: Kind) {
    let (one, two, _database) = two(kind).await;
    let claims = tokio::join!(one.claim(owner("a", "k"), false), two.claim(owner("b", "k"), false));
    assert!(claims.0.is_ok() != claims.1.is_ok(), "{claims:?}");
}

#[tokio::test]
async fn a_database_of_mysql_belongs_to_its_first_owner_until_it_is_taken_over() {
    let (store, _database) = empty_mysql().await;
    belongs_to_its_first_owner_until_it_is_taken_over(&store).await;
    of_two_that_claim_it_at_once_one_gets_it(Kind::Mysql).await;
}

#[tokio::test]
async fn a_database_of_postgres_belongs_to_its_first_owner_until_it_is_taken_over() {
    let (store, _database) = empty_postgres().await;
    belongs_to_its_first_owner_until_it_is_taken_over(&store).await;
    of_two_that_claim_it_at_once_one_gets_it(Kind::Postgres).await;
}
