//! What only a database server can do to the store: go away, come back, hang, refuse, take another's side.

use std::time::Instant;

use getaredis_actors::{
    ports::Admitted,
    sim::samples::{a_request, id, now},
};

use super::{databases::DatabaseServer, *};

/// What the brain grants a call to the store.
const BRAINS_PATIENCE: Duration = Duration::from_secs(5);

async fn on_a_server_of_its_own(kind: Kind) -> (SqlStore, TestDatabase, DatabaseServer) {
    let server = DatabaseServer::start(kind).await;
    let database = TestDatabase::create_on(&server).await;
    let patient = StoreSettings { acquire_timeout: Duration::from_secs(2), ..settings(&database.url()) };
    (SqlStore::open(&patient).await.unwrap(), database, server)
}

async fn is_unavailable_in_time(store: &SqlStore, kind: Kind) {
    let asked = Instant::now();
    let refused = store.admit(a_request(7)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{kind:?}: {refused:?}");
    assert!(asked.elapsed() < BRAINS_PATIENCE, "{kind:?}: {:?}", asked.elapsed());
}

/// Waits until it does: connections are made anew after a pause.
async fn answers_again(store: &SqlStore, kind: Kind) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(why) = store.ping().await {
        assert!(matches!(why, StoreError::Unavailable(_)), "{kind:?}: {why:?}");
        assert!(Instant::now() < deadline, "{kind:?}: {why}");
    }
}

async fn survives_the_death_of_its_server(kind: Kind) {
    let (store, _database, mut server) = on_a_server_of_its_own(kind).await;
    assert_eq!(store.admit(a_request(1)).await.unwrap(), Admitted::New);
    // Every connection of the pool is in use when the server goes.
    for round in 2..4 {
        let callers = (0..8).map(|n| store.admit(a_request(100 * round + n)));
        futures_util::future::join_all(callers).await.into_iter().for_each(|answer| {
            answer.unwrap();
        });
        if round == 2 {
            server.kill().await
        } else {
            server.stop().await
        }
        is_unavailable_in_time(&store, kind).await;
        server.start_again().await;
        answers_again(&store, kind).await;
    }
    assert_eq!(store.live(None, u32::MAX).await.unwrap().len(), 17);
}

#[tokio::test]
async fn a_store_survives_the_death_of_mysql() {
    survives_the_death_of_its_server(Kind::Mysql).await;
}

#[tokio::test]
async fn a_store_survives_the_death_of_postgres() {
    survives_the_death_of_its_server(Kind::Postgres).await;
}

async fn survives_a_server_that_hangs(kind: Kind) {
    let (store, _database, server) = on_a_server_of_its_own(kind).await;
    assert_eq!(store.admit(a_request(1)).await.unwrap(), Admitted::New);
    server.freeze();
    let asked = Instant::now();
    let callers: Vec<_> = futures_util::future::join_all((10..22).map(|n| store.admit(a_request(n)))).await;
    assert!(callers.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))), "{callers:?}");
    assert!(asked.elapsed() < BRAINS_PATIENCE, "{kind:?}: {:?}", asked.elapsed());
    is_unavailable_in_time(&store, kind).await;
    server.thaw();
    answers_again(&store, kind).await;
    // What was given up while it hung holds no lock and no place in the pool. On a busy machine not all have their turn in time.
    let thawed = Instant::now();
    let admit = async |n| loop {
        match store.admit(a_request(n)).await {
            Err(StoreError::Unavailable(why))
                if why.contains("became free") && thawed.elapsed() < 3 * BRAINS_PATIENCE => {}
            answer => break answer,
        }
    };
    let callers = futures_util::future::join_all((30..42).map(admit)).await;
    assert!(callers.iter().all(|answer| matches!(answer, Ok(Admitted::New))), "{callers:?}");
}

#[tokio::test]
async fn a_store_survives_a_mysql_that_hangs() {
    survives_a_server_that_hangs(Kind::Mysql).await;
}

#[tokio::test]
async fn a_store_survives_a_postgres_that_hangs() {
    survives_a_server_that_hangs(Kind::Postgres).await;
}

/// Somebody else in the database, in a transaction.
pub(super) struct Rival {
    say: tokio::sync::mpsc::UnboundedSender<&'static str>,
    said: tokio::sync::mpsc::UnboundedReceiver<Result<(), String>>,
}

const BEGIN: &str = "BEGIN";
const TAKE_THE_COUNTER: &str = "SELECT value FROM counters WHERE name = 'live' FOR UPDATE";
const TAKE_THE_ROW: &str = "SELECT id FROM instances FOR UPDATE";
pub(super) const END: &str = "ROLLBACK";

impl Rival {
    /// One that has taken the row through which every admission goes.
    async fn enter(database: &TestDatabase) -> Self {
        let mut rival = Self::begin(database).await;
        rival.does(TAKE_THE_COUNTER).await.unwrap();
        rival
    }

    pub(super) async fn begin(database: &TestDatabase) -> Self {
        let (say, mut words) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
        let (answer, said) = tokio::sync::mpsc::unbounded_channel();
        let (kind, url) = (database.kind, database.url());
        tokio::spawn(async move {
            match kind {
                Kind::Mysql => {
                    let mut conn = mysql_async::Conn::from_url(&url).await.unwrap();
                    while let Some(sql) = words.recv().await {
                        let done = mysql_async::prelude::Queryable::query_drop(&mut conn, sql).await;
                        let _ = answer.send(done.map_err(|e| e.to_string()));
                    }
                }
                Kind::Postgres => {
                    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                    tokio::spawn(connection);
                    while let Some(sql) = words.recv().await {
                        let done = client.batch_execute(sql).await;
                        let _ = answer.send(done.map_err(|e| format!("{e:?}")));
                    }
                }
            }
        });
        let mut rival = Self { say, said };
        rival.does(BEGIN).await.unwrap();
        rival
    }

    fn begins(&self, sql: &'static str) {
        self.say.send(sql).unwrap();
    }

    pub(super) async fn does(&mut self, sql: &'static str) -> Result<(), String> {
        self.begins(sql);
        self.said.recv().await.unwrap()
    }
}

#[tokio::test]
async fn a_lock_that_is_held_for_a_while_is_waited_for_and_one_that_is_held_on_is_unavailable() {
    for kind in Kind::ALL {
        let (store, database) = empty(kind).await;
        let mut rival = Rival::enter(&database).await;
        is_unavailable_in_time(&store, kind).await;
        let waiting = store.admit(a_request(1));
        let patience = async {
            // Longer than the server lets one statement wait for a lock.
            tokio::time::sleep(Duration::from_millis(1300)).await;
            rival.does(END).await.unwrap();
        };
        let (admitted, ()) = futures_util::future::join(waiting, patience).await;
        assert_eq!(admitted.unwrap(), Admitted::New, "{kind:?}");
        assert_eq!(store.instance(&id(7)).await.unwrap(), None, "{kind:?}: what was given up did not happen");
    }
}

#[tokio::test]
async fn a_deadlock_never_reaches_the_caller() {
    for kind in Kind::ALL {
        let (store, database) = empty(kind).await;
        store.admit(a_request(1)).await.unwrap();
        for _ in 0..3 {
            let mut rival = Rival::enter(&database).await;
            // Takes the row and then wants the counter, while the rival has the counter and wants the row.
            let first = id(1);
            let ending = store.apply(&first, &InstanceEvent::ConfirmedGone, now());
            let against = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let _ = rival.does(TAKE_THE_ROW).await;
                rival.does(END).await.unwrap();
            };
            let (ended, ()) = futures_util::future::join(ending, against).await;
            ended.unwrap();
            store.purge(Timestamp::MAX, 9).await.unwrap();
            store.admit(a_request(1)).await.unwrap();
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Patience {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    seconds: i64,
}

/// Else what a server has locked whose machine is gone would stay locked for hours, and with it all admissions.
#[tokio::test]
async fn a_mysql_session_that_falls_silent_is_ended_soon_but_not_before_the_pool_closes_an_idle_one() {
    let (store, _database) = empty(Kind::Mysql).await;
    let super::super::Database::Mysql(database) = &store.database else { panic!("it is not MySQL") };
    let mut conn = database.write.get().await.unwrap();
    let question = diesel::sql_query("SELECT CAST(@@SESSION.wait_timeout AS SIGNED) AS seconds");
    let Patience { seconds } = diesel_async::RunQueryDsl::get_result(question, &mut *conn).await.unwrap();
    let idle = i64::try_from(super::super::pool::IDLE.as_secs()).unwrap();
    assert!((2 * idle + 1..=300).contains(&seconds), "{seconds} s");
}

async fn refusal(url: &str) -> String {
    let refused = SqlStore::open(&settings(url)).await.err().unwrap();
    let StoreError::Unavailable(why) = refused else { panic!("{refused:?}") };
    assert!(!why.contains("hunter2") && !why.contains(":test@"), "{why}");
    why
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_named_with_the_remedy_and_without_the_password() {
    for kind in Kind::ALL {
        let database = TestDatabase::create(kind).await;
        let (url, name) = (database.url(), &database.name);
        let at = url.rsplit_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        let wrong_password = refusal(&url.replacen(":test@", ":hunter2@", 1)).await;
        assert!(wrong_password.contains("it refuses the user getaredis or the password; correct them in database.url"));
        assert!(wrong_password.contains(&format!("database {name} at {at}: ")), "{wrong_password}");
        let unknown = refusal(&url.replacen(name.as_str(), "nowhere", 1)).await;
        assert!(unknown.contains("there is no such database; create it (CREATE DATABASE"), "{unknown}");
        let nobody = refusal(&url.replacen(&at, "127.0.0.1:1", 1)).await;
        assert!(nobody.contains("refused") && nobody.contains("start it, open the way to it"), "{nobody}");
        let nameless = refusal(&url.replacen(&at, "no-such-host.invalid:1", 1)).await;
        assert!(nameless.contains("correct the host and port in database.url"), "{nameless}");
    }
}

#[tokio::test]
async fn a_host_that_swallows_everything_is_given_up_in_time() {
    // Takes connections and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    for scheme in ["mysql", "mariadb", "postgres", "postgresql"] {
        let why = refusal(&format!("{scheme}://me:hunter2@{at}/x")).await;
        assert!(why.contains("it does not answer within 2 s; start it"), "{why}");
    }
}

mod encrypted {
    use std::{fs, path::PathBuf};

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A server whose certificate is for `localhost`, and that speaks with nobody in the clear.
    async fn server(kind: Kind, authority: &CertifiedIssuer<'static, KeyPair>) -> DatabaseServer {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        DatabaseServer::start_with(kind, |dir| {
            let write = |name: &str, text: &str| {
                let path = dir.join(name);
                fs::write(&path, text).unwrap();
                DatabaseServer::own(kind, &path);
                path.display().to_string()
            };
            let (cert, key) = (write("cert.pem", &certificate.pem()), write("key.pem", &key.serialize_pem()));
            match kind {
                Kind::Mysql => vec![
                    format!("--ssl-cert={cert}"),
                    format!("--ssl-key={key}"),
                    "--require-secure-transport=ON".to_owned(),
                ],
                Kind::Postgres => {
                    let hba = write("hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n");
                    let settings =
                        ["ssl=on".to_owned(), format!("ssl_cert_file={cert}"), format!("ssl_key_file={key}")];
                    let settings = settings.into_iter().chain([format!("hba_file={hba}")]);
                    settings.flat_map(|setting| ["-c".to_owned(), setting]).collect()
                }
            }
        })
        .await
    }

    fn pem(dir: &TempDir, name: &str, text: &str) -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[tokio::test]
    async fn with_an_authority_the_connection_is_encrypted_and_the_server_must_be_the_one_it_says() {
        let (dir, ours, others) = (dir(), authority(), authority());
        let trusted = pem(&dir, "ca.pem", &ours.pem());
        let stranger = pem(&dir, "stranger.pem", &others.pem());
        for kind in Kind::ALL {
            let server = server(kind, &ours).await;
            let by_address = format!("{}/{}", server.url(), if kind == Kind::Mysql { "test" } else { "postgres" });
            let by_name = by_address.replacen("127.0.0.1", "localhost", 1);
            let with = |url: &str, ca: &PathBuf| StoreSettings { tls_ca: Some(ca.clone()), ..settings(url) };
            if kind == Kind::Mysql {
                create_over_tls(&by_name, &trusted).await;
            }
            let store = SqlStore::open(&with(&by_name, &trusted)).await.unwrap();
            assert_eq!(store.admit(a_request(1)).await.unwrap(), Admitted::New, "{kind:?}");
            for (what, settings) in [
                ("another's certificate", with(&by_name, &stranger)),
                ("another name", with(&by_address, &trusted)),
                ("no TLS", settings(&by_name)),
            ] {
                let refused = SqlStore::open(&settings).await.err().unwrap();
                assert!(matches!(refused, StoreError::Unavailable(_)), "{kind:?}, {what}: {refused:?}");
                if what != "no TLS" {
                    assert!(refused.to_string().contains("database.tls_ca"), "{kind:?}, {what}: {refused}");
                }
            }
        }
    }

    /// The shared way is not encrypted, which this server does not take.
    async fn create_over_tls(url: &str, ca: &std::path::Path) {
        let opts = mysql_async::Opts::from_url(url).unwrap();
        let ssl = mysql_async::SslOpts::default().with_root_certs(vec![ca.to_owned().into()]);
        let opts = mysql_async::OptsBuilder::from_opts(opts).db_name(None::<String>).ssl_opts(ssl).prefer_socket(false);
        let mut conn = mysql_async::Conn::new(opts).await.unwrap();
        mysql_async::prelude::Queryable::query_drop(&mut conn, "CREATE DATABASE test").await.unwrap();
    }

    #[tokio::test]
    async fn a_server_without_tls_and_a_file_without_certificate_are_refused_with_the_remedy() {
        let dir = dir();
        let trusted = pem(&dir, "ca.pem", &authority().pem());
        let empty = pem(&dir, "empty.pem", "");
        for kind in Kind::ALL {
            let database = TestDatabase::create(kind).await;
            let settings = |ca: PathBuf| StoreSettings { tls_ca: Some(ca), ..settings(&database.url()) };
            let refused = SqlStore::open(&settings(trusted.clone())).await.err();
            // MariaDB makes a certificate for itself from version 11.4 on, which nobody signed.
            let refused = refused.unwrap().to_string();
            assert!(refused.contains("database.tls_ca"), "{kind:?}: {refused}");
            for ca in [empty.clone(), dir.path().join("missing.pem")] {
                let refused = SqlStore::open(&settings(ca.clone())).await.err().unwrap().to_string();
                assert!(refused.contains(&format!("{} (database.tls_ca): ", ca.display())), "{refused}");
            }
        }
    }
}
