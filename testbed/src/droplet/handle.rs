//! Owns what is asked of one droplet from outside: what it is, its power button, its disk, its end.

use std::{fs, net::Ipv4Addr, process::Command, sync::Arc, time::Duration};

use super::{
    Error,
    machine::{Machine, PATIENCE, Settled, loop_devices},
    run::run,
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

/// A droplet of a [`Cloud`](super::Cloud). Clones are handles to the same one; it lives until it is destroyed or its
/// cloud ends.
#[derive(Clone)]
pub struct Droplet(pub(super) Arc<Machine>);

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

    /// How much of it is real.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.0.tier
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
        self.0.init().is_some()
    }

    /// Is it off because it powered itself off?
    #[must_use]
    pub fn has_powered_itself_off(&self) -> bool {
        self.0.power().halted
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
        let init = self.0.init().ok_or_else(|| Error::NotRunning(self.name().to_owned()))?;
        // A shell forks the program: `nsenter` itself would stop for good with its child, when a droplet that shuts
        // down stops everything in it, and then the shutdown would wait for it.
        let mut command = self.0.site.command(&["-t", &init.to_string(), "-a", "--no-fork"], "sh");
        command.args(["-c", "\"$@\"; exit $?", "--", program]);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root");
        Ok(command)
    }

    /// Runs a program inside the droplet to its end and answers what it wrote to stdout.
    ///
    /// # Errors
    /// When the droplet is off, or the program fails or takes longer than a minute.
    pub fn run(&self, words: &[&str]) -> Result<String, Error> {
        run(self.command("timeout")?.args(["--kill-after=5", "60"]).args(words))
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
            self.wait_until_released()?;
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
        machine.forget_groups()?;
        self.wait_until_released()?;
        fs::remove_dir_all(&machine.folder).map_err(Error::io("the droplet's folder"))?;
        power.destroyed = true;
        machine.site.metadata.remove(machine.id);
        machine.site.release(machine.number);
        Ok(())
    }

    /// The kernel writes out and lets go of the disk a moment after the last program has ended.
    fn wait_until_released(&self) -> Result<(), Error> {
        let disk = self.0.folder.join("disk.img");
        wait_for("the disk is released", PATIENCE, || !loop_devices().contains(&*disk.to_string_lossy())).map(drop)
    }

    /// Has it been destroyed?
    #[must_use]
    pub fn is_destroyed(&self) -> bool {
        self.0.power().destroyed
    }
}
