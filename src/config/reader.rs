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
    /// Keys whose value is not known, because it was refused or its layer could not be read.
    unknown: BTreeSet<String>,
    /// A whole layer could not be read, so that any value may be missing.
    incomplete: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers) -> Self {
        let problems = layers.problems.clone();
        let unknown = problems.iter().flat_map(|problem| &problem.places).map(|place| place.key.clone()).collect();
        let incomplete = problems.iter().any(|problem| problem.places.is_empty());
        Self { layers, problems, asked: BTreeSet::new(), unknown, incomplete }
    }

    /// The value of `key` as `kind` understands it. When it does not, that is remembered as a problem, and the built-in
    /// value stands in, so that everything else can still be looked at. Nothing when there is none.
    pub(super) fn get<T>(&mut self, key: &str, kind: impl Fn(&Value) -> Read<T>) -> Option<T> {
        self.asked.insert(key.to_owned());
        let Some(entry) = self.layers.entry(key) else {
            let place = Place { key: key.to_owned(), found: None, source: Source::BuiltIn };
            self.problems.push(Problem { places: vec![place], message: "has no default".to_owned() });
            return None;
        };
        let refused = match kind(&entry.value) {
            Ok(value) => return Some(value),
            Err(message) => Problem { places: vec![entry.place()], message },
        };
        self.problems.push(refused);
        self.unknown.insert(key.to_owned());
        kind(&entry.default).ok()
    }

    /// Whether the value of `key` is what the operator wrote, and not a stand-in.
    pub(super) fn knows(&self, key: &str) -> bool {
        !self.incomplete && !self.unknown.contains(key)
    }

    /// A rule that several keys must keep together. `keys` are all that it looks at, and begin with the one to change
    /// most likely. Nothing is said of values that are not known.
    pub(super) fn rule(&mut self, kept: bool, keys: &[&str], message: &str) {
        if !kept && keys.iter().all(|key| self.knows(key)) {
            let places = keys.iter().filter_map(|key| self.layers.entry(key)).map(|entry| entry.place()).collect();
            self.problems.push(Problem { places, message: message.to_owned() });
        }
    }
}

/// Reads all keys of a section, and only then gives up on those that have no value at all.
macro_rules! read_section {
    ($reader:ident, $section:literal => $type:ident { $($key:ident: $kind:expr),* $(,)? }) => {{
        $(let $key = $reader.get(concat!($section, ".", stringify!($key)), $kind);)*
        $type { $($key: $key?),* }
    }};
}
pub(super) use read_section;
