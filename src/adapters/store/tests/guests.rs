//! Guests: who opens a database beside the server that uses it.

use diesel::connection::SimpleConnection;
use futures_util::future::join_all;
use getaredis_actors::{
    ports::Admitted,
    sim::samples::{a_request, builder, droplet, id, now},
};

use super::{sqlite::by_hand, *};

async fn joined(url: &str) -> SqlStore {
    SqlStore::join(&settings(url)).await.unwrap()
}

async fn refusal(url: &str) -> String {
    SqlStore::join(&settings(url)).await.err().unwrap().to_string()
}

/// The newest of the files that earlier versions left.
fn an_older_file() -> (TempDir, String) {
    let dir = dir();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/adapters/store/tests/earlier");
    let dump = std::fs::read_to_string(folder.join("sqlite-2026-11-26.sql")).unwrap();
    by_hand(&dir).batch_execute(&dump).unwrap();
    let url = url(&dir);
    (dir, url)
}

#[tokio::test]
async fn a_guest_and_the_server_read_what_the_other_one_wrote_and_share_one_gate() {
    let (server, dir) = empty_file().await;
    let guest = joined(&url(&dir)).await;
    assert!(guest.order_builder(&builder("b1", 60), now(), 1).await.unwrap());
    assert_eq!(server.builders().await.unwrap(), [builder("b1", 60)]);
    assert!(!server.order_droplet(&droplet("d1"), 1, OrderBudget::default()).await.unwrap());
    assert!(server.order_droplet(&droplet("d1"), 2, OrderBudget::default()).await.unwrap());
    assert_eq!(guest.droplets().await.unwrap(), [droplet("d1")]);
    assert!(!guest.order_builder(&builder("b2", 60), now(), 2).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_orders_of_a_guest_and_the_server_at_once_no_more_are_written_than_there_may_be() {
    let (server, dir) = empty_file().await;
    let guest = joined(&url(&dir)).await;
    let (droplets, builders): (Vec<_>, Vec<_>) =
        (0..100).map(|n| (droplet(&format!("d{n}")), builder(&format!("b{n}"), 60))).unzip();
    let droplets = join_all(droplets.iter().map(|row| server.order_droplet(row, 7, OrderBudget::default())));
    let builders = join_all(builders.iter().map(|row| guest.order_builder(row, now(), 7)));
    let admissions = join_all((0..100).map(|n| server.admit(a_request(n))));
    let (droplets, builders, admissions) = tokio::join!(droplets, builders, admissions);
    let written = droplets.into_iter().chain(builders).filter(|written| *written.as_ref().unwrap()).count();
    assert_eq!(written, 7);
    assert!(admissions.into_iter().all(|admitted| admitted.unwrap() == Admitted::New), "nobody is turned away for it");
}

#[tokio::test]
async fn a_guest_keeps_no_server_out_and_goes_on_when_one_comes_and_goes() {
    let dir = dir();
    // It is the first of all, and makes the file.
    let guest = joined(&url(&dir)).await;
    for n in 1..=2 {
        let server = opened(&url(&dir)).await;
        assert_eq!(server.admit(a_request(n)).await.unwrap(), Admitted::New);
        assert!(guest.instance(&id(n)).await.unwrap().is_some());
        assert!(guest.order_builder(&builder("b1", 60), now(), 1).await.unwrap());
        let second = SqlStore::open(&settings(&url(&dir))).await.err().unwrap().to_string();
        assert!(second.contains("another getaredis server is using it"), "{second}");
        drop(server);
    }
    drop(guest);
    assert_eq!(opened(&url(&dir)).await.builders().await.unwrap(), [builder("b1", 60)]);
}

#[tokio::test]
async fn a_guest_brings_a_file_up_to_date_that_no_server_uses_and_no_other() {
    let (dir, url) = an_older_file();
    // As a server of the version that left it: it has claimed the file, and knows nothing of what is new.
    let lock = std::fs::File::create(dir.path().join("test.db.lock")).unwrap();
    lock.lock().unwrap();
    let refused = refusal(&url).await;
    assert!(refused.contains("test.db: a getaredis server of another version is using it"), "{refused}");
    assert!(refused.ends_with("start the server of this version first"), "{refused}");
    assert!(by_hand(&dir).batch_execute("SELECT * FROM builders").is_err(), "it was left as it was");
    drop(lock);
    let guest = joined(&url).await;
    assert_eq!(guest.builders().await.unwrap(), []);
    opened(&url).await.ping().await.unwrap();
}

#[tokio::test]
async fn a_guest_is_refused_what_a_server_is() {
    let (server, dir) = empty_file().await;
    for (bad, why) in [
        ("sqlite://", "must be sqlite:// and the path of a file"),
        ("sqlite:///nowhere/at/all.db", "there is no directory /nowhere/at"),
    ] {
        let refused = refusal(bad).await;
        assert!(refused.contains(why), "{refused}");
    }
    let later = "INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231235959')";
    by_hand(&dir).batch_execute(later).unwrap();
    let refused = refusal(&url(&dir)).await;
    assert!(refused.contains("was written by another version of getaredis"), "{refused}");
    drop(server);
    std::fs::hard_link(dir.path().join("test.db"), dir.path().join("twin.db")).unwrap();
    let refused = refusal(&url(&dir)).await;
    assert!(refused.contains("the file has a second name"), "{refused}");
}

#[tokio::test]
async fn on_a_database_server_a_guest_is_one_more_that_opens_it() {
    for kind in Kind::ALL {
        let database = TestDatabase::create(kind).await;
        let guest = joined(&database.url()).await;
        let server = opened(&database.url()).await;
        assert!(guest.order_builder(&builder("b1", 60), now(), 1).await.unwrap());
        assert!(!server.order_droplet(&droplet("d1"), 1, OrderBudget::default()).await.unwrap());
    }
}
