//! `host script`: what makes a machine that the operator brings a host of this server.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use getaredis_actors::domain::HostName;
use secrecy::{ExposeSecret, SecretString};

use super::{args::Configuration, exit::Failure, output::Output};
use crate::{
    config::Config,
    host_setup::{HostOptions, HostSettings},
};

/// What renders it.
pub(super) type HostScript =
    fn(&Config, HostSettings, &HostName, HostOptions, HostScriptForm) -> anyhow::Result<SecretString>;

/// How a host's set-up is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostScriptForm {
    /// A script for root.
    Script,
    /// User-data for cloud-init.
    UserData,
}

#[derive(Debug, Subcommand)]
pub(super) enum HostCommand {
    /// Write the script that makes a machine a host, to be run there as root
    ///
    /// To be called where the server's configuration and master key are. Where hosts announce themselves in a Redis, the
    /// host's user is made there. The script holds secrets of this one host and of nothing else.
    Script(Script),
}

#[derive(Debug, Args)]
pub(super) struct Script {
    /// The host's name; the script of a name is always the same one
    #[arg(long, value_name = "NAME")]
    name: HostName,
    /// Address that tenants connect to [default: found out by the host]
    #[arg(long, value_name = "IP")]
    public_address: Option<IpAddr>,
    /// Address that the server reaches the host's engine at [default: found out by the host]
    #[arg(long, value_name = "IP")]
    private_address: Option<IpAddr>,
    /// Instances it carries [default: fleet.slots]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: Option<u32>,
    /// Write user-data for cloud-init instead of a script
    #[arg(long)]
    cloud_config: bool,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(command: &HostCommand, render: HostScript, output: &Output) -> Result<(), Failure> {
    let HostCommand::Script(script) = command;
    let config = Config::load(&script.configuration.inputs())?;
    let options = HostOptions {
        public_address: script.public_address,
        private_address: script.private_address,
        slots: script.slots,
    };
    let form = if script.cloud_config { HostScriptForm::UserData } else { HostScriptForm::Script };
    let settings = config.host_settings(&script.name).map_err(Failure::Usage)?;
    let rendered = render(&config, settings, &script.name, options, form)?;
    output.text(rendered.expose_secret())?;
    Ok(())
}
