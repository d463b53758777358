//! `host script`: the script for a machine that the operator brings.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
};

use super::{Home, done, ports::free_port};

const HOSTS: &str = r#"directory.hosts=[{ name = "a", endpoint = "https://10.0.0.5:2376", address = "127.0.0.1" }]"#;

fn home() -> Home {
    let home = Home::empty();
    let key = home.path("master.key");
    fs::write(&key, format!("{}\n", "ab".repeat(32))).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    home
}

#[test]
fn the_script_of_a_static_host_is_printed_and_is_always_the_same() {
    let home = home();
    let arguments = ["host", "script", "--name", "a", "--set", "docker.host_auth=derived", "--set", HOSTS];
    let printed = home.run(&arguments);
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    assert!(printed.out.starts_with("#!/bin/bash\n") && printed.out.contains("ENGINE_PORT='2376'"), "{}", printed.out);
    assert_eq!(home.run(&arguments).out, printed.out);
    let mut shell = Command::new("bash").args(["-n", "/dev/stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(printed.out.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());

    let mut addressed = arguments.to_vec();
    addressed.extend(["--public-address", "203.0.113.5", "--private-address", "10.0.0.5", "--cloud-config"]);
    let printed = home.run(&addressed);
    assert!(printed.out.starts_with("#cloud-config\n"), "{}", printed.out);
    assert!(printed.out.contains("PUBLIC_ADDRESS='203.0.113.5'") && printed.out.contains("PRIVATE_ADDRESS='10.0.0.5'"));
}

#[test]
fn what_the_configuration_lacks_is_said_and_a_key_is_never_made() {
    let home = home();
    let refused = home.run(&["host", "script", "--name", "a"]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(refused.err.contains("docker.host_auth"), "{}", refused.err);
    let refused = home.run(&["host", "script", "--name", "b", "--set", "docker.host_auth=derived", "--set", HOSTS]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("directory.hosts"), "{}", refused.err);
    fs::remove_file(home.path("master.key")).unwrap();
    let refused = home.run(&["host", "script", "--name", "a", "--set", "docker.host_auth=derived", "--set", HOSTS]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("master.key"), "{}", refused.err);
    assert!(!home.path("master.key").exists());
}

/// A redis-server that ends with this value.
struct Directory(Child, u16);

impl Directory {
    fn start(home: &Home) -> Self {
        let port = free_port();
        let binary = std::env::var_os("GETAREDIS_TEST_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let child = Command::new(binary)
            .args(["--bind", "127.0.0.1", "--save", "", "--requirepass", "hunter2hunter2", "--port", &port.to_string()])
            .current_dir(home.path(""))
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is no redis-server; run script/test");
        let mut server = Self(child, port);
        let mut said = BufReader::new(server.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.contains("Ready to accept connections")), "redis-server does not start");
        server
    }

    fn says(&self, commands: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.1)).unwrap();
        stream.write_all(format!("AUTH hunter2hunter2\r\n{commands}\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn announcing(home: &Home, port: u16) -> Command {
    let mut command = home.command(&["host", "script", "--name", "a", "--slots", "5"]);
    command
        .env("GETAREDIS__DOCKER__HOST_AUTH", "derived")
        .env("GETAREDIS__DIRECTORY__KIND", "redis")
        .env("GETAREDIS__DIRECTORY__PREFIX", "p:")
        .env("GETAREDIS__DIRECTORY__ENDPOINT", "https://{private_address}:2376")
        .env("GETAREDIS__DIRECTORY__ANNOUNCE", "redis://10.0.0.2:6379")
        .env("GETAREDIS__DIRECTORY__URL", format!("redis://:hunter2hunter2@127.0.0.1:{port}"));
    command
}

#[test]
fn a_host_that_announces_itself_gets_its_user_in_the_directory() {
    let home = home();
    let directory = Directory::start(&home);
    let printed = done(announcing(&home, directory.1).output().unwrap());
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    assert!(printed.out.contains(r#""user": "p:host-a""#) && printed.out.contains(r#""slots": 5"#), "{}", printed.out);
    assert!(!printed.out.contains("hunter2hunter2"), "the server's own password is not for hosts");
    let listed = directory.says("ACL LIST");
    assert!(listed.contains("user p:host-a on ") && listed.contains("~p:server:a "), "{listed}");
}

#[test]
fn without_its_directory_no_script_is_printed() {
    let home = home();
    let nobody = free_port();
    let refused = done(announcing(&home, nobody).output().unwrap());
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("the directory does not answer"), "{}", refused.err);
    assert!(!refused.err.contains("hunter2"), "{}", refused.err);
}
