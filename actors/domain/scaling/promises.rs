//! The promises of the plan, each on any pool and any policy.

use proptest::{
    prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof},
    proptest,
};

use super::{
    tests::{MINUTE, NOW, ago, name, up, with_host},
    *,
};
use crate::{
    domain::host::{Cordon, Health, HostState},
    sim::samples::scaling_policy as policy,
};

/// Few, so that hosts are full and empty often.
const SLOTS: u32 = 3;

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0u64..180).prop_map(|minutes| ago(u32::try_from(minutes).unwrap() * MINUTE))
}

fn any_host() -> impl Strategy<Value = DropletHost> {
    let (up, joining) = (Just(Health::Up), Just(Health::Joining));
    let away = prop_oneof![Just(Health::Unreachable), Just(Health::Unannounced), Just(Health::Failing)];
    let health = prop_oneof![joining, up, up, away];
    let cordon = prop_oneof![Just(None), Just(None), Just(Some(Cordon::Cordoned)), Just(Some(Cordon::Draining))];
    (health, cordon, 0u32..=SLOTS, any_time(), any_time(), any::<bool>()).prop_map(
        |(health, cordon, used, since, empty, was_up)| DropletHost {
            state: HostState { health, cordon },
            slots: SLOTS,
            used,
            since,
            was_up: was_up || health == Health::Up,
            empty_since: (used == 0).then_some(empty),
        },
    )
}

fn any_droplet() -> impl Strategy<Value = Droplet> {
    let state = prop_oneof![
        3 => Just(DropletState::Creating),
        3 => Just(DropletState::Created),
        3 => Just(DropletState::Deleting),
        1 => Just(DropletState::Deleted),
    ];
    let row = prop::option::weighted(0.8, (state, any_time()));
    let listed = prop::option::weighted(0.8, any_time());
    let since = || prop::option::weighted(0.2, any_time());
    let host = prop::option::weighted(0.7, any_host());
    let twins = prop_oneof![9 => Just(0u32), 1 => Just(1)];
    let alias = prop::option::weighted(0.1, Just(name("other")));
    let stray = (prop::option::weighted(0.8, any_time()), alias);
    (row, (listed, twins, stray), host, 0u32..2, any::<bool>(), (since(), since(), since())).prop_map(
        |(row, (listed, twins, (stray, alias)), host, instances, by_plan, (absent, missing, deleted))| {
            let draining = host.as_ref().is_some_and(|host| host.state.cordon == Some(Cordon::Draining));
            // A droplet is known by a row or by the list.
            let listed = if row.is_none() { listed.or(Some(NOW)) } else { listed };
            let absent_since = absent.filter(|_| host.is_none());
            let missing_since = missing.filter(|_| listed.is_none());
            let drained_by_plan = by_plan && draining;
            let deleted_since = deleted.filter(|_| matches!(row, Some((DropletState::Deleted, _))));
            Droplet {
                name: name("x"),
                row,
                listed,
                twins: listed.map_or(0, |_| twins),
                is_off: false,
                stray_since: stray.filter(|_| row.is_none()),
                alias_of: alias.filter(|_| row.is_none()),
                missing_since,
                deleted_since,
                host,
                absent_since,
                instances,
                drained_by_plan,
            }
        },
    )
}

fn any_snapshot() -> impl Strategy<Value = FleetSnapshot> {
    let elsewhere = (0u32..3, 0u32..6, 0u32..9).prop_map(|(empty, free, used)| Elsewhere { empty, free, used });
    let [well, away, grown] = [(); 3].map(|()| prop::option::of(any_time()));
    let times = (well, away, grown, prop::option::weighted(0.2, any_time()));
    let orders = prop::collection::vec(any_time(), 0..4);
    (prop::collection::vec(any_droplet(), 0..8), 0u32..2, elsewhere, 0u32..9, times, orders).prop_map(
        |(
            mut droplets,
            builders,
            elsewhere,
            waiting,
            (directory_well_since, away_since, grown_at, held),
            mut orders,
        )| {
            for (n, droplet) in droplets.iter_mut().enumerate() {
                droplet.name = name(&format!("d{n}"));
            }
            orders.sort_unstable();
            let counted = ScalingPolicy { creates_per_hour: 6, ..policy() };
            let budget = orders.into_iter().fold(OrderBudget::default(), |b, at| b.after_an_order(&counted, at));
            // Some of these have ended.
            let hold = held.map(|time| Hold { until: time + 60 * MINUTE, why: "it failed".to_owned() });
            FleetSnapshot {
                droplets,
                builders,
                elsewhere,
                waiting,
                directory_well_since,
                directory_away_since: away_since.filter(|_| directory_well_since.is_none()),
                grown_at,
                budget,
                hold,
            }
        },
    )
}

/// A pool in which nothing is wrong: every droplet has a row, is listed, and is up or boots.
fn any_healthy_snapshot() -> impl Strategy<Value = FleetSnapshot> {
    (any_snapshot(), prop::collection::vec((0u32..=SLOTS, 0u32..180, any::<bool>()), 0..7)).prop_map(|(base, hosts)| {
        let droplet = |(n, (used, minutes, boots)): (usize, (u32, u32, bool))| {
            let called = format!("d{n}");
            let host = with_host(up(&called, used), |host| {
                (host.slots, host.empty_since) = (SLOTS, (used == 0).then(|| ago(minutes * MINUTE)));
            });
            if boots {
                Droplet { row: Some((DropletState::Created, NOW)), host: None, instances: 0, ..host }
            } else {
                host
            }
        };
        FleetSnapshot { droplets: hosts.into_iter().enumerate().map(droplet).collect(), ..base }
    })
}

fn any_policy() -> impl Strategy<Value = ScalingPolicy> {
    let sizes = (0u32..3, 0u32..8, 0u32..80, 0u32..4, 0u32..7);
    let billing = prop_oneof![Just(Billing::Second), Just(Billing::Hour)];
    (sizes, 1u32..4, prop_oneof![Just(0u32), Just(6)], 0u32..20, billing).prop_map(
        |(
            (standby, standby_slots, standby_percent, min_hosts, max_hosts),
            create_burst,
            creates_per_hour,
            cool,
            billing,
        )| {
            ScalingPolicy {
                standby,
                standby_slots,
                standby_percent,
                min_hosts,
                max_hosts,
                slots: SLOTS,
                cooldown: cool * MINUTE,
                create_burst,
                creates_per_hour,
                billing,
                ..policy()
            }
        },
    )
}

/// One that was just ordered, and boots in no time.
fn fresh(called: &str) -> Droplet {
    let fresh = with_host(up(called, 0), |host| (host.slots, host.empty_since) = (SLOTS, Some(NOW)));
    Droplet { row: Some((DropletState::Created, NOW)), ..fresh }
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
                snapshot.droplets.push(fresh(&format!("new{ordered}")));
            }
            Action::Reorder(name) => set(snapshot, name, &|d| *d = fresh(name.as_str())),
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

/// Droplets after the plan was carried out.
fn size_after(snapshot: &FleetSnapshot, plan: &Plan) -> usize {
    let (mut after, mut ordered) = (snapshot.clone(), 0);
    carry_out(&mut after, &plan.actions, &mut ordered);
    after.droplets.iter().filter(|d| d.host.as_ref().is_none_or(|host| host.state.cordon.is_none())).count()
}

/// One more instance on a droplet that has room, or one more create that waits.
fn more_load(snapshot: &FleetSnapshot, at: usize) -> FleetSnapshot {
    let mut more = snapshot.clone();
    let has_room = |host: &DropletHost| host.state.schedulable() && host.free() > 0;
    match more.droplets.get_mut(at) {
        Some(droplet) if droplet.host.as_ref().is_some_and(has_room) => {
            droplet.instances = droplet.used() + 1;
            if let Some(host) = &mut droplet.host {
                (host.used, host.empty_since) = (droplet.instances, None);
            }
        }
        _ => more.waiting += 1,
    }
    more
}

proptest! {
    #[test]
    fn there_are_never_more_than_max_hosts_because_of_a_plan(snapshot in any_snapshot(), policy in any_policy()) {
        let actions = plan(&snapshot, &policy, NOW).actions;
        let ordered = actions.iter().filter(|a| **a == Action::Create).count();
        let orders = actions.iter().any(|a| matches!(a, Action::Create | Action::Reorder(_)));
        prop_assert!(!orders || snapshot.machines() as usize + snapshot.builders as usize + ordered <= policy.max_hosts as usize);
    }

    #[test]
    fn no_more_is_ordered_than_the_budget_has_and_nothing_while_a_hold_lasts(
        snapshot in any_snapshot(), policy in any_policy(),
    ) {
        let actions = plan(&snapshot, &policy, NOW).actions;
        let ordered = actions.iter().filter(|a| **a == Action::Create).count();
        let orders = actions.iter().any(|a| matches!(a, Action::Create | Action::Reorder(_)));
        prop_assert!(ordered <= snapshot.budget.left(&policy, NOW) as usize);
        prop_assert!(!orders || snapshot.hold.is_none_or(|hold| hold.until <= NOW));
    }

    #[test]
    fn only_what_was_ordered_long_ago_and_never_seen_is_ordered_again(
        snapshot in any_snapshot(), policy in any_policy(),
    ) {
        for action in plan(&snapshot, &policy, NOW).actions {
            let Action::Reorder(name) = &action else { continue };
            let droplet = snapshot.droplets.iter().find(|d| &d.name == name).unwrap();
            prop_assert!(matches!(droplet.row, Some((DropletState::Creating, _))));
            prop_assert!(droplet.listed.is_none() && droplet.host.is_none() && droplet.used() == 0);
            prop_assert!(droplet.age(NOW) >= policy.list_grace);
        }
    }

    #[test]
    fn no_row_is_closed_while_it_is_counted_on_or_listed_or_was_not_missing_for_long(
        snapshot in any_snapshot(), policy in any_policy(),
    ) {
        for action in plan(&snapshot, &policy, NOW).actions {
            let Action::Close(name) = &action else { continue };
            let droplet = snapshot.droplets.iter().find(|d| &d.name == name).unwrap();
            prop_assert!(droplet.listed.is_none() && droplet.used() == 0);
            let long = |since: Option<Timestamp>, time| since.is_some_and(|since| passed(since, NOW) >= time);
            prop_assert!(
                long(droplet.missing_since, policy.list_grace) || long(droplet.deleted_since, policy.propagation)
            );
        }
    }

    #[test]
    fn nothing_is_deleted_that_is_used_or_that_could_be(snapshot in any_snapshot(), policy in any_policy()) {
        for action in plan(&snapshot, &policy, NOW).actions {
            let (Action::Delete(name) | Action::Discard(name)) = &action else { continue };
            let droplet = snapshot.droplets.iter().find(|d| &d.name == name).unwrap();
            prop_assert_eq!(droplet.instances, 0);
            let reported = droplet.stray_since.is_some_and(|since| passed(since, NOW) >= policy.list_grace);
            let is_known = snapshot.directory_well_since.is_some() && droplet.alias_of.is_none();
            prop_assert!(droplet.row.is_some() || (reported && is_known), "somebody may be using it");
            if let Some(host) = &droplet.host {
                prop_assert_eq!((host.used, host.state.cordon), (0, Some(Cordon::Draining)));
                // A discarded host is never one whose inventory could be asked, unless that was in vain for long.
                let is_stuck = host.state.health != Health::Up && host.is_stuck(host.since, policy.bad_after, &policy, NOW);
                prop_assert!(matches!(action, Action::Delete(_)) == host.state.health.answers() || is_stuck);
            }
        }
    }

    #[test]
    fn what_drains_has_been_idle_long_enough_or_is_no_good_or_not_wanted_or_has_a_twin(
        snapshot in any_snapshot(), policy in any_policy(),
    ) {
        let decided = plan(&snapshot, &policy, NOW);
        for action in decided.actions {
            let Action::Drain(name) = &action else { continue };
            let droplet = snapshot.droplets.iter().find(|d| &d.name == name).unwrap();
            let empty_since = droplet.host.as_ref().unwrap().empty_since;
            let idle = droplet.used() == 0 && empty_since.is_some_and(|t| passed(t, NOW) >= policy.idle);
            let due = idle && droplet.age(NOW) >= policy.min_age;
            prop_assert!(!droplet.is_wanted() || decided.failed.contains(name) || droplet.twins > 0 || due);
        }
    }

    #[test]
    fn a_plan_that_is_carried_out_soon_leaves_nothing_to_do(snapshot in any_snapshot(), policy in any_policy()) {
        let (mut snapshot, mut ordered) = (snapshot, 0);
        for _ in 0..8 {
            let next = plan(&snapshot, &policy, NOW);
            if next.actions.is_empty() {
                return Ok(());
            }
            carry_out(&mut snapshot, &next.actions, &mut ordered);
        }
        prop_assert!(false, "still at it: {:?}", plan(&snapshot, &policy, NOW));
    }

    #[test]
    fn with_constant_load_nothing_is_bought_after_something_was_given_back(
        snapshot in any_healthy_snapshot(), policy in any_policy(),
    ) {
        // Half a day in steps of a minute, with droplets that boot in one and creates that wait for ever.
        let (mut snapshot, mut ordered, mut given_back) = (snapshot, 0, false);
        for minute in 0..720u32 {
            let now = NOW + minute * MINUTE;
            let next = plan(&snapshot, &policy, now);
            let bought = next.actions.iter().any(|action| matches!(action, Action::Create | Action::Uncordon(_)));
            prop_assert!(!(given_back && bought), "at {}: {:?}", minute, next);
            given_back |= next.actions.iter().any(|action| matches!(action, Action::Drain(_)));
            let known = ordered;
            carry_out(&mut snapshot, &next.actions, &mut ordered);
            for droplet in &mut snapshot.droplets {
                if droplet.name.as_str().strip_prefix("new").and_then(|n| n.parse().ok()).is_some_and(|n: u32| n > known) {
                    droplet.row = Some((DropletState::Created, now));
                }
                // What was booting is up by now.
                droplet.host.get_or_insert(DropletHost {
                    state: HostState { health: Health::Up, cordon: None },
                    slots: SLOTS,
                    used: 0,
                    since: now,
                    was_up: true,
                    empty_since: Some(now),
                });
            }
        }
        prop_assert_eq!(plan(&snapshot, &policy, NOW + 720 * MINUTE).actions, []);
    }

    #[test]
    fn more_load_never_means_fewer_hosts(snapshot in any_healthy_snapshot(), policy in any_policy(), at in 0usize..8) {
        let more = more_load(&snapshot, at);
        let (less, more) = ((&snapshot, plan(&snapshot, &policy, NOW)), (&more, plan(&more, &policy, NOW)));
        prop_assert!(size_after(more.0, &more.1) >= size_after(less.0, &less.1), "{:?}\n{:?}", less.1, more.1);
    }

    #[test]
    fn what_was_written_down_and_read_back_gives_the_same_plan(snapshot in any_snapshot(), policy in any_policy()) {
        let decision = Decision::make(snapshot, &policy, NOW);
        let again: Decision = serde_json::from_str(&serde_json::to_string(&decision).unwrap()).unwrap();
        prop_assert_eq!(again.differs(), None);
        prop_assert_eq!(again, decision);
    }
}
