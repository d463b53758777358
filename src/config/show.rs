//! The configuration that holds, written as TOML with the source of each value.

use std::fmt::Write;

use super::{layers::Layers, problem::shown};

/// Where the sources begin, unless a value reaches further.
const SOURCE_COLUMN: usize = 44;

/// Every key with its value and where that came from, in the order of `config.toml`; secrets are hidden. Shows what
/// was given also when it is not valid.
#[must_use]
pub fn show(layers: &Layers) -> String {
    let mut text = String::new();
    let mut section = "";
    for entry in &layers.entries {
        let (of, key) = entry.key.split_once('.').unwrap_or(("", &entry.key));
        if of != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{gap}[{of}]");
            section = of;
        }
        let line = format!("{key} = {}", shown(&entry.key, &entry.value));
        let _ = writeln!(text, "{line:SOURCE_COLUMN$}  # {}", entry.source);
    }
    text
}
