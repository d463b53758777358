//! The files that the configuration names: there, readable, and with something in them, or where they can be made.
//!
//! Owns which keys name a file that is read. Whoever loads a configuration may not be on the machine that it is for, so
//! only `config check` and the server look. What is in a file is never repeated: most hold a secret.

use std::{io, path::Path};

use super::{Config, SinkSecret, digitalocean::one_word, reader::Reader, signing_key};

/// Looks at every file.
pub(super) fn rules(config: &Config, reader: &mut Reader<'_>) {
    let named = [
        ("database.tls_ca", &config.database.tls_ca),
        ("docker.tls_ca", &config.docker.tls_ca),
        ("docker.tls_cert", &config.docker.tls_cert),
        ("docker.tls_key", &config.docker.tls_key),
        ("directory.tls_ca", &config.directory.tls_ca),
        ("digitalocean.user_data_file", &config.digitalocean.user_data_file),
    ];
    for (key, file) in named {
        if let Some(file) = file {
            rule(reader, key, file, not_blank);
        }
    }
    if let Some(file) = &config.digitalocean.token_file {
        rule(reader, "digitalocean.token_file", file, |text| {
            not_blank(text)?;
            one_word(String::from_utf8_lossy(text).trim()).map_err(|rule| format!("holds no token: it {rule}"))
        });
    }
    // The log itself is made when it is needed.
    if let Some(folder) = config.scaling.scaling_log.as_deref().and_then(Path::parent)
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        let why = format!("there is no folder {}; make it, or name a file in another one", folder.display());
        reader.rule(false, &["fleet.scaling_log"], &why);
    }
    let master_key = &config.instances.master_key_file;
    // It is made at the first start.
    if !matches!(master_key.try_exists(), Ok(false)) {
        rule(reader, "instances.master_key_file", master_key, not_blank);
    }
    for sink in &config.webhooks.sinks {
        if let SinkSecret::File(file) = &sink.secret {
            rule(reader, "webhooks.sinks", file, |text| {
                not_blank(text)?;
                signing_key(&String::from_utf8_lossy(text))
                    .map(|_| ())
                    .map_err(|rule| format!("holds no secret: it {rule}"))
            });
        }
    }
}

fn rule(reader: &mut Reader<'_>, key: &str, file: &Path, check: impl Fn(&[u8]) -> Result<(), String>) {
    let found = match content(file) {
        Ok(Some(text)) => check(&text),
        Ok(None) => Ok(()),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    if let Err(why) = found {
        reader.rule(false, &[key], &format!("the file {} {why}", file.display()));
    }
}

/// What is in a file; nothing of a pipe, which can be read only once, by whoever needs it.
fn content(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let kind = std::fs::metadata(file)?.file_type();
    if kind.is_file() || kind.is_dir() { std::fs::read(file).map(Some) } else { Ok(None) }
}

fn not_blank(text: &[u8]) -> Result<(), String> {
    if text.trim_ascii().is_empty() { Err("is empty".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Inputs, Layers};

    const CERTIFICATES: [&str; 3] = ["docker.tls_ca", "docker.tls_cert", "docker.tls_key"];

    fn problems(pairs: &[(&str, &Path)], sink: Option<&Path>) -> Vec<String> {
        let sinks =
            sink.map(|file| format!(r#"[{{ name = "a", url = "https://h", secret_file = "{}" }}]"#, file.display()));
        let pairs = pairs.iter().map(|(key, file)| (*key, file.display().to_string()));
        let all = pairs.chain(sinks.map(|sinks| ("webhooks.sinks", sinks)));
        let inputs = all.fold(Inputs::default(), |inputs, (key, value)| inputs.argument("--set", key, &value));
        let layers = Layers::gather(&inputs);
        Config::from_layers(&layers).unwrap();
        Config::with_files(&layers).err().map_or(Vec::new(), |all| all.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_file_that_is_missing_blank_or_a_directory_is_named_and_a_good_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (good, blank) = (file("good", "hunter2\n"), file("blank", " \n\t\n"));
        let secret = file("secret", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
        let missing = dir.path().join("missing");
        let alone = [
            "database.tls_ca",
            "directory.tls_ca",
            "digitalocean.token_file",
            "digitalocean.user_data_file",
            "instances.master_key_file",
        ];
        let keys = || CERTIFICATES.into_iter().chain(alone);
        for (path, why) in
            [(&missing, "No such file"), (&blank, "is empty"), (&dir.path().to_owned(), "cannot be read")]
        {
            let pairs: Vec<_> = keys().map(|key| (key, path.as_path())).collect();
            let all = problems(&pairs, Some(path));
            let shown = path.display().to_string();
            for key in keys().filter(|key| !(path == &missing && *key == "instances.master_key_file")) {
                let told =
                    |it: &&String| it.starts_with(&format!("{key} = ")) && it.contains(&shown) && it.contains(why);
                assert_eq!(all.iter().filter(told).count(), 1, "{key} {why}: {all:#?}");
            }
            assert!(all.iter().any(|it| it.starts_with("webhooks.sinks = ") && it.contains(why)), "{all:#?}");
            // The master key is made where there is none.
            assert_eq!(all.len(), keys().count() + 1 - usize::from(path == &missing), "{all:#?}");
        }
        let pairs: Vec<_> = keys().map(|key| (key, good.as_path())).collect();
        assert_eq!(problems(&pairs, Some(&secret)), Vec::<String>::new());
        let wrong = problems(&[("digitalocean.token_file", &file("two", "hunter2\nhunter3\n"))], None);
        assert!(wrong.len() == 1 && wrong[0].contains("one word") && !wrong[0].contains("hunter"), "{wrong:?}");
        let wrong = problems(&[], Some(&good));
        assert!(wrong.len() == 1 && wrong[0].contains("whsec_") && !wrong[0].contains("hunter2"), "{wrong:?}");
    }

    #[test]
    fn the_log_of_decisions_needs_a_folder_and_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let (made_later, nowhere) = (dir.path().join("log.jsonl"), dir.path().join("none").join("log.jsonl"));
        for good in [made_later.as_path(), Path::new("log.jsonl")] {
            assert_eq!(problems(&[("fleet.scaling_log", good)], None), Vec::<String>::new());
        }
        let told = problems(&[("fleet.scaling_log", &nowhere)], None);
        assert!(
            told.len() == 1 && told[0].contains(&format!("no folder {}", dir.path().join("none").display())),
            "{told:?}"
        );
    }

    #[test]
    fn what_can_be_read_only_once_is_left_to_whoever_needs_it() {
        let pipe = Path::new("/dev/null");
        assert_eq!(problems(&[("digitalocean.token_file", pipe)], None), Vec::<String>::new());
    }
}
