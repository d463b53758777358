//! `config check` and `config show`.

use super::{args::ConfigCommand, exit::Failure, output::Output};
use crate::config::{Config, Layers, Source, show};

pub(super) fn run(command: &ConfigCommand, output: &Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(given) => {
            let layers = Layers::gather(&given.inputs());
            Config::with_files(&layers)?;
            let set = layers.entries.iter().filter(|entry| entry.source != Source::BuiltIn).count();
            output.line(&format!("the configuration is valid; {set} of {} keys are set", layers.entries.len()))?;
        }
        ConfigCommand::Show(given) => {
            let layers = Layers::gather(&given.inputs());
            output.text(&show(&layers))?;
            // Shown all the same: what holds is what somebody who looks for a mistake wants to see.
            Config::from_layers(&layers)?;
        }
    }
    Ok(())
}
