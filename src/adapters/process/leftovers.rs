//! Directories of children that an earlier process left, because it was killed.
//!
//! Its children died with it: the kernel ends them when their parent is gone. So what is left are directories.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use getaredis_actors::domain::InstanceId;

/// How long the kernel may take to end the children of a process that was killed just now.
const DYING: Duration = Duration::from_secs(3);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Removes every instance's directory under `home`, which must be a path without links.
///
/// # Errors
/// A directory that cannot be removed, or whose process still lives.
pub(super) fn clear(home: &Path) -> io::Result<()> {
    let deadline = Instant::now() + DYING;
    for entry in fs::read_dir(home)? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(|name| InstanceId::parse(name).is_err()) {
            continue;
        }
        let directory = entry.path();
        while let Some(pid) = inhabitant(&directory)? {
            if Instant::now() >= deadline {
                return Err(io::Error::other(format!("process {pid} of an earlier run still lives; end it first")));
            }
            #[expect(clippy::disallowed_methods, reason = "at the start, before there is an actor to block")]
            std::thread::sleep(LOOK_EVERY);
        }
        fs::remove_dir_all(&directory)?;
        tracing::info!(directory = %directory.display(), "process.leftover_cleared");
    }
    Ok(())
}

/// A process whose working directory this is.
fn inhabitant(directory: &Path) -> io::Result<Option<String>> {
    let mut pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(pids.find(|name| {
        name.bytes().all(|b| b.is_ascii_digit())
            && fs::read_link(format!("/proc/{name}/cwd")).is_ok_and(|cwd| cwd == directory)
    }))
}
