//! How a simulation is written down: the configuration beside the rule of 2015 and those who know the future.

use getaredis_actors::sim::simulation::{Outcome, optimum::Optimum};
use serde_json::{Value, json};

/// The share of creates above which a reserve is called too small.
const ACCEPTABLE_WAITS: f64 = 0.01;

/// What came of a run, and what it costs those who know the future to serve the same.
#[derive(Clone)]
pub(super) struct Compared {
    pub(super) outcome: Outcome,
    pub(super) optimum: Optimum,
}

impl Compared {
    /// These hours in those of the clairvoyant.
    fn times_optimum(&self, hours: f64) -> f64 {
        if self.optimum.clairvoyant_hours > 0.0 { hours / self.optimum.clairvoyant_hours } else { 0.0 }
    }

    fn times(&self) -> f64 {
        self.times_optimum(self.outcome.droplet_hours)
    }
}

/// All figures of one call.
pub(super) struct Report {
    pub(super) configured: Compared,
    pub(super) seed_rule: Compared,
    pub(super) price_per_hour: f64,
    pub(super) max_hosts: u32,
    pub(super) days: f64,
}

impl Report {
    pub(super) fn json(&self) -> Value {
        let run = |run: &Compared| {
            let outcome = &run.outcome;
            json!({
                "creates": outcome.creates,
                "refused": outcome.refused,
                "waited": outcome.waited,
                "share_waited": outcome.share_waited(),
                "answered_in_s": {
                    "p50": outcome.answered_in_s[0],
                    "p95": outcome.answered_in_s[1],
                    "p99": outcome.answered_in_s[2],
                    "max": outcome.answered_in_s[3],
                },
                "droplet_hours": outcome.droplet_hours,
                "money": outcome.droplet_hours * self.price_per_hour,
                "utilisation": outcome.utilisation,
                "most_hosts": outcome.most_hosts,
                "ordered": outcome.ordered,
                "times_clairvoyant": run.times(),
            })
        };
        let optimum = &self.configured.optimum;
        json!({
            "days": self.days,
            "configured": run(&self.configured),
            "seed_rule": run(&self.seed_rule),
            "clairvoyant": {
                "creates": self.configured.outcome.served.len(),
                "droplet_hours": optimum.clairvoyant_hours,
                "money": optimum.clairvoyant_hours * self.price_per_hour,
                "most_hosts": optimum.most_hosts,
            },
            "bound": { "droplet_hours": optimum.bound_hours },
        })
    }

    pub(super) fn table(&self) -> String {
        let mut table = format!(
            "{:<28}{:>14}{:>14}{:>14}{:>14}\n",
            format!("{:.0} {}", self.days, if self.days.round() == 1.0 { "day" } else { "days" }),
            "configured",
            "rule of 2015",
            "clairvoyant",
            "bound"
        );
        let (runs, optimum) = ([&self.configured.outcome, &self.seed_rule.outcome], &self.configured.optimum);
        let mut line = |name: &str, cells: [String; 4]| {
            table.push_str(&format!("{name:<28}"));
            cells.iter().for_each(|cell| table.push_str(&format!("{cell:>14}")));
            table.push('\n');
        };
        let both = |cell: &dyn Fn(&Outcome) -> String| [cell(runs[0]), cell(runs[1]), String::new(), String::new()];
        let hours = [runs[0].droplet_hours, runs[1].droplet_hours, optimum.clairvoyant_hours, optimum.bound_hours];
        let times = [
            self.configured.times(),
            self.seed_rule.times(),
            self.configured.times_optimum(optimum.clairvoyant_hours),
            self.configured.times_optimum(optimum.bound_hours),
        ];
        let served = runs[0].served.len();
        line("creates", [runs[0].creates, runs[1].creates, served, served].map(|creates| creates.to_string()));
        line("refused", both(&|run| run.refused.to_string()));
        line("waited for a boot", both(&|run| format!("{:.2} %", 100.0 * run.share_waited())));
        for (at, name) in
            ["half answered within", "95 % answered within", "99 % answered within", "all answered within"]
                .into_iter()
                .enumerate()
        {
            line(name, both(&|run| format!("{:.1} s", run.answered_in_s[at])));
        }
        line("droplet-hours", hours.map(|hours| format!("{hours:.1}")));
        line("money", hours.map(|hours| format!("{:.2}", hours * self.price_per_hour)));
        line("times clairvoyant", times.map(|times| format!("{times:.2}")));
        line("slots used", both(&|run| format!("{:.0} %", 100.0 * run.utilisation)));
        line("droplets ordered", both(&|run| run.ordered.to_string()));
        let most = |run: &Outcome| run.most_hosts.to_string();
        let clairvoyant = optimum.most_hosts.to_string();
        line("most droplets at once", [most(runs[0]), most(runs[1]), clairvoyant, String::new()]);
        self.hints().iter().for_each(|hint| table.push_str(&format!("\n{hint}\n")));
        table
    }

    /// What an operator may want to change.
    fn hints(&self) -> Vec<String> {
        let (run, most) = (&self.configured.outcome, self.max_hosts);
        let (refused, creates) = (run.refused, run.creates);
        let at_most = run.most_hosts >= most as usize;
        let waited = run.share_waited() > ACCEPTABLE_WAITS;
        let mut hints = Vec::new();
        if refused > 0 && at_most {
            hints.push(format!(
                "{refused} of {creates} creates were refused, with all {most} hosts of fleet.max_hosts in use: more of \
                 them help, a larger reserve does not."
            ));
        } else if refused > 0 {
            hints.push(format!(
                "{refused} of {creates} creates were refused before a host was up: a larger reserve helps, such as \
                 fleet.standby_slots, or a longer fleet.queue_for and fleet.queue_length."
            ));
        } else if waited && at_most {
            hints.push(format!(
                "More than 1 % waited, and all {most} hosts of fleet.max_hosts were in use at times: a larger reserve \
                 helps only with more of them."
            ));
        } else if waited {
            hints.push(
                "More than 1 % waited for a boot: a larger reserve, such as fleet.standby_slots, helps.".to_owned(),
            );
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use getaredis_actors::sim::simulation::arrivals::Arrival;

    use super::*;

    fn report() -> Report {
        let configured = Outcome {
            creates: 200,
            served: vec![Arrival { at: Duration::ZERO, ttl: Duration::ZERO, creator: 0 }; 199],
            refused: 1,
            waited: 3,
            most_hosts: 4,
            ordered: 9,
            droplet_hours: 120.0,
            utilisation: 0.5,
            answered_in_s: [0.4, 0.5, 12.0, 61.0],
        };
        let by_rule = Outcome { droplet_hours: 150.0, ..configured.clone() };
        let optimum = Optimum { clairvoyant_hours: 100.0, bound_hours: 90.0, most_hosts: 3 };
        let configured = Compared { outcome: configured, optimum };
        // It served more, so whoever serves the same pays more.
        let seed_rule = Compared { outcome: by_rule, optimum: Optimum { clairvoyant_hours: 120.0, ..optimum } };
        Report { configured, seed_rule, price_per_hour: 0.1, max_hosts: 4, days: 7.0 }
    }

    #[test]
    fn the_table_has_a_column_for_each_and_the_figures_that_matter() {
        let table = report().table();
        let rows: Vec<Vec<&str>> =
            table.lines().map(|line| line.split("  ").filter(|s| !s.is_empty()).collect()).collect();
        let row = |name: &str| {
            let found = rows.iter().find(|row| row[0].trim() == name).unwrap_or_else(|| panic!("no {name} in {table}"));
            found[1..].iter().map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(row("creates"), ["200", "200", "199", "199"]);
        assert_eq!(row("waited for a boot"), ["1.50 %", "1.50 %"]);
        assert_eq!(row("droplet-hours"), ["120.0", "150.0", "100.0", "90.0"]);
        assert_eq!(row("times clairvoyant"), ["1.20", "1.25", "1.00", "0.90"]);
        assert_eq!(row("money"), ["12.00", "15.00", "10.00", "9.00"]);
    }

    #[test]
    fn the_table_ends_with_what_may_be_changed_if_anything() {
        let mut report = report();
        let mut hint = |refused, waited, max_hosts| {
            let run = &mut report.configured.outcome;
            (run.refused, run.waited, report.max_hosts) = (refused, waited, max_hosts);
            let hints = report.hints();
            assert!(hints.len() <= 1 && hints.iter().all(|hint| report.table().ends_with(&format!("{hint}\n"))));
            hints.into_iter().next().unwrap_or_default()
        };
        for (refused, waited, max_hosts, words) in [
            (1, 3, 4, "1 of 200 creates were refused, with all 4 hosts of fleet.max_hosts in use: more of them help"),
            (1, 3, 9, "1 of 200 creates were refused before a host was up: a larger reserve helps"),
            (0, 3, 4, "More than 1 % waited, and all 4 hosts"),
            (0, 3, 9, "More than 1 % waited for a boot: a larger reserve"),
        ] {
            assert!(hint(refused, waited, max_hosts).starts_with(words), "{words}");
        }
        assert_eq!(hint(0, 2, 4), "");
    }

    #[test]
    fn the_json_says_the_same() {
        let json = report().json();
        assert_eq!(json["configured"]["times_clairvoyant"], 1.2);
        assert_eq!(json["configured"]["answered_in_s"]["p99"], 12.0);
        assert_eq!(json["seed_rule"]["times_clairvoyant"], 1.25);
        assert_eq!((&json["clairvoyant"]["creates"], &json["clairvoyant"]["money"]), (&json!(199), &json!(10.0)));
    }
}
