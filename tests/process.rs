//! The process runtime: real `redis-server` children.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "runtime_contract/mod.rs"]
mod contract;

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use getaredis::adapters::process::{ProcessRuntimes, ProcessSettings};
use getaredis_actors::{
    domain::{DeploymentId, HostName, secret::sha256_hex},
    ports::{HostRecord, Runtime, RuntimeError, Runtimes, StartSpec},
};
use secrecy::ExposeSecret;

fn redis_server() -> PathBuf {
    std::env::var_os("GETAREDIS_TEST_REDIS_SERVER")
        .expect("GETAREDIS_TEST_REDIS_SERVER names no redis-server; run script/test")
        .into()
}

fn settings(base: &Path, deployment: &str) -> ProcessSettings {
    ProcessSettings {
        deployment: DeploymentId::parse(deployment).unwrap(),
        base: base.to_owned(),
        binary: redis_server(),
        publish_address: IpAddr::from([127, 0, 0, 1]),
        start_timeout: Duration::from_secs(20),
    }
}

fn open(runtimes: &ProcessRuntimes) -> Arc<dyn Runtime> {
    let host = HostRecord {
        name: HostName::parse("local").unwrap(),
        public_address: IpAddr::from([127, 0, 0, 1]),
        engine: String::new(),
        slots: 40,
    };
    runtimes.open(&host).unwrap()
}

/// The process that works in the instance's directory.
fn pid_of(base: &Path, spec: &StartSpec) -> Option<u32> {
    let directory = base.canonicalize().unwrap().join("test").join(spec.id.as_str());
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (fs::read_link(format!("/proc/{pid}/cwd")).ok()? == directory).then_some(pid)
    })
}

fn kill(pid: u32) {
    assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

/// A directory with a runtime's children.
struct Place {
    _base: tempfile::TempDir,
    runtimes: ProcessRuntimes,
}

impl Place {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let runtimes = ProcessRuntimes::new(settings(base.path(), "test")).unwrap();
        Self { _base: base, runtimes }
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        open(&self.runtimes)
    }
}

contract::keeps_the_contract!(Place::new());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exit_is_told_within_a_second() {
    let base = tempfile::tempdir().unwrap();
    let runtimes = ProcessRuntimes::new(settings(base.path(), "test")).unwrap();
    let kill = async |id| {
        let mut spec = contract::spec();
        spec.id = id;
        kill(pid_of(base.path(), &spec).unwrap());
    };
    contract::an_exit_is_told_within_a_second(open(&runtimes), kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_deployments_do_not_see_each_other() {
    let base = tempfile::tempdir().unwrap();
    let ours = ProcessRuntimes::new(settings(base.path(), "ours")).unwrap();
    let theirs = ProcessRuntimes::new(settings(base.path(), "theirs")).unwrap();
    contract::two_deployments_do_not_see_each_other(open(&ours), open(&theirs)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_is_bounded_and_nothing_that_anybody_can_see_opens_it() {
    let base = tempfile::tempdir().unwrap();
    let runtimes = ProcessRuntimes::new(settings(base.path(), "test")).unwrap();
    let runtime = open(&runtimes);
    assert!(!runtime.isolated());
    runtime.probe().await.unwrap();
    let spec = contract::spec();
    runtime.start(&spec).await.unwrap();
    let pid = pid_of(base.path(), &spec).unwrap();
    let read = |file: &str| String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap()).into_owned();

    let visible = format!("{}{}", read("cmdline"), read("environ"));
    assert!(!visible.contains(spec.password.expose_secret()) && !visible.contains(&sha256_hex(&spec.password)));
    let (limits, status) = (read("limits"), read("status"));
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(
        limit("Max address space").contains(&(spec.flavour.container_bytes() + (64 << 20)).to_string()),
        "{limits}"
    );
    assert!(limit("Max open files").contains(" 69 "), "{limits}");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
        assert!(status.contains("CapBnd:\t0000000000000000"), "{status}");
    }
    runtime.remove(&spec.id).await.unwrap();
    assert!(!base.path().join("test").join(spec.id.as_str()).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_engine_is_refused_in_words() {
    let base = tempfile::tempdir().unwrap();
    let mut settings = settings(base.path(), "test");
    settings.binary = "/nonexistent/redis-server".into();
    let runtimes = ProcessRuntimes::new(settings).unwrap();
    let spec = contract::spec();
    let error = open(&runtimes).start(&spec).await.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/redis-server"), "{error}");
    open(&runtimes).remove(&spec.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_outlive_a_handle_and_end_with_the_last_owner() {
    let base = tempfile::tempdir().unwrap();
    let spec = contract::spec();
    let runtimes = ProcessRuntimes::new(settings(base.path(), "test")).unwrap();
    open(&runtimes).start(&spec).await.unwrap();
    assert!(contract::is_running(&*open(&runtimes), &spec.id).await);
    let taken = ProcessRuntimes::new(settings(base.path(), "test")).err().unwrap();
    assert!(matches!(&taken, RuntimeError::Refused(why) if why.contains("another process")), "{taken}");
    drop(runtimes);
    contract::eventually("the child is gone", async || pid_of(base.path(), &spec).is_none().then_some(())).await;
}

/// Runs itself again, so that there is a whole server to kill.
#[test]
fn children_of_a_killed_server_are_gone_and_the_next_one_clears_up() {
    const INNER: &str = "GETAREDIS_TEST_INNER";
    let tokio = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(base) = std::env::var_os(INNER) {
        return tokio().block_on(async {
            let base = PathBuf::from(base);
            let runtimes = ProcessRuntimes::new(settings(&base, "test")).unwrap();
            let spec = contract::spec();
            open(&runtimes).start(&spec).await.unwrap();
            kill(std::process::id());
        });
    }
    let base = tempfile::tempdir().unwrap();
    let killed = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "children_of_a_killed_server_are_gone_and_the_next_one_clears_up"])
        .env(INNER, base.path())
        .output()
        .unwrap();
    assert!(!killed.status.success());
    let directories =
        || fs::read_dir(base.path().join("test")).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(directories(), 1, "{killed:?}");
    tokio().block_on(async {
        let runtimes = ProcessRuntimes::new(settings(base.path(), "test")).unwrap();
        assert_eq!(directories(), 0);
        assert_eq!(open(&runtimes).inventory().await.unwrap(), []);
    });
}
