use super::*;
use proptest::{
    prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof},
    proptest,
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const MINUTE: Duration = Duration::from_secs(60);

fn policy() -> ScalingPolicy {
    ScalingPolicy {
        standby: 1,
        min_hosts: 0,
        max_hosts: 4,
        idle: 10 * MINUTE,
        min_age: 50 * MINUTE,
        boot_deadline: 5 * MINUTE,
        list_grace: 2 * MINUTE,
    }
}

fn ago(duration: Duration) -> Timestamp {
    NOW - duration
}

fn name(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

/// A droplet that is two hours old and came up; empty for an hour unless it is in use.
fn up(called: &str, used: u32) -> Droplet {
    let long = ago(120 * MINUTE);
    let state = HostState { health: Health::Up, cordon: None };
    let empty_since = (used == 0).then(|| ago(60 * MINUTE));
    Droplet {
        name: name(called),
        row: Some((DropletState::Created, long)),
        listed: Some(long),
        host: Some(DropletHost { state, used, since: long, empty_since }),
        instances: used,
        drained_by_plan: false,
    }
}

fn with_host(droplet: Droplet, change: impl FnOnce(&mut DropletHost)) -> Droplet {
    let mut host = droplet.host.clone().unwrap();
    change(&mut host);
    Droplet { host: Some(host), ..droplet }
}

fn health(droplet: Droplet, health: Health) -> Droplet {
    with_host(droplet, |host| host.state.health = health)
}

fn draining(droplet: Droplet, by_plan: bool) -> Droplet {
    Droplet { drained_by_plan: by_plan, ..with_host(droplet, |host| host.state.cordon = Some(Cordon::Draining)) }
}

/// A droplet that is not a host (yet).
fn booting(called: &str, state: DropletState, age: Duration) -> Droplet {
    Droplet { row: Some((state, ago(age))), listed: Some(ago(age)), host: None, ..up(called, 0) }
}

fn unlisted(droplet: Droplet) -> Droplet {
    Droplet { listed: None, ..droplet }
}

fn without_row(droplet: Droplet) -> Droplet {
    Droplet { row: None, ..droplet }
}

fn deleting(droplet: Droplet) -> Droplet {
    Droplet { row: droplet.row.map(|(_, since)| (DropletState::Deleting, since)), ..droplet }
}

fn snapshot(droplets: Vec<Droplet>) -> FleetSnapshot {
    FleetSnapshot { droplets, standby_elsewhere: 0, directory_well_since: Some(ago(300 * MINUTE)) }
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
    let elsewhere = FleetSnapshot { standby_elsewhere: 1, ..snapshot(vec![up("a", 1)]) };
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
    let three = vec![health(up("a", 0), Health::Unreachable), draining(up("b", 1), false), up("c", 3)];
    assert_eq!(actions(three.clone()), [Action::Create]);
    let four = [three, vec![health(up("d", 0), Health::Unreachable)]].concat();
    assert_eq!(actions(four), []);
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
    assert_eq!(actions(vec![up("a", 0), health(draining(up("b", 0), true), Health::Unreachable)]), []);
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
fn a_host_that_is_announced_and_never_answers_is_replaced_and_kept_for_the_operator() {
    let joining = |since| with_host(health(up("a", 0), Health::Joining), |host| host.since = ago(since));
    assert_eq!(actions(vec![joining(MINUTE)]), []);
    assert_eq!(actions(vec![joining(6 * MINUTE)]), [Action::Create]);
}

#[test]
fn rows_and_the_list_of_the_cloud_are_brought_together() {
    let ordered = booting("a", DropletState::Creating, MINUTE);
    assert_eq!(actions(vec![ordered]), [Action::Confirm(name("a"))]);
    let vanished = unlisted(booting("a", DropletState::Creating, 3 * MINUTE));
    assert_eq!(actions(vec![vanished]), [Action::Close(name("a")), Action::Create]);
    let deleted = unlisted(deleting(health(draining(up("a", 0), false), Health::Unreachable)));
    assert_eq!(actions(vec![deleted, up("b", 0)]), [Action::Close(name("a"))]);
    // A list that leaves out what plainly works is not believed.
    assert_eq!(actions(vec![unlisted(up("a", 0)), up("b", 1)]), []);
}

#[test]
fn a_droplet_without_a_row_is_given_time_then_drained_then_deleted() {
    let young = without_row(booting("x", DropletState::Created, MINUTE));
    assert_eq!(actions(vec![up("a", 0), young]), []);
    let old = without_row(booting("x", DropletState::Created, 3 * MINUTE));
    assert_eq!(actions(vec![up("a", 0), old]), [Action::Discard(name("x"))]);
    assert_eq!(actions(vec![up("a", 0), without_row(up("x", 2))]), [Action::Drain(name("x"))]);
    assert_eq!(actions(vec![up("a", 0), without_row(draining(up("x", 2), true))]), []);
    assert_eq!(actions(vec![up("a", 0), without_row(draining(up("x", 0), true))]), [Action::Delete(name("x"))]);
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

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0u64..180).prop_map(|minutes| ago(u32::try_from(minutes).unwrap() * MINUTE))
}

fn any_host() -> impl Strategy<Value = DropletHost> {
    let health = prop_oneof![Just(Health::Joining), Just(Health::Up), Just(Health::Up), Just(Health::Unreachable)];
    let cordon = prop_oneof![Just(None), Just(None), Just(Some(Cordon::Cordoned)), Just(Some(Cordon::Draining))];
    (health, cordon, 0u32..3, any_time(), any_time()).prop_map(|(health, cordon, used, since, empty)| DropletHost {
        state: HostState { health, cordon },
        used,
        since,
        empty_since: (used == 0).then_some(empty),
    })
}

fn any_droplet() -> impl Strategy<Value = Droplet> {
    let state = prop_oneof![Just(DropletState::Creating), Just(DropletState::Created), Just(DropletState::Deleting)];
    let row = prop::option::weighted(0.8, (state, any_time()));
    let listed = prop::option::weighted(0.8, any_time());
    (row, listed, prop::option::weighted(0.7, any_host()), 0u32..2, any::<bool>()).prop_map(
        |(row, listed, host, instances, by_plan)| {
            let draining = host.as_ref().is_some_and(|host| host.state.cordon == Some(Cordon::Draining));
            // A droplet is known by a row or by the list.
            let listed = if row.is_none() { listed.or(Some(NOW)) } else { listed };
            Droplet { name: name("x"), row, listed, host, instances, drained_by_plan: by_plan && draining }
        },
    )
}

fn any_snapshot() -> impl Strategy<Value = FleetSnapshot> {
    (prop::collection::vec(any_droplet(), 0..8), 0u32..3, prop::option::of(any_time())).prop_map(
        |(mut droplets, standby_elsewhere, directory_well_since)| {
            for (n, droplet) in droplets.iter_mut().enumerate() {
                droplet.name = name(&format!("d{n}"));
            }
            FleetSnapshot { droplets, standby_elsewhere, directory_well_since }
        },
    )
}

fn any_policy() -> impl Strategy<Value = ScalingPolicy> {
    (0u32..3, 0u32..4, 0u32..7).prop_map(|(standby, min_hosts, max_hosts)| ScalingPolicy {
        standby,
        min_hosts,
        max_hosts,
        ..policy()
    })
}

/// What the world looks like when all of this was done.
fn carry_out(snapshot: &mut FleetSnapshot, actions: &[Action], ordered: &mut u32) {
    for action in actions {
        let set = |snapshot: &mut FleetSnapshot, name: &HostName, change: &dyn Fn(&mut Droplet)| {
            snapshot.droplets.iter_mut().filter(|d| &d.name == name).for_each(change);
        };
        let cordon = |droplet: &mut Droplet, cordon, by_plan| {
            droplet.drained_by_plan = by_plan;
            if let Some(host) = &mut droplet.host {
                host.state.cordon = cordon;
            }
        };
        match action {
            Action::Create => {
                *ordered += 1;
                let fresh = with_host(up(&format!("new{ordered}"), 0), |host| host.empty_since = Some(NOW));
                snapshot.droplets.push(Droplet { row: Some((DropletState::Created, NOW)), ..fresh });
            }
            Action::Confirm(name) | Action::Keep(name) => {
                set(snapshot, name, &|d| d.row = d.row.map(|(_, since)| (DropletState::Created, since)));
            }
            Action::Uncordon(name) => set(snapshot, name, &|d| cordon(d, None, false)),
            Action::Drain(name) => set(snapshot, name, &|d| cordon(d, Some(Cordon::Draining), true)),
            Action::Close(name) | Action::Delete(name) | Action::Discard(name) => {
                snapshot.droplets.retain(|droplet| &droplet.name != name);
            }
        }
    }
}

proptest! {
    #[test]
    fn there_are_never_more_than_max_hosts_because_of_a_plan(snapshot in any_snapshot(), policy in any_policy()) {
        let ordered = plan(&snapshot, &policy, NOW).actions.iter().filter(|a| **a == Action::Create).count();
        prop_assert!(ordered == 0 || snapshot.droplets.len() + ordered <= policy.max_hosts as usize);
    }

    #[test]
    fn nothing_is_deleted_that_is_used_or_that_could_be(snapshot in any_snapshot(), policy in any_policy()) {
        for action in plan(&snapshot, &policy, NOW).actions {
            let (Action::Delete(name) | Action::Discard(name)) = &action else { continue };
            let droplet = snapshot.droplets.iter().find(|d| &d.name == name).unwrap();
            prop_assert_eq!(droplet.instances, 0);
            if let Some(host) = &droplet.host {
                prop_assert_eq!((host.used, host.state.cordon), (0, Some(Cordon::Draining)));
                prop_assert!(host.state.health == Health::Up || !droplet.is_wanted());
            }
        }
    }

    #[test]
    fn what_drains_has_been_idle_long_enough_or_is_not_wanted(snapshot in any_snapshot(), policy in any_policy()) {
        for action in plan(&snapshot, &policy, NOW).actions {
            let Action::Drain(name) = &action else { continue };
            let droplet = snapshot.droplets.iter().find(|d| &d.name == name).unwrap();
            let empty_since = droplet.host.as_ref().unwrap().empty_since;
            let idle = droplet.used() == 0 && empty_since.is_some_and(|t| passed(t, NOW) >= policy.idle);
            prop_assert!(!droplet.is_wanted() || (idle && droplet.age(NOW) >= policy.min_age));
        }
    }

    #[test]
    fn a_plan_that_is_carried_out_soon_leaves_nothing_to_do(snapshot in any_snapshot(), policy in any_policy()) {
        let (mut snapshot, mut ordered) = (snapshot, 0);
        for _ in 0..8 {
            let next = plan(&snapshot, &policy, NOW);
            prop_assert_eq!(&next, &plan(&snapshot, &policy, NOW));
            if next.actions.is_empty() {
                return Ok(());
            }
            carry_out(&mut snapshot, &next.actions, &mut ordered);
        }
        prop_assert!(false, "still at it: {:?}", plan(&snapshot, &policy, NOW));
    }
}
