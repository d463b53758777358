//! Owns the way into a cloud's network namespace from this process: a socket stays in the namespace it was made in.

use std::{fs::File, io, sync::Arc, thread};

use nix::sched::{CloneFlags, setns};

use super::Error;

/// A cloud's network, as seen from the provider's own machine in it (198.51.100.1 and 10.118.0.1). Clones are cheap.
#[derive(Clone, Debug)]
pub struct Network(Arc<File>);

impl Network {
    pub(super) fn of_process(pid: i32) -> Result<Self, Error> {
        let path = format!("/proc/{pid}/ns/net");
        File::open(&path).map(|file| Self(Arc::new(file))).map_err(Error::io(path))
    }

    /// Moves the calling thread into this network for good: for the threads of a runtime whose sockets belong there.
    ///
    /// # Errors
    /// When the kernel refuses, which needs root.
    pub fn join(&self) -> io::Result<()> {
        setns(&*self.0, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    }

    /// Runs `work` on a thread of its own inside this network; the sockets it makes stay there when it hands them out.
    ///
    /// # Errors
    /// When the network cannot be joined or the work panicked, or the work's own error.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.join()?;
                work()
            });
            inside.join().unwrap_or_else(|_| Err(io::Error::other("the work inside the network panicked")))
        })
    }
}
