//! A host's door: a real nginx with the files that hosts are set up with, in front of the engine.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use getaredis::{
    adapters::docker::DockerRuntimes,
    host_setup::{HostOptions, HostSettings, HostSetup},
};
use getaredis_actors::{
    domain::{HostName, MasterKey},
    ports::{HostRecord, Runtime, RuntimeError, Runtimes},
};
use ipnet::IpNet;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use crate::{
    contract,
    harness::{Deployment, engine_socket, host, settings},
    ports::free_port,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn master_key(byte: u8) -> Arc<MasterKey> {
    Arc::new(MasterKey::new([byte; 32]))
}

/// An nginx that ends with this value.
struct Door {
    address: SocketAddr,
    nginx: Child,
    _dir: TempDir,
}

impl Door {
    /// The door of the host of this name, for clients of these networks; `change` may spoil its folder first.
    async fn open(name: &str, clients: &[&str], change: impl Fn(&Path)) -> Self {
        loop {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let dir = tempfile::tempdir().unwrap();
            let folder = door_files(name, clients, dir.path());
            change(&folder);
            fs::write(folder.join("listen.conf"), format!("listen {address} ssl;\n")).unwrap();
            fs::write(folder.join("engine.conf"), format!("server unix:{};\n", engine_socket())).unwrap();
            let mut nginx = Command::new("nginx")
                .arg("-p")
                .arg(dir.path())
                .arg("-c")
                .arg(folder.join("nginx.conf"))
                .args(["-g", &format!("daemon off; user root; pid {};", dir.path().join("pid").display())])
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|e| panic!("no nginx: {e}; run script/test"));
            let start = Instant::now();
            while TcpStream::connect(address).is_err() {
                assert!(start.elapsed() < DEADLINE, "nginx does not answer");
                if nginx.try_wait().unwrap().is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // It has ended when somebody else took the port first.
            if nginx.try_wait().unwrap().is_none() {
                return Self { address, nginx, _dir: dir };
            }
        }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Asked first: killed, it would leave its worker behind.
        let _ = Command::new("kill").args(["-TERM", &self.nginx.id().to_string()]).status();
        let _ = self.nginx.wait();
    }
}

/// The folder of the door as the script of a host writes it.
fn door_files(name: &str, clients: &[&str], dir: &Path) -> PathBuf {
    let settings = HostSettings {
        image: "redis:7".into(),
        engine_port: 2376,
        engine_clients: clients.iter().map(|network| network.parse::<IpNet>().unwrap()).collect(),
        directory: None,
    };
    let setup = HostSetup::new(settings, master_key(7));
    let script = setup.script(&HostName::parse(name).unwrap(), HostOptions::default()).unwrap();
    let folder = dir.join("door");
    fs::create_dir(&folder).unwrap();
    for part in script.expose_secret().split("\nput ").skip(1) {
        let (head, rest) = part.split_once('\n').unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let Some(file) = path.strip_prefix("/etc/getaredis/door/") else { continue };
        let end = head.rsplit_once("<<'").unwrap().1.trim_end_matches('\'');
        fs::write(folder.join(file), rest.split_once(&format!("{end}\n")).unwrap().0).unwrap();
    }
    folder
}

/// What a server with this master key makes of a host of this name there.
fn open(deployment: &Deployment, key: u8, name: &str, engine: &str) -> Result<Arc<dyn Runtime>, RuntimeError> {
    let record = HostRecord { name: HostName::parse(name).unwrap(), ..host(engine) };
    DockerRuntimes::new(settings(&deployment.id)).unwrap().with_derived_auth(master_key(key)).open(&record)
}

async fn refusal(door: &Door, key: u8, name: &str) -> String {
    let deployment = Deployment::new();
    open(&deployment, key, name, &door.url()).unwrap().probe().await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_its_door_a_host_works_as_over_the_socket() {
    let (deployment, door) = (Deployment::new(), Door::open("droplet-1", &["127.0.0.0/8"], |_| {}).await);
    let runtime = open(&deployment, 7, "droplet-1", &door.url()).unwrap();
    runtime.probe().await.unwrap();
    contract::a_started_instance_takes_its_password_and_no_other(Arc::clone(&runtime)).await;
    contract::what_is_removed_is_gone_and_may_be_removed_again(runtime).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exit_is_told_through_the_door() {
    use bollard::query_parameters::KillContainerOptions;
    let (deployment, door) = (Deployment::new(), Door::open("droplet-1", &[], |_| {}).await);
    let kill = async |id| {
        let container = deployment.container(&id);
        crate::harness::docker().kill_container(&container, None::<KillContainerOptions>).await.unwrap();
    };
    contract::an_exit_is_told_within_a_second(open(&deployment, 7, "droplet-1", &door.url()).unwrap(), kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_than_the_hosts_own_is_not_told_the_password() {
    let door = Door::open("droplet-1", &[], |_| {}).await;
    for (key, name) in [(8, "droplet-1"), (7, "droplet-2")] {
        let why = refusal(&door, key, name).await;
        assert!(why.contains("its key is not the one that this host was set up with"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_name_on_a_strangers_key_is_not_enough() {
    let door = Door::open("droplet-1", &[], |folder| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "droplet-1");
        fs::write(folder.join("certificate.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    })
    .await;
    let why = refusal(&door, 7, "droplet-1").await;
    assert!(why.contains("its key is not the one that this host was set up with"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_the_host_does_not_take_is_said_clearly() {
    let door = Door::open("droplet-1", &[], |folder| {
        let other = tempfile::tempdir().unwrap();
        fs::copy(door_files("droplet-2", &[], other.path()).join("passwords"), folder.join("passwords")).unwrap();
    })
    .await;
    let why = refusal(&door, 7, "droplet-1").await;
    assert_eq!(why, "the container engine refused: it asks for a password and does not take this host's (status 401)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_from_elsewhere_is_turned_away_even_with_the_password() {
    let door = Door::open("droplet-1", &["10.118.0.0/20"], |_| {}).await;
    assert_eq!(refusal(&door, 7, "droplet-1").await, "the container engine refused: 403 Forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_or_a_password_the_door_opens_to_nobody() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (deployment, door) = (Deployment::new(), Door::open("droplet-1", &[], |_| {}).await);
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().build().unwrap();
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    let (plain, tls) = (format!("http://{}/_ping", door.address), format!("{}/_ping", door.url()));
    assert_eq!(status(client.get(plain)).await, 400);
    assert_eq!(status(client.get(&tls)).await, 401);
    assert_eq!(status(client.get(&tls).basic_auth("getaredis", Some("letmein"))).await, 401);
    let password = master_key(7).engine_password(&HostName::parse("droplet-1").unwrap());
    assert_eq!(status(client.get(&tls).basic_auth("root", Some(password.expose_secret()))).await, 401);
    assert_eq!(status(client.get(&tls).basic_auth("getaredis", Some(password.expose_secret()))).await, 200);
    // And a server that has a password sends it nowhere else.
    for address in [format!("tcp://{}", door.address), format!("http://{}", door.address)] {
        let error = open(&deployment, 7, "droplet-1", &address).err().unwrap();
        assert!(matches!(&error, RuntimeError::Refused(why) if why.contains("https:// only")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_may_stand_below_a_path() {
    let door = Door::open("droplet-1", &[], |folder| {
        let conf = fs::read_to_string(folder.join("nginx.conf")).unwrap();
        let below = conf
            .replace("location / {", "location /engines/one/ {")
            .replace("proxy_pass http://engine;", "proxy_pass http://engine/;");
        fs::write(folder.join("nginx.conf"), below).unwrap();
    })
    .await;
    let deployment = Deployment::new();
    open(&deployment, 7, "droplet-1", &format!("{}/engines/one/", door.url())).unwrap().probe().await.unwrap();
    let error = open(&deployment, 7, "droplet-1", &door.url()).unwrap().probe().await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}
