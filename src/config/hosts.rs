//! What hosts are set up with, as far as the configuration says it.

use std::{fs, path::PathBuf};

use getaredis_actors::domain::HostName;

use super::{Config, DirectoryKind, HostAuth, directory::port_of};
use crate::host_setup::{HostDirectory, HostSettings};

impl Config {
    /// What a host is set up with. With a static directory that depends on the host, for each has its own address.
    ///
    /// # Errors
    /// A sentence that names the key to change.
    pub fn host_settings(&self, host: &HostName) -> Result<HostSettings, String> {
        if self.docker.host_auth != HostAuth::Derived {
            return Err("hosts are set up with derived keys and passwords: set docker.host_auth = \"derived\"".into());
        }
        Ok(HostSettings {
            image: self.docker.image.clone(),
            engine_port: self.engine_port(host)?,
            engine_clients: self.docker.host_clients.clone(),
            directory: match self.directory.kind {
                DirectoryKind::Static => None,
                DirectoryKind::Redis => Some(self.host_directory()?),
            },
        })
    }

    fn host_directory(&self) -> Result<HostDirectory, String> {
        let directory = &self.directory;
        let place = directory.as_announced()?;
        let read = |path: &PathBuf| {
            fs::read_to_string(path).map_err(|e| format!("cannot read {} (directory.tls_ca): {e}", path.display()))
        };
        let ca = directory.tls_ca.as_ref().filter(|_| place.tls).map(read).transpose()?;
        let (deployment, prefix) = (self.fleet.deployment.clone(), directory.prefix.clone());
        let ttl = directory.ttl;
        Ok(HostDirectory { deployment, host: place.host, port: place.port, tls: place.tls, ca, prefix, ttl })
    }

    /// The port at which the control plane will look for the host's engine.
    fn engine_port(&self, host: &HostName) -> Result<u16, String> {
        let (key, engine) = match self.directory.kind {
            DirectoryKind::Redis => ("directory.endpoint", Some(&self.directory.endpoint)),
            DirectoryKind::Static => {
                let declared = self.directory.hosts.iter().find(|declared| declared.name == *host);
                ("directory.hosts", declared.and_then(|declared| declared.endpoint.as_ref()))
            }
        };
        engine.filter(|engine| engine.starts_with("https://")).and_then(|engine| port_of(engine)).ok_or_else(|| {
            format!(
                "{key} must have an engine for {host} such as https://10.0.0.5:2376, with a port and without a path"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inputs;

    fn settings(pairs: &[(&str, &str)]) -> Result<HostSettings, String> {
        let inputs = pairs.iter().fold(Inputs::default(), |inputs, (key, value)| inputs.argument("--set", key, value));
        let config = Config::load(&inputs).map_err(|e| e.to_string())?;
        config.host_settings(&HostName::parse("a").unwrap())
    }

    const FLEET: [(&str, &str); 4] = [
        ("docker.host_auth", "derived"),
        ("directory.kind", "redis"),
        ("directory.url", "redis://control:hunter2@10.118.0.1:6379"),
        ("directory.endpoint", "https://{private_address}:2376"),
    ];

    #[test]
    fn hosts_of_a_redis_directory_are_told_where_it_is_and_not_what_opens_it() {
        let settings = settings(&FLEET).unwrap();
        assert_eq!(settings.engine_port, 2376);
        let directory = settings.directory.unwrap();
        assert_eq!((directory.host.as_str(), directory.port, directory.tls), ("10.118.0.1", 6379, false));
        assert!(!format!("{directory:?}").contains("hunter2"));
    }

    #[test]
    fn a_directory_on_loopback_needs_the_address_that_hosts_use() {
        let mut pairs = Vec::from(FLEET);
        pairs.push(("directory.url", "redis://127.0.0.1:6379"));
        assert!(settings(&pairs).unwrap_err().contains("directory.announce"));
        pairs.push(("directory.announce", "rediss://directory.example.org:6380"));
        let directory = settings(&pairs).unwrap().directory.unwrap();
        assert_eq!((directory.host.as_str(), directory.port, directory.tls), ("directory.example.org", 6380, true));
    }

    #[test]
    fn hosts_announce_themselves_in_database_0_and_the_server_must_look_there() {
        for url in ["redis://10.118.0.1:6379/3", "redis://127.0.0.1:6379/3"] {
            let announce = ("directory.announce", "redis://10.118.0.1:6379");
            let pairs = [FLEET.as_slice(), &[("directory.url", url), announce]].concat();
            assert!(settings(&pairs).unwrap_err().contains("database 0"), "{url}");
        }
        let pairs = [FLEET.as_slice(), &[("directory.url", "redis://10.118.0.1:6379/0")]].concat();
        settings(&pairs).unwrap();
    }

    #[test]
    fn a_static_host_has_the_port_that_is_declared_for_it_and_no_heartbeat() {
        let hosts = r#"[{ name = "a", endpoint = "https://10.0.0.5:2399", address = "127.0.0.1" }]"#;
        let found = settings(&[("docker.host_auth", "derived"), ("directory.hosts", hosts)]).unwrap();
        assert_eq!((found.engine_port, found.directory), (2399, None));
        let other = hosts.replace("\"a\"", "\"b\"");
        assert!(settings(&[("docker.host_auth", "derived"), ("directory.hosts", &other)]).is_err());
    }

    #[test]
    fn a_password_never_goes_over_a_plain_connection() {
        let plain = [("docker.host_auth", "derived"), ("directory.kind", "redis")];
        assert!(settings(&plain).unwrap_err().contains("https:// only"));
        assert!(settings(&[]).unwrap_err().contains("docker.host_auth"));
    }
}
