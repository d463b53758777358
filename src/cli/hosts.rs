//! `hosts`: how the hosts of a server are, and which of them take new instances.

use clap::Subcommand;
use getaredis_actors::{domain::HostName, ports::HostVitals, scheduler::messages::HostView};

use super::{
    exit::Failure,
    operator::{Operator, table},
    output::{Output, printable},
};
use crate::client::{Deed, Server};

#[derive(Debug, Subcommand)]
pub(super) enum HostsCommand {
    /// List the hosts
    Ls {
        #[command(flatten)]
        operator: Operator,
        /// Write the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a host take no new instance; what it has lives on
    Cordon(Which),
    /// Cordon a host, and delete it once it is empty if it was bought
    Drain(Which),
    /// Let a host take new instances again
    Uncordon(Which),
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The host
    #[arg(value_parser = host_name)]
    name: HostName,
    #[command(flatten)]
    operator: Operator,
}

fn host_name(text: &str) -> Result<HostName, String> {
    HostName::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(command: &HostsCommand, server: Option<&Server>, output: &Output) -> Result<(), Failure> {
    let (which, deed) = match command {
        HostsCommand::Ls { operator, json } => return list(operator, *json, server, output).await,
        HostsCommand::Cordon(which) => (which, Deed::Cordon),
        HostsCommand::Drain(which) => (which, Deed::Drain),
        HostsCommand::Uncordon(which) => (which, Deed::Uncordon),
    };
    let (client, token) = which.operator.client(server)?;
    let host = client.cordon(&which.name, deed, &token).await?.value;
    output.line(&format!("{}: {}", host.name, state(&host)))?;
    Ok(())
}

async fn list(operator: &Operator, json: bool, server: Option<&Server>, output: &Output) -> Result<(), Failure> {
    let (client, token) = operator.client(server)?;
    let told = client.hosts(&token).await?;
    if json {
        output.line(told.json.trim())?;
    } else if told.value.hosts.is_empty() {
        output.note("the server knows no host yet");
    } else {
        let names = ["HOST", "STATE", "SLOTS", "LOAD", "MEMORY", "DISK", "ADDRESS", "REASON"];
        output.text(&printable(&table(names, told.value.hosts.iter().map(row).collect())))?;
    }
    Ok(())
}

fn row(host: &HostView) -> [String; 8] {
    let vitals = host.vitals.as_deref();
    let told = |what: fn(&HostVitals) -> Option<String>| vitals.and_then(what).unwrap_or_else(|| "-".to_owned());
    [
        host.name.to_string(),
        state(host),
        format!("{}/{}", host.used, host.slots),
        told(|v| Some(format!("{}.{:02}", v.load_percent? / 100, v.load_percent? % 100))),
        told(|v| used(v.memory_total_bytes, v.memory_available_bytes)),
        told(|v| used(v.disk_total_bytes, v.disk_free_bytes)),
        host.address.to_string(),
        host.reason.clone().unwrap_or_default().replace('\n', " "),
    ]
}

/// Where a host stands, in the words of the interface.
fn state(host: &HostView) -> String {
    getaredis_actors::domain::HostState { health: host.state, cordon: host.cordon }.to_string()
}

fn used(total: Option<u64>, left: Option<u64>) -> Option<String> {
    let total = total.filter(|total| *total > 0)?;
    Some(format!("{} %", u128::from(total.saturating_sub(left?)) * 100 / u128::from(total)))
}
