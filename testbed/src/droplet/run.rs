//! Owns how other programs are run: to their end, with their last words in the error.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::Error;

/// Runs a program to its end and answers what it wrote to stdout.
///
/// # Errors
/// [`Error::Failed`] when it does not start or does not succeed.
pub(super) fn run(command: &mut Command) -> Result<String, Error> {
    run_with(command, "")
}

/// As [`run`], with a text for its stdin.
pub(super) fn run_with(command: &mut Command, input: &str) -> Result<String, Error> {
    let program = spoken(command);
    let failed = |said: String| Error::Failed { program: program.clone(), said };
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("does not start: {e}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended early says why by itself.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let words = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let from = words.char_indices().rev().nth(800).map_or(0, |(at, _)| at);
    Err(failed(format!("{}: {}", output.status, words[from..].trim())))
}

/// The command without the shell that joins a control group and the way into the namespaces.
fn spoken(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let own = words.iter().rposition(|word| *word == "--").map_or(0, |at| at + 1);
    words[own..].iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
