//! What the scripts do to a machine, seen by programs that stand in for the machine's own.
//!
//! Each test runs a copy of `script/` in a folder of its own, so that nothing of this checkout or machine is touched.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A machine whose `sudo` lets everybody do everything, as nobody but who runs the test.
const SUDO: &str = "[ \"$1\" != -n ] || shift\nexec \"$@\"";

/// Answers as an engine that has no image and takes any; every pull is noted, and fails with `$SAYS`.
const DOCKER: &str = "case \"$*\" in
    *inspect*) exit 1 ;;
    *pull*) echo pull >>\"$HOME/calls\"; echo \"$SAYS\" >&2; exit 1 ;;
    *import*) cat >/dev/null ;;
esac";

/// Says what a package's service would be told when it wants to start.
const APT_GET: &str = "[ \"$5\" != update ] || exit 0
sh \"$HOME/policy\"
echo \"services: $?\"
if [ -n \"$ENDS\" ]; then kill -TERM \"$PPID\"; fi
exit \"$STATUS\"";

struct Machine(TempDir);

impl Machine {
    fn with(programs: &[(&str, &str)]) -> Self {
        let home = TempDir::new().unwrap();
        let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/script");
        assert!(Command::new("cp").args(["-r", scripts]).arg(home.path()).status().unwrap().success());
        let machine = Self(home);
        fs::create_dir(machine.path("bin")).unwrap();
        for (name, text) in programs {
            let program = machine.path("bin").join(name);
            fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Whoever else a script is run as comes here too.
        fs::set_permissions(machine.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    /// Installs a package, with these variables for what stands in for `apt-get`.
    fn installs(&self, variables: &[(&str, &str)]) -> Output {
        let script = ". script/lib/common.sh; . script/lib/packages.sh; policy=$HOME/policy; install_packages daemon";
        let mut command = self.command("bash");
        command.args(["-euo", "pipefail", "-c", script, "script/test"]).envs([("STATUS", "0"), ("ENDS", "")]);
        command.envs(variables.iter().copied()).output().unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn no_package_starts_a_service_while_it_is_installed_and_the_machines_own_policy_is_back_however_that_ends() {
    let machine = Machine::with(&[("sudo", SUDO), ("apt-get", APT_GET)]);
    let policy = machine.path("policy");
    for before in [None, Some("#!/bin/sh\nexit 7\n")] {
        for (variables, ends_well) in [(&[][..], true), (&[("STATUS", "1")], false), (&[("ENDS", "yes")], false)] {
            before.iter().for_each(|text| fs::write(&policy, text).unwrap());
            let output = machine.installs(variables);
            assert_eq!(output.status.success(), ends_well, "{variables:?}: {}", said(&output));
            assert!(said(&output).contains("\n    services: 101\n"), "{}", said(&output));
            assert_eq!(fs::read_to_string(&policy).ok().as_deref(), before, "{variables:?}");
        }
    }
    // One that was killed at once has left its own, and the machine's beside it.
    fs::rename(&policy, machine.path("policy.aside")).unwrap();
    fs::write(&policy, "#!/bin/sh\n# of getaredis\nexit 101\n").unwrap();
    assert!(machine.installs(&[]).status.success());
    assert_eq!(fs::read_to_string(&policy).unwrap(), "#!/bin/sh\nexit 7\n");
    assert!(!machine.path("policy.aside").exists());
}

#[test]
fn a_registry_that_refuses_is_asked_again_and_one_that_cannot_be_reached_is_not() {
    let refusals = [
        "Error response from daemon: pull access denied for redis, repository does not exist",
        "Error response from daemon: manifest for redis:7 not found: manifest unknown",
        "toomanyrequests: You have reached your pull rate limit.",
    ];
    let silences = [
        "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
        "Get \"https://registry-1.docker.io/v2/\": net/http: request canceled (Client.Timeout exceeded)",
    ];
    let cases = refusals.iter().map(|words| (words, 2)).chain(silences.iter().map(|words| (words, 1)));
    for (words, pulls) in cases {
        let machine = Machine::with(&[("docker", DOCKER)]);
        for _ in 0..2 {
            let output = machine.command(machine.path("script/image")).env("SAYS", words).output().unwrap();
            assert!(output.status.success(), "{}", said(&output));
        }
        let calls = fs::read_to_string(machine.path("calls")).unwrap();
        assert_eq!(calls.lines().count(), pulls, "{words}");
    }
}

#[test]
fn who_may_become_root_is_told_to_and_not_left_with_tenants_that_are_not_isolated() {
    let machine = Machine::with(&[("sudo", SUDO), ("docker", "exit 1"), ("curl", ""), ("server", "")]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = machine.command(if is_root { "setpriv" } else { "env" });
    if is_root {
        command.args(["--reuid", "nobody", "--clear-groups"]);
    }
    command.arg(machine.path("script/server"));
    command.env("GETAREDIS_BINARY", machine.path("bin/server"));
    let output = command.env("GETAREDIS__HTTP__BIND", format!("127.0.0.1:{port}")).output().unwrap();
    assert!(!output.status.success());
    let told = said(&output);
    assert!(told.contains("run it with sudo") && !told.contains("NOT ISOLATED"), "{told}");
}
