//! The arguments, as clap reads them and as `--help` explains them.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use getaredis_actors::domain::{IdempotencyKey, Label, secret::MANAGEMENT_TOKEN_PREFIX};
use secrecy::{ExposeSecret, SecretString};

use super::{
    exit::{EXIT_CODES, Failure},
    host::HostCommand,
    hosts::HostsCommand,
    image::ImageCommand,
    scaling::ScalingCommand,
    simulate::{COLUMNS, Simulate},
};
use crate::{client::Server, config::Inputs};

/// Gives anybody a working Redis in one click or one HTTP call, for some hours
#[derive(Debug, Parser)]
#[command(name = "getaredis", version, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    /// The server to ask [default: $GETAREDIS_SERVER, else http://127.0.0.1:8080 or the one that made the instance]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<Server>,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Arguments {
    /// The server in question, if one was named.
    pub(super) fn server(&self) -> Result<Option<Server>, Failure> {
        given_or_env(self.server.as_ref(), "GETAREDIS_SERVER", str::parse)
    }
}

/// What was given, else what the environment has. Not clap's own reading of it: that refuses an empty variable, which
/// means "not set" to everybody else, and does so for commands that do not want it.
pub(super) fn given_or_env<T: Clone, E: Display>(
    given: Option<&T>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    match (given, std::env::var(name)) {
        (None, Ok(text)) if !text.is_empty() => {
            parse(&text).map(Some).map_err(|e| Failure::Usage(format!("{name} {e}")))
        }
        (given, _) => Ok(given.cloned()),
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server
    Serve(Serve),
    /// Look at the server's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make machines hosts of this server
    #[command(subcommand)]
    Host(HostCommand),
    /// Make, list and delete images that bought hosts boot from, so that they are ready sooner
    #[command(subcommand)]
    Image(ImageCommand),
    /// Try a configuration of the pool of hosts on days of arrivals, without paying for them
    #[command(after_help = COLUMNS)]
    Simulate(Simulate),
    /// Look at the pool of bought hosts, pause it, or make its decisions again
    #[command(subcommand)]
    Scaling(ScalingCommand),
    /// Look at a server's hosts, and decide which of them take new instances
    #[command(subcommand)]
    Hosts(HostsCommand),
    #[command(flatten)]
    Instances(InstanceCommand),
    /// Write a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where the configuration comes from, beside the defaults and the environment (GETAREDIS__SECTION__KEY).
#[derive(Debug, Args)]
pub(super) struct Configuration {
    /// The configuration file [default: $GETAREDIS_CONFIG, else ./getaredis.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on; short for --set http.bind=ADDRESS
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,
    /// Set one key; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

impl Configuration {
    /// Everything this process was given.
    pub(super) fn inputs(&self) -> Inputs {
        let inputs = Inputs::of_process(self.config.clone());
        let inputs = self.set.iter().fold(inputs, |inputs, (key, value)| inputs.argument("--set", key, value));
        match &self.bind {
            Some(address) => inputs.argument("--bind", "http.bind", address),
            None => inputs,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) configuration: Configuration,
    /// Take a database over that was another deployment's, or used with another master key, and give up all instances in
    /// it; stop its other servers first
    #[arg(long)]
    pub(super) take_over: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether the configuration is valid; if not, everything that is wrong with it
    Check(Configuration),
    /// Write the configuration that holds, with the source of each value and without secrets
    Show(Configuration),
}

#[derive(Debug, Subcommand)]
pub(super) enum InstanceCommand {
    /// Get a Redis
    New(New),
    /// List the live instances that were made here
    Ls {
        /// Write a JSON array, passwords included
        #[arg(long)]
        json: bool,
    },
    /// Show an instance and how to connect to it
    Show {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
    },
    /// End an instance and delete its data
    Rm {
        #[command(flatten)]
        which: Which,
    },
    /// Let an instance live longer
    Extend {
        #[command(flatten)]
        which: Which,
        /// How long from now, such as 12h or 90m; a bare number is seconds
        #[arg(long, value_parser = ttl, value_name = "DURATION")]
        ttl: Duration,
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// How long it shall live, such as 12h or 90m; a bare number is seconds [default: the server's]
    #[arg(long, value_parser = ttl, value_name = "DURATION")]
    pub(super) ttl: Option<Duration>,
    /// The recipe [default: the server's]
    #[arg(long, value_name = "NAME")]
    pub(super) flavour: Option<String>,
    /// A note on it
    #[arg(long, value_name = "TEXT")]
    pub(super) label: Option<Label>,
    /// A repeated request with this key gets the same instance [default: a new key]
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<IdempotencyKey>,
    /// A file with an API token, so that the token's quota counts and not the address's [default: what $GETAREDIS_TOKEN
    /// holds, unless it is a management token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to go on trying while the server has no room or does not answer
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION", default_value = "0s")]
    pub(super) wait: Duration,
    #[command(flatten)]
    pub(super) form: Form,
}

impl New {
    /// The API token, if one was given. Never an argument, which everybody on the machine could read.
    pub(super) fn token(&self) -> Result<Option<SecretString>, Failure> {
        match &self.token_file {
            Some(file) => token_in(file).map(Some),
            None => Ok(token_of_env()?.filter(|token| !is_management_token(token))),
        }
    }
}

/// The token that a file holds.
pub(super) fn token_in(file: &Path) -> Result<SecretString, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|e| Failure::Usage(format!("cannot read {shown}: {e}")))?;
    secret(text.trim()).map_err(|_| Failure::Usage(format!("{shown} must hold one token and nothing else")))
}

/// The variable of both kinds of tokens, which tell themselves apart.
const TOKEN_VARIABLE: &str = "GETAREDIS_TOKEN";

fn token_of_env() -> Result<Option<SecretString>, Failure> {
    given_or_env(None, TOKEN_VARIABLE, secret)
}

fn is_management_token(token: &SecretString) -> bool {
    token.expose_secret().starts_with(MANAGEMENT_TOKEN_PREFIX)
}

/// An instance, and the right to manage it.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Its id, or enough of its beginning if it was made here
    pub(super) id: String,
    /// Its management token [default: the one in $GETAREDIS_TOKEN, else the one remembered here]
    #[arg(long, value_parser = secret, value_name = "TOKEN")]
    token: Option<SecretString>,
}

impl Which {
    /// The token, if one was given.
    pub(super) fn token(&self) -> Result<Option<SecretString>, Failure> {
        match &self.token {
            Some(token) => Ok(Some(token.clone())),
            None => Ok(token_of_env()?.filter(is_management_token)),
        }
    }
}

/// How an instance is written down.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(super) struct Form {
    /// Write the server's JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Write lines for a shell: eval "$(getaredis new --env)"
    #[arg(long)]
    pub(super) env: bool,
    /// Write the connection string and nothing else
    #[arg(long)]
    pub(super) url: bool,
}

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be a key and a value, such as http.workers=4"),
    }
}

pub(super) fn secret(text: &str) -> Result<SecretString, &'static str> {
    // Anything else cannot be sent in a header.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be a token as the server or its operator gave it");
    }
    Ok(text.to_owned().into())
}

fn ttl(text: &str) -> Result<Duration, &'static str> {
    let duration = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    duration
        .filter(|duration| duration.as_secs() > 0 && duration.subsec_nanos() == 0)
        .ok_or("must be whole seconds, such as 3600, 90m or 12h")
}
