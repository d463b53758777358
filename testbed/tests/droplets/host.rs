//! Owns how the tests see a droplet: from the provider's side of its networks, as the control plane and clients do.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use getaredis_testbed::droplet::{Cloud, Droplet, Network, Spec, Tier, wait_for, why_impossible};

pub(crate) const USER_DATA: &str = include_str!("user-data.sh");
pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const BOOT: Duration = Duration::from_secs(60);

/// A cloud, or nothing where there can be none, which is said on stderr and by script/test. Once script/test has found
/// that there can be one, a test that is skipped all the same fails.
pub(crate) fn cloud() -> Option<Cloud> {
    if let Some(reason) = why_impossible() {
        assert!(std::env::var_os("GETAREDIS_TEST_DROPLETS").is_none(), "no longer possible: {reason}");
        #[allow(clippy::print_stderr)]
        {
            eprintln!("SKIPPED, so nothing about simulated droplets is tested here: {reason}");
        }
        return None;
    }
    Some(Cloud::start().unwrap())
}

/// A settled lite droplet of Debian 13 with its heart beating.
pub(crate) fn boot(cloud: &Cloud, name: &str) -> Host {
    boot_as(cloud, &Spec::new(name, "debian-13-x64", Tier::Lite).user_data(USER_DATA))
}

pub(crate) fn boot_as(cloud: &Cloud, spec: &Spec) -> Host {
    let droplet = cloud.boot(spec).unwrap();
    droplet.wait_until_settled(BOOT).unwrap();
    let host = Host { droplet, network: cloud.network().clone(), directory: cloud.directory() };
    host.beats_within(SOON);
    host
}

pub(crate) struct Host {
    pub(crate) droplet: Droplet,
    network: Network,
    directory: SocketAddr,
}

/// An answer of the engine through nginx: status 0 is none.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

impl Host {
    /// Asks the engine through nginx with the right password, waiting for three seconds at most.
    pub(crate) fn engine(&self, cloud: &Cloud, method: &str, path: &str, body: &str) -> Answer {
        self.engine_as(cloud, "docker:s3cret", method, path, body)
    }

    pub(crate) fn engine_as(&self, cloud: &Cloud, user: &str, method: &str, path: &str, body: &str) -> Answer {
        let start = Instant::now();
        let seconds = if path.contains("/start") || path.contains("fromImage") { "20" } else { "3" };
        let output = cloud
            .command("curl")
            .args(["-sk", "-m", seconds, "-u", user, "-X", method, "-H", "Content-Type: application/json"])
            .args([
                "-w",
                "\n%{http_code}",
                "-d",
                body,
                &format!("https://{}:2376{path}", self.droplet.public_address()),
            ])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let (body, status) = text.rsplit_once('\n').unwrap();
        Answer { status: status.parse().unwrap(), body: body.to_owned(), took: start.elapsed() }
    }

    pub(crate) fn engine_answers(&self, cloud: &Cloud) -> bool {
        self.engine(cloud, "GET", "/_ping", "").status == 200
    }

    /// Pulls redis:7 and starts a container of it that clients reach on `port`.
    pub(crate) fn start_redis(&self, cloud: &Cloud, name: &str, port: u16) {
        let pulled = self.engine(cloud, "POST", "/images/create?fromImage=redis&tag=7", "");
        assert_eq!(pulled.status, 200, "{pulled:?}");
        let made = self.create_redis(cloud, name, port);
        assert_eq!(made.status, 201, "{made:?}");
        let started = self.engine(cloud, "POST", &format!("/containers/{name}/start"), "");
        assert_eq!(started.status, 204, "{started:?}");
        wait_for("the container answers", SOON, || self.ping(port).is_ok()).unwrap();
    }

    pub(crate) fn create_redis(&self, cloud: &Cloud, name: &str, port: u16) -> Answer {
        let body = format!(
            r#"{{"Image":"redis:7","Cmd":["redis-server","--requirepass","pw"],"HostConfig":{{
                "RestartPolicy":{{"Name":"always"}},"PortBindings":{{"6379/tcp":[{{"HostPort":"{port}"}}]}}}}}}"#
        );
        self.engine(cloud, "POST", &format!("/containers/create?name={name}"), &body)
    }

    /// Asks a tenant's Redis from outside for a PONG, over a new connection.
    pub(crate) fn ping(&self, port: u16) -> io::Result<Duration> {
        let start = Instant::now();
        let mut stream = self.connect(port)?;
        stream.write_all(b"AUTH pw\r\nPING\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        assert_eq!(&answer, b"+OK\r\n+PONG\r\n");
        Ok(start.elapsed())
    }

    /// A connection from outside, with three seconds' patience for all it does.
    pub(crate) fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let address = SocketAddr::new(IpAddr::V4(self.droplet.public_address()), port);
        connect(&self.network, address)
    }

    /// The value of this droplet's key in the directory.
    pub(crate) fn heartbeat(&self) -> Option<String> {
        let mut stream = connect(&self.network, self.directory).ok()?;
        let key = format!("server:{}", self.droplet.name());
        stream.write_all(format!("GET {key}\r\nQUIT\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with('$').then(|| answer.lines().nth(1).map(str::to_owned)).flatten().filter(|line| line != "+OK")
    }

    pub(crate) fn beats_within(&self, time: Duration) {
        wait_for("the heart beats", time, || self.heartbeat().is_some()).unwrap();
    }

    pub(crate) fn stops_beating(&self) {
        wait_for("the heartbeat is gone", SOON, || self.heartbeat().is_none()).unwrap();
    }

    /// Is the heartbeat fresh throughout more than one of its lifetimes?
    pub(crate) fn goes_on_beating(&self) -> bool {
        wait_for("the heartbeat is gone", Duration::from_millis(4500), || self.heartbeat().is_none()).is_err()
    }
}

fn connect(network: &Network, address: SocketAddr) -> io::Result<TcpStream> {
    let patience = Duration::from_secs(3);
    let stream = network.inside(|| TcpStream::connect_timeout(&address, patience))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}
