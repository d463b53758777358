//! What is rendered arrives as it is, opens nothing but its own host, and takes no value that could mean something else.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use getaredis_actors::domain::{DeploymentId, HostName, MasterKey, secret::sha256_hex};
use proptest::prelude::{any, prop_assert, proptest};
use secrecy::ExposeSecret;

use super::{
    HostDirectory, HostOptions, HostSettings, HostSetup, HostSetupError, builder_user_data,
    files::{self, HostFile},
    render,
};

fn settings() -> HostSettings {
    HostSettings {
        image: "registry.example.org:5000/redis:7@sha256:00ff".into(),
        engine_port: 2376,
        engine_clients: vec!["10.118.0.0/20".parse().unwrap(), "fd00::/8".parse().unwrap()],
        directory: Some(HostDirectory {
            deployment: DeploymentId::parse("ours").unwrap(),
            host: "10.118.0.1".into(),
            port: 6380,
            tls: true,
            ca: Some("-----BEGIN CERTIFICATE-----\n'\"$(reboot)\\\n-----END CERTIFICATE-----\n".into()),
            prefix: "it's \"$HOME\"".replace(' ', "_"),
            ttl: Duration::from_secs(10),
        }),
    }
}

fn setup(settings: HostSettings) -> HostSetup {
    HostSetup::new(settings, Arc::new(MasterKey::new([7; 32])))
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn options() -> HostOptions {
    HostOptions { public_address: Some([203, 0, 113, 5].into()), private_address: None, slots: Some(7) }
}

fn everything(name: &str) -> Vec<HostFile> {
    let mut all = files::common(&settings()).unwrap();
    all.extend(files::of_host(&settings(), &MasterKey::new([7; 32]), &host(name), options()).unwrap());
    all
}

/// The files that a script writes, below `root`, written by a shell.
fn run_puts(script: &str, root: &Path) {
    let (head, rest) = script.split_once("((EUID == 0))").unwrap();
    let rest = rest.split_once('\n').unwrap().1.replace("\"$2", "\"$ROOT$2").replace("\"${2%/*}\"", "\"$ROOT${2%/*}\"");
    let puts = format!("{head}{}", rest.strip_suffix(&format!("exec {}\n", files::SETUP)).unwrap());
    let mut shell =
        Command::new("bash").arg("-s").env("ROOT", root).stdin(Stdio::piped()).spawn().expect("there is no bash");
    shell.stdin.take().unwrap().write_all(puts.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

/// The files of a cloud-config, read back by the rules of YAML for block literals.
fn blocks(user_data: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in user_data.lines().skip_while(|line| !line.starts_with("write_files:")).skip(1) {
        if let Some(path) = line.strip_prefix("  - path: ") {
            files.push((path.to_owned(), String::new()));
        } else if let Some(text) = line.strip_prefix("      ") {
            files.last_mut().unwrap().1.push_str(&format!("{text}\n"));
        } else if line.is_empty() {
            files.last_mut().unwrap().1.push('\n');
        } else if !line.starts_with("    ") {
            break;
        }
    }
    files
}

#[test]
fn both_ways_carry_every_file_as_it_is_and_the_hosts_own_in_place_of_the_common_one() {
    let (setup, dir) = (setup(settings()), tempfile::tempdir().unwrap());
    let script = setup.script(&host("a"), options()).unwrap();
    run_puts(script.expose_secret(), dir.path());
    let user_data = setup.user_data(&host("a"), options()).unwrap();
    let carried = blocks(user_data.expose_secret());
    let mut wanted: Vec<_> = everything("a");
    wanted.retain(|file| file.path != "/etc/getaredis/settings" || file.content.contains("PUBLIC_ADDRESS='203"));
    assert_eq!(carried.len(), wanted.len());
    for (file, (path, content)) in wanted.iter().zip(&carried) {
        assert_eq!((file.path, file.content.as_str()), (path.as_str(), content.as_str()));
        let written = dir.path().join(&file.path[1..]);
        assert_eq!(fs::read_to_string(&written).unwrap(), file.content, "{}", file.path);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&written).unwrap().permissions()) & 0o7777;
        assert_eq!(format!("{mode:04o}"), file.mode, "{}", file.path);
        let listed = format!("  - path: {}\n    permissions: '{}'\n", file.path, file.mode);
        assert!(user_data.expose_secret().contains(&listed));
    }
    assert!(user_data.expose_secret().starts_with("#cloud-config\n"));
    assert!(user_data.expose_secret().ends_with(&format!("runcmd:\n  - [{}]\n", files::SETUP)));
}

#[test]
fn the_same_host_is_always_set_up_the_same_way() {
    let render = || setup(settings()).user_data(&host("a"), options()).unwrap().expose_secret().to_owned();
    assert_eq!(render(), render());
}

#[test]
fn nothing_in_it_opens_anything_but_this_host_and_its_own_key_of_the_directory() {
    let (key, setup) = (MasterKey::new([7; 32]), setup(settings()));
    let rendered = setup.user_data(&host("a"), options()).unwrap();
    let text = rendered.expose_secret();
    let (ours, theirs) = (host("a"), host("b"));
    assert!(text.contains(key.directory_password(&ours).expose_secret()));
    // Not even its own engine: the host checks a password that it does not know.
    assert!(!text.contains(key.engine_password(&ours).expose_secret()));
    assert!(!text.contains(&sha256_hex(&key.engine_password(&ours))));
    for secret in [key.engine_password(&theirs), key.directory_password(&theirs)] {
        assert!(!text.contains(secret.expose_secret()));
    }
    assert!(!text.contains(&"07".repeat(32)));
    let other = setup.user_data(&theirs, options()).unwrap();
    for secret in [key.engine_password(&ours), key.directory_password(&ours)] {
        assert!(!other.expose_secret().contains(secret.expose_secret()));
    }
}

#[test]
fn a_builder_has_no_secret_and_is_sealed_and_powered_off_when_it_is_set_up() {
    let builder = builder_user_data(&settings()).unwrap();
    let baked = builder.expose_secret();
    assert!(baked.ends_with("power_state:\n  mode: poweroff\n  condition: /usr/local/lib/getaredis/seal\n"));
    let paths: Vec<_> = blocks(baked).into_iter().map(|(path, _)| path).collect();
    let common = files::common(&settings()).unwrap();
    let wanted: Vec<_> = common.iter().map(|file| file.path).chain(["/usr/local/lib/getaredis/seal"]).collect();
    assert_eq!(paths, wanted);
    for secret in ["PRIVATE KEY", "CERTIFICATE-----", "$6$", "10.118.0.1"] {
        assert!(!baked.contains(secret), "{secret}");
    }
    assert!(baked.contains("IMAGE='registry.example.org:5000/redis:7@sha256:00ff'"));
}

#[test]
fn a_value_that_could_mean_something_else_is_refused_with_its_name() {
    for image in ["", "redis:7'; reboot", "redis:7\nREBOOT='1'", "$(reboot)", "redis 7", "r\u{e9}dis"] {
        let refused = setup(HostSettings { image: image.into(), ..settings() }).user_data(&host("a"), options());
        assert!(matches!(refused, Err(HostSetupError::Unsafe { what: "docker.image", .. })), "{image}");
    }
    let with = |change: fn(&mut HostDirectory)| {
        let mut settings = settings();
        settings.directory.as_mut().map(change);
        setup(settings).script(&host("a"), options()).err()
    };
    assert!(matches!(with(|d| d.host = "a b".into()), Some(HostSetupError::Unsafe { what: "directory.announce", .. })));
    assert!(matches!(with(|d| d.prefix = "a b".into()), Some(HostSetupError::Unsafe { what: "directory.prefix", .. })));
}

#[test]
fn user_data_that_no_provider_takes_is_refused() {
    let mut settings = settings();
    settings.directory.as_mut().unwrap().ca = Some("x".repeat(64 * 1024));
    let refused = setup(settings).user_data(&host("a"), options()).err();
    assert!(matches!(refused, Some(HostSetupError::TooLong(_))), "{refused:?}");
}

#[test]
fn a_static_host_is_set_up_without_a_heartbeat() {
    let setup = setup(HostSettings { directory: None, ..settings() });
    let script = setup.script(&host("a"), HostOptions::default()).unwrap();
    assert!(!script.expose_secret().contains("/etc/getaredis/host.json <<"));
    assert!(script.expose_secret().contains("/etc/getaredis/door/key.pem <<"));
}

#[test]
fn the_door_lets_in_whom_the_configuration_names_or_everybody() {
    let clients = |networks: Vec<ipnet::IpNet>| {
        let settings = HostSettings { engine_clients: networks, ..settings() };
        let files = files::of_host(&settings, &MasterKey::new([7; 32]), &host("a"), options()).unwrap();
        files.into_iter().find(|file| file.path.ends_with("clients.conf")).unwrap().content
    };
    assert!(clients(settings().engine_clients).ends_with("allow 10.118.0.0/20;\nallow fd00::/8;\ndeny all;\n"));
    assert_eq!(clients(Vec::new()).lines().count(), 1);
}

#[test]
fn what_a_shell_runs_passes_shellcheck() {
    let script = setup(settings()).script(&host("a"), options()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("script"), script.expose_secret()).unwrap();
    let deployed = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/host").join(name);
    let programs = [dir.path().join("script"), deployed("setup"), deployed("seal")];
    let checked = Command::new("shellcheck").args(programs).output().expect("there is no shellcheck; run script/test");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

proptest! {
    #[test]
    fn a_file_arrives_as_it_is_or_is_refused(content in any::<String>(), tail in "[ -~\n]{0,40}") {
        let content = format!("{content}{tail}\n");
        let file = || vec![HostFile { path: "/a", mode: "0644", content: content.clone() }];
        match (render::cloud_config(&file(), false), render::script(&file())) {
            (Ok(user_data), Ok(script)) => {
                prop_assert!(blocks(&user_data) == [("/a".to_owned(), content.clone())]);
                let within = format!("<<'END-OF-GETAREDIS-FILE'\n{content}END-OF-GETAREDIS-FILE\n");
                prop_assert!(script.contains(&within));
            }
            (Err(_), Err(_)) => {}
            _ => prop_assert!(false, "one of them took it"),
        }
    }
}
