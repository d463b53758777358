//! Gathers the layers: the built-in file, a file, the environment, arguments. Later ones win, key by key.
//!
//! Owns which keys exist (those of the built-in file) and where each value came from. Knows nothing of what a value
//! means; that is `kinds`. A bad layer never stops the gathering: everything is reported together.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use toml::{Table, Value, de::DeTable};

use super::problem::{Place, Problem, Source, shown};

/// The lowest layer: every key with its default.
pub const BUILT_IN: &str = include_str!("../../config.toml");

/// What environment variables begin with.
pub const ENV_PREFIX: &str = "GETAREDIS__";

/// The variable that names the file, for those who cannot pass `--config`.
pub const ENV_FILE: &str = "GETAREDIS_CONFIG";

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "getaredis.toml";

/// What a configuration is gathered from, beside the built-in file.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The file that was named; it must exist.
    pub file: Option<PathBuf>,
    /// A file that is read if it exists. Not looked at when another one is named.
    pub optional_file: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// `(argument, section.key, value)` in the order they were given.
    pub arguments: Vec<(String, String, String)>,
}

impl Inputs {
    /// What this process was given: `file` (else `GETAREDIS_CONFIG`, else `./getaredis.toml` if there is one) and
    /// the environment.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let named = || std::env::var_os(ENV_FILE).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self {
            file: file.or_else(named),
            optional_file: Some(DEFAULT_FILE.into()),
            env: std::env::vars_os().collect(),
            arguments: Vec::new(),
        }
    }

    /// Adds an argument that sets `key`.
    #[must_use]
    pub fn argument(mut self, argument: &str, key: &str, value: &str) -> Self {
        self.arguments.push((argument.to_owned(), key.to_owned(), value.to_owned()));
        self
    }
}

/// A key with the value that holds.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `section.key`.
    pub key: String,
    /// The value of the highest layer that has one.
    pub value: Value,
    /// That layer.
    pub source: Source,
    /// The built-in value, which also says what type an environment variable is read as.
    pub(super) default: Value,
}

impl Entry {
    /// The entry as a problem mentions it.
    pub(super) fn place(&self) -> Place {
        Place { key: self.key.clone(), found: Some(shown(&self.key, &self.value)), source: self.source.clone() }
    }
}

/// All layers on top of each other, before anything is understood.
#[derive(Debug)]
pub struct Layers {
    /// Every known key, in the order of the built-in file.
    pub entries: Vec<Entry>,
    /// What the layers themselves have wrong: unreadable files, unknown keys.
    pub(super) problems: Vec<Problem>,
}

impl Layers {
    /// Lays the inputs on top of each other.
    #[must_use]
    pub fn gather(inputs: &Inputs) -> Self {
        let mut layers = Self { entries: Vec::new(), problems: Vec::new() };
        layers.built_in();
        if let Some(path) = &inputs.file {
            match std::fs::read_to_string(path) {
                Ok(text) => layers.file(path, &text),
                Err(e) => layers.complain(Vec::new(), format!("cannot read the file {}: {e}", path.display())),
            }
        } else if let Some((path, text)) =
            inputs.optional_file.as_ref().and_then(|path| Some((path, std::fs::read_to_string(path).ok()?)))
        {
            layers.file(path, &text);
        }
        layers.env(&inputs.env);
        for (argument, key, value) in &inputs.arguments {
            layers.set_text(key, value, Source::Argument(argument.clone()), key);
        }
        layers
    }

    /// The entry of a known key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn built_in(&mut self) {
        match keys_of(BUILT_IN) {
            Ok(mut keys) => {
                keys.sort_by_key(|(_, _, line)| *line);
                self.entries.extend(keys.into_iter().map(|(key, value, _)| Entry {
                    key,
                    default: value.clone(),
                    value,
                    source: Source::BuiltIn,
                }));
            }
            Err(e) => self.complain(Vec::new(), format!("the built-in configuration is broken: {}", e.message)),
        }
    }

    fn file(&mut self, path: &Path, text: &str) {
        match keys_of(text) {
            Ok(keys) => {
                for (key, value, line) in keys {
                    let source = Source::File(path.to_owned(), line);
                    if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
                        (entry.value, entry.source) = (value, source);
                    } else {
                        self.unknown(&key, key.clone(), source, |known| known.to_owned());
                    }
                }
            }
            // The library's own text quotes the line, which may hold a secret.
            Err(e) => self
                .complain(Vec::new(), format!("{}:{}: this is not TOML: {}", path.display(), e.line, e.message.trim())),
        }
    }

    fn env(&mut self, env: &[(OsString, OsString)]) {
        let mut variables: Vec<(String, &OsString)> = env
            .iter()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, _)| name.to_uppercase().starts_with(ENV_PREFIX))
            .collect();
        variables.sort();
        for (name, value) in variables {
            let source = Source::Env(name.clone());
            if name != name.to_uppercase() {
                let message = format!("is written in capitals only: {}", name.to_uppercase());
                self.complain(vec![Place { key: name, found: None, source }], message);
                continue;
            }
            let key = name[ENV_PREFIX.len()..].to_lowercase().replace("__", ".");
            match value.to_str() {
                Some(value) => self.set_text(&key, value, source, &name),
                None => self.complain(vec![Place { key, found: None, source }], "must be UTF-8 text".to_owned()),
            }
        }
        self.docker_host(env);
    }

    /// `docker.endpoint` left empty means what the docker command would use.
    fn docker_host(&mut self, env: &[(OsString, OsString)]) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == "docker.endpoint") else { return };
        let host = env.iter().find(|(name, _)| name == "DOCKER_HOST").and_then(|(_, value)| value.to_str());
        if let Some(host) = host.filter(|host| !host.is_empty())
            && entry.value.as_str() == Some("")
        {
            (entry.value, entry.source) = (host.into(), Source::Env("DOCKER_HOST".to_owned()));
        }
    }

    fn set_text(&mut self, key: &str, text: &str, source: Source, spelled: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            (entry.value, entry.source) = (read_as(&entry.default, text), source);
        } else {
            let is_env = matches!(source, Source::Env(_));
            self.unknown(
                key,
                spelled.to_owned(),
                source,
                |known| {
                    if is_env { env_name(known) } else { known.to_owned() }
                },
            );
        }
    }

    fn unknown(&mut self, key: &str, spelled: String, source: Source, spell: impl Fn(&str) -> String) {
        let near = self.entries.iter().filter_map(|entry| Some((slips(&entry.key, key)?, &entry.key))).min();
        let message = match near {
            Some((_, known)) => format!("there is no such key; did you mean {}?", spell(known)),
            None => "there is no such key; `getaredis config show` lists all".to_owned(),
        };
        self.complain(vec![Place { key: spelled, found: None, source }], message);
    }

    fn complain(&mut self, places: Vec<Place>, message: String) {
        self.problems.push(Problem { places, message });
    }
}

/// How many slips of the finger made `written` of `known`, if both section and name are near: further away than a third
/// of a word it is a guess.
fn slips(known: &str, written: &str) -> Option<usize> {
    let near = |known: &str, written| {
        Some(strsim::damerau_levenshtein(known, written)).filter(|slips| *slips <= known.len() / 3)
    };
    let ((section, name), (their_section, their_name)) = (known.split_once('.')?, written.split_once('.')?);
    Some(near(section, their_section)? + near(name, their_name)?)
}

/// The environment variable that sets `key`.
#[must_use]
pub fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Reads the text of a variable or argument as the type that the built-in value has, so that a text key keeps
/// `12345` as a text. What cannot be read stays a text and is refused with the key's own words later.
fn read_as(like: &Value, text: &str) -> Value {
    let read = match like {
        Value::Integer(_) => text.trim().parse().ok().map(Value::Integer),
        Value::Float(_) => text.trim().parse().ok().map(Value::Float),
        Value::Boolean(_) => text.trim().parse().ok().map(Value::Boolean),
        Value::Array(_) if text.trim_start().starts_with('[') => {
            toml::from_str::<Table>(&format!("list = {text}")).ok().and_then(|mut table| table.remove("list"))
        }
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(Value::from).collect()))
        }
        _ => None,
    };
    read.unwrap_or_else(|| text.into())
}

/// Why a text is not TOML.
struct NotToml {
    line: usize,
    message: String,
}

/// `(section.key, value, line)` for every key of a file. What stands outside a section is named as it is.
fn keys_of(text: &str) -> Result<Vec<(String, Value, usize)>, NotToml> {
    let line_ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_at = |offset: usize| line_ends.partition_point(|end| *end < offset) + 1;
    let broken = |e: toml::de::Error| NotToml {
        line: e.span().map_or(1, |span| line_at(span.start)),
        message: e.message().to_owned(),
    };
    // Once for the places, once for the values.
    let places = DeTable::parse(text).map_err(broken)?;
    let mut values: Table = toml::from_str(text).map_err(broken)?;
    let mut keys = Vec::new();
    for (section, content) in places.get_ref() {
        match (content.get_ref().as_table(), values.remove(section.get_ref().as_ref())) {
            (Some(places), Some(Value::Table(mut values))) => keys.extend(places.keys().filter_map(|key| {
                let value = values.remove(key.get_ref().as_ref())?;
                Some((format!("{}.{}", section.get_ref(), key.get_ref()), value, line_at(key.span().start)))
            })),
            (_, Some(value)) => keys.push((section.get_ref().to_string(), value, line_at(section.span().start))),
            (_, None) => {}
        }
    }
    keys.sort_by_key(|(_, _, line)| *line);
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_read_as_the_type_the_key_has() {
        assert_eq!(read_as(&"".into(), "12345"), Value::from("12345"));
        assert_eq!(read_as(&"".into(), "true"), Value::from("true"));
        assert_eq!(read_as(&1.into(), " 7 "), Value::from(7));
        assert_eq!(read_as(&1.5.into(), "2"), Value::from(2.0));
        assert_eq!(read_as(&1.into(), "seven"), Value::from("seven"));
        let list = Value::Array(Vec::new());
        assert_eq!(read_as(&list, ""), list);
        assert_eq!(read_as(&list, "a, b,"), Value::Array(vec!["a".into(), "b".into()]));
        assert_eq!(read_as(&list, r#"["a"]"#), Value::Array(vec!["a".into()]));
    }

    #[test]
    fn a_key_is_near_when_both_its_section_and_its_name_are() {
        let near = [("fleet.idel", 1), ("fleat.idle", 1), ("feet.iddle", 2)];
        for (written, distance) in near {
            assert_eq!(slips("fleet.idle", written), Some(distance), "{written}");
        }
        for far in ["fleet.nope", "fleet.id", "docker.idle", "idle", "fleet", "fleet.", ".idle", ""] {
            assert_eq!(slips("fleet.idle", far), None, "{far}");
        }
    }

    #[test]
    fn every_key_is_found_with_its_line() {
        let keys = keys_of("[b]\ny = 1\n\n[a]\nx = 2\n").map_err(|e| e.message).unwrap();
        let found: Vec<_> = keys.iter().map(|(key, _, line)| (key.as_str(), *line)).collect();
        assert_eq!(found, [("b.y", 2), ("a.x", 5)]);
    }
}
