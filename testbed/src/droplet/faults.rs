//! Owns what can go wrong with a droplet, from its programs to its cables. A network fault stays through a reboot.

use std::{sync::PoisonError, time::Duration};

use super::{Error, cable::Cable, handle::Droplet, machine::Machine, run::run_with};

/// One of a droplet's two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// 198.51.100.0/24, where clients come from.
    Public,
    /// 10.118.0.0/20, where the directory and the engine's proxy are.
    Private,
}

/// What is wrong with a droplet's cables.
#[derive(Default)]
pub(super) struct Wire {
    /// Percent of packets that vanish, public and private, in both directions.
    loss: [u8; 2],
    unplugged: bool,
    /// Each way, on the public side.
    latency: Duration,
    cable: Option<Cable>,
}

impl Droplet {
    /// Ends every program of that name (`dockerd`, `containerd`, `nginx`…) with SIGKILL.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill(&self, program: &str) -> Result<(), Error> {
        self.signal("KILL", program)
    }

    /// Stops every program of that name without ending it: it keeps its sockets and answers nobody.
    ///
    /// # Errors
    /// When there is none.
    pub fn stop(&self, program: &str) -> Result<(), Error> {
        self.signal("STOP", program)
    }

    /// Lets stopped programs go on.
    ///
    /// # Errors
    /// When there is none.
    pub fn resume(&self, program: &str) -> Result<(), Error> {
        self.signal("CONT", program)
    }

    fn signal(&self, signal: &str, program: &str) -> Result<(), Error> {
        self.run(&["pkill", "--signal", signal, "--exact", program]).map(drop)
    }

    /// Halts everything in the droplet; its network stack goes on accepting what nobody will ever read.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn freeze(&self) -> Result<(), Error> {
        self.0.set_frozen(true).map_err(Error::io("freeze"))
    }

    /// Lets a frozen droplet go on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn thaw(&self) -> Result<(), Error> {
        self.0.set_frozen(false).map_err(Error::io("thaw"))
    }

    /// Lets everything on one network vanish, in both directions, in silence.
    ///
    /// # Errors
    /// When the packet filter refuses.
    pub fn cut(&self, side: Side) -> Result<(), Error> {
        self.lose(side, 100)
    }

    /// Lets so many percent of the packets of one network vanish, in both directions.
    ///
    /// # Errors
    /// When the packet filter refuses.
    pub fn lose(&self, side: Side, percent: u8) -> Result<(), Error> {
        self.rewired(|wire| wire.loss[side as usize] = percent.min(100))
    }

    /// Takes both links down: neighbours find no such machine.
    ///
    /// # Errors
    /// When the link cannot be changed.
    pub fn unplug(&self) -> Result<(), Error> {
        self.rewired(|wire| wire.unplugged = true)
    }

    /// Makes every packet of the public network late by that much, each way. Not together with loss on that side.
    ///
    /// # Errors
    /// When the cable cannot be made.
    pub fn delay(&self, each_way: Duration) -> Result<(), Error> {
        self.rewired(|wire| wire.latency = each_way)
    }

    /// Ends every network fault.
    ///
    /// # Errors
    /// When the network cannot be changed.
    pub fn heal(&self) -> Result<(), Error> {
        self.rewired(|wire| *wire = Wire::default())
    }

    /// Fills the disk up to so many megabytes.
    ///
    /// # Errors
    /// When the droplet is off.
    pub fn fill_disk(&self, leave_megabytes: u64) -> Result<(), Error> {
        let script = "left=$(df --block-size=1M --output=avail / | tail -n 1)
            [ \"$left\" -le \"$1\" ] || fallocate --length $((left - $1))M /filled || true
            # What is left are the blocks that fallocate could not have in one piece.
            [ \"$1\" -gt 0 ] || dd if=/dev/zero of=/filled.rest bs=64k 2>/dev/null || true";
        self.run(&["sh", "-c", script, "sh", &leave_megabytes.to_string()]).map(drop)
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// When the droplet is off.
    pub fn free_disk(&self) -> Result<(), Error> {
        self.run(&["rm", "-f", "/filled", "/filled.rest"]).map(drop)
    }

    fn rewired(&self, change: impl FnOnce(&mut Wire)) -> Result<(), Error> {
        change(&mut self.0.wire.lock().unwrap_or_else(PoisonError::into_inner));
        if self.is_on() { self.0.rewire() } else { Ok(()) }
    }
}

impl Machine {
    /// Makes the cables as good or bad as they are said to be.
    pub(super) fn rewire(&self) -> Result<(), Error> {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = self.ends();
        let mut chains = String::new();
        for (end, percent) in ends.iter().zip(wire.loss) {
            let verdict = match percent {
                0 => continue,
                100 => "drop".to_owned(),
                some => format!("numgen random mod 100 < {some} drop"),
            };
            for hook in ["ingress", "egress"] {
                chains +=
                    &format!("chain {end}{hook} {{ type filter hook {hook} device {end} priority 0; {verdict}; }}\n");
            }
        }
        let table = format!("table netdev {}", self.namespace());
        // Naming a table makes it, so that it can be deleted whether it was there or not.
        let rules = format!("{table}\ndelete {table}\n{table} {{\n{chains}}}\n");
        run_with(self.site.provider("nft").args(["-f", "-"]), &rules)?;
        let state = if wire.unplugged { "down" } else { "up" };
        self.site.ip(&[], &format!("link set {} {state}\nlink set {} {state}\n", ends[0], ends[1]))?;
        wire.cable = None;
        if !wire.latency.is_zero() {
            wire.cable = Some(Cable::lay(self, wire.latency)?);
        }
        Ok(())
    }

    /// Takes a slow cable away before its ends are.
    pub(super) fn unplug_cable(&self) {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).cable = None;
    }
}
