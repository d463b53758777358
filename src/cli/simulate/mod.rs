//! `simulate`: what a configuration of the autoscaler would cost, and how long people would wait, before it is paid for.

mod report;

use std::{cell::Cell, fs, io::IsTerminal, path::PathBuf, time::Duration};

use actix::System;
use clap::{Args, ValueEnum};
use getaredis_actors::sim::simulation::{
    self, Scenario,
    arrivals::{Arrival, Profile, read_trace},
    optimum::optimum,
};

use self::report::{Compared, Report};
use super::{args::Configuration, exit::Failure, output::Output};
use crate::config::{Config, Layers};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the table has in its columns.
pub(super) const COLUMNS: &str = "\
The table shows the configuration beside the rule of 2015 (one empty host, always), a clairvoyant (who knows every
arrival and every end and packs them well; the best possible schedule may be a little cheaper) and a bound that no
schedule can be cheaper than. The last two serve just the creates that the configuration served, when it did, so that
whoever refuses does not look cheaper for it; the rule of 2015 is compared with a clairvoyant who serves what it did.
Quotas and rates are not simulated; nothing is bought.";

/// What is simulated; the pool is as configured (`--set fleet.standby=2`).
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// What made-up arrivals are like
    #[arg(long, value_enum, default_value = "bursty", conflicts_with = "trace")]
    profile: ProfileName,
    /// Recorded arrivals: a CSV file with the lines seconds,ttl_seconds[,creator]
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Days that are simulated [default: 7, or as many whole ones as the trace takes]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=366), value_name = "N")]
    days: Option<u32>,
    /// What made-up arrivals are drawn from; the same seed gives the same
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// From the order of a host to its first heartbeat
    #[arg(long, value_parser = humantime::parse_duration, default_value = "60s", value_name = "DURATION")]
    boot: Duration,
    /// From the order of a container to its first answer
    #[arg(long, value_parser = humantime::parse_duration, default_value = "400ms", value_name = "DURATION")]
    start: Duration,
    /// What one host costs for an hour
    #[arg(long, value_parser = price, default_value = "0.0357", value_name = "MONEY", allow_negative_numbers = true)]
    price_per_hour: f64,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Configuration,
}

/// See [`Profile`].
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileName {
    /// Around the clock the same: 30 an hour for one to six hours
    Steady,
    /// Busy by day and quiet by night: 5 to 55 an hour for one to eight hours
    Daily,
    /// As daily, and two or three times a day 40 to 160 more within ten minutes
    Bursty,
    /// A team's builds: 150 an hour for 5 to 20 minutes in the working hours of five days a week, hardly any else
    Builds,
    /// Three lessons a day on five days a week, each a class of 25 to 35 within five minutes
    Classroom,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Steady => Self::Steady,
            ProfileName::Daily => Self::Daily,
            ProfileName::Bursty => Self::Bursty,
            ProfileName::Builds => Self::Builds,
            ProfileName::Classroom => Self::Classroom,
        }
    }
}

fn price(text: &str) -> Result<f64, &'static str> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or("must be a number such as 0.0357, and 0 at least")
}

pub(super) fn run(command: &Simulate, output: &Output) -> Result<(), Failure> {
    let config = Config::from_layers(&Layers::gather(&command.given.inputs()))?;
    let (arrivals, length) = command.arrivals()?;
    let policy = config.scaling_policy();
    command.may_succeed(policy.boot_deadline, config.docker.start_timeout)?;
    let configured = Scenario {
        arrivals,
        length,
        policy,
        strategy: config.fleet.strategy,
        queue: config.scaling.queue(),
        boot: command.boot,
        start: command.start,
    };
    let seed = Scenario { policy: simulation::seed_rule(&configured.policy), ..configured.clone() };
    let progress = Progress::new(output);
    let configured = simulate(configured, &progress, "the configuration")?;
    let seed_rule = simulate(seed, &progress, "the rule of 2015")?;
    progress.show("the clairvoyant packs");
    let compared = |outcome: simulation::Outcome| {
        let optimum = optimum(&outcome.served, config.fleet.slots, command.boot, length);
        Compared { outcome, optimum }
    };
    let (configured, seed_rule) = (compared(configured), compared(seed_rule));
    drop(progress);
    let report = Report {
        configured,
        seed_rule,
        price_per_hour: command.price_per_hour,
        max_hosts: config.scaling.max_hosts,
        days: length.as_secs_f64() / DAY.as_secs_f64(),
    };
    if command.json {
        output.line(&report.json().to_string())?
    } else {
        output.text(&report.table())?
    }
    Ok(())
}

impl Simulate {
    /// Nothing is learnt from a pool in which nothing is ever up, and the advice that its refusals call for is wrong.
    fn may_succeed(&self, boot_deadline: Duration, start_timeout: Duration) -> Result<(), Failure> {
        let longer = |option: &str, given: Duration, key: &str, limit: Duration| {
            let [given, limit] = [given, limit].map(humantime::format_duration);
            Failure::Usage(format!("{option} {given} is not shorter than {key}, {limit}: nothing would ever be up"))
        };
        if self.boot >= boot_deadline {
            return Err(longer("--boot", self.boot, "fleet.boot_deadline", boot_deadline));
        }
        if self.start >= start_timeout {
            return Err(longer("--start", self.start, "docker.start_timeout", start_timeout));
        }
        Ok(())
    }

    fn arrivals(&self) -> Result<(Vec<Arrival>, Duration), Failure> {
        let Some(path) = &self.trace else {
            let days = self.days.unwrap_or(7);
            return Ok((Profile::from(self.profile).arrivals(days, self.seed), DAY * days));
        };
        let unusable = |why: &dyn std::fmt::Display| Failure::Usage(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| unusable(&error))?;
        let arrivals = read_trace(&text).map_err(|error| unusable(&error))?;
        let last = arrivals.last().ok_or_else(|| unusable(&"there are no arrivals in it"))?.at;
        let days = self.days.unwrap_or_else(|| u32::try_from(last.as_secs() / DAY.as_secs()).unwrap_or(366) + 1);
        Ok((arrivals, DAY * days))
    }
}

/// Tells on a terminal how far it is, on one line that is gone in the end.
struct Progress<'a> {
    output: &'a Output,
    told: Option<Cell<String>>,
}

impl<'a> Progress<'a> {
    fn new(output: &'a Output) -> Self {
        Self { output, told: std::io::stderr().is_terminal().then(Cell::default) }
    }

    fn show(&self, words: &str) {
        let Some(told) = &self.told else { return };
        if told.replace(words.to_owned()) != words {
            self.output.passing(words);
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.told.is_some() {
            self.output.passing("");
        }
    }
}

/// Runs a scenario in a system of its own, whose time jumps from one event to the next.
fn simulate(scenario: Scenario, progress: &Progress<'_>, what: &str) -> Result<simulation::Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    let system = System::with_tokio_rt(move || runtime);
    let length = scenario.length.as_secs_f64();
    let tell = |passed: Duration| progress.show(&format!("{what}: {:.0} %", 100.0 * passed.as_secs_f64() / length));
    let outcome = system.block_on(simulation::run(&scenario, tell));
    outcome.map_err(|why| Failure::Unexpected(anyhow::anyhow!("the simulation failed: {why}")))
}
