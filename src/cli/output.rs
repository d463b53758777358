//! The only place that writes to the terminal: results to standard output, everything else to standard error.

use std::{
    io::{self, Write},
    time::Duration,
};

/// Writes for people and scripts.
pub(super) struct Output;

impl Output {
    /// A line of the result.
    pub(super) fn line(&self, text: &str) -> io::Result<()> {
        self.text(&format!("{text}\n"))
    }

    /// A piece of the result that has its line ends already.
    pub(super) fn text(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Something the person should know that is not the result.
    pub(super) fn note(&self, text: &str) {
        // Whoever closed standard error does not want to know.
        let _ = writeln!(io::stderr().lock(), "getaredis: {}", printable(text));
    }

    /// How far it is, on a line of a terminal that the next one takes the place of; nothing clears it.
    pub(super) fn passing(&self, text: &str) {
        let mut err = io::stderr().lock();
        // To the line's beginning, and away with what was there.
        let _ = write!(err, "\r\u{1b}[K{}", printable(text));
        let _ = err.flush();
    }
}

/// Text from elsewhere without what a terminal would act upon.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A text that a POSIX shell reads back as it is.
pub(super) fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'/' | b'@');
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A time span as people say it: without the seconds where they do not matter.
pub(super) fn span(seconds: u64) -> String {
    let coarse = if seconds >= 3600 { seconds / 60 * 60 } else { seconds };
    humantime::format_duration(Duration::from_secs(coarse)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(
            quoted("redis://default:pass-word@203.0.113.7:32768/0"),
            "redis://default:pass-word@203.0.113.7:32768/0"
        );
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn a_terminal_gets_no_commands_from_elsewhere() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\nc");
    }

    #[test]
    fn seconds_are_left_out_of_hours() {
        assert_eq!((span(43_199).as_str(), span(90).as_str(), span(0).as_str()), ("11h 59m", "1m 30s", "0s"));
    }
}
