//! A table in a list: its fields are looked at one by one, and everything that is wrong with it is said together.
//!
//! Must never repeat a value: it may be a secret in the wrong place.

use toml::{Table, Value};

use super::kinds::Read;

/// The fields of one table.
pub(super) struct Fields<'a> {
    table: &'a Table,
    asked: Vec<&'static str>,
    wrong: Vec<String>,
}

/// What `read` makes of a table, which gives nothing only after a field was refused; `shape` names the fields as they are
/// allowed.
pub(super) fn table<T>(value: &Value, shape: &str, read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Read<T> {
    let Some(table) = value.as_table() else { return Err(format!("must be a table of {shape}")) };
    let mut fields = Fields { table, asked: Vec::new(), wrong: Vec::new() };
    let whole = read(&mut fields);
    for unknown in table.keys().filter(|key| !fields.asked.contains(&key.as_str())) {
        fields.wrong.push(format!("({unknown}) is not known; it must be a table of {shape}"));
    }
    match whole {
        Some(whole) if fields.wrong.is_empty() => Ok(whole),
        _ => Err(fields.wrong.join(", ")),
    }
}

impl Fields<'_> {
    /// A field that must be there.
    pub(super) fn must<T>(&mut self, name: &'static str, kind: impl Fn(&Value) -> Read<T>) -> Option<T> {
        let found = self.may(name, kind)?;
        if found.is_none() {
            self.refuse(format!("({name}) must be given"));
        }
        found
    }

    /// A field that may be left out. Nothing when it is refused.
    #[allow(clippy::option_option)]
    pub(super) fn may<T>(&mut self, name: &'static str, kind: impl Fn(&Value) -> Read<T>) -> Option<Option<T>> {
        self.asked.push(name);
        match self.table.get(name).map(kind).transpose() {
            Ok(found) => Some(found),
            Err(why) => {
                self.refuse(format!("({name}) {why}"));
                None
            }
        }
    }

    /// Something is wrong with the fields together.
    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        self.wrong.push(why.into());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kinds::whole, *};

    fn pair(text: &str) -> Read<(u32, Option<u32>)> {
        let value: Table = toml::from_str(text).unwrap();
        table(&value["v"], "a and perhaps b", |fields| {
            let (a, b) = (fields.must("a", whole(0..=9)), fields.may("b", whole(0..=9)));
            Some((a?, b?))
        })
    }

    #[test]
    fn everything_that_is_wrong_with_a_table_is_said_together() {
        assert_eq!(pair("v = { a = 1 }"), Ok((1, None)));
        assert_eq!(pair("v = { a = 1, b = 2 }"), Ok((1, Some(2))));
        let all = pair("v = { a = 10, b = \"hunter2\", c = \"hunter2\" }").unwrap_err();
        assert!(
            all.contains("(a) must be") && all.contains("(b) must be") && all.contains("(c) is not known"),
            "{all}"
        );
        assert!(!all.contains("hunter"), "{all}");
        assert_eq!(pair("v = {}"), Err("(a) must be given".to_owned()));
        assert_eq!(pair("v = 3"), Err("must be a table of a and perhaps b".to_owned()));
    }
}
