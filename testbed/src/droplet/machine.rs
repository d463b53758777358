//! Owns the life of one droplet: its disk, links, control groups and processes, from power on to power off.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    Error,
    cloud::{PUBLIC_GATEWAY, Site},
    faults::Wire,
    handle::Tier,
    images::copy_sparse,
    pause,
    run::{run, run_with},
    slots::Slot,
    wait_for,
};

/// How long the kernel may take to end a droplet's programs, or to start its first one.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// A droplet that has not settled after this time gives its place in the queue of booting ones away.
const BOOT_TIME: Duration = Duration::from_secs(90);
/// The control groups that a droplet's systemd and Docker expect.
const CONTROLLERS: [&str; 10] =
    ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "unified"];

pub(super) struct Machine {
    pub(super) site: Arc<Site>,
    /// Names its links, groups and addresses; given to another droplet once this one is gone.
    pub(super) number: u8,
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) tier: Tier,
    pub(super) folder: PathBuf,
    pub(super) tree: PathBuf,
    pub(super) power: Mutex<Power>,
    pub(super) wire: Mutex<Wire>,
}

#[derive(Default)]
pub(super) struct Power {
    /// Counts the boots, so that whoever watches an earlier one knows that it is over.
    boots: u64,
    /// Process number 1 of the droplet while it is on, as this machine numbers it.
    init: Option<i32>,
    /// Its last boot ended by its own will.
    pub(super) halted: bool,
    pub(super) destroyed: bool,
}

pub(super) enum Settled {
    NotYet,
    Well,
    Failed(String),
}

pub(super) fn loop_devices() -> String {
    run(Command::new("losetup").args(["--noheadings", "--output", "BACK-FILE"])).unwrap_or_default()
}

impl Machine {
    pub(super) fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn public(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.number)
    }

    pub(super) fn private(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 118, 0, self.number)
    }

    pub(super) fn link_local(&self) -> Ipv4Addr {
        Ipv4Addr::new(169, 254, 1, self.number)
    }

    /// The hardware addresses of the public and the private interface.
    pub(super) fn macs(&self) -> [String; 2] {
        [1, 2].map(|side| format!("04:01:00:00:{:02x}:{side:02x}", self.number))
    }

    /// The ends of its public and private cable at the provider's side.
    pub(super) fn ends(&self) -> [String; 2] {
        [format!("p{}", self.number), format!("q{}", self.number)]
    }

    pub(super) fn namespace(&self) -> String {
        format!("d{}", self.number)
    }

    pub(super) fn group(&self, controller: &str) -> PathBuf {
        self.site.group(controller).join(self.number.to_string())
    }

    pub(super) fn prepare_disk(&self, from: &Path) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).map_err(Error::io("the droplet's folder"))?;
        fs::write(self.folder.join("console.log"), "").map_err(Error::io("the console"))?;
        copy_sparse(from, &self.folder.join("disk.img"))
    }

    /// Powers it on; the slot is free again once the droplet has settled.
    pub(super) fn start(self: Arc<Self>, power: &mut Power, slot: Slot) -> Result<(), Error> {
        if power.destroyed || power.init.is_some() {
            let state = if power.destroyed { "destroyed" } else { "on already" };
            return Err(Error::Failed { program: self.name.clone(), said: format!("is {state}") });
        }
        self.make_links()?;
        self.make_groups()?;
        let mut child = self.launch()?;
        power.boots += 1;
        power.halted = false;
        power.init = Some(self.find_init(&mut child)?);
        let boot = power.boots;
        let (watched, booting) = (self.clone(), self);
        thread::spawn(move || watched.watch(child, boot));
        thread::spawn(move || {
            let over = || booting.power().boots != boot || !matches!(booting.settled(), Settled::NotYet);
            // A droplet that never settles is what some tests are about.
            let _ = wait_for("the boot is over", BOOT_TIME, || {
                booting.tier == Tier::Dead || booting.init().is_none() || over()
            });
            drop(slot);
        });
        Ok(())
    }

    /// Process number 1 of the droplet, when it is on.
    pub(super) fn init(&self) -> Option<i32> {
        self.power().init
    }

    /// A fresh network every time: what the last boot configured is gone, as after a real one.
    fn make_links(&self) -> Result<(), Error> {
        self.forget_links();
        let (space, [public, private], macs) = (self.namespace(), self.ends(), self.macs());
        let site = &self.site;
        site.ip(
            &[],
            &format!(
                "netns add {space}\n\
                 link add {public} type veth peer name eth0 address {} netns {space}\n\
                 link add {private} type veth peer name eth1 address {} netns {space}\n\
                 link set {public} master public up\n\
                 link set {private} master private up\n",
                macs[0], macs[1]
            ),
        )?;
        let mut inside = "link set lo up\nlink set eth0 up\nlink set eth1 up\n".to_owned();
        inside += &match self.tier {
            // The rest is cloud-init's work.
            Tier::Full => format!("address add {}/16 dev eth0\n", self.link_local()),
            Tier::Lite | Tier::Dead => format!(
                "address add {}/24 dev eth0\naddress add {}/20 dev eth1\n\
                 route add default via {PUBLIC_GATEWAY}\nroute add 169.254.169.254/32 dev eth0\n",
                self.public(),
                self.private()
            ),
        };
        site.ip(&["-n", &space], &inside)?;
        self.rewire()
    }

    pub(super) fn forget_links(&self) {
        self.unplug_cable();
        for end in self.ends() {
            // Gone already, when the droplet never had a boot or its namespace went first.
            let _ = self.site.ip(&[], &format!("link delete {end}\n"));
        }
        let _ = self.site.ip(&[], &format!("netns delete {}\n", self.namespace()));
    }

    fn make_groups(&self) -> Result<(), Error> {
        for controller in CONTROLLERS {
            fs::create_dir_all(self.group(controller)).map_err(Error::io(controller))?;
        }
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let inherited = self.site.group("cpuset").join(file);
            fs::read_to_string(inherited)
                .and_then(|cpus| fs::write(self.group("cpuset").join(file), cpus))
                .map_err(Error::io(file))?;
        }
        Ok(())
    }

    pub(super) fn forget_groups(&self) -> Result<(), Error> {
        CONTROLLERS.iter().try_for_each(|controller| remove_groups(&self.group(controller)))
    }

    /// Starts the droplet's first program in its groups and namespaces.
    fn launch(&self) -> Result<Child, Error> {
        let joins: String = CONTROLLERS
            .map(|controller| format!("echo 0 >{}/cgroup.procs && ", self.group(controller).display()))
            .concat();
        let site = &self.site;
        let tier = match self.tier {
            Tier::Lite => "lite",
            Tier::Full => "full",
            Tier::Dead => "dead",
        };
        Command::new("sh")
            .arg("-c")
            .arg(format!("{joins}exec \"$@\""))
            .args(["sh", "nsenter", "-t", &site.init.to_string(), "-m", "-p", "--"])
            .args(["nsenter", &format!("--net=/run/netns/{}", self.namespace()), "--"])
            .args(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL"])
            .args(["--uts", "--ipc", "--cgroup", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/droplet-init")])
            .env("DROPLET_ID", self.id.to_string())
            .env("DROPLET_NAME", &self.name)
            .env("DROPLET_FOLDER", &self.folder)
            .env("DROPLET_IMAGE", &self.tree)
            .env("DROPLET_NAMESERVER", PUBLIC_GATEWAY.to_string())
            .env("DROPLET_TIER", tier)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("the droplet's first program"))
    }

    /// The launcher waits for `unshare`, which waits for the droplet's process number 1.
    fn find_init(&self, launcher: &mut Child) -> Result<i32, Error> {
        let mut found = None;
        let id = i32::try_from(launcher.id()).unwrap_or_default();
        wait_for(&format!("{} has a first process", self.name), PATIENCE, || {
            found = first_child(id).and_then(first_child);
            found.is_some() || !matches!(launcher.try_wait(), Ok(None))
        })?;
        found.ok_or_else(|| Error::NotRunning(self.name.clone()))
    }

    /// Waits for the end of one boot. The droplet's own `reboot` ends its namespaces with SIGHUP, `poweroff` with SIGINT.
    fn watch(self: Arc<Self>, mut launcher: Child, boot: u64) {
        let ended = launcher.wait();
        let over =
            |power: &Power| power.boots != boot || power.init.is_none() || self.site.ending.load(Ordering::Acquire);
        {
            let mut power = self.power();
            if over(&power) {
                return;
            }
            power.init = None;
        }
        let signal = ended.ok().and_then(|status| status.signal());
        if signal != Some(Signal::SIGHUP as i32) {
            let mut power = self.power();
            power.halted = power.boots == boot && power.init.is_none();
            return;
        }
        let slot = self.site.boots.take();
        let mut power = self.power();
        // Somebody may have destroyed it, or powered it on, while it waited.
        if power.boots == boot && power.init.is_none() && !power.destroyed && !self.site.ending.load(Ordering::Acquire)
        {
            let again = self.clone().start(&mut power, slot);
            let _ = again.inspect_err(|error| tracing::error!(droplet = self.name, %error, "does not reboot"));
        }
    }

    pub(super) fn settled(&self) -> Settled {
        let Some(init) = self.init() else { return Settled::NotYet };
        let inside = |path: &str| fs::read_to_string(format!("/proc/{init}/root/run/{path}"));
        if self.tier == Tier::Lite {
            return match inside("lite-user-data.result").as_deref() {
                Ok("0") => Settled::Well,
                Ok(code) if !code.is_empty() => Settled::Failed(format!("exit code {code}")),
                _ => Settled::NotYet,
            };
        }
        let result = inside("cloud-init/result.json").ok();
        let Some(result) = result.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()) else {
            return Settled::NotYet;
        };
        match result["v1"]["errors"].as_array() {
            Some(errors) if errors.is_empty() => Settled::Well,
            _ => Settled::Failed(result["v1"]["errors"].to_string()),
        }
    }

    /// Ends everything in the droplet at once, off the network first: the dying may not tell anybody.
    pub(super) fn cut_power(&self, power: &mut Power) -> Result<(), Error> {
        power.init = None;
        power.boots += 1;
        let [public, private] = self.ends();
        // There are no links when it was never on; what a start that failed left is ended all the same.
        let _ = self.site.ip(&[], &format!("link set {public} down\nlink set {private} down\n"));
        wait_for(&format!("all of {} has ended", self.name), PATIENCE, || {
            // A frozen program dies only once it is thawed.
            let _ = self.set_frozen(false);
            let alive = processes(&self.group("pids"));
            for process in &alive {
                let _ = kill(Pid::from_raw(*process), Signal::SIGKILL);
            }
            alive.is_empty()
        })
        .map(drop)
    }

    pub(super) fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        fs::write(self.group("freezer").join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })
    }
}

impl Site {
    /// Runs a batch of `ip` commands on the provider's side, or with `-n` in a droplet's namespace.
    pub(super) fn ip(&self, arguments: &[&str], batch: &str) -> Result<(), Error> {
        run_with(self.provider("ip").args(arguments).args(["-batch", "-"]), batch).map(drop)
    }
}

fn first_child(process: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Every process in a control group and the groups below it.
pub(super) fn processes(group: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for below in folders(group) {
        found.extend(processes(&below));
    }
    found
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Removes a control group and those below it, which the kernel allows a moment after their last process has ended.
fn remove_groups(group: &Path) -> Result<(), Error> {
    for below in folders(group) {
        remove_groups(&below)?;
    }
    let mut last = Ok(());
    for _ in 0..100 {
        last = fs::remove_dir(group);
        match &last {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) => pause(Duration::from_millis(20)),
            Ok(()) => break,
        }
    }
    last.map_err(Error::io(group.to_string_lossy()))
}
