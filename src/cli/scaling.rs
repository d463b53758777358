//! `scaling replay`: makes the autoscaler's decisions again, on the grounds that were written down.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use getaredis_actors::domain::scaling::Decision;

use super::{
    exit::{Exit, Failure},
    output::Output,
};

#[derive(Debug, Subcommand)]
pub(super) enum ScalingCommand {
    /// Make the decisions of a log (fleet.scaling_log) again, and say whether each comes out the same
    Replay {
        /// The log
        file: PathBuf,
        /// Write every decision with its reasons, not only those that come out differently
        #[arg(long)]
        all: bool,
    },
}

pub(super) fn run(command: &ScalingCommand, output: &Output) -> Result<(), Failure> {
    let ScalingCommand::Replay { file, all } = command;
    replay(file, *all, output)
}

fn replay(path: &Path, all: bool, output: &Output) -> Result<(), Failure> {
    let unusable = |why: &dyn std::fmt::Display| Failure::Usage(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| unusable(&error))?;
    let (mut made, mut different) = (0, 0);
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line?;
        let decision: Decision =
            serde_json::from_str(&line).map_err(|error| unusable(&format!("line {}: {error}", number + 1)))?;
        made += 1;
        let again = decision.differs();
        if all || again.is_some() {
            output.text(&described(&decision, "decided", &decision.plan))?;
        }
        if let Some(again) = again {
            different += 1;
            output.text(&described(&decision, "would decide now", &again))?;
        }
    }
    output.line(&format!("{made} decisions, {different} of them would be made differently now"))?;
    if different > 0 { Err(Failure::Said(Exit::Unexpected)) } else { Ok(()) }
}

fn described(decision: &Decision, word: &str, plan: &getaredis_actors::domain::scaling::Plan) -> String {
    let mut text = format!("{} {word}: {:?}\n", decision.at, plan.actions);
    plan.explanation.iter().for_each(|reason| text.push_str(&format!("  {reason}\n")));
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use getaredis_actors::{
        domain::scaling::FleetSnapshot,
        sim::samples::{later, scaling_policy},
    };

    use super::*;

    fn log(lines: &[String]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        lines.iter().for_each(|line| writeln!(file, "{line}").unwrap());
        file
    }

    #[test]
    fn decisions_that_come_out_the_same_are_fine_and_others_are_not() {
        let decision = Decision::make(FleetSnapshot::default(), &scaling_policy(), later(0));
        let line = serde_json::to_string(&decision).unwrap();
        replay(log(&[line.clone(), line.clone()]).path(), true, &Output).unwrap();

        let mut other = decision;
        other.plan.actions.clear();
        let other = serde_json::to_string(&other).unwrap();
        let refused = replay(log(&[line.clone(), other]).path(), false, &Output).unwrap_err();
        assert!(matches!(refused, Failure::Said(Exit::Unexpected)), "{refused:?}");
        let refused = replay(log(&[line, "nonsense".to_owned()]).path(), false, &Output).unwrap_err();
        assert!(refused.words().unwrap().contains("line 2"), "{refused:?}");
    }
}
