//! The files of a host: those that all have, and those that make a machine this very host.
//!
//! Owns what is in which file and who may read it. Every value that comes from outside goes through [`allowed`] or is
//! written as JSON, so that none can mean anything but itself.

use std::fmt::Write as _;

use getaredis_actors::domain::{HostName, MasterKey};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{HostCertificate, HostDirectory, HostOptions, HostSettings, HostSetupError, passwords};

/// A file on a host, owned by root.
pub(super) struct HostFile {
    /// Where it lies.
    pub(super) path: &'static str,
    /// Its permissions.
    pub(super) mode: &'static str,
    /// What is in it; ends with a line end.
    pub(super) content: String,
}

/// The program that puts everything in its place.
pub(super) const SETUP: &str = "/usr/local/lib/getaredis/setup";

/// The program that makes a builder, once it is set up, fit to become an image.
pub(super) const SEAL: &str = "/usr/local/lib/getaredis/seal";

const PUBLIC: &str = "0644";
const PROGRAM: &str = "0755";
const ROOT_ONLY: &str = "0600";
/// Set-up gives the group of these to the user that reads them.
const GROUP: &str = "0640";

macro_rules! deployed {
    ($($path:literal $mode:ident $source:literal)*) => {
        [$(HostFile {
            path: $path,
            mode: $mode,
            content: include_str!(concat!("../../deploy/host/", $source)).to_owned(),
        }),*]
    };
}

/// What every host has, and a builder.
pub(super) fn common(settings: &HostSettings) -> Result<Vec<HostFile>, HostSetupError> {
    let mut files = Vec::from(deployed! {
        "/usr/local/lib/getaredis/setup" PROGRAM "setup"
        "/usr/local/lib/getaredis/addresses" PROGRAM "addresses"
        "/usr/local/lib/getaredis/engine-settings" PROGRAM "engine-settings"
        "/usr/local/lib/getaredis/heartbeat" PROGRAM "heartbeat"
        "/usr/local/lib/getaredis/daemon.json" PUBLIC "daemon.json"
        "/etc/getaredis/egress.nft" PUBLIC "egress.nft"
        "/etc/getaredis/door/nginx.conf" PUBLIC "nginx.conf"
        "/etc/getaredis/door/engine.conf" PUBLIC "engine.conf"
        "/etc/systemd/system/getaredis-egress.service" PUBLIC "getaredis-egress.service"
        "/etc/systemd/system/nftables.service.d/getaredis.conf" PUBLIC "nftables.conf"
        "/etc/systemd/system/getaredis-door.service" PUBLIC "getaredis-door.service"
        "/etc/systemd/system/getaredis-heartbeat.service" PUBLIC "getaredis-heartbeat.service"
        "/etc/apt/apt.conf.d/52getaredis" PUBLIC "unattended-upgrades.conf"
    });
    files.push(HostFile {
        path: "/etc/getaredis/settings",
        mode: PUBLIC,
        content: setup_settings(settings, HostOptions::default())?,
    });
    Ok(files)
}

/// What a builder has beside [`common`].
pub(super) fn of_builder() -> [HostFile; 1] {
    deployed! { "/usr/local/lib/getaredis/seal" PROGRAM "seal" }
}

/// What makes a machine the host of this name. Comes after [`common`] and replaces what is in both.
pub(super) fn of_host(
    settings: &HostSettings,
    master_key: &MasterKey,
    host: &HostName,
    options: HostOptions,
) -> Result<Vec<HostFile>, HostSetupError> {
    let certificate = HostCertificate::derive(master_key, host)
        .map_err(|e| HostSetupError::Secret { what: "certificate", why: e.to_string() })?;
    let file = |path, mode, content| HostFile { path, mode, content };
    let mut files = vec![
        file("/etc/getaredis/settings", PUBLIC, setup_settings(settings, options)?),
        file("/etc/getaredis/door/certificate.pem", PUBLIC, lines(&certificate.pem())),
        file("/etc/getaredis/door/key.pem", ROOT_ONLY, lines(certificate.key_pem().expose_secret())),
        file("/etc/getaredis/door/passwords", GROUP, lines(&passwords::line(master_key, host)?)),
        file("/etc/getaredis/door/clients.conf", PUBLIC, clients(settings)),
    ];
    if let Some(directory) = &settings.directory {
        files.push(file("/etc/getaredis/host.json", GROUP, heartbeat(directory, master_key, host, options)?));
    }
    Ok(files)
}

/// What set-up reads, for a shell.
fn setup_settings(settings: &HostSettings, options: HostOptions) -> Result<String, HostSetupError> {
    let address = |address: Option<std::net::IpAddr>| address.map(|a| a.to_string()).unwrap_or_default();
    let mut text = "# Written by getaredis; the next set-up writes it anew.\n".to_owned();
    for (name, value) in [
        ("IMAGE", allowed("docker.image", &settings.image, "._-/:@")?.to_owned()),
        ("ENGINE_PORT", settings.engine_port.to_string()),
        ("PUBLIC_ADDRESS", address(options.public_address)),
        ("PRIVATE_ADDRESS", address(options.private_address)),
    ] {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name}='{value}'");
    }
    Ok(text)
}

/// Who may reach the engine, for nginx.
fn clients(settings: &HostSettings) -> String {
    let mut text = String::from("# Who may reach the engine; everybody with the password where nothing is said.\n");
    for network in &settings.engine_clients {
        let _ = writeln!(text, "allow {network};");
    }
    if !settings.engine_clients.is_empty() {
        text.push_str("deny all;\n");
    }
    text
}

/// What the heartbeat reads.
fn heartbeat(
    directory: &HostDirectory,
    master_key: &MasterKey,
    host: &HostName,
    options: HostOptions,
) -> Result<String, HostSetupError> {
    // A user of Redis's access list cannot have a blank in its name.
    let user = directory.user(host);
    if user.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(HostSetupError::Unsafe { what: "directory.prefix", value: directory.prefix.clone() });
    }
    let settings = json!({
        "name": host,
        "deployment": directory.deployment,
        "key": directory.key(host),
        "ttl_s": directory.ttl.as_secs().max(1),
        "every_s": directory.every().as_secs_f64(),
        "slots": options.slots,
        "setup_version": env!("CARGO_PKG_VERSION"),
        "directory": {
            "host": allowed("directory.announce", &directory.host, ".-:")?,
            "port": directory.port,
            "tls": directory.tls,
            "ca": directory.ca,
            "user": user,
            "password": master_key.directory_password(host).expose_secret(),
        },
    });
    Ok(format!("{settings:#}\n"))
}

/// The value, if it is not empty and consists of letters, digits and `more`.
fn allowed<'a>(what: &'static str, value: &'a str, more: &str) -> Result<&'a str, HostSetupError> {
    if !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c)) {
        Ok(value)
    } else {
        Err(HostSetupError::Unsafe { what, value: value.to_owned() })
    }
}

/// The text with exactly one line end at its end, and none of another system's.
fn lines(text: &str) -> String {
    format!("{}\n", text.replace('\r', "").trim_end())
}
