//! `scaling`: how the pool is, pausing it, and its decisions made again on the grounds that were written down.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use getaredis_actors::{
    autoscaler::messages::ScalingStatus,
    domain::{
        Timestamp,
        scaling::{Decision, DropletView, Stage},
    },
};

use super::{
    exit::{Exit, Failure},
    operator::{Operator, table},
    output::{Output, printable, span},
};
use crate::client::Server;

#[derive(Debug, Subcommand)]
pub(super) enum ScalingCommand {
    /// Show the pool of bought hosts, what was decided about it and why
    Status {
        #[command(flatten)]
        operator: Operator,
        /// Write the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// Buy and give back nothing until `resume`, on every server on the database
    Pause {
        #[command(flatten)]
        operator: Operator,
    },
    /// Buy and give back again, at once: it also ends the wait after the provider refused or droplets failed
    Resume {
        #[command(flatten)]
        operator: Operator,
    },
    /// Make the decisions of a log (fleet.scaling_log) again, and say whether each comes out the same
    Replay {
        /// The log
        file: PathBuf,
        /// Write every decision with its reasons, not only those that come out differently
        #[arg(long)]
        all: bool,
    },
}

pub(super) async fn run(
    command: &ScalingCommand,
    server: Result<Option<Server>, Failure>,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        // Needs no server, so no word about one can be wrong.
        ScalingCommand::Replay { file, all } => replay(file, *all, output),
        ScalingCommand::Status { operator, json } => {
            let (client, token) = operator.client(server?.as_ref())?;
            let told = client.scaling(&token).await?;
            match json {
                true => output.line(told.json.trim())?,
                false => output.text(&printable(&shown(&told.value, Timestamp::now())))?,
            }
            Ok(())
        }
        ScalingCommand::Pause { operator } => switch(operator, server?.as_ref(), true, output).await,
        ScalingCommand::Resume { operator } => switch(operator, server?.as_ref(), false, output).await,
    }
}

async fn switch(operator: &Operator, server: Option<&Server>, pause: bool, output: &Output) -> Result<(), Failure> {
    let (client, token) = operator.client(server)?;
    let paused = client.pause_scaling(pause, &token).await?.value.paused;
    output.line(if paused { "paused: nothing is bought or given back" } else { "running" })?;
    Ok(())
}

/// Most strays, decisions and failures that are listed: more would only push the rest off the screen.
const MOST_LISTED: usize = 20;

/// The first of them, and how many are left out.
fn listed<T>(items: &[T]) -> (&[T], Option<String>) {
    let (first, rest) = items.split_at(items.len().min(MOST_LISTED));
    (first, (!rest.is_empty()).then(|| format!("and {} more (--json has all)", rest.len())))
}

/// The pool as a person reads it.
fn shown(pool: &ScalingStatus, now: Timestamp) -> String {
    let mut text = format!("{}\n", if pool.paused { "paused" } else { "running" });
    let totals = pool.totals;
    // There are no more of ours than max_hosts; of strays there may be any number.
    let (strays, ours): (Vec<_>, Vec<_>) = pool.droplets.iter().partition(|droplet| droplet.stage == Stage::Stray);
    let hosts = match (pool.is_unseen(), strays.len()) {
        (true, _) => format!("at most {} hosts, not seen yet", pool.max_hosts),
        (false, 0) => format!("{} of at most {} hosts", ours.len(), pool.max_hosts),
        (false, more) => format!("{} of at most {} hosts, {more} more without a record", ours.len(), pool.max_hosts),
    };
    text.push_str(&format!(
        "{hosts}; {} ordered, {} deleted, {} failures since the start\n",
        totals.ordered, totals.deleted, totals.failures
    ));
    if let Some(seconds) = pool.ready_in_s {
        text.push_str(&format!("the next one is ready in about {}\n", span(seconds)));
    }
    if !pool.droplets.is_empty() {
        let age = |since: Timestamp| span(u64::try_from(now.duration_since(since).as_secs()).unwrap_or_default());
        let row = |droplet: &DropletView| {
            let age = droplet.since.map_or_else(|| "-".to_owned(), age);
            [droplet.name.to_string(), droplet.stage.as_str().to_owned(), age]
        };
        let (strays, more) = listed(&strays);
        let rows: Vec<_> = ours.iter().chain(strays).map(|droplet| row(droplet)).collect();
        text.push_str(&format!("\n{}", table(["HOST", "STAGE", "AGE"], rows)));
        more.iter().for_each(|more| text.push_str(&format!("{more}\n")));
    }
    for (title, lines) in [("Decided", &pool.explanation), ("Went wrong", &pool.errors)] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}:\n"));
            let (lines, more) = listed(lines);
            lines.iter().chain(&more).for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    text
}

fn replay(path: &Path, all: bool, output: &Output) -> Result<(), Failure> {
    let unusable = |why: &dyn std::fmt::Display| Failure::Usage(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| unusable(&error))?;
    let (mut made, mut different, mut unreadable) = (0, 0, Vec::new());
    for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
        // A line may have been torn, by a full disk or the end of power; the others are good all the same.
        let decision: Decision = match serde_json::from_slice(&line?) {
            Ok(decision) => decision,
            Err(error) => {
                unreadable.push(format!("line {} is left out: {error}", number + 1));
                continue;
            }
        };
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
    if made == 0 && !unreadable.is_empty() {
        return Err(unusable(&unreadable.swap_remove(0)));
    }
    for line in &unreadable {
        output.line(line)?;
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
    fn of_many_strays_a_few_are_listed_and_of_our_own_every_one() {
        let droplet = |name: String, stage| DropletView { name: name.parse().unwrap(), stage, since: Some(later(0)) };
        let strays = (0..500).map(|n| droplet(format!("stray-{n}"), Stage::Stray));
        let ours = (0..30).map(|n| droplet(format!("ours-{n}"), Stage::Up));
        let explanation = (0..500).map(|n| format!("stray-{n}: it is given time")).collect();
        let droplets = strays.chain(ours).collect();
        let pool = ScalingStatus { droplets, explanation, ..ScalingStatus::default() };
        let text = shown(&pool, later(60));
        assert!(text.contains("30 of at most 0 hosts, 500 more without a record;"), "{text}");
        assert_eq!((text.matches("ours-").count(), text.matches("stray-").count()), (30, 2 * MOST_LISTED), "{text}");
        assert_eq!(text.matches("and 480 more (--json has all)").count(), 2, "{text}");
        let blind =
            ScalingStatus { errors: vec!["the token is wrong".to_owned()], max_hosts: 3, ..ScalingStatus::default() };
        assert!(shown(&blind, later(60)).contains("at most 3 hosts, not seen yet"));
        let few = ScalingStatus { explanation: vec!["as it is".to_owned()], ..ScalingStatus::default() };
        assert!(!shown(&few, later(60)).contains("more"));
    }

    #[test]
    fn decisions_that_come_out_the_same_are_fine_and_others_are_not() {
        let empty = FleetSnapshot { directory_well_since: Some(later(0)), ..FleetSnapshot::default() };
        let decision = Decision::make(empty, &scaling_policy(), later(0));
        assert!(!decision.plan.actions.is_empty(), "{:?}", decision.plan);
        let line = serde_json::to_string(&decision).unwrap();
        replay(log(&[line.clone(), line.clone()]).path(), true, &Output).unwrap();

        let mut other = decision;
        other.plan.actions.clear();
        let other = serde_json::to_string(&other).unwrap();
        let refused = replay(log(&[line.clone(), other]).path(), false, &Output).unwrap_err();
        assert!(matches!(refused, Failure::Said(Exit::Unexpected)), "{refused:?}");
        let torn = line[..line.len() / 2].to_owned();
        replay(log(&[torn.clone(), line]).path(), false, &Output).unwrap();
        let refused = replay(log(&[torn]).path(), false, &Output).unwrap_err();
        assert!(refused.words().unwrap().contains("line 1"), "{refused:?}");
    }
}
