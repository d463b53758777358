//! What the plan does in single situations, and the samples that its promises are tested with.

mod listing;

use super::*;
use crate::{
    domain::host::{Cordon, Health, HostState},
    sim::samples::scaling_policy as policy,
};

pub(super) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
pub(super) const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn ago(duration: Duration) -> Timestamp {
    NOW - duration
}

pub(super) fn name(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

/// A droplet that is two hours old and came up; empty for an hour unless it is in use.
pub(super) fn up(called: &str, used: u32) -> Droplet {
    let long = ago(120 * MINUTE);
    let state = HostState { health: Health::Up, cordon: None };
    let empty_since = (used == 0).then(|| ago(60 * MINUTE));
    Droplet {
        name: name(called),
        row: Some((DropletState::Created, long)),
        listed: Some(long),
        twins: 0,
        is_off: false,
        stray_since: None,
        alias_of: None,
        missing_since: None,
        deleted_since: None,
        host: Some(DropletHost { state, slots: 40, used, since: long, was_up: true, empty_since }),
        absent_since: None,
        instances: used,
        drained_by_plan: false,
    }
}

pub(super) fn with_host(droplet: Droplet, change: impl FnOnce(&mut DropletHost)) -> Droplet {
    let mut host = droplet.host.clone().unwrap();
    change(&mut host);
    Droplet { host: Some(host), ..droplet }
}

pub(super) fn health(droplet: Droplet, health: Health) -> Droplet {
    with_host(droplet, |host| host.state.health = health)
}

pub(super) fn draining(droplet: Droplet, by_plan: bool) -> Droplet {
    Droplet { drained_by_plan: by_plan, ..with_host(droplet, |host| host.state.cordon = Some(Cordon::Draining)) }
}

/// A droplet that was up until it fell silent.
fn silent(called: &str, used: u32, time: Duration) -> Droplet {
    with_host(health(up(called, used), Health::Unreachable), |host| host.since = ago(time))
}

/// A droplet that is not a host (yet).
fn booting(called: &str, state: DropletState, age: Duration) -> Droplet {
    Droplet { row: Some((state, ago(age))), listed: Some(ago(age)), host: None, ..up(called, 0) }
}

fn unlisted(droplet: Droplet) -> Droplet {
    Droplet { listed: None, ..droplet }
}

pub(super) fn snapshot(droplets: Vec<Droplet>) -> FleetSnapshot {
    FleetSnapshot { droplets, directory_well_since: Some(ago(300 * MINUTE)), ..FleetSnapshot::default() }
}

fn actions(droplets: Vec<Droplet>) -> Vec<Action> {
    plan(&snapshot(droplets), &policy(), NOW).actions
}

#[test]
fn an_empty_pool_orders_its_standby_and_no_more() {
    assert_eq!(actions(vec![]), [Action::Create]);
    assert_eq!(actions(vec![booting("a", DropletState::Created, MINUTE)]), []);
    assert_eq!(actions(vec![unlisted(booting("a", DropletState::Creating, MINUTE))]), []);
}

#[test]
fn a_standby_that_got_its_first_instance_is_followed_by_another_one() {
    assert_eq!(actions(vec![up("a", 1)]), [Action::Create]);
    assert_eq!(actions(vec![up("a", 1), up("b", 0)]), []);
    let elsewhere =
        FleetSnapshot { elsewhere: Elsewhere { empty: 1, free: 40, used: 0 }, ..snapshot(vec![up("a", 1)]) };
    assert_eq!(plan(&elsewhere, &policy(), NOW).actions, []);
}

#[test]
fn min_hosts_are_kept_and_max_hosts_is_the_end() {
    let min = ScalingPolicy { min_hosts: 3, ..policy() };
    assert_eq!(plan(&snapshot(vec![up("a", 1)]), &min, NOW).actions, [Action::Create, Action::Create]);
    assert_eq!(plan(&snapshot(vec![up("a", 0), up("b", 0), up("c", 0)]), &min, NOW).actions, []);
    let full = plan(&snapshot(["a", "b", "c", "d"].map(|name| up(name, 40)).to_vec()), &policy(), NOW);
    assert_eq!(full.actions, []);
    assert_eq!(full.explanation[1], "1 more wanted, but max_hosts allows no more");
}

#[test]
fn what_boots_fails_drains_or_is_unreachable_counts_towards_max_hosts_and_not_as_capacity() {
    let three = vec![silent("a", 0, MINUTE), draining(up("b", 1), false), up("c", 3)];
    assert_eq!(actions(three.clone()), [Action::Create]);
    let four = [three, vec![silent("d", 0, MINUTE)]].concat();
    assert_eq!(actions(four), []);
}

#[test]
fn machines_of_one_name_all_count_and_go_once_nothing_is_on_them() {
    let twin = |droplet: Droplet| Droplet { twins: 1, ..droplet };
    let draining_twin = |used| twin(draining(up("a", used), true));
    assert_eq!(actions(vec![twin(up("a", 1))]), [Action::Drain(name("a")), Action::Create]);
    assert_eq!(actions(vec![draining_twin(1), up("b", 0)]), [], "not while something is on it");
    assert_eq!(actions(vec![draining_twin(0)]), [Action::Delete(name("a")), Action::Create], "it is not taken back");
    assert_eq!(actions(vec![twin(silent("a", 0, MINUTE)), up("b", 0)]), [], "as every other one it is given time");
    let full = plan(&snapshot(vec![draining_twin(1), up("b", 1), up("c", 1)]), &policy(), NOW);
    assert_eq!(full.actions, []);
    assert!(full.explanation[0].starts_with("3 of at most 4 droplets"), "{full:?}");
    assert!(full.explanation[0].ends_with("; 1 more that have the name of another one"), "{full:?}");
}

#[test]
fn a_machine_that_bakes_an_image_counts_towards_max_hosts_and_costs_no_host_its_place() {
    let busy = |names: &[&str]| snapshot(names.iter().map(|name| up(name, 40)).collect());
    let bakes = |pool: FleetSnapshot| FleetSnapshot { builders: 1, ..pool };
    assert_eq!(plan(&bakes(busy(&["a", "b"])), &policy(), NOW).actions, [Action::Create]);
    let full = plan(&bakes(busy(&["a", "b", "c"])), &policy(), NOW);
    assert_eq!(full.actions, []);
    assert!(full.explanation[0].starts_with("3 of at most 4 droplets"), "{full:?}");
    assert!(full.explanation[0].ends_with("; 1 more bake an image"), "{full:?}");
    let draining_one = snapshot(vec![up("a", 40), up("b", 40), up("c", 40), draining(up("d", 0), true)]);
    assert_eq!(plan(&bakes(draining_one), &policy(), NOW).actions, [Action::Uncordon(name("d"))]);
}

#[test]
fn what_drains_by_an_earlier_plan_is_taken_back_before_anything_is_bought() {
    assert_eq!(actions(vec![up("a", 1), draining(up("b", 0), true)]), [Action::Uncordon(name("b"))]);
    // What the operator drains goes, needed or not.
    assert_eq!(actions(vec![up("a", 1), draining(up("b", 0), false)]), [Action::Delete(name("b")), Action::Create]);
}

#[test]
fn a_host_that_was_given_an_instance_just_before_it_drained_is_taken_back() {
    assert_eq!(actions(vec![draining(up("a", 1), true), up("b", 0)]), [Action::Uncordon(name("a"))]);
}

#[test]
fn the_last_empty_surplus_host_drains_when_it_is_idle_and_old_enough() {
    assert_eq!(actions(vec![up("a", 0), up("b", 0)]), [Action::Drain(name("b"))]);
    let busy_lately = with_host(up("b", 0), |host| host.empty_since = Some(ago(9 * MINUTE)));
    assert_eq!(actions(vec![up("a", 1), up("c", 0), busy_lately]), [Action::Drain(name("c"))]);
    let young = Droplet { row: Some((DropletState::Created, ago(49 * MINUTE))), ..up("b", 0) };
    assert_eq!(actions(vec![up("a", 1), young, up("c", 1)]), []);
    let min = ScalingPolicy { min_hosts: 2, ..policy() };
    assert_eq!(plan(&snapshot(vec![up("a", 0), up("b", 0)]), &min, NOW).actions, []);
}

#[test]
fn a_drained_host_is_deleted_only_while_it_is_empty_and_answers() {
    assert_eq!(actions(vec![up("a", 0), draining(up("b", 0), true)]), [Action::Delete(name("b"))]);
    assert_eq!(actions(vec![up("a", 0), draining(up("b", 2), false)]), []);
    assert_eq!(actions(vec![up("a", 0), draining(silent("b", 0, MINUTE), true)]), []);
    // The ledger says empty, the rows say otherwise.
    let forgotten = Droplet { instances: 1, ..draining(up("b", 0), false) };
    assert_eq!(actions(vec![up("a", 0), forgotten]), []);
}

#[test]
fn a_droplet_that_does_not_come_up_in_time_is_replaced_and_deleted() {
    let late = booting("a", DropletState::Created, 6 * MINUTE);
    assert_eq!(actions(vec![late.clone()]), [Action::Discard(name("a")), Action::Create]);
    // While nobody can announce itself, nobody is late; and after that everybody has the whole time again.
    for well in [None, Some(ago(MINUTE))] {
        let outage = FleetSnapshot { directory_well_since: well, ..snapshot(vec![late.clone()]) };
        assert_eq!(plan(&outage, &policy(), NOW).actions, [], "{well:?}");
    }
    // It had instances: whatever is wrong with it, it is not deleted.
    assert_eq!(actions(vec![Droplet { instances: 1, ..late }]), [Action::Create]);
}

#[test]
fn a_host_that_is_announced_and_never_answers_is_replaced_and_deleted() {
    let joining =
        |since| with_host(health(up("a", 0), Health::Joining), |host| (host.since, host.was_up) = (ago(since), false));
    assert_eq!(actions(vec![joining(MINUTE)]), []);
    assert_eq!(actions(vec![joining(6 * MINUTE)]), [Action::Drain(name("a")), Action::Create]);
    let draining = draining(joining(6 * MINUTE), true);
    assert_eq!(actions(vec![draining, up("b", 0)]), [Action::Discard(name("a"))]);
}

#[test]
fn a_host_that_turned_bad_is_replaced_and_deleted_once_nothing_lives_on_it() {
    for bad in [Health::Unreachable, Health::Unannounced] {
        let delete = if bad.answers() { Action::Delete(name("a")) } else { Action::Discard(name("a")) };
        let bad = |used, time| with_host(health(up("a", used), bad), |host| host.since = ago(time));
        let standby = up("b", 0);
        assert_eq!(actions(vec![bad(0, MINUTE), standby.clone()]), [], "it may come back");
        assert_eq!(actions(vec![bad(0, 6 * MINUTE), standby.clone()]), [Action::Drain(name("a"))]);
        let drains = draining(bad(0, 6 * MINUTE), true);
        assert_eq!(actions(vec![drains.clone(), standby.clone()]), [delete]);
        assert_eq!(actions(vec![bad(3, 60 * MINUTE), standby.clone()]), [], "what it carries is not given up");
        // Nobody announces itself in a directory that is away.
        let outage = FleetSnapshot { directory_well_since: None, ..snapshot(vec![drains, standby]) };
        assert_eq!(plan(&outage, &policy(), NOW).actions, []);
    }
}

#[test]
fn a_host_that_starts_nothing_is_no_room_and_is_replaced_and_deleted_once_nothing_lives_on_it() {
    let failing = |used, time| with_host(health(up("a", used), Health::Failing), |host| host.since = ago(time));
    assert_eq!(actions(vec![failing(1, MINUTE)]), [Action::Create], "its free slots are none");
    let standby = up("b", 0);
    assert_eq!(actions(vec![failing(0, MINUTE), standby.clone()]), [], "it may recover");
    assert_eq!(actions(vec![failing(0, 6 * MINUTE), standby.clone()]), [Action::Drain(name("a"))]);
    let drains = draining(failing(0, 6 * MINUTE), true);
    assert_eq!(actions(vec![drains.clone(), standby.clone()]), [Action::Delete(name("a"))], "its engine can be asked");
    assert_eq!(actions(vec![drains]), [Action::Delete(name("a")), Action::Create], "it is not taken back");
    let carries = plan(&snapshot(vec![failing(3, 60 * MINUTE), standby]), &policy(), NOW);
    assert_eq!((carries.actions, carries.failed), (vec![], vec![name("a")]), "what runs on it runs on");
}

#[test]
fn a_host_that_vanished_is_given_the_time_of_a_bad_one() {
    let gone = |time| Droplet { host: None, absent_since: Some(ago(time)), ..up("a", 0) };
    let standby = up("b", 0);
    assert_eq!(actions(vec![gone(MINUTE), standby.clone()]), []);
    assert_eq!(actions(vec![gone(6 * MINUTE), standby.clone()]), [Action::Discard(name("a"))]);
    assert_eq!(actions(vec![Droplet { instances: 1, ..gone(60 * MINUTE) }, standby]), []);
}

#[test]
fn free_slots_count_where_they_are_asked_for_in_slots_or_percent() {
    let slots = ScalingPolicy { standby: 0, standby_slots: 20, ..policy() };
    assert_eq!(plan(&snapshot(vec![up("a", 20)]), &slots, NOW).actions, []);
    assert_eq!(plan(&snapshot(vec![up("a", 21)]), &slots, NOW).actions, [Action::Create]);
    assert_eq!(plan(&snapshot(vec![up("a", 20), up("b", 0)]), &slots, NOW).actions, [Action::Drain(name("b"))]);
    assert_eq!(plan(&snapshot(vec![up("a", 21), up("b", 0)]), &slots, NOW).actions, []);
    let percent = ScalingPolicy { standby: 0, standby_percent: 25, max_hosts: 9, ..policy() };
    let full = ["a", "b", "c"].map(|name| up(name, 40));
    assert_eq!(plan(&snapshot(full.to_vec()), &percent, NOW).actions, [Action::Create]);
    // 25 % of 120 is 30.
    let some = [full.as_slice(), &[up("d", 0)]].concat();
    assert_eq!(plan(&snapshot(some.clone()), &percent, NOW).actions, []);
    // The largest of what is asked for counts.
    let both = ScalingPolicy { standby_slots: 41, ..percent };
    assert_eq!(plan(&snapshot(some), &both, NOW).actions, [Action::Create]);
}

#[test]
fn creates_that_wait_are_bought_for_even_without_a_standby() {
    let none = ScalingPolicy { standby: 0, ..policy() };
    let waiting = |waiting| FleetSnapshot { waiting, ..snapshot(vec![up("a", 40)]) };
    assert_eq!(plan(&waiting(0), &none, NOW).actions, []);
    assert_eq!(plan(&waiting(1), &none, NOW).actions, [Action::Create]);
    assert_eq!(plan(&waiting(41), &none, NOW).actions, [Action::Create, Action::Create]);
    assert_eq!(plan(&waiting(1), &policy(), NOW).actions, [Action::Create, Action::Create], "and the standby");
}

#[test]
fn orders_are_counted_and_held_back_with_the_reason() {
    let counted = ScalingPolicy { create_burst: 2, creates_per_hour: 6, standby: 4, ..policy() };
    let fresh = plan(&snapshot(vec![]), &counted, NOW);
    assert_eq!(fresh.actions, [Action::Create, Action::Create]);
    assert_eq!(fresh.explanation.last().unwrap(), "2 more wanted, but creates_per_hour allows the next one in 0 s");
    let spent = OrderBudget::default().after_an_order(&counted, ago(MINUTE)).after_an_order(&counted, ago(MINUTE));
    let held = plan(&FleetSnapshot { budget: spent, ..snapshot(vec![]) }, &counted, NOW);
    assert_eq!(held.explanation.last().unwrap(), "4 more wanted, but creates_per_hour allows the next one in 540 s");
    assert_eq!((held.actions.len(), held.outlook.may_grow), (0, false));

    let hold = Some(Hold { until: NOW + 50 * Duration::from_secs(1), why: "the provider refused: no money".into() });
    let held = plan(&FleetSnapshot { hold, ..snapshot(vec![]) }, &policy(), NOW);
    let why = "1 more wanted, but nothing is bought for 50 s: the provider refused: no money";
    assert_eq!((held.actions.len(), held.explanation.last().unwrap().as_str()), (0, why));
}

#[test]
fn nothing_is_given_back_soon_after_growth_nor_before_the_paid_hour_is_over() {
    let two = snapshot(vec![up("a", 0), up("b", 0)]);
    let cooling = ScalingPolicy { cooldown: 10 * MINUTE, ..policy() };
    let grown = FleetSnapshot { grown_at: Some(ago(9 * MINUTE)), ..two.clone() };
    let kept = plan(&grown, &cooling, NOW);
    assert_eq!(kept.actions, []);
    assert_eq!(
        kept.explanation.last().unwrap(),
        "more is there than needed, and some of it kept: the pool has just grown"
    );
    let long_ago = FleetSnapshot { grown_at: Some(ago(10 * MINUTE)), ..two.clone() };
    assert_eq!(plan(&long_ago, &cooling, NOW).actions, [Action::Drain(name("b"))]);

    let hourly = ScalingPolicy { billing: Billing::Hour, ..policy() };
    let aged = |minutes: u32| {
        let born = ago(minutes * MINUTE);
        let droplet = |called| Droplet { row: Some((DropletState::Created, born)), ..up(called, 0) };
        plan(&snapshot(vec![droplet("a"), droplet("b")]), &hourly, NOW).actions
    };
    assert_eq!((aged(114), aged(120), aged(175)), (vec![], vec![], vec![Action::Drain(name("b"))]));
}

#[test]
fn a_pool_that_is_larger_than_it_may_be_gives_back_what_is_empty() {
    let small = ScalingPolicy { max_hosts: 1, ..policy() };
    assert_eq!(plan(&snapshot(vec![up("a", 1), up("b", 0)]), &small, NOW).actions, [Action::Drain(name("b"))]);
    assert_eq!(plan(&snapshot(vec![up("a", 1), up("b", 1)]), &small, NOW).actions, []);
}

#[test]
fn nothing_is_promised_of_what_cannot_announce_itself_once_the_directory_has_been_away_for_a_while() {
    let young = |called| booting(called, DropletState::Created, MINUTE);
    let joining = with_host(health(up("b", 0), Health::Joining), |host| host.was_up = false).host;
    let snapshot = |away: Duration| FleetSnapshot {
        directory_well_since: None,
        directory_away_since: Some(ago(away)),
        ..snapshot(vec![young("a"), Droplet { host: joining.clone(), ..young("b") }])
    };
    let policy = ScalingPolicy { propagation: MINUTE, ..policy() };
    let outlook = |away| plan(&snapshot(away), &policy, NOW).outlook;
    let (blip, outage) = (outlook(MINUTE / 2), outlook(MINUTE));
    assert_eq!((blip.coming, blip.unheard, blip.may_grow), (2, 0, true), "it may be restarting");
    assert_eq!((outage.coming, outage.unheard, outage.may_grow), (1, 1, false), "b is asked without a directory");
}

#[test]
fn the_outlook_says_what_is_on_the_way_and_whether_more_may_be() {
    let booting = plan(&snapshot(vec![up("a", 1), booting("b", DropletState::Created, MINUTE)]), &policy(), NOW);
    assert_eq!(
        booting.outlook,
        Outlook { coming: 1, first_ordered: Some(ago(MINUTE)), may_grow: true, ..Outlook::default() }
    );
    let full = plan(&snapshot(["a", "b", "c", "d"].map(|name| up(name, 40)).to_vec()), &policy(), NOW);
    assert_eq!(full.outlook, Outlook::default());
    let ordered = plan(&snapshot(vec![]), &policy(), NOW);
    assert_eq!(ordered.outlook, Outlook { coming: 1, first_ordered: Some(NOW), may_grow: true, ..Outlook::default() });
}

#[test]
fn what_is_given_back_is_room_for_who_comes_now_unless_the_pool_is_too_large() {
    let full = |names: &[&str]| names.iter().map(|name| up(name, 40)).collect::<Vec<_>>();
    let may_grow = |droplets: Vec<Droplet>| plan(&snapshot(droplets), &policy(), NOW).outlook.may_grow;
    let leaving = || draining(up("z", 0), true);
    let idle = ScalingPolicy { standby: 0, ..policy() };
    let drains = plan(&snapshot([full(&["a", "b", "c"]), vec![up("z", 0)]].concat()), &idle, NOW);
    assert_eq!((drains.actions, drains.outlook.may_grow), (vec![Action::Drain(name("z"))], true));
    assert!(plan(&snapshot([full(&["a", "b", "c"]), vec![leaving()]].concat()), &idle, NOW).outlook.may_grow);
    assert!(!may_grow([full(&["a", "b", "c", "d"]), vec![leaving()]].concat()));
}

#[test]
fn what_was_not_asked_yet_since_a_start_is_what_it_was_before() {
    let busy = || vec![up("a", 40), up("b", 38)];
    let joining =
        |droplets: Vec<Droplet>| droplets.into_iter().map(|droplet| health(droplet, Health::Joining)).collect();
    let slots = ScalingPolicy { standby: 0, standby_slots: 2, ..policy() };
    let min = ScalingPolicy { standby: 0, min_hosts: 2, ..policy() };
    for policy in [slots, min] {
        assert_eq!(plan(&snapshot(busy()), &policy, NOW).actions, []);
        assert_eq!(plan(&snapshot(joining(busy())), &policy, NOW).actions, []);
    }
}

#[test]
fn a_droplet_that_another_server_uses_already_is_on_the_way_here() {
    let one = ScalingPolicy { max_hosts: 1, ..policy() };
    let coming = |droplet: &Droplet| plan(&snapshot(vec![droplet.clone()]), &one, NOW).outlook.coming;
    let used = Droplet { instances: 1, ..booting("a", DropletState::Created, MINUTE) };
    assert_eq!(coming(&used), 1);
    assert_eq!(
        coming(&Droplet { absent_since: Some(ago(MINUTE)), ..used.clone() }),
        0,
        "it was here and is not any more"
    );
    assert_eq!(coming(&Droplet { instances: 1, ..booting("a", DropletState::Created, 60 * MINUTE) }), 0, "it is late");
}
