//! The ledger in single situations, and what it promises whatever happens.

use super::*;
use proptest::{
    collection::vec,
    prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof},
    proptest,
    strategy::Strategy as Generator,
};

use crate::sim::samples::{later, now};

fn name(n: u8) -> HostName {
    HostName::parse(&format!("h{n}")).unwrap()
}

fn id(n: u8) -> InstanceId {
    InstanceId::from_uuid(uuid::Uuid::from_u128(n.into()))
}

fn record(n: u8, slots: u32) -> HostRecord {
    HostRecord { name: name(n), public_address: [192, 0, 2, n].into(), engine: String::new(), slots }
}

fn ledger(hosts: &[(u8, u32)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (n, slots) in hosts {
        ledger.announce(record(*n, *slots), true);
        ledger.engine_event(&name(*n), HostEvent::Answered, None).unwrap();
    }
    ledger
}

#[test]
fn a_full_host_is_never_chosen() {
    let mut ledger = ledger(&[(1, 1), (2, 1)]);
    assert_eq!(ledger.reserve(&id(1), Strategy::Fill, &[]), Ok(name(1)));
    assert_eq!(ledger.reserve(&id(2), Strategy::Fill, &[]), Ok(name(2)));
    assert_eq!(ledger.reserve(&id(3), Strategy::Fill, &[]).unwrap_err().to_string(), "2 hosts full");
}

#[test]
fn a_lost_host_keeps_its_instances_and_takes_no_new_ones() {
    let mut ledger = ledger(&[(1, 4)]);
    ledger.reserve(&id(1), Strategy::Fill, &[]).unwrap();
    assert!(!ledger.withdraw(&name(1), now()));
    assert!(!ledger.engine_event(&name(1), HostEvent::Answered, None).unwrap(), "its engine's word changes nothing");
    assert_eq!(ledger.view(&name(1)).unwrap().state, Health::Unannounced);
    assert_eq!(ledger.reserve(&id(2), Strategy::Fill, &[]).unwrap_err().unannounced, 1);
    ledger.engine_event(&name(1), HostEvent::StayedAway, None).unwrap();
    assert_eq!(ledger.view(&name(1)).unwrap().state, Health::Unreachable, "neither of them answers");
    ledger.release(&id(1));
    assert_eq!(ledger.forgettable(), [name(1)]);
    assert!(ledger.withdraw(&name(1), now()));
    assert_eq!(ledger.views(), []);
}

#[test]
fn a_host_that_is_announced_again_is_what_its_engine_says() {
    let mut ledger = ledger(&[(1, 4)]);
    ledger.adopt(&id(1), &name(1));
    ledger.withdraw(&name(1), now());
    ledger.announce(record(1, 5), true);
    assert_eq!(ledger.view(&name(1)).map(|v| (v.state, v.slots)), Some((Health::Up, 5)));
}

#[test]
fn all_that_is_wrong_with_a_host_is_told_and_nothing_once_it_is_well() {
    let mut ledger = ledger(&[(1, 4)]);
    ledger.adopt(&id(1), &name(1));
    let told = |ledger: &Ledger| ledger.view(&name(1)).unwrap().reason;
    ledger.withdraw(&name(1), now());
    assert_eq!(told(&ledger).unwrap(), "its announcement ran out");
    assert!(ledger.engine_event(&name(1), HostEvent::StayedAway, Some("no answer".into())).unwrap());
    assert_eq!(told(&ledger).unwrap(), "its announcement ran out; no answer");
    ledger.announce(record(1, 4), true);
    assert_eq!(told(&ledger).unwrap(), "no answer");
    ledger.withdraw(&name(1), now());
    ledger.engine_event(&name(1), HostEvent::Answered, None).unwrap();
    ledger.announce(record(1, 4), true);
    assert_eq!(told(&ledger), None);
}

#[test]
fn a_host_on_which_starts_fail_says_so_takes_nobody_but_who_tries_it_and_is_a_host_again_when_one_succeeded() {
    let mut ledger = ledger(&[(1, 2)]);
    ledger.adopt(&id(1), &name(1));
    assert!(!ledger.reserve_on_trial(&id(2), &name(1)), "it is like others");
    ledger.starts_fail(&name(1), Some("the disk is full".into()));
    let shown = ledger.view(&name(1)).unwrap();
    assert_eq!((shown.state, shown.reason.as_deref()), (Health::Failing, Some("the disk is full")));
    assert_eq!(ledger.reserve(&id(2), Strategy::Fill, &[]).unwrap_err().to_string(), "1 host failing");
    assert!(ledger.reserve_on_trial(&id(2), &name(1)));
    assert!(!ledger.reserve_on_trial(&id(3), &name(1)), "it is full");
    ledger.release(&id(2));
    ledger.order_event(&name(1), HostEvent::Cordon).unwrap();
    assert!(!ledger.reserve_on_trial(&id(2), &name(1)), "it is cordoned");
    ledger.order_event(&name(1), HostEvent::Uncordon).unwrap();
    ledger.engine_event(&name(1), HostEvent::StayedAway, Some("no answer".into())).unwrap();
    assert_eq!(ledger.view(&name(1)).unwrap().state, Health::Unreachable, "that is worse");
    ledger.engine_event(&name(1), HostEvent::Answered, None).unwrap();
    ledger.starts_fail(&name(1), None);
    let shown = ledger.view(&name(1)).unwrap();
    assert_eq!((shown.state, shown.reason), (Health::Up, None));
}

#[test]
fn a_host_that_says_it_could_start_nothing_is_failing_is_not_tried_and_keeps_its_reason_whatever_is_ordered() {
    let mut ledger = ledger(&[(1, 2)]);
    let hangs = || Some("its containerd hangs".to_owned());
    assert!(ledger.engine_event(&name(1), HostEvent::Answered, hangs()).unwrap());
    assert!(!ledger.engine_event(&name(1), HostEvent::Answered, hangs()).unwrap(), "it said so before");
    let shown = |ledger: &Ledger| ledger.view(&name(1)).map(|shown| (shown.state, shown.reason)).unwrap();
    assert_eq!(shown(&ledger), (Health::Failing, hangs()));
    assert_eq!(ledger.reserve(&id(1), Strategy::Fill, &[]).unwrap_err().to_string(), "1 host failing");
    assert!(!ledger.reserve_on_trial(&id(1), &name(1)));
    ledger.starts_fail(&name(1), Some("3 starts failed".into()));
    for order in [HostEvent::Cordon, HostEvent::Uncordon] {
        ledger.order_event(&name(1), order).unwrap();
        assert_eq!(shown(&ledger), (Health::Failing, Some("its containerd hangs; 3 starts failed".into())));
    }
    ledger.starts_fail(&name(1), None);
    assert!(ledger.engine_event(&name(1), HostEvent::Answered, None).unwrap());
    assert_eq!(shown(&ledger), (Health::Up, None));
}

#[test]
fn a_host_that_lost_its_heartbeat_shows_since_when_and_how_it_last_fared() {
    let mut ledger = ledger(&[(1, 4)]);
    ledger.adopt(&id(1), &name(1));
    let vitals = HostVitals { cpus: Some(2), ..HostVitals::default() };
    ledger.fares(&name(1), vitals.clone());
    ledger.fares(&name(2), vitals.clone());
    ledger.withdraw(&name(1), later(1));
    ledger.withdraw(&name(1), later(9));
    let shown = ledger.view(&name(1)).unwrap();
    assert_eq!((shown.unannounced_since, shown.vitals), (Some(later(1)), Some(Box::new(vitals))));
    assert_eq!(ledger.view(&name(2)), None, "nobody becomes a host by a word about it");
    ledger.announce(record(1, 4), true);
    assert_eq!(ledger.view(&name(1)).unwrap().unannounced_since, None);
}

#[test]
fn rows_are_adopted_before_and_beyond_their_host() {
    let mut ledger = Ledger::default();
    ledger.adopt(&id(1), &name(1));
    ledger.adopt(&id(2), &name(1));
    ledger.announce(record(1, 1), true);
    ledger.engine_event(&name(1), HostEvent::Answered, None).unwrap();
    assert_eq!(ledger.view(&name(1)).map(|v| (v.used, v.slots)), Some((2, 1)));
    assert!(ledger.reserve(&id(3), Strategy::Fill, &[]).is_err());
}

fn row(n: u8, on: u8) -> Instance {
    Instance { id: id(n), host: name(on), ..crate::sim::samples::a_request(1).instance }
}

#[test]
fn what_other_servers_created_is_adopted_and_what_they_ended_given_back() {
    let mut ledger = ledger(&[(1, 4), (2, 4)]);
    ledger.adopt(&id(1), &name(1));
    ledger.adopt(&id(2), &name(1));
    ledger.begin_comparison();
    ledger.compare(&[row(2, 2)], |_| false);
    ledger.compare(&[row(3, 2)], |_| false);
    let compared = ledger.end_comparison(|_| false);
    assert_eq!(compared.ended, [(id(1), name(1))]);
    assert_eq!(compared.hosts, BTreeSet::from([name(1), name(2)]));
    assert_eq!((ledger.used(&name(1)), ledger.used(&name(2))), (0, 2));
}

#[test]
fn what_happened_here_while_the_rows_were_read_is_newer_than_they_are() {
    let mut ledger = ledger(&[(1, 9)]);
    ledger.adopt(&id(1), &name(1));
    ledger.reserve(&id(2), Strategy::Fill, &[]).unwrap();
    ledger.begin_comparison();
    ledger.release(&id(1));
    ledger.commit(&id(2));
    ledger.reserve(&id(3), Strategy::Fill, &[]).unwrap();
    // The rows are of the moment at which the comparison began.
    let ours = |ours: &InstanceId| *ours == id(3);
    ledger.compare(&[row(1, 1)], ours);
    assert_eq!(ledger.end_comparison(ours), Compared::default());
    assert_eq!(ledger.used(&name(1)), 2, "1 has ended, 2 runs, 3 is on its way");
}

#[test]
fn what_was_given_up_on_a_silent_host_takes_its_slot_again_when_the_host_answers() {
    let mut ledger = ledger(&[(1, 1)]);
    ledger.adopt(&id(1), &name(1));
    ledger.engine_event(&name(1), HostEvent::StayedAway, None).unwrap();
    ledger.release(&id(1));
    ledger.leave_behind(&id(1), &name(1));
    assert_eq!(ledger.view(&name(1)).unwrap().used, 0);
    ledger.engine_event(&name(1), HostEvent::Answered, None).unwrap();
    assert!(ledger.reserve(&id(2), Strategy::Fill, &[]).is_err(), "its container may still be there");
    ledger.drop_leftovers(&name(1), |gone| *gone == id(1));
    assert!(ledger.reserve(&id(2), Strategy::Fill, &[]).is_ok());
}

#[test]
fn what_was_given_up_keeps_no_host_that_left_and_takes_its_slot_should_it_come_back() {
    let mut ledger = ledger(&[(1, 1)]);
    ledger.adopt(&id(1), &name(1));
    assert!(!ledger.withdraw(&name(1), now()));
    ledger.release(&id(1));
    ledger.leave_behind(&id(1), &name(1));
    assert_eq!(ledger.forgettable(), [name(1)]);
    assert!(ledger.withdraw(&name(1), now()));
    ledger.announce(record(1, 1), true);
    ledger.engine_event(&name(1), HostEvent::Answered, None).unwrap();
    assert_eq!(ledger.reserve(&id(2), Strategy::Fill, &[]).unwrap_err().full, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(u8, Vec<u8>),
    Commit(u8),
    Release(u8),
    Answered(u8),
    StayedAway(u8),
    Withdraw(u8),
    Announce(u8),
}

fn any_step() -> impl Generator<Value = Step> {
    let (i, h) = (0u8..12, 1u8..4);
    prop_oneof![
        4 => (i.clone(), vec(h.clone(), 0..2)).prop_map(|(i, f)| Step::Reserve(i, f)),
        2 => i.clone().prop_map(Step::Commit),
        2 => i.prop_map(Step::Release),
        1 => h.clone().prop_map(Step::Answered),
        1 => h.clone().prop_map(Step::StayedAway),
        1 => h.clone().prop_map(Step::Withdraw),
        1 => h.prop_map(Step::Announce),
    ]
}

proptest! {
    #[test]
    fn slots_are_conserved_and_never_exceeded(steps in vec(any_step(), 1..120), spread in any::<bool>(), slots in Just(3u32)) {
        let strategy = if spread { Strategy::Spread } else { Strategy::Fill };
        let mut ledger = ledger(&[(1, slots), (2, slots), (3, slots)]);
        let mut model: BTreeMap<u8, HostName> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Reserve(i, _) if model.contains_key(&i) => {}
                Step::Reserve(i, failed) => {
                    let failed: Vec<_> = failed.into_iter().map(name).collect();
                    if let Ok(host) = ledger.reserve(&id(i), strategy, &failed) {
                        prop_assert!(!failed.contains(&host));
                        prop_assert_eq!(ledger.view(&host).map(|v| v.state), Some(Health::Up));
                        model.insert(i, host);
                    }
                }
                Step::Commit(i) => prop_assert_eq!(ledger.commit(&id(i)), model.contains_key(&i)),
                Step::Release(i) => prop_assert_eq!(ledger.release(&id(i)), model.remove(&i)),
                Step::Answered(h) => { ledger.engine_event(&name(h), HostEvent::Answered, None).unwrap(); }
                Step::StayedAway(h) => { ledger.engine_event(&name(h), HostEvent::StayedAway, None).unwrap(); }
                Step::Withdraw(h) => { ledger.withdraw(&name(h), now()); }
                Step::Announce(h) => ledger.announce(record(h, slots), true),
            }
            for h in 1..4 {
                let held = model.values().filter(|host| **host == name(h)).count();
                prop_assert_eq!(ledger.used(&name(h)) as usize, held);
                prop_assert!(ledger.used(&name(h)) <= slots);
            }
        }
    }
}
