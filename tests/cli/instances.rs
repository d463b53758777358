//! `new`, `ls`, `show`, `rm` and `extend`.

use std::{os::unix::fs::PermissionsExt, process::Command, time::Instant};

use serde_json::{Value, json};

use super::{
    Done, Home, done,
    fake::{Fake, Next},
    ports::free_port,
};

const URL: &str = "redis://default:pass-word@203.0.113.7:32768/0";

/// A home and a server, and commands that ask it.
struct Bench {
    home: Home,
    fake: Fake,
}

impl Bench {
    fn new() -> Self {
        Self { home: Home::empty(), fake: Fake::start() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command.env("GETAREDIS_SERVER", &self.fake.url);
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        done(self.command(arguments).output().unwrap())
    }

    /// Makes an instance and gives its id.
    fn new_id(&self) -> String {
        let made = self.run(&["new", "--json"]);
        assert_eq!(made.code, 0, "{made:?}");
        serde_json::from_str::<Value>(&made.out).unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn remembered(&self) -> Vec<String> {
        let text = std::fs::read(self.home.state_file()).unwrap();
        let state: Value = serde_json::from_slice(&text).unwrap();
        state["instances"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_person_is_told_how_to_connect_and_how_long() {
    let bench = Bench::new();
    let made = bench.run(&["new", "--ttl", "90m", "--label", "my ci job", "--flavour", "redis"]);
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    for words in [URL, "redis-cli --user default -h 203.0.113.7 -p 32768", "in 1h 30m", "2099-01-01T12", "my ci job"] {
        assert!(made.out.contains(words), "{words} is not in\n{}", made.out);
    }
    let seen = bench.fake.inner().seen[0].clone();
    assert_eq!(seen.body, json!({ "ttl": 5400, "label": "my ci job", "flavour": "redis" }));
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v1/instances"));
}

#[test]
fn a_script_gets_the_url_alone_or_the_json_as_the_server_sent_it() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["new", "--url"]).out, format!("{URL}\n"));
    let made = bench.run(&["new", "--json"]);
    let json: Value = serde_json::from_str(&made.out).unwrap();
    assert_eq!(json, bench.fake.inner().live[json["id"].as_str().unwrap()]);
    assert_eq!(made.err, "");
}

#[test]
fn a_shell_can_evaluate_what_env_writes() {
    let bench = Bench::new();
    let made = bench.run(&["new", "--env"]);
    let script = format!("{}\nprintf '%s %s %s' \"$REDIS_URL\" \"$REDIS_PASSWORD\" \"$REDIS_PORT\"", made.out);
    let shell = Command::new("sh").arg("-euc").arg(script).output().unwrap();
    assert_eq!(String::from_utf8(shell.stdout).unwrap(), format!("{URL} pass-word 32768"));
    assert!(!made.out.contains("gar_"), "the management token is not handed to every child of the shell");
}

#[test]
fn what_was_made_is_listed_shown_extended_and_removed_by_the_beginning_of_its_id() {
    let bench = Bench::new();
    let (first, second) = (bench.new_id(), bench.new_id());
    let listed = bench.run(&["ls"]);
    assert!(listed.out.contains(&first) && listed.out.contains(&second), "{}", listed.out);
    assert!(listed.out.contains("203.0.113.7:32768") && !listed.out.contains("pass-word"), "{}", listed.out);
    let all: Value = serde_json::from_str(&bench.run(&["ls", "--json"]).out).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);

    assert_eq!(bench.run(&["show", &first[..8], "--url"]).out, format!("{URL}\n"));
    let longer = bench.run(&["extend", &first[..8], "--ttl", "20h"]);
    assert!(longer.out.contains("in 20h"), "{longer:?}");
    assert_eq!(bench.fake.inner().seen.last().unwrap().body, json!({ "ttl": 72_000 }));

    let ambiguous = bench.run(&["rm", &first[..4]]);
    assert_eq!(ambiguous.code, 2);
    assert!(ambiguous.err.contains(&first) && ambiguous.err.contains(&second), "{}", ambiguous.err);

    let removed = bench.run(&["rm", &first[..8]]);
    assert_eq!((removed.code, removed.out.as_str(), removed.err.as_str()), (0, "", ""));
    assert_eq!(bench.remembered(), [second]);
}

#[test]
fn tokens_are_remembered_in_a_file_that_nobody_else_can_read() {
    let bench = Bench::new();
    bench.new_id();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bench.home.state_file()), 0o600);
    assert_eq!(mode(bench.home.path("state/getaredis")), 0o700);
}

#[test]
fn commands_that_run_at_once_remember_all_they_made() {
    let bench = Bench::new();
    let spawn = |_| bench.command(&["new", "--url"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let children: Vec<_> = (0..8).map(spawn).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(bench.remembered().len(), 8);
}

#[test]
fn a_list_drops_what_has_ended() {
    let bench = Bench::new();
    let (ended, live) = (bench.new_id(), bench.new_id());
    bench.fake.inner().ended.push(ended.clone());
    let listed = bench.run(&["ls"]);
    assert!(!listed.out.contains(&ended) && listed.out.contains(&live), "{}", listed.out);
    assert_eq!(bench.remembered(), [live]);
}

#[test]
fn a_list_keeps_what_its_server_cannot_say_anything_about() {
    let bench = Bench::new();
    let id = bench.new_id();
    let Bench { home, fake } = bench;
    drop(fake);
    let listed = home.run(&["ls"]);
    assert_eq!((listed.code, listed.out.as_str()), (6, ""));
    assert!(listed.err.contains(&id) && listed.err.contains("does not answer"), "{}", listed.err);
    assert!(std::fs::read_to_string(home.state_file()).unwrap().contains(&id));
}

#[test]
fn nothing_to_list_is_no_failure() {
    let listed = Home::empty().run(&["ls"]);
    assert_eq!((listed.code, listed.out.as_str()), (0, ""));
    assert!(listed.err.contains("no live instances"), "{}", listed.err);
    assert_eq!(Home::empty().run(&["ls", "--json"]).out, "[]\n");
}

#[test]
fn a_server_that_is_named_is_asked_and_no_other() {
    let (bench, other) = (Bench::new(), Fake::start());
    let id = bench.new_id();
    let asked = bench.fake.inner().seen.len();
    for command in ["show", "rm"] {
        let answer = bench.home.run(&["--server", &other.url, command, &id]);
        assert_eq!(answer.code, 5, "{answer:?}");
    }
    assert_eq!(bench.fake.inner().seen.len(), asked, "the server that made it was left alone");
    assert_eq!(bench.remembered(), [id], "and it is still remembered");
}

#[test]
fn an_instance_made_elsewhere_needs_its_id_and_token() {
    let bench = Bench::new();
    let id = bench.new_id();
    let elsewhere = Home::empty();
    let unknown = elsewhere.run(&["--server", &bench.fake.url, "show", &id]);
    assert_eq!(unknown.code, 5);
    assert!(unknown.err.contains("--token"), "{}", unknown.err);
    assert_eq!(elsewhere.run(&["show", "abc"]).code, 5);

    let mut command = elsewhere.command(&["--server", &bench.fake.url, "show", &id, "--url"]);
    let shown = done(command.env("GETAREDIS_TOKEN", format!("gar_{id}")).output().unwrap());
    assert_eq!((shown.code, shown.out), (0, format!("{URL}\n")));
    let wrong = elsewhere.run(&["--server", &bench.fake.url, "rm", &id, "--token", "gar_wrong"]);
    assert_eq!(wrong.code, 7);
    assert!(wrong.err.contains("management token") && !wrong.err.contains("gar_wrong"), "{}", wrong.err);
}

#[test]
fn each_kind_of_refusal_has_its_exit_code_and_plain_words() {
    let bench = Bench::new();
    let id = bench.new_id();
    for (status, code) in
        [(400, 2), (401, 7), (403, 7), (404, 5), (409, 2), (410, 5), (413, 2), (429, 3), (500, 1), (502, 4), (503, 4)]
    {
        bench.fake.refuse(status, "because of this", None);
        let refused = bench.run(&["new"]);
        assert_eq!((refused.code, refused.out.as_str()), (code, ""), "{status}: {}", refused.err);
        assert_eq!(refused.err, "getaredis: because of this\n");
    }
    bench.fake.inner().ended.push(id.clone());
    let gone = bench.run(&["rm", &id]);
    assert_eq!(gone.code, 5);
    assert_eq!(gone.err, "getaredis: this instance has ended (expired); it ended at 2026-01-02T03:04:05Z\n");
    assert!(bench.remembered().is_empty(), "it is forgotten on the way");
}

#[test]
fn an_api_token_comes_from_a_file_or_the_environment_and_is_never_shown() {
    let bench = Bench::new();
    let sent = |bench: &Bench| bench.fake.inner().seen.last().unwrap().authorization.clone();
    let with_env = |arguments: &[&str], value: &str| {
        done(bench.command(arguments).env("GETAREDIS_TOKEN", value).output().unwrap())
    };
    std::fs::write(bench.home.path("token"), "from-a-file\n").unwrap();
    assert_eq!(with_env(&["new", "--token-file", "token"], "from-the-environment").code, 0);
    assert_eq!(sent(&bench).as_deref(), Some("Bearer from-a-file"));
    let made = with_env(&["new"], "from-the-environment");
    assert_eq!(sent(&bench).as_deref(), Some("Bearer from-the-environment"));
    assert!(
        !made.out.contains("from-the") && !std::fs::read_to_string(bench.home.state_file()).unwrap().contains("from-")
    );
    // A management token that a script has exported is no API token, and the other way round.
    assert_eq!(with_env(&["new"], "gar_x").code, 0);
    assert_eq!(sent(&bench), None);
    let id = bench.new_id();
    assert_eq!(with_env(&["show", &id], "from-the-environment").code, 0);
    assert_eq!(sent(&bench), Some(format!("Bearer gar_{id}")));
}

#[test]
fn a_token_file_that_holds_no_token_is_named_and_nothing_is_asked_for() {
    let bench = Bench::new();
    for (file, text) in [("empty", "\n"), ("two", "one\ntwo\n"), ("missing", "")] {
        if file != "missing" {
            std::fs::write(bench.home.path(file), text).unwrap();
        }
        let refused = bench.run(&["new", "--token-file", file]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains(file) && !refused.err.contains("one\n"), "{}", refused.err);
    }
    assert!(bench.fake.inner().seen.is_empty());
}

#[test]
fn what_is_allowed_is_said_in_words() {
    let bench = Bench::new();
    let problem = json!({ "status": 400, "detail": "The lease is too long.", "field": "ttl",
        "allowed": { "min_s": 60, "max_s": 86_400 } });
    bench.fake.next(Next::Answer(400, problem, None));
    assert_eq!(bench.run(&["new"]).err, "getaredis: The lease is too long (in ttl); allowed: 1m to 1day\n");
}

#[test]
fn a_refusal_says_when_to_try_again() {
    let bench = Bench::new();
    let problem = json!({ "status": 429, "detail": "you already have 6 instances", "retry_after_s": 5400, "limit": 6 });
    bench.fake.next(Next::Answer(429, problem, Some(5400)));
    assert_eq!(bench.run(&["new"]).err, "getaredis: you already have 6 instances; try again in 1h 30m\n");
    bench.fake.refuse(503, "every host is full", Some(30));
    assert_eq!(bench.run(&["new"]).err, "getaredis: every host is full; try again in 30s\n");
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_key_and_gives_one_instance() {
    let bench = Bench::new();
    bench.fake.next(Next::LoseAnswer);
    let made = bench.run(&["new", "--url"]);
    assert_eq!((made.code, made.out), (0, format!("{URL}\n")), "{}", made.err);
    assert!(made.err.contains("asking again"), "{}", made.err);
    let inner = bench.fake.inner();
    assert_eq!((inner.seen.len(), inner.live.len()), (2, 1));
    assert_eq!(inner.seen[0].key, inner.seen[1].key);
}

#[test]
fn without_wait_a_lost_answer_is_asked_for_only_once_more() {
    let bench = Bench::new();
    bench.fake.next(Next::LoseAnswer);
    bench.fake.next(Next::LoseAnswer);
    assert_eq!(bench.run(&["new"]).code, 6);
    assert_eq!(bench.fake.inner().seen.len(), 2);
}

#[test]
fn a_key_of_ones_own_gives_the_same_instance_and_is_remembered_once() {
    let bench = Bench::new();
    let made = || bench.run(&["new", "--json", "--idempotency-key", "job-7"]).out;
    assert_eq!(made(), made());
    assert_eq!(bench.remembered().len(), 1);
    assert_eq!(bench.fake.inner().seen[0].key.as_deref(), Some("job-7"));
}

#[test]
fn wait_honours_retry_after_until_there_is_room() {
    let bench = Bench::new();
    bench.fake.refuse(503, "every host is full", Some(1));
    bench.fake.refuse(429, "too fast", Some(1));
    let start = Instant::now();
    let made = bench.run(&["new", "--url", "--wait", "1m"]);
    assert_eq!((made.code, made.out), (0, format!("{URL}\n")), "{}", made.err);
    assert!(start.elapsed().as_secs() >= 2, "{:?}", start.elapsed());
    assert!(made.err.contains("every host is full") && made.err.contains("too fast"), "{}", made.err);
}

#[test]
fn wait_gives_up_at_once_when_the_server_wants_longer() {
    let bench = Bench::new();
    bench.fake.refuse(429, "you already have 6 instances", Some(3600));
    let start = Instant::now();
    assert_eq!(bench.run(&["new", "--wait", "20s"]).code, 3);
    assert!(start.elapsed().as_secs() < 15);
    assert_eq!(bench.fake.inner().seen.len(), 1);
}

#[test]
fn a_server_that_cannot_be_reached_is_named_with_the_reason() {
    let home = Home::empty();
    let port = free_port();
    let refused = home.run(&["--server", &format!("http://127.0.0.1:{port}"), "new"]);
    assert_eq!((refused.code, refused.out.as_str()), (6, ""));
    assert!(refused.err.contains(&format!("http://127.0.0.1:{port} does not answer")), "{}", refused.err);
    assert!(refused.err.contains("refused"), "{}", refused.err);
}

#[test]
fn a_page_of_somebody_else_is_not_taken_for_an_answer() {
    let bench = Bench::new();
    bench.fake.next(Next::Answer(200, json!("hello"), None));
    let nonsense = bench.run(&["new"]);
    assert_eq!(nonsense.code, 1);
    assert!(nonsense.err.contains("does not answer as a getaredis server does"), "{}", nonsense.err);
    bench.fake.next(Next::Answer(502, json!("<html>"), None));
    let proxy = bench.run(&["new"]);
    assert_eq!(proxy.code, 4);
    assert!(proxy.err.contains("answered 502 Bad Gateway"), "{}", proxy.err);
    bench.fake.next(Next::Answer(301, json!(null), None));
    assert!(bench.run(&["new"]).err.contains("redirects"));
}

#[test]
fn an_instance_that_cannot_be_remembered_is_given_all_the_same() {
    let bench = Bench::new();
    std::fs::write(bench.home.path("state"), "a file in the way").unwrap();
    let made = bench.run(&["new", "--url"]);
    assert_eq!((made.code, made.out), (0, format!("{URL}\n")));
    assert!(made.err.contains("--json"), "{}", made.err);
    let homeless = done(bench.command(&["new", "--url"]).env_remove("XDG_STATE_HOME").output().unwrap());
    assert_eq!(homeless.code, 0);
    assert!(homeless.err.contains("neither XDG_STATE_HOME nor HOME"), "{}", homeless.err);
}

#[test]
fn nothing_from_a_server_commands_the_terminal() {
    let bench = Bench::new();
    let id = bench.new_id();
    bench.fake.inner().live.get_mut(&id).unwrap()["label"] = json!("a\u{1b}[2J\nb");
    for command in [&["ls"][..], &["show", &id]] {
        let shown = bench.run(command);
        assert!(!shown.out.contains('\u{1b}'), "{}", shown.out);
    }
}
