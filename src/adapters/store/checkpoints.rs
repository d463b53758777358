//! SQLite's log, moved into the database behind the backs of those who write.
//!
//! Owns the thread that does it. Left to itself, SQLite lets the commit that made the log long enough wait until the disk
//! has all of it, and with that commit everybody in line behind it. Must not take the lock of those who write.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use diesel::{SqliteConnection, connection::SimpleConnection};

/// Writes from one move to the next. An admission writes about eleven pages, so that this is some 20 MiB: who writes goes to
/// the same disk, and is disturbed by few long moves less than by many short ones.
const EVERY: u32 = 500;

/// The thread that moves the log. It ends, and its connection is closed, when this is dropped.
pub(super) struct Checkpoints {
    writes: u32,
    /// Nothing only while this is being dropped; the thread ends with it.
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Begins on a connection of its own.
    pub(super) fn begin(conn: SqliteConnection) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let thread = thread::Builder::new().name("checkpoints".to_owned()).spawn(move || run(conn, &woken))?;
        Ok(Self { writes: 0, wake: Some(wake), thread: Some(thread) })
    }

    /// Counts one write more.
    pub(super) fn count(&mut self) {
        self.writes = (self.writes + 1) % EVERY;
        let due = self.writes == 0;
        if let Some(wake) = self.wake.as_ref().filter(|_| due) {
            // Where one call waits already, another would find nothing to do.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut conn: SqliteConnection, woken: &Receiver<()>) {
    let mut failing = false;
    while woken.recv().is_ok() {
        let moved = conn.batch_execute("PRAGMA wal_checkpoint(PASSIVE)");
        // The log goes on growing for as long as the disk has room, so that who writes may not notice for a while.
        if let Err(error) = &moved
            && !failing
        {
            tracing::warn!(%error, "store.checkpoint");
        }
        failing = moved.is_err();
    }
}
