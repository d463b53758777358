//! The built-in file and the sections say the same, every layer can set every key, and all problems come together.

mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::Write,
    path::PathBuf,
    time::Duration,
};

use getaredis_actors::domain::{Creator, HostName, TokenName};
use proptest::prelude::{prop_assert, proptest};
use secrecy::ExposeSecret;

use super::{
    Config, DirectoryKind, Inputs, Layers, LogFormat, Problems, Provider, RuntimeKind, Source,
    layers::{BUILT_IN, env_name},
    reader::Reader,
    show,
};
use values::{BAD, OTHERS};

/// Keys or variables with their values.
type Pairs<'a> = &'a [(&'a str, &'a str)];

fn env(pairs: Pairs<'_>) -> Inputs {
    let env = pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    Inputs { env, ..Inputs::default() }
}

fn set(pairs: Pairs<'_>) -> Inputs {
    pairs.iter().fold(Inputs::default(), |inputs, (key, value)| inputs.argument("--set", key, value))
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    (dir, path)
}

fn problems(inputs: &Inputs) -> Vec<String> {
    match Config::load(inputs) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn only_problem(inputs: &Inputs) -> String {
    let all = problems(inputs);
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

#[test]
fn the_built_in_file_is_valid_and_has_the_promised_defaults() {
    let config = Config::load(&Inputs::default()).unwrap();
    let hour = |n: u64| Duration::from_secs(n * 3600);
    assert_eq!(config.http.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.instances.default_ttl, hour(12));
    assert_eq!(config.instances.max_lifetime, hour(72));
    assert_eq!((config.limits.per_creator, config.fleet.slots), (6, 40));
    assert_eq!((config.instances.memory_bytes, config.instances.connections), (5 * 1024 * 1024, 5));
    assert_eq!((config.directory.kind, config.fleet.runtime), (DirectoryKind::Static, RuntimeKind::Docker));
    assert_eq!(config.docker.local_engine(), "unix:///var/run/docker.sock");
    assert_eq!(config.database.url.expose_secret(), "sqlite://getaredis.db");
    assert_eq!(config.telemetry.format, LogFormat::Text);
    assert!(config.admin.token_sha256.is_none());
}

#[test]
fn every_key_of_the_built_in_file_is_known_and_every_known_key_is_in_it() {
    let layers = Layers::gather(&Inputs::default());
    let mut reader = Reader::new(&layers);
    Config::read(&mut reader).unwrap();
    let written: BTreeSet<_> = layers.entries.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(reader.asked, written);
    let tested: BTreeSet<_> = OTHERS.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(tested, written, "OTHERS must have a value for every key");
}

#[test]
fn every_key_of_the_built_in_file_has_one_comment_line_above_it() {
    let mut above = "";
    for line in BUILT_IN.lines().skip_while(|line| !line.starts_with('[')) {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(above.starts_with("# ") && above.ends_with('.'), "{line}");
        }
        assert!(!(above.starts_with('#') && line.starts_with('#')), "{line}");
        above = line;
    }
}

#[test]
fn every_key_can_be_set_by_environment_argument_and_file() {
    for (key, value) in OTHERS {
        let name = env_name(key);
        let sources = [
            (env(&[(&name, value)]), Source::Env(name.clone())),
            (set(&[(key, value)]), Source::Argument("--set".to_owned())),
        ];
        for (inputs, source) in sources {
            let layers = Layers::gather(&inputs);
            let entry = layers.entry(key).unwrap();
            assert_eq!(entry.source, source);
            // Some need company to be valid, but none may be misunderstood by itself.
            for problem in problems(&inputs) {
                assert!(!problem.contains("must be a"), "{problem}");
            }
            // What was set, written into a file as it is shown, is the same value again.
            let (section, bare) = key.split_once('.').unwrap();
            let (_dir, path) = file(&format!("[{section}]\n{bare} = {}\n", entry.value));
            let from_file = Layers::gather(&Inputs { file: Some(path.clone()), ..Inputs::default() });
            assert_eq!(from_file.entry(key).unwrap().value, entry.value);
            assert_eq!(from_file.entry(key).unwrap().source, Source::File(path, 2));
        }
    }
}

#[test]
fn all_keys_set_at_once_reach_the_config() {
    let fits = |key: &&(&str, &str)| {
        !matches!(
            key.0,
            "directory.kind" | "fleet.runtime" | "fleet.provider" | "digitalocean.token_file" | "docker.host_auth"
        )
    };
    let variables: Vec<_> = OTHERS.iter().filter(fits).map(|(key, value)| (env_name(key), *value)).collect();
    let pairs: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let config = Config::load(&env(&pairs)).unwrap();
    assert_eq!(config.http.trusted_proxies.len(), 2);
    assert_eq!(config.directory.prefix, "12345");
    assert_eq!(config.docker.ports, Some(20000..=29999));
    assert!((config.instances.cpus - 2.0).abs() < f64::EPSILON);
    assert_eq!(config.telemetry.format, LogFormat::Json);
    let hash = config.admin.token_sha256.unwrap();
    assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
}

#[test]
fn every_bad_value_is_refused_with_key_source_and_what_is_allowed() {
    for (key, value) in BAD {
        let problem = only_problem(&env(&[(&env_name(key), value)]));
        assert!(problem.starts_with(key), "{problem}");
        assert!(problem.contains(&format!("(env {})", env_name(key))), "{problem}");
        assert!(problem.contains("must"), "{problem}");
    }
}

#[test]
fn all_problems_of_all_layers_are_reported_together() {
    let (_dir, path) = file("[http]\nbimd = \"127.0.0.1:1\"\nworkers = \"many\"\n\n[htpp]\nbind = \"x\"\n");
    let mut inputs = env(&[
        ("GETAREDIS__FLEET__SLOTS", "0"),
        ("GETAREDIS__FLEET__SLOT", "40"),
        ("GETAREDIS__NONSENSE", "1"),
        ("GETAREDIS__FLEET__NOPE", "1"),
        ("GETAREDIS_CONFIG", "not a key"),
    ]);
    inputs.file = Some(path.clone());
    let all = problems(&inputs.argument("--bind", "http.bind", "nowhere").argument("--set", "reaper.pol", "1s"));
    let path = path.display();
    let expected = [
        format!("http.bimd ({path}:2): there is no such key; did you mean http.bind?"),
        format!("htpp.bind ({path}:6): there is no such key; did you mean http.bind?"),
        "GETAREDIS__FLEET__NOPE (env GETAREDIS__FLEET__NOPE): there is no such key; `getaredis config show` lists all".into(),
        "GETAREDIS__FLEET__SLOT (env GETAREDIS__FLEET__SLOT): there is no such key; did you mean GETAREDIS__FLEET__SLOTS?".into(),
        "GETAREDIS__NONSENSE (env GETAREDIS__NONSENSE): there is no such key; `getaredis config show` lists all".into(),
        "reaper.pol (argument --set): there is no such key; did you mean reaper.poll?".into(),
        r#"http.bind = "nowhere" (argument --bind): must be an IP address and a port such as 127.0.0.1:8080 or [::1]:8080"#.into(),
        format!(r#"http.workers = "many" ({path}:3): must be a whole number from 0 to 1024"#),
        "fleet.slots = 0 (env GETAREDIS__FLEET__SLOTS): must be a whole number from 1 to 10000".into(),
    ];
    assert_eq!(all, expected);
}

#[test]
fn a_variable_that_is_not_in_capitals_is_reported() {
    for name in ["getaredis__http__bind", "GETAREDIS__Http__Bind", "Getaredis__HTTP__BIND"] {
        let problem = only_problem(&env(&[(name, "[::1]:0")]));
        assert!(problem.starts_with(name) && problem.ends_with("capitals only: GETAREDIS__HTTP__BIND"), "{problem}");
    }
}

#[test]
fn later_layers_win() {
    let (_dir, path) = file("[fleet]\nslots = 1\nstrategy = \"spread\"\n[http]\nworkers = 1\n");
    let mut inputs = env(&[("GETAREDIS__FLEET__SLOTS", "2"), ("GETAREDIS__HTTP__WORKERS", "2")]);
    inputs.file = Some(path);
    let config = Config::load(&inputs.argument("--set", "fleet.slots", "3")).unwrap();
    assert_eq!((config.fleet.slots, config.http.workers), (3, 2));
    assert_eq!(config.fleet.strategy, getaredis_actors::domain::Strategy::Spread);
}

#[test]
fn a_named_file_that_is_missing_is_an_error_and_an_optional_one_is_not() {
    let missing = PathBuf::from("/nonexistent/getaredis.toml");
    let optional = Inputs { optional_file: Some(missing.clone()), ..Inputs::default() };
    assert!(problems(&optional).is_empty());
    let named = Inputs { file: Some(missing), ..Inputs::default() };
    assert!(only_problem(&named).contains("cannot read the file /nonexistent/getaredis.toml"));
}

#[test]
fn a_file_that_is_not_toml_is_named_with_its_line_and_without_its_content() {
    let (_dir, path) = file("[directory]\nurl = redis://u:secret@h\n");
    let problem = only_problem(&Inputs { file: Some(path.clone()), ..Inputs::default() });
    assert!(problem.starts_with(&format!("{}:2: this is not TOML", path.display())), "{problem}");
    assert!(!problem.contains("secret"), "{problem}");
}

const PLAIN: &str = r#"[{ name = "a", url = "http://10.0.0.1/x", secret_file = "f" }]"#;
const TWINS: &str = r#"[{ name = "a", url = "https://h", secret_file = "f" }, { name = "a", url = "http://[::1]:1", secret_file = "g" }]"#;

/// Values that are fine one by one and not together, with keys that the problem names.
fn broken_rules() -> Vec<(Pairs<'static>, &'static [&'static str])> {
    vec![
        (&[("instances.min_ttl", "13h")], &["instances.min_ttl", "instances.default_ttl"]),
        (&[("instances.default_ttl", "25h")], &["instances.default_ttl", "instances.max_ttl"]),
        (&[("instances.max_ttl", "80h")], &["instances.max_ttl", "instances.max_lifetime"]),
        (&[("instances.create_deadline", "10s")], &["instances.create_deadline", "docker.start_timeout"]),
        (&[("docker.tls_ca", "ca.pem"), ("docker.tls_cert", "c.pem")], &["docker.tls_cert", "docker.tls_key"]),
        (&[("docker.tls_cert", "c.pem"), ("docker.tls_key", "k.pem")], &["docker.tls_ca", "docker.tls_cert"]),
        (&[("docker.endpoint", "https://h:2376")], &["docker.tls_ca", "docker.endpoint"]),
        (&[("fleet.min_hosts", "3"), ("fleet.max_hosts", "2")], &["fleet.min_hosts", "fleet.max_hosts"]),
        (&[("docker.ports", "20000-20010")], &["docker.ports", "fleet.slots"]),
        (&[("fleet.address", "203.0.113.7")], &["docker.publish_address", "fleet.address"]),
        (
            &[("directory.hosts", r#"[{ name = "a", address = "203.0.113.7" }]"#)],
            &["docker.publish_address", "directory.hosts"],
        ),
        (&[("directory.hosts", r#"[{ name = "a", endpoint = "tcp://a:1" }, { name = "a" }]"#)], &["directory.hosts"]),
        (&[("directory.hosts", r#"[{ name = "a" }, { name = "b" }]"#)], &["directory.hosts"]),
        (
            &[("directory.hosts", r#"[{ name = "a" }]"#), ("directory.kind", "redis")],
            &["directory.hosts", "directory.kind"],
        ),
        (&[("fleet.runtime", "process"), ("directory.kind", "redis")], &["fleet.runtime", "directory.kind"]),
        (&[("fleet.runtime", "process"), ("database.url", "mysql://u:p@h/g")], &["fleet.runtime", "database.url"]),
        (&[("directory.poll", "30s")], &["directory.poll", "directory.ttl"]),
        (
            &[(
                "limits.tokens",
                r#"[{ name = "a", sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
                    { name = "a", sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a0" }]"#,
            )],
            &["limits.tokens"],
        ),
        (
            &[(
                "limits.tokens",
                r#"[{ name = "a", sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
                    { name = "b", sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" }]"#,
            )],
            &["limits.tokens"],
        ),
        (&[("webhooks.sinks", PLAIN)], &["webhooks.sinks", "webhooks.allow_plain_http"]),
        (&[("webhooks.sinks", TWINS)], &["webhooks.sinks"]),
        (&[("fleet.min_hosts", "6")], &["fleet.min_hosts", "fleet.max_hosts"]),
        (&[("fleet.standby", "6")], &["fleet.standby", "fleet.max_hosts"]),
        (
            &[("digitalocean.token", "x"), ("digitalocean.token_file", "y")],
            &["digitalocean.token", "digitalocean.token_file"],
        ),
    ]
}

#[test]
fn rules_between_keys_name_all_of_them() {
    for (pairs, keys) in broken_rules() {
        let problem = only_problem(&set(pairs));
        assert!(keys.iter().all(|key| problem.contains(&format!("{key} = "))), "{problem}");
    }
}

/// What buying at DigitalOcean needs at least.
const BUYING: Pairs<'static> = &[
    ("fleet.provider", "digitalocean"),
    ("directory.kind", "redis"),
    ("docker.publish_address", "0.0.0.0"),
    ("digitalocean.token", "dop_v1_hunter2"),
    ("digitalocean.placements", r#"[{ region = "fra1", size = "s-1vcpu-2gb" }, { region = "ams3", size = "s" }]"#),
    ("digitalocean.user_data_file", "droplet.sh"),
];

#[test]
fn a_provider_needs_an_account_a_place_and_a_directory() {
    let config = Config::load(&set(BUYING)).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.digitalocean.placements[1].region, "ams3");
    let scaling = config.brain_settings().scaling.unwrap();
    assert_eq!((scaling.standby, scaling.min_hosts, scaling.max_hosts), (1, 0, 5));
    for (missing, _) in &BUYING[1..] {
        let rest: Vec<_> = BUYING.iter().filter(|(key, _)| key != missing).copied().collect();
        let problem = only_problem(&set(&rest));
        assert!(problem.contains(missing) && problem.contains("fleet.provider"), "{problem}");
    }
}

#[test]
fn the_configuration_for_a_simulated_cloud_is_valid_and_buys_there() {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/fleet.toml"));
    let config = Config::load(&Inputs { file: Some(file), ..Inputs::default() }).unwrap();
    assert_eq!(
        (config.fleet.provider, config.digitalocean.api.as_str()),
        (Provider::DigitalOcean, "http://127.0.0.1:20080")
    );
    assert!(config.host_settings(&HostName::parse("a").unwrap()).is_ok());
}

#[test]
fn hosts_that_are_bought_must_reach_the_directory_unless_their_own_user_data_knows_a_way() {
    let derived: Vec<_> = BUYING.iter().filter(|(key, _)| *key != "digitalocean.user_data_file").copied().collect();
    let derived =
        [&derived[..], &[("docker.host_auth", "derived"), ("directory.endpoint", "https://{name}:2376")]].concat();
    let with = |pairs: Pairs<'_>| problems(&set(&[&derived[..], pairs].concat()));
    for url in ["redis://127.0.0.1:6379", "rediss://:p@127.1.2.3", "redis://[::1]:6379/0", "redis://LocalHost"] {
        let all = with(&[("directory.url", url)]);
        assert!(
            all.len() == 1 && all[0].starts_with("directory.announce = ") && all[0].contains("fleet.provider"),
            "{all:?}"
        );
        assert!(all[0].contains("set directory.announce to the address they use"), "{all:?}");
        Config::load(&set(&[BUYING, &[("directory.url", url)]].concat())).unwrap();
        assert_eq!(
            with(&[("directory.url", url), ("directory.announce", "redis://10.0.0.2:6379")]),
            Vec::<String>::new()
        );
    }
    assert_eq!(with(&[("directory.url", "redis://10.0.0.2:6379")]), Vec::<String>::new());
    let all = with(&[("directory.url", "redis://10.0.0.2:6379/2")]);
    assert!(all.len() == 1 && all[0].contains("directory.url") && all[0].contains("database 0"), "{all:?}");
    let all = with(&[("directory.announce", "redis://10.0.0.2:6379/2")]);
    assert!(all.len() == 1 && all[0].contains("user, password or database"), "{all:?}");
}

#[test]
fn the_firewall_of_hosts_that_are_bought_lets_the_server_in_at_their_engines() {
    let tenants = r#"{ ports = "20000-29999", from = ["::/0"] }"#;
    let with = |rules: &str, engine: &str| {
        let pairs = [("docker.ports", "20000-29999"), ("directory.endpoint", engine), ("digitalocean.inbound", rules)];
        problems(&set(&[BUYING, &pairs].concat()))
    };
    let both = format!(r#"[{tenants}, {{ ports = "2376", from = ["10.0.0.2/32"] }}]"#);
    assert_eq!(with(&both, "https://{private_address}:2376"), Vec::<String>::new());
    let all = with(&both, "tcp://{private_address}:2375");
    assert!(all.len() == 1 && all[0].contains("ports = \"2375\""), "{all:?}");
    let all = with(&format!("[{tenants}]"), "https://{private_address}:2376");
    assert!(all.len() == 1 && all[0].contains("ports = \"2376\""), "{all:?}");
}

#[test]
fn the_firewall_of_hosts_that_are_bought_lets_tenants_in_at_every_port() {
    // The engines' port is another matter.
    let with = |pairs: Pairs<'_>, rules: &str| {
        let inbound = format!(r#"[{rules}, {{ ports = "2375-2376", from = ["10.0.0.2/32"] }}]"#);
        problems(&set(&[BUYING, pairs, &[("digitalocean.inbound", &inbound)]].concat()))
    };
    let range: Pairs<'_> = &[("docker.ports", "20000-29999")];
    for (rules, is) in [
        (r#"{ ports = "20000-29999", from = ["::/0"] }"#, true),
        (
            r#"{ ports = "25000-65535", from = ["::/0"] }, { ports = "22", from = ["::/0"] }, { ports = "1-24999", from = ["::/0"] }"#,
            true,
        ),
        (r#"{ ports = "22", from = ["::/0"] }"#, false),
        (r#"{ ports = "20000-29998", from = ["::/0"] }"#, false),
        (r#"{ ports = "20001-65535", from = ["::/0"] }"#, false),
        (r#"{ ports = "20000-24999", from = ["::/0"] }, { ports = "25001-29999", from = ["::/0"] }"#, false),
    ] {
        let all = with(range, rules);
        assert_eq!(all.is_empty(), is, "{rules}: {all:?}");
        assert!(
            is || (all.len() == 1 && all[0].contains("docker.ports = ") && all[0].contains("20000-29999")),
            "{all:?}"
        );
    }
    let nobody = [BUYING, range, &[("digitalocean.inbound", "[]")]].concat();
    assert_eq!(problems(&set(&nobody)), Vec::<String>::new());
    // Without a range of ours the engine takes any of its own.
    let all = with(&[], r#"{ ports = "20000-29999", from = ["::/0"] }"#);
    assert!(all.len() == 1 && all[0].contains("32768-60999") && all[0].contains("set docker.ports"), "{all:?}");
    assert_eq!(with(&[], r#"{ ports = "1-65535", from = ["::/0"] }"#), Vec::<String>::new());
}

#[test]
fn an_order_is_not_made_again_while_it_may_still_be_made() {
    let with = |grace| [BUYING, &[("digitalocean.call_timeout", "10s"), ("fleet.list_grace", grace)]].concat();
    Config::load(&set(&with("20s"))).unwrap();
    let problem = only_problem(&set(&with("19s")));
    assert!(problem.contains("fleet.list_grace = ") && problem.contains("digitalocean.call_timeout = "), "{problem}");
}

#[test]
fn a_broken_rule_is_reported_beside_every_bad_value_that_it_does_not_look_at() {
    let bad: BTreeMap<_, _> = BAD.iter().copied().collect();
    for (pairs, _) in broken_rules() {
        let rule = only_problem(&set(pairs));
        let looks_at = |key: &str| rule.contains(&format!("{key} = "));
        let (inputs, others): (Vec<_>, Vec<_>) = bad.iter().partition(|(key, _)| looks_at(key));
        let with = |values: &[(&&str, &&str)]| {
            let unknown = set(pairs).argument("--set", "fleet.slotz", "1");
            problems(&values.iter().fold(unknown, |inputs, (key, value)| inputs.argument("--set", key, value)))
        };
        let all = with(&others);
        assert_eq!(all.len(), 1 + others.len() + 1, "{all:#?}");
        assert!(all[0].starts_with("fleet.slotz") && all.contains(&rule), "{all:#?}");
        // Of a value that is not known itself, nothing more is said.
        for one in inputs {
            let all = with(&[one]);
            assert_eq!(all.len(), 2, "{all:#?}");
            assert!(all[1].starts_with(&format!("{} = ", one.0)), "{all:#?}");
        }
    }
}

#[test]
fn a_rule_is_judged_over_a_key_between_that_is_not_known() {
    let said = problems(&set(&[
        ("instances.min_ttl", "30h"),
        ("instances.default_ttl", "soon"),
        ("instances.max_ttl", "24h"),
    ]));
    let both = said.iter().any(|it| it.contains("instances.min_ttl") && it.contains("instances.max_ttl"));
    assert!(said.len() == 2 && both, "{said:?}");
}

#[test]
fn no_rule_is_judged_while_a_layer_is_unreadable() {
    let (_dir, path) = file("[docker\n");
    let inputs = Inputs { file: Some(path), ..set(&[("instances.min_ttl", "13h")]) };
    assert!(only_problem(&inputs).contains("this is not TOML"));
}

#[test]
fn a_directory_in_redis_may_publish_on_loopback_for_its_hosts_declare_their_addresses() {
    assert!(problems(&set(&[("directory.kind", "redis"), ("fleet.address", "203.0.113.7")])).is_empty());
}

#[test]
fn notices_may_travel_unencrypted_on_this_machine_or_where_it_is_allowed() {
    let sink = |url: &str| format!(r#"[{{ name = "a", url = "{url}", secret_file = "f" }}]"#);
    for url in ["http://127.0.0.1:8000/x", "http://localhost", "http://[::1]:1/", "https://h"] {
        assert_eq!(problems(&set(&[("webhooks.sinks", &sink(url))])), Vec::<String>::new(), "{url}");
    }
    let allowed = set(&[("webhooks.sinks", &sink("http://h")), ("webhooks.allow_plain_http", "true")]);
    assert_eq!(Config::load(&allowed).unwrap().webhooks.names()[0].to_string(), "a");
}

#[test]
fn an_empty_endpoint_means_docker_host() {
    let inputs = env(&[("DOCKER_HOST", "unix:///run/user/1000/docker.sock")]);
    assert_eq!(Config::load(&inputs).unwrap().docker.local_engine(), "unix:///run/user/1000/docker.sock");
    let both = inputs.argument("--set", "docker.endpoint", "tcp://10.0.0.1:2375");
    assert_eq!(Config::load(&both).unwrap().docker.local_engine(), "tcp://10.0.0.1:2375");
}

#[test]
fn one_host_called_local_exists_when_none_is_declared() {
    let hosts = Config::load(&set(&[("fleet.slots", "3")])).unwrap().static_hosts();
    assert_eq!(hosts.len(), 1);
    assert_eq!((hosts[0].name.as_str(), hosts[0].engine.as_str(), hosts[0].slots), ("local", "", 3));
}

#[test]
fn declared_hosts_keep_their_order_and_take_what_they_leave_out_from_the_fleet() {
    let (_dir, path) = file(
        "[[directory.hosts]]\nname = \"b\"\nendpoint = \"tcp://10.0.0.2:2375\"\naddress = \"127.0.0.2\"\nslots = 4\n\
         [[directory.hosts]]\nname = \"a\"\n",
    );
    let hosts = Config::load(&Inputs { file: Some(path), ..Inputs::default() }).unwrap().static_hosts();
    let found: Vec<_> = hosts.iter().map(|h| (h.name.as_str(), h.public_address.to_string(), h.slots)).collect();
    assert_eq!(found, [("b", "127.0.0.2".to_owned(), 4), ("a", "127.0.0.1".to_owned(), 40)]);
}

#[test]
fn the_brain_is_told_what_was_configured() {
    let tokens = r#"[{ name = "ci", sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", per_creator = 20 },
                     { name = "x", sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a0" }]"#;
    let inputs = set(&[("limits.burst", "3"), ("reaper.poll", "100ms"), ("instances.connections", "9")]);
    let inputs = inputs.argument("--set", "limits.tokens", tokens);
    let token = |name| Creator::Token(TokenName::parse(name).unwrap());
    let settings = Config::load(&inputs).unwrap().brain_settings();
    assert_eq!((settings.rate.per_minute, settings.rate.burst), (60, 3));
    assert_eq!((settings.wrong_tokens.per_minute, settings.token_caps.len()), (30, 1));
    assert_eq!((settings.quotas_of(&token("ci")).per_creator, settings.quotas_of(&token("x")).per_creator), (20, 6));
    assert_eq!(settings.reaper.poll, Duration::from_millis(100));
    assert_eq!((settings.flavours[0].name.as_str(), settings.flavours[0].connections), ("redis", 9));
    assert!(settings.scaling.is_none());
}

#[test]
fn what_is_shown_is_a_configuration_with_sources_and_without_secrets() {
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let inputs = set(&[("directory.url", "redis://u:hunter2@h:6379"), ("admin.token_sha256", hash)]);
    let text = show(&Layers::gather(&inputs));
    assert!(!text.contains("hunter2") && !text.contains(hash), "{text}");
    assert!(text.contains("# argument --set") && text.contains("# built in"), "{text}");
    let shown: toml::Table = toml::from_str(&text).unwrap();
    let built_in: toml::Table = toml::from_str(BUILT_IN).unwrap();
    assert_eq!(shown["instances"], built_in["instances"]);
}

#[test]
fn neither_debug_nor_a_problem_shows_a_password() {
    let secret = "hunter2";
    let good = set(&[("directory.url", "redis://u:hunter2@h:6379")]);
    assert!(!format!("{:?}", Config::load(&good).unwrap()).contains(secret));
    for bad in ["hunter2", r#"["hunter2"]"#, r#"[{ name = "a", sha256 = "hunter2" }]"#] {
        let problem = only_problem(&set(&[("limits.tokens", bad)]));
        assert!(!problem.contains(secret), "{problem}");
    }
    for bad in ["redis//u:hunter2@h", "rediss://:hunter2@h:port", "u:hunter2@h"] {
        let problem = only_problem(&set(&[("directory.url", bad)]));
        assert!(!problem.contains(secret), "{problem}");
    }
}

proptest! {
    #[test]
    fn no_text_in_any_variable_ends_in_a_panic(at in 0..OTHERS.len(), text: String) {
        let key = OTHERS[at].0;
        if !text.contains('\0') {
            for problem in problems(&env(&[(&env_name(key), &text)])) {
                prop_assert!(problem.contains(key));
            }
        }
    }

    #[test]
    fn no_text_in_a_file_ends_in_a_panic(text: String, section in "[a-z]{0,9}", value in "[ -~]{0,20}") {
        let (_dir, path) = file(&format!("[{section}]\nbind = {value}\n{text}"));
        let _ = Config::load(&Inputs { file: Some(path), ..Inputs::default() });
    }
}

#[test]
fn bounds_of_many_days_are_said_in_days() {
    for (key, bounds) in [
        ("reaper.keep_ended", "from 1s to 3650days"),
        ("instances.max_ttl", "from 1s to 365days"),
        ("fleet.boot_deadline", "from 30s to 1day"),
    ] {
        let problem = only_problem(&set(&[(key, "999999days")]));
        assert!(problem.contains(bounds), "{problem}");
    }
}
