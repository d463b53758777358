//! Everything that opens something and was seen by a test: none of it may ever be in a log.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The secrets that a test has seen. Clones are the same set.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Mutex<BTreeSet<String>>>);

impl Secrets {
    /// From now on this must not be found.
    pub fn keep(&self, secret: &str) {
        // A shorter text could be found by chance.
        assert!(secret.len() >= 16, "too short for a secret");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
    }

    /// The lines of `text` that hold one of them.
    pub fn found_in(&self, text: &str) -> Vec<String> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.lines().filter(|line| secrets.iter().any(|secret| line.contains(secret))).map(str::to_owned).collect()
    }
}

#[test]
fn a_secret_is_found_wherever_it_stands_in_a_line() {
    let secrets = Secrets::default();
    assert!(secrets.found_in("nothing is secret yet").is_empty());
    secrets.keep("correct-horse-battery");
    let found = secrets.found_in("fine\n{\"url\":\"redis://:correct-horse-battery@h\"}\ncorrect-horse");
    assert_eq!(found, ["{\"url\":\"redis://:correct-horse-battery@h\"}"]);
}
