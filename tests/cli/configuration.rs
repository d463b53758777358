//! `config`, `serve` with a bad configuration, `completions` and help.

use super::{Home, done};

#[test]
fn the_defaults_are_valid_and_say_so() {
    let checked = Home::empty().run(&["config", "check"]);
    assert_eq!((checked.code, checked.err.as_str()), (0, ""));
    assert!(checked.out.starts_with("the configuration is valid; 0 of "), "{}", checked.out);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_the_server_does_not_start() {
    let home = Home::empty();
    std::fs::write(home.path("my.toml"), "[http]\nbimd = \"127.0.0.1:1\"\n").unwrap();
    for command in [&["serve"][..], &["config", "check"]] {
        let mut command = home.command(command);
        command.args(["--config", "my.toml", "--bind", "here", "--set", "fleet.slots=0"]);
        let refused = done(command.env("GETAREDIS__REAPER__POLL", "1h").output().unwrap());
        assert_eq!((refused.code, refused.out.as_str()), (2, ""));
        for words in [
            "the configuration has 4 problems",
            "http.bimd (my.toml:2): there is no such key; did you mean http.bind?",
            "http.bind = \"here\" (argument --bind)",
            "fleet.slots = 0 (argument --set)",
            "reaper.poll = \"1h\" (env GETAREDIS__REAPER__POLL)",
        ] {
            assert!(refused.err.contains(words), "{words} is not in\n{}", refused.err);
        }
    }
}

#[test]
fn the_configuration_that_holds_is_shown_with_its_sources_and_is_a_configuration_itself() {
    let home = Home::empty();
    std::fs::write(home.path("getaredis.toml"), "[fleet]\nslots = 7\n").unwrap();
    let mut command = home.command(&["config", "show", "--set", "http.workers=2"]);
    command.env("GETAREDIS__DIRECTORY__URL", "redis://:hunter2@10.0.0.1:6379");
    let shown = done(command.output().unwrap());
    assert_eq!((shown.code, shown.err.as_str()), (0, ""));
    let line = |key: &str| shown.out.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("slots = 7").ends_with("# getaredis.toml:2"), "a file of that name beside the command is read");
    assert!(line("workers = 2").ends_with("# argument --set"));
    assert!(line("url = \"redis:").ends_with("# env GETAREDIS__DIRECTORY__URL"));
    assert!(!shown.out.contains("hunter2"), "{}", shown.out);
    std::fs::write(home.path("again.toml"), &shown.out).unwrap();
    assert_eq!(home.run(&["config", "check", "--config", "again.toml"]).err, "");
}

#[test]
fn the_file_can_be_named_by_the_environment_and_must_exist_then() {
    let home = Home::empty();
    let mut command = home.command(&["config", "check"]);
    let refused = done(command.env("GETAREDIS_CONFIG", "missing.toml").output().unwrap());
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("cannot read the file missing.toml"), "{}", refused.err);
    let mut empty = home.command(&["config", "check"]);
    assert_eq!(done(empty.env("GETAREDIS_CONFIG", "").output().unwrap()).code, 0, "empty means not named");
}

#[test]
fn help_lists_the_exit_codes() {
    let help = Home::empty().run(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.out.contains("Exit codes:") && help.out.contains("6  the server cannot be reached"), "{}", help.out);
}

#[test]
fn a_shell_gets_its_completions() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]);
        assert_eq!((script.code, script.err.as_str()), (0, ""));
        assert!(script.out.contains("idempotency-key"), "{shell}");
    }
}

#[test]
fn an_empty_variable_means_that_nothing_was_said_and_a_wrong_one_is_named() {
    let home = Home::empty();
    let ls = |server: &str| done(home.command(&["ls"]).env("GETAREDIS_SERVER", server).output().unwrap());
    assert_eq!(ls("").code, 0);
    let refused = ls("localhost");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("GETAREDIS_SERVER must be an address"), "{}", refused.err);
    let mut serving = home.command(&["config", "check"]);
    assert_eq!(done(serving.env("GETAREDIS_SERVER", "localhost").output().unwrap()).code, 0, "not its business");
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    let home = Home::empty();
    for wrong in [
        &["new", "--ttl", "soon"][..],
        &["new", "--json", "--url"],
        &["new", "--label", ""],
        &["new", "--idempotency-key", "a b"],
        &["--server", "localhost", "ls"],
        &["config", "check", "--set", "http.bind"],
        &["frobnicate"],
        &[],
    ] {
        let refused = home.run(wrong);
        assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{wrong:?}");
    }
}

#[test]
fn the_files_that_are_not_there_or_empty_are_named_and_the_server_does_not_start() {
    let home = Home::empty();
    std::fs::write(home.path("token"), " \n").unwrap();
    let files = ["docker.tls_ca=ca.pem", "docker.tls_cert=cert.pem", "docker.tls_key=key.pem"];
    let mut set: Vec<_> = files.iter().flat_map(|file| ["--set", file]).collect();
    set.extend(["--set", "digitalocean.token_file=token"]);
    for command in [&["serve"][..], &["config", "check"]] {
        let refused = home.run(&[command, &set[..]].concat());
        assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{}", refused.err);
        for (key, file) in files.iter().filter_map(|set| set.split_once('=')) {
            let told = format!("{key} = \"{file}\" (argument --set): the file {file} cannot be read");
            assert!(refused.err.contains(&told), "{}", refused.err);
        }
        assert!(refused.err.contains("digitalocean.token_file = \"token\"") && refused.err.contains("token is empty"));
    }
}
