//! Owns a slow cable: a relay between a droplet's public link and the bridge that carries every frame late, because
//! the kernels that tests run on need not have a queueing discipline that delays.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt,
            socket, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};

use super::{Error, cloud::Site, machine::Machine, pause, run::run};

/// The kernel's mark of a frame that this machine sent itself.
const OUTGOING: u8 = 4;
/// More than the largest frame.
const FRAME: usize = 65_600;

/// A cable in use; dropping it puts the droplet straight onto the bridge again.
pub(super) struct Cable {
    site: Arc<Site>,
    end: String,
    /// The two ends of what lies between the relay and the bridge.
    spare: [String; 2],
    ended: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<()>>,
}

impl Cable {
    /// Lays a cable to the droplet's public link that takes `latency` each way.
    pub(super) fn lay(droplet: &Machine, latency: Duration) -> Result<Self, Error> {
        let site = droplet.site.clone();
        let [end, _] = droplet.ends();
        let spare = [format!("s{}", droplet.number), format!("t{}", droplet.number)];
        let [near, far] = &spare;
        site.ip(
            &[],
            &format!(
                "link add {near} type veth peer name {far}\nlink set {near} promisc on up\n\
                 link set {end} nomaster promisc on\nlink set {far} master public up\n"
            ),
        )?;
        let mut cable =
            Self { site, end: end.clone(), spare: spare.clone(), ended: Arc::default(), carriers: Vec::new() };
        // Frames must be whole and finished: a relay cannot leave the rest to a network card.
        for link in [&end, near, far] {
            whole_frames(&mut cable.site.provider("ethtool"), link)?;
        }
        whole_frames(&mut cable.site.in_namespace(&droplet.namespace(), "ethtool"), "eth0")?;
        for (from, to) in [(&end, near), (near, &end)] {
            let sockets = cable.site.network.inside(|| Ok((packets_of(from)?, packets_of(to)?)));
            let (from, to) = sockets.map_err(Error::io("a slow cable"))?;
            let (late, frames) = mpsc::channel();
            let ended = cable.ended.clone();
            cable.carriers.push(thread::spawn(move || receive(&from, latency, &late, &ended)));
            cable.carriers.push(thread::spawn(move || deliver(&to, &frames)));
        }
        Ok(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        for carrier in self.carriers.drain(..) {
            let _ = carrier.join();
        }
        // The droplet's own end may be gone already.
        let _ = self.site.ip(&[], &format!("link delete {}\n", self.spare[0]));
        let _ = self.site.ip(&[], &format!("link set {} master public promisc off\n", self.end));
    }
}

fn whole_frames(ethtool: &mut std::process::Command, link: &str) -> Result<(), Error> {
    run(ethtool.args(["-K", link, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])).map(drop)
}

/// A socket for all frames of one link.
fn packets_of(link: &str) -> io::Result<OwnedFd> {
    let address = getifaddrs()?
        .filter(|interface| interface.interface_name == link)
        .find_map(|interface| interface.address?.as_link_addr().copied())
        .ok_or_else(|| io::Error::other(format!("there is no link {link}")))?;
    let packets = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    bind(packets.as_raw_fd(), &address)?;
    // So that the relay hears about its end.
    setsockopt(&packets, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50))?;
    setsockopt(&packets, sockopt::RcvBuf, &(8 << 20))?;
    Ok(packets)
}

fn receive(from: &OwnedFd, latency: Duration, late: &mpsc::Sender<(Instant, Vec<u8>)>, ended: &AtomicBool) {
    let mut frame = vec![0; FRAME];
    while !ended.load(Ordering::Acquire) {
        match recvfrom::<LinkAddr>(from.as_raw_fd(), &mut frame) {
            Ok((_, Some(sender))) if sender.pkttype() == OUTGOING => {}
            Ok((length, _)) => {
                if late.send((Instant::now() + latency, frame[..length].to_vec())).is_err() {
                    return;
                }
            }
            // A link that is down for a while is no reason to end.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => {}
            Err(_) => return,
        }
    }
}

fn deliver(to: &OwnedFd, frames: &mpsc::Receiver<(Instant, Vec<u8>)>) {
    for (due, frame) in frames {
        pause(due.saturating_duration_since(Instant::now()));
        // As a real cable: what cannot be delivered is lost.
        let _ = send(to.as_raw_fd(), &frame, MsgFlags::empty());
    }
}
