//! The simulation that operators choose their configuration with: a day on the real actors.

use std::time::Duration;

use getaredis_actors::{
    domain::{Strategy, scaling::ScalingPolicy},
    settings::QueueSettings,
    sim::{
        samples,
        simulation::{Scenario, arrivals::Profile, optimum::optimum, run, seed_rule},
    },
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn scenario(days: u32) -> Scenario {
    Scenario {
        arrivals: Profile::Bursty.arrivals(days, 1),
        length: days * DAY,
        policy: ScalingPolicy {
            standby: 0,
            standby_slots: 24,
            max_hosts: 40,
            idle: Duration::from_secs(60),
            min_age: Duration::ZERO,
            ..samples::scaling_policy()
        },
        strategy: Strategy::Fill,
        queue: QueueSettings { wait: Duration::from_secs(90), most: 200 },
        boot: Duration::from_secs(60),
        start: Duration::from_millis(400),
    }
}

#[actix::test]
async fn a_bursty_day_serves_everybody_and_costs_less_than_the_rule_of_2015() {
    tokio::time::pause();
    let scenario = scenario(1);
    let outcome = run(&scenario, |_| {}).await.unwrap();
    let by_rule = run(&Scenario { policy: seed_rule(&scenario.policy), ..scenario.clone() }, |_| {}).await.unwrap();
    let least = optimum(&scenario.arrivals, scenario.policy.slots, scenario.boot, scenario.length);
    assert_eq!((outcome.creates, outcome.refused), (scenario.arrivals.len(), 0));
    assert!(outcome.droplet_hours >= least.bound_hours && least.clairvoyant_hours >= least.bound_hours);
    assert!(outcome.droplet_hours < by_rule.droplet_hours, "{outcome:?} {by_rule:?}");
    assert!((0.3..1.0).contains(&outcome.utilisation), "{outcome:?}");
    assert!(outcome.droplet_hours <= 1.3 * least.clairvoyant_hours, "{outcome:?} {least:?}");
    assert!(outcome.share_waited() <= 0.01, "{outcome:?}");
    assert_eq!(outcome.served.len(), outcome.creates);
    // Nothing in it depends on anything but the scenario.
    let morning = Scenario { length: DAY / 3, ..scenario };
    assert_eq!(run(&morning, |_| {}).await.unwrap(), run(&morning, |_| {}).await.unwrap());
}

#[actix::test]
async fn who_is_refused_is_not_among_the_served_and_the_clairvoyant_who_serves_the_same_is_no_dearer() {
    tokio::time::pause();
    let narrow = scenario(1);
    let policy = ScalingPolicy { max_hosts: 1, slots: 4, ..narrow.policy.clone() };
    let scenario = Scenario { policy, length: DAY / 3, ..narrow };
    let outcome = run(&scenario, |_| {}).await.unwrap();
    assert!(outcome.refused > 0, "{outcome:?}");
    assert_eq!(outcome.served.len() + outcome.refused, outcome.creates);
    let hours_for = |arrivals| optimum(arrivals, 4, scenario.boot, scenario.length).clairvoyant_hours;
    assert!(outcome.droplet_hours < hours_for(&scenario.arrivals), "so it would look cheaper than it is");
    assert!(outcome.droplet_hours >= hours_for(&outcome.served), "{outcome:?}");
}
