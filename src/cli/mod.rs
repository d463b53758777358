//! The command line: what can be said, and which exit code answers it.
//!
//! Owns the words of the commands. Results go to standard output and everything else to standard error, so that a
//! script can use what it reads. What a command does is in the module that it is named after.

mod args;
mod configuration;
mod exit;
mod host;
mod hosts;
mod image;
mod instances;
mod operator;
mod output;
mod scaling;
mod simulate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::{
    config::{Config, Layers},
    telemetry,
};
use args::{Arguments, Command};
use exit::Failure;
use output::Output;

pub use host::HostScriptForm;

/// What is done elsewhere, because it needs what only the wiring knows.
#[derive(Clone, Copy)]
pub struct Programs {
    /// Runs the server; the word is whether to take over a database that is another one's.
    pub serve: fn(Config, bool) -> anyhow::Result<ExitCode>,
    /// Renders what a host is set up with, and lets the host announce itself.
    pub host_script: host::HostScript,
    /// Reaches the images that hosts are booted from.
    pub images: image::OpenImages,
}

/// Does what the arguments of this process say.
#[must_use]
pub fn run(programs: Programs) -> ExitCode {
    // One provider for everything in the process. It fails only when it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help and version come this way too; clap knows their exit code and stream.
        Err(refusal) => {
            let _ = refusal.print();
            return u8::try_from(refusal.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let output = Output;
    match dispatch(arguments, programs, &output) {
        Ok(code) => code,
        Err(failure) => {
            if let Some(words) = failure.words() {
                output.note(&words);
            }
            failure.exit().into()
        }
    }
}

fn dispatch(arguments: Arguments, programs: Programs, output: &Output) -> Result<ExitCode, Failure> {
    let server = arguments.server();
    match arguments.command {
        Command::Serve(given) => {
            let config = Config::with_files(&Layers::gather(&given.configuration.inputs()))?;
            telemetry::init(&config.telemetry).map_err(anyhow::Error::from)?;
            return Ok((programs.serve)(config, given.take_over)?);
        }
        Command::Config(command) => configuration::run(&command, output)?,
        Command::Host(command) => host::run(&command, programs.host_script, output)?,
        Command::Image(command) => image::run(&command, programs.images, output)?,
        Command::Simulate(command) => simulate::run(&command, output)?,
        Command::Scaling(command) => asking()?.block_on(scaling::run(&command, server, output))?,
        Command::Hosts(command) => asking()?.block_on(hosts::run(&command, server?.as_ref(), output))?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "getaredis", &mut script);
            output.text(&String::from_utf8_lossy(&script))?;
        }
        Command::Instances(command) => {
            asking()?.block_on(instances::run(&command, server?.as_ref(), output))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a command that asks a server runs on.
fn asking() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_price_that_makes_no_sense_is_refused_with_what_is_allowed() {
        for price in ["-1", "cheap", "inf"] {
            let refused =
                Arguments::command().try_get_matches_from(["getaredis", "simulate", "--price-per-hour", price]);
            let words = refused.unwrap_err().to_string();
            assert!(words.contains("such as 0.0357, and 0 at least"), "{price}: {words}");
        }
    }
}
