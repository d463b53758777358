//! Turns layers into typed sections and collects everything that is wrong on the way.
//!
//! Not serde: a derived `Deserialize` stops at the first mistake, and an operator wants to hear of all at once.

use std::collections::BTreeSet;

use toml::Value;

use super::{
    kinds::Read,
    layers::Layers,
    problem::{Place, Problem, Source},
};

/// Reads typed values out of the layers.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    /// What was wrong so far.
    pub(super) problems: Vec<Problem>,
    /// Keys that a section asked for; a test compares them with the built-in file.
    pub(super) asked: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers) -> Self {
        Self { layers, problems: layers.problems.clone(), asked: BTreeSet::new() }
    }

    /// The value of `key` as `kind` understands it. Nothing when it does not, which is remembered as a problem.
    pub(super) fn get<T>(&mut self, key: &str, kind: impl Fn(&Value) -> Read<T>) -> Option<T> {
        self.asked.insert(key.to_owned());
        let Some(entry) = self.layers.entry(key) else {
            let place = Place { key: key.to_owned(), found: None, source: Source::BuiltIn };
            self.problems.push(Problem { places: vec![place], message: "has no default".to_owned() });
            return None;
        };
        kind(&entry.value).map_err(|message| self.problems.push(Problem { places: vec![entry.place()], message })).ok()
    }

    /// A rule that several keys must keep together. `keys` begins with the one to change most likely.
    pub(super) fn rule(&mut self, kept: bool, keys: &[&str], message: &str) {
        if !kept {
            let places = keys.iter().filter_map(|key| self.layers.entry(key)).map(|entry| entry.place()).collect();
            self.problems.push(Problem { places, message: message.to_owned() });
        }
    }
}

/// Reads all keys of a section, and only then gives up on those that could not be read.
macro_rules! read_section {
    ($reader:ident, $section:literal => $type:ident { $($key:ident: $kind:expr),* $(,)? }) => {{
        $(let $key = $reader.get(concat!($section, ".", stringify!($key)), $kind);)*
        $type { $($key: $key?),* }
    }};
}
pub(super) use read_section;
