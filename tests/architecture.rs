//! The invariants of ARCHITECTURE.md, each checked on the sources themselves.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder of the repository but tests, with its text up to its unit tests and without its
/// comments.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("tests") {
                continue;
            }
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    assert!(!files.is_empty(), "{folder} holds no Rust");
    let code = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        (name, lines.collect::<Vec<_>>().join("\n"))
    };
    files.into_iter().map(code).collect()
}

/// The places in `files` that use one of the words.
fn places(files: &[(String, String)], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in files {
        for line in text.lines() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}: {}", line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_brain_depends_on_no_outside_library() {
    let manifest = fs::read_to_string(root().join("actors/Cargo.toml")).unwrap();
    let outside = ["actix-web", "actix-ws", "diesel", "bollard", "redis", "reqwest", "hyper", "rustls"];
    for line in manifest.lines() {
        let name = line.split(['=', ' ', '.']).next().unwrap_or_default();
        assert!(!outside.iter().any(|o| name == *o || name.starts_with(&format!("{o}-"))), "{line}");
    }
}

#[test]
fn the_domain_is_pure() {
    let impure =
        ["async ", ".await", "actix", "tokio", "std::fs", "std::net::Tcp", "SystemTime", "Instant", "Timestamp::now"];
    assert_eq!(places(&sources("actors/domain"), &impure), Vec::<String>::new());
}

#[test]
fn only_the_wiring_names_concrete_adapters() {
    let mut files = sources("src");
    files.retain(|(name, _)| !name.starts_with("src/adapters/") && name != "src/wiring.rs" && name != "src/lib.rs");
    assert_eq!(places(&files, &["adapters::"]), Vec::<String>::new());
}

#[test]
fn only_the_problem_map_turns_an_error_into_a_status() {
    // What a handler may say by itself: how something went well.
    let successes = ["OK", "ACCEPTED", "NOT_MODIFIED", "Ok", "Created", "Accepted", "NoContent"];
    let mut files = sources("src/web");
    files.retain(|(name, _)| !["src/web/problem.rs", "src/web/health.rs"].contains(&name.as_str()));
    for (name, text) in &files {
        for prefix in ["StatusCode::", "HttpResponse::"] {
            for after in text.split(prefix).skip(1) {
                let said: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let is_status = said.starts_with(char::is_uppercase);
                assert!(!is_status || successes.contains(&said.as_str()), "{name} says {prefix}{said}");
            }
        }
    }
    // Other ways to a status of one's own.
    let ways =
        ["from_u16", "status_mut", "set_status", "actix_web::error", "InternalError", "HttpResponseBuilder::new"];
    assert_eq!(places(&files, &ways), Vec::<String>::new());
}

#[test]
fn actors_know_their_peers_as_recipients_only() {
    let rooms = ["rate_limit", "scheduler", "host", "discovery", "reaper", "autoscaler", "feed", "webhooks"];
    for room in rooms {
        let files = sources(&format!("actors/{room}"));
        assert_eq!(places(&files, &["Addr<"]), Vec::<String>::new());
    }
}

#[test]
fn a_panic_never_aborts_the_process() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let settings: Vec<_> = manifest.lines().filter(|line| line.trim_start().starts_with("panic")).collect();
    assert_eq!(settings, Vec::<&str>::new(), "supervision catches panics");
}

#[test]
fn a_build_without_the_feature_knows_no_crash_point() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains("crash-points = []") && !manifest.contains("default = ["),
        "the feature is off by default"
    );
    let mut files = sources("src");
    files.retain(|(name, _)| name != "src/adapters/crash_points.rs");
    assert_eq!(places(&files, &["GETAREDIS_CRASH_AT", "abort()"]), Vec::<String>::new());
    // Every line that mentions the module is behind the feature.
    for (name, text) in files {
        let lines: Vec<_> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[1].contains("crash_points")) {
            assert_eq!(pair[0].trim(), "#[cfg(feature = \"crash-points\")]", "{name}: {}", pair[1]);
        }
    }
    for script in ["script/server", "script/bench", "script/image"] {
        assert!(!fs::read_to_string(root().join(script)).unwrap().contains("crash-points"), "{script}");
    }
}

#[test]
fn nothing_but_tests_uses_the_testbed() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (program, tests) = manifest.split_once("[dev-dependencies]").unwrap();
    assert!(!program.contains("getaredis-testbed") && tests.contains("getaredis-testbed"));
}
