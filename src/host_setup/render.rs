//! The two ways that a host's files travel: cloud-init's user-data, and a script.
//!
//! Neither interprets what is in a file. A file that would not come out as it went in is refused.

use std::fmt::Write as _;

use super::{
    HostSetupError,
    files::{HostFile, SEAL, SETUP},
};

/// Ends a file within the script. No line of a file is this.
const END: &str = "END-OF-GETAREDIS-FILE";

/// How the script begins.
const PREAMBLE: &str = r#"#!/bin/bash
# Rendered by getaredis: makes this machine one of its hosts. Run it as root, as often as you like.
# It holds secrets of this one host: keep it to yourself, and delete it when it has run.
set -euo pipefail
umask 077

((EUID == 0)) || { echo 'run this as root' >&2; exit 1; }

# put MODE PATH: a file that is right already stays, with the owner that the set-up gave it, so that who reads it goes on.
put() {
  install -d -m 0755 "${2%/*}"
  cat >"$2.new"
  chmod "$1" "$2.new"
  if cmp -s "$2.new" "$2" && [[ $(stat -c %a "$2.new") == "$(stat -c %a "$2")" ]]; then
    rm "$2.new"
  else
    mv "$2.new" "$2"
  fi
}
"#;

/// A `#cloud-config` that writes the files and runs the set-up; then, if it is a builder's, seals the machine and powers
/// it off.
pub(super) fn cloud_config(files: &[HostFile], builder: bool) -> Result<String, HostSetupError> {
    let mut text = "#cloud-config\n# Rendered by getaredis. What it does is in the file setup below.\n".to_owned();
    text.push_str("package_update: false\nwrite_files:\n");
    // Writing into a String cannot fail, here and below.
    for file in last_of_each(files) {
        let content = plain(file)?;
        let _ = write!(text, "  - path: {}\n    permissions: '{}'\n    content: |\n", file.path, file.mode);
        for line in content.lines() {
            let indent = if line.is_empty() { "" } else { "      " };
            let _ = writeln!(text, "{indent}{line}");
        }
    }
    let _ = writeln!(text, "runcmd:\n  - [{SETUP}]");
    if builder {
        // The condition is run when cloud-init itself has ended, and nothing writes any more.
        let _ = write!(text, "power_state:\n  mode: poweroff\n  condition: {SEAL}\n");
    }
    Ok(text)
}

/// A script for root that does the same.
pub(super) fn script(files: &[HostFile]) -> Result<String, HostSetupError> {
    let mut text = PREAMBLE.to_owned();
    for file in last_of_each(files) {
        let _ = write!(text, "\nput {} {} <<'{END}'\n{}{END}\n", file.mode, file.path, plain(file)?);
    }
    let _ = write!(text, "\nexec {SETUP}\n");
    Ok(text)
}

/// Each path once, with what was said last about it.
fn last_of_each(files: &[HostFile]) -> impl Iterator<Item = &HostFile> {
    files
        .iter()
        .enumerate()
        .filter(|(at, file)| files[at + 1..].iter().all(|later| later.path != file.path))
        .map(|(_, f)| f)
}

/// The content, if every reader of it sees the same lines.
fn plain(file: &HostFile) -> Result<&str, HostSetupError> {
    let content = file.content.as_str();
    let printable = |c: char| c == '\n' || (!c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}'));
    // A first line that begins with a blank would change what YAML takes for the indentation.
    let sound = content.ends_with('\n')
        && !content.ends_with("\n\n")
        && !content.starts_with([' ', '\n'])
        && content.chars().all(printable)
        && content.lines().all(|line| line != END);
    if sound { Ok(content) } else { Err(HostSetupError::Unsafe { what: "a file", value: file.path.to_owned() }) }
}
