//! What the provider lists, or does not list, and what becomes of rows and droplets by that.

use super::*;

fn missing(droplet: Droplet, time: Duration) -> Droplet {
    Droplet { missing_since: Some(ago(time)), ..unlisted(droplet) }
}

/// One that has been known to be a stray for as long as it is listed.
fn without_row(droplet: Droplet) -> Droplet {
    Droplet { row: None, stray_since: droplet.listed, ..droplet }
}

fn deleting(droplet: Droplet) -> Droplet {
    Droplet { row: droplet.row.map(|(_, since)| (DropletState::Deleting, since)), ..droplet }
}

#[test]
fn what_the_provider_does_not_have_any_more_is_gone_with_what_it_carried() {
    let gone = |time| missing(silent("a", 3, time), time);
    let gone_by = |droplets| {
        let plan = plan(&snapshot(droplets), &policy(), NOW);
        (plan.gone, plan.actions)
    };
    let standby = || up("b", 0);
    assert_eq!(gone_by(vec![gone(MINUTE), standby()]), (vec![], vec![]), "the list may be late");
    assert_eq!(gone_by(vec![gone(3 * MINUTE), standby()]), (vec![name("a")], vec![]));
    let unknown = Droplet { host: None, ..gone(3 * MINUTE) };
    assert_eq!(gone_by(vec![unknown.clone(), standby()]), (vec![name("a")], vec![]));
    assert_eq!(gone_by(vec![deleting(unknown.clone()), standby()]), (vec![name("a")], vec![]));
    for health_now in [Health::Up, Health::Unannounced, Health::Failing] {
        let works = missing(health(up("a", 3), health_now), 30 * MINUTE);
        assert_eq!(gone_by(vec![works, standby()]), (vec![], vec![]), "{health_now:?}: it answers");
    }
    let just_well = FleetSnapshot { directory_well_since: Some(ago(MINUTE)), ..snapshot(vec![unknown, standby()]) };
    assert_eq!(plan(&just_well, &policy(), NOW).gone, [], "it had no time to announce itself");
    let given_up = Droplet { instances: 0, ..with_host(gone(3 * MINUTE), |host| host.used = 0) };
    assert_eq!(gone_by(vec![given_up, standby()]), (vec![], vec![Action::Close(name("a"))]));
}

#[test]
fn rows_and_the_list_of_the_cloud_are_brought_together() {
    let ordered = booting("a", DropletState::Creating, MINUTE);
    assert_eq!(actions(vec![ordered]), [Action::Confirm(name("a"))]);
    let deleted = |time| missing(deleting(health(draining(up("a", 0), false), Health::Unreachable)), time);
    assert_eq!(actions(vec![deleted(3 * MINUTE), up("b", 0)]), [Action::Close(name("a"))]);
    assert_eq!(actions(vec![deleted(MINUTE), up("b", 0)]), [], "one list may be wrong");
    // A list that leaves out what plainly works is not believed.
    let missed = plan(&snapshot(vec![missing(up("a", 0), 9 * MINUTE), up("b", 1)]), &policy(), NOW);
    assert_eq!((missed.actions, missed.explanation.len()), (vec![], 2));
    assert_eq!(missed.explanation[1], "a: it is up, and the provider does not list it; has it lost its tag?");
    let drained = missing(draining(up("a", 0), true), 9 * MINUTE);
    let missed = plan(&snapshot(vec![drained, up("b", 0)]), &policy(), NOW);
    assert_eq!((missed.actions, missed.explanation.len()), (vec![], 2));
    assert!(missed.explanation[1].starts_with("a: drained and empty, and the provider does not list it"));
    // What lives on it according to its row is given up first.
    let counted_on = Droplet { instances: 1, ..missing(silent("a", 0, MINUTE), 9 * MINUTE) };
    assert_eq!(actions(vec![counted_on, up("b", 0)]), []);
}

#[test]
fn an_order_that_nobody_confirms_is_not_promised_and_is_made_again_by_its_name() {
    let seen = |time, missed| missing(booting("a", DropletState::Creating, time), missed);
    let ordered = |time| seen(time, time);
    let elsewhere = seen(9 * MINUTE, MINUTE);
    assert_eq!(actions(vec![elsewhere]), [], "whoever ordered it may have had another time of day");
    let young = plan(&snapshot(vec![ordered(MINUTE)]), &policy(), NOW);
    assert_eq!((young.actions, young.outlook), (vec![], Outlook::default()));
    assert_eq!(young.explanation[1], "a: ordered, and the provider has not confirmed it");

    let again = plan(&snapshot(vec![ordered(3 * MINUTE)]), &policy(), NOW);
    assert_eq!(again.actions, [Action::Reorder(name("a"))]);
    assert_eq!(again.explanation[1], "a: ordered again, the provider does not list it");
    assert_eq!(again.outlook, Outlook { coming: 1, first_ordered: Some(NOW), may_grow: true, ..Outlook::default() });
    // It has its place in the pool, and took its share of the budget.
    let one = ScalingPolicy { max_hosts: 1, creates_per_hour: 6, ..policy() };
    let budget = OrderBudget::default().after_an_order(&one, ago(3 * MINUTE));
    let spent = FleetSnapshot { budget, ..snapshot(vec![ordered(3 * MINUTE)]) };
    assert_eq!(plan(&spent, &one, NOW).actions, [Action::Reorder(name("a"))]);
    let hold = Some(Hold { until: NOW + MINUTE, why: "it failed".to_owned() });
    assert_eq!(plan(&FleetSnapshot { hold, ..spent }, &one, NOW).actions, []);
    // More than it is needed, and it is needed by nobody.
    let two = ScalingPolicy { standby: 2, ..policy() };
    assert_eq!(
        plan(&snapshot(vec![ordered(3 * MINUTE)]), &two, NOW).actions,
        [Action::Reorder(name("a")), Action::Create]
    );
    assert_eq!(actions(vec![seen(3 * MINUTE, MINUTE), up("b", 0)]), []);
    assert_eq!(actions(vec![ordered(3 * MINUTE), up("b", 0)]), [Action::Close(name("a"))]);
}

#[test]
fn a_droplet_without_a_row_is_given_time_then_drained_then_deleted() {
    let young = without_row(booting("x", DropletState::Created, MINUTE));
    assert_eq!(actions(vec![up("a", 0), young]), []);
    let old = without_row(booting("x", DropletState::Created, 3 * MINUTE));
    assert_eq!(actions(vec![up("a", 0), old]), [Action::Discard(name("x"))]);
    let was_a_host = |droplet| Droplet { absent_since: Some(ago(60 * MINUTE)), ..droplet };
    let silent = was_a_host(without_row(booting("x", DropletState::Created, 90 * MINUTE)));
    assert_eq!(actions(vec![up("a", 0), silent]), [], "nobody knows what runs there");
    assert_eq!(actions(vec![up("a", 0), without_row(up("x", 2))]), [Action::Drain(name("x"))]);
    assert_eq!(actions(vec![up("a", 0), without_row(draining(up("x", 2), true))]), []);
    assert_eq!(actions(vec![up("a", 0), without_row(draining(up("x", 0), true))]), [Action::Delete(name("x"))]);
}

#[test]
fn of_a_droplet_that_is_silent_it_is_told_where_the_provider_says_that_it_is_off() {
    let off = |droplet| Droplet { is_off: true, ..droplet };
    let absent = Droplet { host: None, absent_since: Some(ago(MINUTE)), ..up("a", 0) };
    for droplet in [silent("a", 2, MINUTE), silent("a", 0, MINUTE), silent("a", 2, 90 * MINUTE), absent] {
        let told = |droplet| plan(&snapshot(vec![droplet]), &policy(), NOW).explanation.join("\n");
        assert!(told(off(droplet.clone())).contains(", and the provider says that it is switched off"));
        assert!(!told(droplet).contains("switched off"));
    }
    assert!(!plan(&snapshot(vec![off(up("a", 1))]), &policy(), NOW).explanation.join("\n").contains("switched off"));
}

#[test]
fn a_droplet_without_a_row_is_left_alone_while_it_may_be_a_host_that_somebody_uses() {
    let stray = || without_row(booting("x", DropletState::Created, 90 * MINUTE));
    let just_tagged = Droplet { stray_since: Some(ago(MINUTE)), ..stray() };
    assert_eq!(actions(vec![up("a", 0), just_tagged]), [], "however old it is");
    let just_seen = |droplet| Droplet { stray_since: Some(ago(MINUTE)), ..without_row(droplet) };
    let no_more = [Action::Drain(name("x"))];
    assert_eq!(actions(vec![up("a", 0), just_seen(up("x", 0))]), no_more, "an instance would keep it");
    assert_eq!(actions(vec![up("a", 0), just_seen(up("x", 2))]), no_more);
    assert_eq!(actions(vec![up("a", 0), just_seen(draining(up("x", 0), true))]), []);
    let renamed = Droplet { alias_of: Some(name("a")), ..stray() };
    let told = plan(&snapshot(vec![unlisted(up("a", 1)), up("b", 0), renamed]), &policy(), NOW);
    assert_eq!(told.actions, []);
    assert!(told.explanation.iter().any(|line| line.contains("by its address it is a, whose name")), "{told:?}");
    let away = FleetSnapshot { directory_well_since: None, ..snapshot(vec![up("a", 0), stray()]) };
    assert_eq!(plan(&away, &policy(), NOW).actions, []);
}

#[test]
fn what_is_deleted_costs_no_place_and_is_forgotten_when_nobody_can_believe_in_it_any_more() {
    let (soon, later) = (Duration::from_secs(10), MINUTE);
    let dead = |called: &str, time| Droplet {
        row: Some((DropletState::Deleted, ago(60 * MINUTE))),
        deleted_since: Some(ago(time)),
        ..booting(called, DropletState::Deleted, 60 * MINUTE)
    };
    let tombstone = |time| unlisted(dead("x", time));
    assert_eq!(actions(vec![up("a", 0), tombstone(soon)]), []);
    assert_eq!(actions(vec![up("a", 0), tombstone(later)]), [Action::Close(name("x"))]);
    let still_here = Droplet { host: up("x", 0).host, ..tombstone(later) };
    assert_eq!(actions(vec![up("a", 0), still_here]), [], "it has not left the directory");
    let one = ScalingPolicy { max_hosts: 1, ..policy() };
    assert_eq!(plan(&snapshot(vec![tombstone(soon)]), &one, NOW).actions, [Action::Create]);

    let waits = plan(&snapshot(vec![dead("x", soon)]), &one, NOW);
    assert_eq!((waits.actions, waits.outlook.may_grow), (vec![], true), "it is paid for while it is listed");
    assert_eq!(actions(vec![up("a", 0), dead("x", 3 * MINUTE)]), [Action::Discard(name("x"))]);
}

#[test]
fn a_deletion_that_was_begun_is_finished_unless_it_got_an_instance() {
    let standby = up("a", 0);
    assert_eq!(actions(vec![standby.clone(), deleting(draining(up("b", 0), false))]), [Action::Delete(name("b"))]);
    // The scheduler restarted and forgot the cordon.
    assert_eq!(actions(vec![standby.clone(), deleting(up("b", 0))]), [Action::Drain(name("b"))]);
    assert_eq!(actions(vec![standby.clone(), deleting(up("b", 1))]), [Action::Keep(name("b"))]);
    // It was confirmed empty before it went away.
    let gone = deleting(health(draining(up("b", 0), false), Health::Unreachable));
    assert_eq!(actions(vec![standby, gone]), [Action::Discard(name("b"))]);
}
