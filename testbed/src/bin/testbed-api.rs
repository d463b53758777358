//! DigitalOcean's API on loopback, for people: `testbed-api --port 20080`, then any client with the token `sim-token`.

use std::{error::Error, io::Write, path::PathBuf, sync::Arc, time::Duration};

use clap::Parser;
use getaredis_testbed::api::{
    Api, Machines, Nothing, Scheme, Settings,
    heartbeats::{Heartbeats, InRedis},
};

/// DigitalOcean's API on loopback. Faults: POST /_faults; what was asked: GET /_calls.
#[derive(Parser)]
struct Arguments {
    /// Port to listen on; 0 chooses one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Write a self-signed certificate to this file and speak HTTPS.
    #[arg(long)]
    https: Option<PathBuf>,
    /// Token that is accepted; it protects nothing.
    #[arg(long, default_value = "sim-token")]
    token: String,
    /// Redis in which droplets announce themselves; none leaves them entries in the books.
    #[arg(long)]
    redis: Option<String>,
    /// What their keys begin with.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Seconds from the order of a droplet to its first heartbeat.
    #[arg(long, default_value_t = 5)]
    boot: u64,
    /// Droplets that the account may have.
    #[arg(long, default_value_t = 25)]
    limit: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let machines: Arc<dyn Machines> = match &arguments.redis {
        Some(url) => {
            let redis = InRedis::connect(url, &arguments.prefix, Duration::from_secs(10)).await?;
            Arc::new(Heartbeats::new(Duration::from_secs(arguments.boot), Duration::from_secs(4), Arc::new(redis)))
        }
        None => Arc::new(Nothing),
    };
    let settings = Settings { droplet_limit: arguments.limit, ..Settings::default() };
    let scheme = if arguments.https.is_some() { Scheme::Https } else { Scheme::Http };
    let api = Api::start_at(arguments.port, scheme, &arguments.token, settings, machines)?;
    if let (Some(path), Some(certificate)) = (&arguments.https, api.certificate()) {
        std::fs::write(path, certificate)?;
    }
    // The first line is for programs that start this one.
    writeln!(std::io::stdout(), "{}", api.url())?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}
