//! Owns a simulated cloud: its namespaces and networks, what a provider offers in them, and its end.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Droplet, Error, Network, Tier,
    archive::Archive,
    entering, images,
    images::Images,
    leaks,
    machine::Machine,
    metadata::{Facts, Metadata},
    registry::Registry,
    run::run,
    services::Services,
    slots::Slots,
    wait_for,
};

/// The provider's own address in the public network: droplets' gateway and name server.
pub(super) const PUBLIC_GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The provider's own address in the private network, where the registry and the directory are.
pub(super) const PRIVATE_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 118, 0, 1);
/// The metadata service.
pub(super) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// A boot costs one to three seconds of a core; two cores are what a test machine has.
const BOOTS_AT_ONCE: usize = 3;
/// How long the namespaces or the directory may take to come up, and everything to go away.
const PATIENCE: Duration = Duration::from_secs(30);
/// Droplets have the addresses from here on; 244 at once are as many as the public network holds.
const FIRST_NUMBER: u8 = 10;
/// Small, so that a full disk is soon full.
const DISK_MEGABYTES: u64 = 4096;

/// What a droplet is to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, which is also its host name.
    pub name: String,
    /// `debian-12-x64`, `debian-13-x64`, `ubuntu-22-04-x64`, `ubuntu-24-04-x64`, all with everything baked in;
    /// `debian-12-stock`, `debian-13-stock`, `ubuntu-24-04-stock`, with nothing baked in; or the name of a snapshot.
    pub image: String,
    /// How much of it is real.
    pub tier: Tier,
    /// A script or `#cloud-config`.
    pub user_data: String,
    /// The provider's number of it; one is chosen when there is none.
    pub id: Option<u64>,
    /// What the metadata service says where it is.
    pub region: String,
    /// What the metadata service says how it is tagged.
    pub tags: Vec<String>,
    /// The size of its disk; a snapshot's disk keeps its own.
    pub disk_megabytes: u64,
}

impl Spec {
    /// A droplet with no user-data; the fields are there to be changed.
    #[must_use]
    pub fn new(name: &str, image: &str, tier: Tier) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            tier,
            user_data: String::new(),
            id: None,
            region: "nyc3".to_owned(),
            tags: Vec::new(),
            disk_megabytes: DISK_MEGABYTES,
        }
    }

    /// The same with this user-data.
    #[must_use]
    pub fn user_data(mut self, text: &str) -> Self {
        text.clone_into(&mut self.user_data);
        self
    }
}

/// A simulated cloud. It ends, with all its droplets, when it is dropped and when its process dies, however that dies.
pub struct Cloud {
    site: Arc<Site>,
    holder: Child,
    /// The holder ends everything when this is closed; the kernel closes it for a process that was killed.
    held: Option<ChildStdin>,
    services: Option<Services>,
    directory: Mutex<Option<Child>>,
    droplets: Mutex<Vec<Droplet>>,
    next_id: AtomicU64,
    before: BTreeSet<String>,
    ended: bool,
}

/// What the droplets of a cloud share.
pub(super) struct Site {
    folder: PathBuf,
    mark: String,
    /// Process number 1 of the cloud, as this machine numbers it.
    pub(super) init: i32,
    pub(super) network: Network,
    pub(super) metadata: Metadata,
    pub(super) images: Images,
    archive: Archive,
    pub(super) boots: Slots,
    pub(super) ending: AtomicBool,
    numbers: Mutex<BTreeSet<u8>>,
}

/// Why there can be no simulated droplets on this machine, in a sentence; nothing when there can.
#[must_use]
pub fn why_impossible() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can make namespaces and mounts (run the tests as root)".to_owned());
    }
    for controller in ["freezer", "pids", "cpuset", "systemd", "unified"] {
        if !Path::new("/sys/fs/cgroup").join(controller).is_dir() {
            return Some(format!(
                "the control group hierarchy {controller} is not there (only the hybrid layout is known)"
            ));
        }
    }
    for (program, package) in
        [("mmdebstrap", "mmdebstrap"), ("nft", "nftables"), ("ethtool", "ethtool"), ("redis-server", "redis-server")]
    {
        if run(Command::new("sh").args(["-c", "command -v \"$0\"", program])).is_err() {
            return Some(format!("{program} is missing (Debian's package {package})"));
        }
    }
    let spaces =
        ["--pid", "--net", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "mount", "-t", "proc", "proc", "/proc"];
    if let Err(error) = run(Command::new("unshare").args(spaces)) {
        return Some(format!("the kernel refuses new namespaces ({error})"));
    }
    run(Command::new("losetup").arg("--find")).err().map(|error| format!("there is no loop device ({error})"))
}

impl Cloud {
    /// Makes a cloud with nothing but the directory's Redis in it.
    ///
    /// # Errors
    /// [`Error::Impossible`] where [`why_impossible`] says so, or what failed.
    pub fn start() -> Result<Self, Error> {
        static CLOUDS: AtomicU32 = AtomicU32::new(0);
        if let Some(reason) = why_impossible() {
            return Err(Error::Impossible(reason));
        }
        let redis = Registry::of(&images::built("redis")?)?;
        let clouds = images::cache()?.join("clouds");
        fs::create_dir_all(&clouds).map_err(Error::io("the folder of clouds"))?;
        // Nobody sweeps away what another is just making.
        let lock = File::create(clouds.join("lock")).map_err(Error::io("the lock of clouds"))?;
        lock.lock().map_err(Error::io("the lock of clouds"))?;
        sweep(&clouds)?;
        let before = leaks::traces();
        let mark = format!("{}{}-{}", leaks::MARK, process::id(), CLOUDS.fetch_add(1, Ordering::Relaxed));
        let folder = clouds.join(&mark);
        fs::create_dir(&folder).map_err(Error::io("the cloud's folder"))?;
        let (mut holder, init) = hold(&folder)?;
        entering::leave_word(&folder, init)?;
        let held = holder.stdin.take();
        let site = Arc::new(Site {
            network: Network::of_process(init)?,
            metadata: Metadata::default(),
            images: Images::in_folder(&folder),
            archive: Archive::default(),
            boots: Slots::new(BOOTS_AT_ONCE),
            ending: AtomicBool::new(false),
            numbers: Mutex::new((FIRST_NUMBER..254).collect()),
            folder,
            mark,
            init,
        });
        let mut cloud = Self {
            site,
            holder,
            held,
            services: None,
            directory: Mutex::default(),
            droplets: Mutex::default(),
            next_id: AtomicU64::new(500_000_000),
            before,
            ended: false,
        };
        let site = &cloud.site;
        cloud.services = Some(Services::start(&site.network, site.metadata.clone(), redis, site.archive.clone())?);
        cloud.start_directory()?;
        Ok(cloud)
    }

    /// Boots a droplet, and returns once it is on; see [`Droplet::wait_until_settled`]. Waits while three others boot.
    ///
    /// # Errors
    /// When there is no such image, no address left, or it cannot be started; then nothing of it is left.
    pub fn boot(&self, spec: &Spec) -> Result<Droplet, Error> {
        let image = self.site.images.find(&spec.image)?;
        if let Some(archive) = image.archive {
            self.site.archive.serve(archive);
        }
        let empty = || images::empty_disk(spec.disk_megabytes);
        let disk = image.disk.map_or_else(empty, Ok)?;
        let number = self.lock_numbers().pop_first();
        let number =
            number.ok_or_else(|| Error::Failed { program: spec.name.clone(), said: "no address is left".into() })?;
        let machine = Machine {
            site: self.site.clone(),
            number,
            id: spec.id.unwrap_or_else(|| self.next_id.fetch_add(1, Ordering::Relaxed)),
            name: spec.name.clone(),
            tier: spec.tier,
            folder: self.site.folder.join(number.to_string()),
            tree: image.tree,
            power: Mutex::default(),
            wire: Mutex::default(),
        };
        self.site.metadata.insert(Facts {
            id: machine.id,
            name: spec.name.clone(),
            user_data: spec.user_data.clone(),
            region: spec.region.clone(),
            tags: spec.tags.clone(),
            public: machine.public(),
            private: machine.private(),
            link_local: machine.link_local(),
            macs: machine.macs(),
        });
        let droplet = Droplet(Arc::new(machine));
        let started = droplet.0.prepare_disk(&disk).and_then(|()| droplet.power_on());
        if let Err(error) = started {
            droplet.destroy()?;
            return Err(error);
        }
        let mut droplets = self.droplets.lock().unwrap_or_else(PoisonError::into_inner);
        droplets.retain(|droplet| !droplet.is_destroyed());
        droplets.push(droplet.clone());
        Ok(droplet)
    }

    /// The droplets that are not destroyed, in the order of their boots.
    #[must_use]
    pub fn droplets(&self) -> Vec<Droplet> {
        let droplets = self.droplets.lock().unwrap_or_else(PoisonError::into_inner);
        droplets.iter().filter(|droplet| !droplet.is_destroyed()).cloned().collect()
    }

    /// A command that runs in the cloud's network, but else as any program of this machine. It ends with the cloud.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.site.command(&["-t", &self.site.init.to_string(), "-n"], program)
    }

    /// The cloud's network, for sockets of this very process.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.site.network
    }

    /// The next `count` requests to the archive of packages are answered with 503.
    pub fn next_packages_fail(&self, count: u32) {
        self.site.archive.fail_next(count);
    }

    /// Where the directory's Redis listens, for whoever is in the cloud's network or in a droplet.
    #[must_use]
    pub fn directory(&self) -> SocketAddr {
        SocketAddr::from((PRIVATE_GATEWAY, 6379))
    }

    /// Starts the directory's Redis, which has forgotten everything that it knew before.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn start_directory(&self) -> Result<(), Error> {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if directory.is_some() {
            return Ok(());
        }
        let child = self
            .command("redis-server")
            .args(["--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir"])
            .arg(&self.site.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("redis-server"))?;
        *directory = Some(child);
        let address = self.directory();
        let listens = || self.network().inside(|| TcpStream::connect(address)).is_ok();
        wait_for("the directory listens", PATIENCE, listens).map(drop)
    }

    /// Kills the directory's Redis.
    pub fn stop_directory(&self) {
        if let Some(mut child) = self.directory.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What everything of this cloud is marked with, for [`leaks::left_of`].
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.site.mark
    }

    /// Ends the cloud and looks whether anything is left of it. Dropping it does the same, and panics instead.
    ///
    /// # Errors
    /// [`Error::Leaked`] with all that is left.
    pub fn end(mut self) -> Result<(), Error> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.site.ending.store(true, Ordering::Release);
        self.services = None;
        for droplet in self.droplets() {
            droplet.0.unplug_cable();
        }
        self.held = None;
        self.holder.wait().map_err(Error::io("the cloud's holder"))?;
        self.stop_directory();
        let mut left = leaks::left_of(&self.site.mark);
        left.extend(leaks::traces().difference(&self.before).cloned());
        if left.is_empty() { Ok(()) } else { Err(Error::Leaked(left)) }
    }

    fn lock_numbers(&self) -> std::sync::MutexGuard<'_, BTreeSet<u8>> {
        self.site.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let finished = self.finish();
        if !std::thread::panicking() {
            assert!(finished.is_ok(), "the cloud ended badly: {finished:?}");
        }
    }
}

impl Site {
    /// A command in some of the cloud's namespaces, as `nsenter` names them, and in its control group: all that it
    /// starts ends with the cloud.
    pub(super) fn command(&self, ways: &[&str], program: &str) -> Command {
        entering::command(&self.mark, ways, program)
    }

    /// A command of the provider: in its network, and with its view of the droplets' namespaces.
    pub(super) fn provider(&self, program: &str) -> Command {
        // Also as one of its processes, because /proc is.
        self.command(&["-t", &self.init.to_string(), "-n", "-m", "-p"], program)
    }

    /// A command of the provider in the network of a droplet.
    pub(super) fn in_namespace(&self, name: &str, program: &str) -> Command {
        let mut command = self.provider("nsenter");
        command.arg(format!("--net=/run/netns/{name}")).args(["--", program]);
        command
    }

    /// The cloud's own control group of a controller.
    pub(super) fn group(&self, controller: &str) -> PathBuf {
        entering::group(controller, &self.mark)
    }

    /// Lets the next droplet have this number.
    pub(super) fn release(&self, number: u8) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }
}

/// Starts the script that holds a cloud's namespaces; answers it and process number 1 in them.
fn hold(folder: &Path) -> Result<(Child, i32), Error> {
    let log = File::create(folder.join("holder.log")).map_err(Error::io("the holder's log"))?;
    // In a session of its own: Ctrl-C, or a test runner that kills a group, must not reach it.
    let mut holder = Command::new("setsid")
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cloud")])
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(Error::io("the cloud's holder"))?;
    let mut line = String::new();
    if let Some(stdout) = holder.stdout.take() {
        // It says the number, or ends.
        BufReader::new(stdout).read_line(&mut line).map_err(Error::io("the cloud's holder"))?;
    }
    line.trim().parse().map(|init| (holder, init)).map_err(|_| {
        let said = fs::read_to_string(folder.join("holder.log")).unwrap_or_default();
        Error::Failed { program: "the cloud's holder".to_owned(), said }
    })
}

/// Removes what is left of clouds whose holder was killed before it could.
fn sweep(clouds: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(clouds).map_err(Error::io("the folder of clouds"))?;
    for folder in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        match entering::is_held(&folder)? {
            Some(true) => {}
            Some(false) => {
                run(Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cloud")).arg("--sweep").arg(folder))?;
            }
            // Empty. Whoever sweeps here may be about to remove it.
            None => drop(fs::remove_dir(folder)),
        }
    }
    Ok(())
}
