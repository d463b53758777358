//! The one thread that starts children.
//!
//! The kernel ends a child when the *thread* that started it is gone, and the threads of an async runtime come and go.
//! This one stays until the last handle to it is dropped, and then so do the children.

use std::{io, sync::mpsc};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

type Birth = (Command, Handle, oneshot::Sender<io::Result<Child>>);

/// A handle to the thread.
pub(super) struct Nursery(mpsc::Sender<Birth>);

impl Nursery {
    pub(super) fn new() -> io::Result<Self> {
        let (births, waiting) = mpsc::channel::<Birth>();
        std::thread::Builder::new().name("nursery".into()).spawn(move || {
            for (mut command, runtime, answer) in waiting {
                let _inside = runtime.enter();
                // Nobody waits any more: the child is dropped and thereby killed.
                let _ = answer.send(command.spawn());
            }
        })?;
        Ok(Self(births))
    }

    /// Starts a child whose pipes belong to the calling runtime.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, born) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts children is gone");
        self.0.send((command, Handle::current(), answer)).map_err(|_| gone())?;
        born.await.map_err(|_| gone())?
    }
}
