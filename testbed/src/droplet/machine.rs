//! Owns the life of one droplet: its disk, links and control groups, power on and off, and what is asked of it.

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
    images::copy_sparse,
    pause,
    run::{run, run_with},
    slots::Slot,
    wait_for,
};

/// How much of a droplet is real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// systemd, Docker, nginx; the user-data is run by a small stand-in for cloud-init. Boots in about two seconds.
    Lite,
    /// Everything, with cloud-init on the user-data. Boots in about four seconds.
    Full,
    /// Powered on and connected, but its init never starts.
    Dead,
}

/// How long the kernel may take to end a droplet's programs, or to start its first one.
const PATIENCE: Duration = Duration::from_secs(20);
/// A droplet that has not settled after this time gives its place in the queue of booting ones away.
const BOOT_TIME: Duration = Duration::from_secs(90);
/// The control groups that a droplet's systemd and Docker expect.
const CONTROLLERS: [&str; 10] =
    ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "unified"];

/// A droplet of a [`Cloud`](super::Cloud). Clones are handles to the same one; it lives until it is destroyed or its
/// cloud ends.
#[derive(Clone)]
pub struct Droplet(pub(super) Arc<Machine>);

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
    on: Option<On>,
    destroyed: bool,
}

#[derive(Clone, Copy)]
struct On {
    /// Process number 1 of the droplet, as this machine numbers it.
    init: i32,
}

enum Settled {
    NotYet,
    Well,
    Failed(String),
}

impl Droplet {
    /// The provider's number of the droplet.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The droplet's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The address in 198.51.100.0/24.
    #[must_use]
    pub fn public_address(&self) -> Ipv4Addr {
        self.0.public()
    }

    /// The address in 10.118.0.0/20.
    #[must_use]
    pub fn private_address(&self) -> Ipv4Addr {
        self.0.private()
    }

    /// Is it powered on? Says nothing about whether its init is well.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.power().on.is_some()
    }

    /// Waits until the user-data has run to its end in this boot.
    ///
    /// # Errors
    /// [`Error::UserData`] when it failed, [`Error::Deadline`] when it did not end in time.
    pub fn wait_until_settled(&self, deadline: Duration) -> Result<Duration, Error> {
        let mut outcome = Settled::NotYet;
        let took = wait_for(&format!("{} has settled", self.name()), deadline, || {
            outcome = self.0.settled();
            !matches!(outcome, Settled::NotYet)
        })?;
        match outcome {
            Settled::Failed(why) => Err(Error::UserData(format!("{why}\n{}", self.console()))),
            _ => Ok(took),
        }
    }

    /// What was written to the console so far: the first program's troubles and the user-data's output, of all boots.
    #[must_use]
    pub fn console(&self) -> String {
        fs::read_to_string(self.0.folder.join("console.log")).unwrap_or_default()
    }

    /// A command that runs inside the droplet as root.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when it is off.
    pub fn command(&self, program: &str) -> Result<Command, Error> {
        let on = self.0.power().on.ok_or_else(|| Error::NotRunning(self.name().to_owned()))?;
        let mut command = self.0.site.command(&["-t", &on.init.to_string(), "-a"], program);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root");
        Ok(command)
    }

    /// Runs a program inside the droplet to its end and answers what it wrote to stdout.
    ///
    /// # Errors
    /// When the droplet is off or the program fails.
    pub fn run(&self, words: &[&str]) -> Result<String, Error> {
        let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
        run(self.command(program)?.args(arguments))
    }

    /// Asks the droplet's own init to restart it. Returns when it was asked.
    ///
    /// # Errors
    /// When the droplet is off or its init refuses.
    pub fn reboot(&self) -> Result<(), Error> {
        self.run(&["systemctl", "reboot"]).map(drop)
    }

    /// Pulls the plug: nobody in the droplet can say goodbye. The disk stays.
    ///
    /// # Errors
    /// When something of it does not end.
    pub fn power_off(&self) -> Result<(), Error> {
        self.0.cut_power(&mut self.0.power())
    }

    /// Boots the droplet from its disk. Waits while three others boot.
    ///
    /// # Errors
    /// When it is on already, destroyed, or cannot be started.
    pub fn power_on(&self) -> Result<(), Error> {
        let slot = self.0.site.boots.take();
        self.0.clone().start(&mut self.0.power(), slot)
    }

    /// Keeps a copy of the droplet's disk as the image `name`, as it is in this instant. It may be running.
    ///
    /// # Errors
    /// When the disk cannot be written out or copied.
    pub fn snapshot(&self, name: &str) -> Result<(), Error> {
        let machine = &self.0;
        let disk = machine.folder.join("disk.img");
        if !self.is_on() {
            return machine.site.images.keep(name, &machine.tree, &disk);
        }
        self.freeze()?;
        // Docker's folder lies on the disk itself, and the root above it.
        let kept = self
            .run(&["sync", "--file-system", "/", "/var/lib/docker"])
            .and_then(|_| machine.site.images.keep(name, &machine.tree, &disk));
        self.thaw()?;
        kept
    }

    /// Takes the droplet away, disk and all, without a goodbye. Its addresses may be given to the next one.
    ///
    /// # Errors
    /// When something of it does not end; it may be asked again.
    pub fn destroy(&self) -> Result<(), Error> {
        let machine = &self.0;
        let mut power = machine.power();
        if power.destroyed {
            return Ok(());
        }
        machine.cut_power(&mut power)?;
        machine.forget_links();
        for controller in CONTROLLERS {
            remove_groups(&machine.group(controller))?;
        }
        let disk = machine.folder.join("disk.img");
        wait_for("the disk is released", PATIENCE, || !loop_devices().contains(&*disk.to_string_lossy()))?;
        fs::remove_dir_all(&machine.folder).map_err(Error::io("the droplet's folder"))?;
        power.destroyed = true;
        machine.site.metadata.remove(machine.id);
        machine.site.release(machine.number);
        Ok(())
    }

    /// Has it been destroyed?
    #[must_use]
    pub fn is_destroyed(&self) -> bool {
        self.0.power().destroyed
    }
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
        if power.destroyed || power.on.is_some() {
            let state = if power.destroyed { "destroyed" } else { "on already" };
            return Err(Error::Failed { program: self.name.clone(), said: format!("is {state}") });
        }
        self.make_links()?;
        self.make_groups()?;
        let mut child = self.launch()?;
        power.boots += 1;
        power.on = Some(On { init: self.find_init(&mut child)? });
        let boot = power.boots;
        let (watched, booting) = (self.clone(), self);
        thread::spawn(move || watched.watch(child, boot));
        thread::spawn(move || {
            let over = || booting.power().boots != boot || !matches!(booting.settled(), Settled::NotYet);
            // A droplet that never settles is what some tests are about.
            let _ =
                wait_for("the boot is over", BOOT_TIME, || booting.tier == Tier::Dead || booting.is_off() || over());
            drop(slot);
        });
        Ok(())
    }

    fn is_off(&self) -> bool {
        self.power().on.is_none()
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

    fn forget_links(&self) {
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
            |power: &Power| power.boots != boot || power.on.is_none() || self.site.ending.load(Ordering::Acquire);
        {
            let mut power = self.power();
            if over(&power) {
                return;
            }
            power.on = None;
        }
        let signal = ended.ok().and_then(|status| status.signal());
        if signal != Some(Signal::SIGHUP as i32) {
            return;
        }
        let slot = self.site.boots.take();
        let mut power = self.power();
        // Somebody may have destroyed it, or powered it on, while it waited.
        if power.boots == boot && power.on.is_none() && !power.destroyed && !self.site.ending.load(Ordering::Acquire) {
            if let Err(error) = self.clone().start(&mut power, slot) {
                tracing::error!(droplet = self.name, %error, "does not come back from its reboot");
            }
        }
    }

    fn settled(&self) -> Settled {
        let Some(on) = self.power().on else { return Settled::NotYet };
        let inside = |path: &str| fs::read_to_string(format!("/proc/{}/root/run/{path}", on.init));
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
    fn cut_power(&self, power: &mut Power) -> Result<(), Error> {
        power.on = None;
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
