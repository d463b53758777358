//! Owns the ways into a cloud for programs of this machine, also for those of a person while another process holds it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Error, images::cache};

/// In the folder of a cloud: process number 1 of it, as this machine numbers it.
const INIT: &str = "init";

/// A command that runs in the network of a cloud that some process of this machine holds, but else as any program of it. It
/// ends with the cloud. Without a mark it is the only one that there is.
///
/// # Errors
/// [`Error::NoCloud`] when there is none, or it is not said which.
pub fn command_in(mark: Option<&str>, program: &str) -> Result<Command, Error> {
    let clouds = cache()?.join("clouds");
    let mut held = Vec::new();
    for entry in fs::read_dir(&clouds).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && mark.is_none_or(|mark| mark == name) && is_held(&entry.path())? == Some(true) {
            held.push(name);
        }
    }
    let [only] = held.as_slice() else {
        return Err(Error::NoCloud(match held.len() {
            0 => "none is up".to_owned(),
            _ => format!("several are up, say which: {}", held.join(", ")),
        }));
    };
    let init = fs::read_to_string(clouds.join(only).join(INIT)).map_err(Error::io("the cloud's process number 1"))?;
    Ok(command(only, &["-t", init.trim(), "-n"], program))
}

/// Tells later comers how to get in.
pub(super) fn leave_word(folder: &Path, init: i32) -> Result<(), Error> {
    fs::write(folder.join(INIT), init.to_string()).map_err(Error::io("the cloud's process number 1"))
}

/// Whether somebody holds the cloud in this folder; nothing when there is nothing to hold, because it was not begun or is
/// all but removed.
pub(super) fn is_held(folder: &Path) -> Result<Option<bool>, Error> {
    match File::open(folder.join("lock")) {
        Ok(lock) => Ok(Some(lock.try_lock().is_err())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Io("the lock of a cloud".to_owned(), error)),
    }
}

/// A command in some of a cloud's namespaces, as `nsenter` names them, and in its control group: all that it starts ends
/// with the cloud.
pub(super) fn command(mark: &str, ways: &[&str], program: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "echo 0 >\"$0\" && exec \"$@\""]).arg(group("pids", mark).join("cgroup.procs"));
    command.arg("nsenter").args(ways).args(["--", program]);
    command
}

/// A cloud's own control group of a controller.
pub(super) fn group(controller: &str, mark: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(controller).join(mark)
}
