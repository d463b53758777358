//! Discovery against a simulated directory.

use std::sync::{Arc, Mutex};

use getaredis_actors::{
    discovery::{
        DiscoveryActor, Peers,
        messages::{DescribeDirectory, DirectoryView, HostChanged, HostJoined, HostLost, VitalsSeen},
    },
    domain::Health,
    feed::messages::{Fact, Subscribe},
    ports::{HostRecord, HostVitals},
    scheduler::messages::FleetView,
    sim::{directory::SimDirectory, faults::Faults, harness, runtime::Reach},
    supervision::{Child, Cradle, Roster, Spec, ask, supervise},
};
use tokio::time::{Instant, sleep};

use crate::support::{host, host_view, name, record, roster, seconds, stand, until};

#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Joined(HostRecord),
    Changed(HostRecord),
    Lost(String),
    Vitals(String, HostVitals),
}

struct World {
    directory: SimDirectory,
    faults: Faults,
    heard: Arc<Mutex<Vec<Heard>>>,
    child: Child<DiscoveryActor>,
    #[expect(dead_code, reason = "reports to it")]
    roster: Roster,
}

impl World {
    /// Discovery of a directory that shows `hosts`, for a scheduler that says it has `fleet`.
    fn new(ttl: Option<u64>, hosts: &[HostRecord], fleet: FleetView) -> Self {
        tokio::time::pause();
        let faults = Faults::new();
        let directory = SimDirectory::new(ttl.map(seconds), faults.clone());
        hosts.iter().for_each(|host| directory.announce(host.clone()));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let peers = Peers {
            joined: record(&heard, |HostJoined(host)| Heard::Joined(host)),
            changed: record(&heard, |HostChanged(host)| Heard::Changed(host)),
            lost: record(&heard, |HostLost { name }| Heard::Lost(name.to_string())),
            vitals: record(&heard, |seen: VitalsSeen| Heard::Vitals(seen.name.to_string(), seen.vitals)),
            fleet: stand(move |_| fleet.clone()),
        };
        let port = Arc::new(directory.clone());
        let roster = roster();
        let child = supervise(Cradle::new(), Spec::permanent("discovery"), &roster, move |_| {
            DiscoveryActor::new(port.clone(), seconds(2), peers.clone())
        });
        Self { directory, faults, heard, child, roster }
    }

    async fn view(&self) -> DirectoryView {
        self.child.addr().send(DescribeDirectory).await.unwrap()
    }

    fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    async fn hears(&self, expected: &[Heard]) {
        until("something is heard", || !self.heard.lock().unwrap().is_empty()).await;
        assert_eq!(self.heard(), expected);
    }

    async fn hears_nothing_for(&self, n: u64) {
        sleep(seconds(n)).await;
        assert_eq!(self.heard(), []);
    }
}

fn lost(name: &str) -> Heard {
    Heard::Lost(name.to_owned())
}

#[actix::test]
async fn the_hosts_of_the_directory_are_told_at_once_and_once() {
    let world = World::new(Some(10), &[host("b", 40), host("a", 40)], FleetView::default());
    let start = Instant::now();
    world.hears(&[Heard::Joined(host("a", 40)), Heard::Joined(host("b", 40))]).await;
    assert!(start.elapsed() < seconds(1));
    world.hears_nothing_for(60).await;
    let view = world.view().await;
    assert_eq!((view.read_once, view.unreachable, view.hosts.len()), (true, None, 2));
}

#[actix::test]
async fn a_static_directory_keeps_its_declared_order() {
    let world = World::new(None, &[host("b", 1), host("a", 1)], FleetView::default());
    world.hears(&[Heard::Joined(host("b", 1)), Heard::Joined(host("a", 1))]).await;
    assert_eq!(world.view().await.hosts, [host("b", 1), host("a", 1)]);
}

#[actix::test]
async fn a_changed_address_or_number_of_slots_is_told() {
    let world = World::new(Some(10), &[host("a", 40)], FleetView::default());
    world.hears(&[Heard::Joined(host("a", 40))]).await;
    world.directory.announce(host("a", 80));
    world.hears(&[Heard::Changed(host("a", 80))]).await;
    let moved = HostRecord { public_address: [198, 51, 100, 9].into(), ..host("a", 80) };
    world.directory.announce(moved.clone());
    world.hears(&[Heard::Changed(moved)]).await;
}

#[actix::test]
async fn a_flapping_host_leaves_and_joins_as_often_as_it_does() {
    let world = World::new(Some(10), &[host("a", 1), host("b", 1)], FleetView::default());
    world.hears(&[Heard::Joined(host("a", 1)), Heard::Joined(host("b", 1))]).await;
    for _ in 0..5 {
        world.directory.withdraw(&name("b"));
        world.hears(&[lost("b")]).await;
        world.directory.announce(host("b", 1));
        world.hears(&[Heard::Joined(host("b", 1))]).await;
    }
}

#[actix::test]
async fn an_unreachable_directory_loses_nobody_and_is_shown() {
    let world = World::new(Some(10), &[host("a", 1)], FleetView::default());
    world.hears(&[Heard::Joined(host("a", 1))]).await;
    world.directory.outage("connection refused");
    world.hears_nothing_for(3600).await;
    let view = world.view().await;
    assert_eq!(view.unreachable.as_deref(), Some("connection refused"));
    assert_eq!(view.hosts, [host("a", 1)]);
    world.directory.recover();
    world.hears_nothing_for(60).await;
    assert_eq!(world.view().await.unreachable, None);
}

#[actix::test]
async fn a_directory_that_takes_the_question_and_never_answers_is_unreachable() {
    let world = World::new(Some(10), &[host("a", 1)], FleetView::default());
    world.hears(&[Heard::Joined(host("a", 1))]).await;
    world.faults.hang_always("directory.read");
    world.hears_nothing_for(20).await;
    assert_eq!(world.view().await.unreachable.as_deref(), Some("no answer in time"));
}

#[actix::test]
async fn a_directory_that_restarts_empty_loses_only_hosts_that_do_not_beat_within_a_ttl() {
    let world = World::new(Some(10), &[host("a", 1), host("b", 1)], FleetView::default());
    world.hears(&[Heard::Joined(host("a", 1)), Heard::Joined(host("b", 1))]).await;
    world.directory.outage("connection refused");
    world.hears_nothing_for(30).await;
    world.directory.restart_empty();
    world.directory.recover();
    world.hears_nothing_for(4).await;
    world.directory.announce(host("a", 1));
    world.hears_nothing_for(5).await;
    assert_eq!(world.view().await.hosts.len(), 2);
    let start = Instant::now();
    world.hears(&[lost("b")]).await;
    assert!(start.elapsed() <= seconds(4), "{:?}", start.elapsed());
}

#[actix::test]
async fn a_malformed_entry_is_shown_and_stands_for_no_host() {
    let world = World::new(Some(10), &[host("a", 1)], FleetView::default());
    world.directory.malform("server:b", "it is not JSON");
    world.hears(&[Heard::Joined(host("a", 1))]).await;
    world.hears_nothing_for(5).await;
    let shown = [("server:b".to_owned(), "it is not JSON".to_owned())];
    assert_eq!(world.view().await.malformed, shown);
    world.directory.mend("server:b");
    world.hears_nothing_for(5).await;
    assert_eq!(world.view().await.malformed, []);
}

#[actix::test]
async fn a_restart_tells_everything_again() {
    let world = World::new(Some(10), &[host("a", 1)], FleetView::default());
    world.hears(&[Heard::Joined(host("a", 1))]).await;
    world.child.cut();
    world.hears(&[Heard::Joined(host("a", 1))]).await;
}

#[actix::test]
async fn a_host_that_left_while_discovery_was_down_is_lost_too() {
    let fleet =
        FleetView { hosts: vec![host_view("a", 1, 0), host_view("gone", 1, 0)], ready: true, ..FleetView::default() };
    let world = World::new(Some(10), &[host("a", 1)], fleet);
    world.hears(&[Heard::Joined(host("a", 1))]).await;
    world.hears(&[lost("gone")]).await;
    world.hears_nothing_for(60).await;
}

#[actix::test]
async fn a_directory_that_lost_its_keys_between_two_readings_loses_nobody_who_beats_again() {
    let world = World::new(Some(10), &[host("a", 1), host("b", 1)], FleetView::default());
    world.hears(&[Heard::Joined(host("a", 1)), Heard::Joined(host("b", 1))]).await;
    world.directory.restart_empty();
    world.hears_nothing_for(4).await;
    world.directory.announce(host("a", 1));
    world.directory.announce(host("b", 1));
    world.hears_nothing_for(60).await;
}

#[actix::test]
async fn a_host_that_is_cut_off_is_lost_within_one_poll_of_the_end_of_its_key() {
    let world = World::new(Some(10), &[host("a", 1), host("b", 1), host("c", 1)], FleetView::default());
    until("all are heard of", || world.heard.lock().unwrap().len() == 3).await;
    world.heard();
    world.directory.withdraw(&name("b"));
    let start = Instant::now();
    world.hears(&[lost("b")]).await;
    assert!(start.elapsed() <= seconds(2), "{:?}", start.elapsed());
    world.hears_nothing_for(60).await;
    // The last two at once, or the last one: it makes no difference that nobody is left.
    for last in [&["a", "c"][..], &["c"]] {
        last.iter().for_each(|host| world.directory.withdraw(&name(host)));
        let start = Instant::now();
        until("all are missed", || world.heard.lock().unwrap().len() == last.len()).await;
        assert_eq!(world.heard(), last.iter().map(|host| lost(host)).collect::<Vec<_>>());
        assert!(start.elapsed() < seconds(3), "{:?}", start.elapsed());
        world.directory.announce(host("c", 1));
        world.hears(&[Heard::Joined(host("c", 1))]).await;
    }
}

#[actix::test]
async fn keys_that_somebody_deletes_are_hosts_that_are_missed_until_they_beat_again_and_nothing_worse() {
    tokio::time::pause();
    let world = harness::World::running(harness::settings(), &[("a", 4), ("b", 4)]).await;
    world.must_create(harness::creator(1)).await;
    let (rows, records) = (world.live_rows(), world.directory.hosts());
    let up = async |world: &harness::World| {
        world.fleet().await.map(|fleet| fleet.hosts.iter().filter(|host| host.state == Health::Up).count())
    };
    world.directory.flush();
    world.eventually("nobody takes instances", async |world| up(world).await == Some(0)).await;
    sleep(seconds(4)).await;
    records.into_iter().for_each(|record| world.directory.announce(record));
    world.eventually("both do again", async |world| up(world).await == Some(2)).await;
    assert_eq!(world.live_rows(), rows);
    world.finish().await;
}

#[actix::test]
async fn a_silent_heartbeat_and_a_silent_engine_are_two_states_and_neither_gets_new_instances() {
    tokio::time::pause();
    let world = harness::World::running(harness::settings(), &[("a", 4), ("b", 4)]).await;
    world.must_create(harness::creator(1)).await;
    let state = async |host: &str| {
        let fleet = world.fleet().await.unwrap();
        fleet.hosts.into_iter().find(|view| view.name == name(host)).map(|view| view.state)
    };
    let record = world.directory.hosts().into_iter().find(|record| record.name == name("a")).unwrap();

    world.directory.withdraw(&name("a"));
    world.eventually("its heartbeat is missed", async |_| state("a").await == Some(Health::Unannounced)).await;
    assert_eq!(world.must_create(harness::creator(1)).await.host, name("b"));
    world.directory.announce(record);
    world.eventually("it is back", async |_| state("a").await == Some(Health::Up)).await;

    world.runtimes.reach(&name("a"), Reach::Refusing);
    world.eventually("its engine is missed", async |_| state("a").await == Some(Health::Unreachable)).await;
    assert_eq!(world.must_create(harness::creator(1)).await.host, name("b"));
    world.runtimes.reach(&name("a"), Reach::Well);
    world.finish().await;
}

/// Memory of a hundred bytes, so many of them in use.
fn using(memory: u64) -> HostVitals {
    HostVitals { memory_total_bytes: Some(100), memory_available_bytes: Some(100 - memory), ..HostVitals::default() }
}

#[actix::test]
async fn how_a_host_fares_is_told_after_it_joined_and_again_when_somebody_would_see_it() {
    let world = World::new(Some(10), &[], FleetView::default());
    let told = |memory| Heard::Vitals("a".to_owned(), using(memory));
    world.hears_nothing_for(3).await;
    world.directory.announce(host("a", 40));
    world.directory.beat(&name("a"), using(40));
    world.hears(&[Heard::Joined(host("a", 40)), told(40)]).await;
    world.directory.beat(&name("a"), using(41));
    world.hears_nothing_for(60).await;
    assert_eq!(world.view().await.vitals[&name("a")], using(41));
    world.directory.beat(&name("a"), using(93));
    world.hears(&[told(93)]).await;
    let start = Instant::now();
    world.directory.beat(&name("a"), using(20));
    world.hears(&[told(20)]).await;
    assert!(start.elapsed() >= seconds(8), "not again within seconds, but {:?}", start.elapsed());
}

#[actix::test]
async fn a_viewer_sees_how_a_host_fares_and_not_every_beat_of_it() {
    tokio::time::pause();
    let world = harness::World::running(harness::settings(), &[("a", 4)]).await;
    let mut viewer = ask(&world.doors().subscribe, Subscribe, seconds(5)).await.unwrap();
    let begun = Instant::now();
    let mut seen = Vec::new();
    for beat in 0..900 {
        world.directory.beat(&name("a"), using(if beat % 2 == 0 { 20 } else { 80 }));
        sleep(seconds(4)).await;
        while let Ok(delta) = viewer.deltas.try_recv() {
            if let Fact::HostChanged { host } = &delta.fact {
                seen.extend(host.vitals.as_deref().map(|vitals| vitals.memory_available_bytes));
            }
        }
    }
    let most = usize::try_from(begun.elapsed().as_secs() / 10 + 1).unwrap();
    assert!(seen.len() >= 2 && seen.len() <= most, "{} of at most {most}", seen.len());
    assert!(seen.contains(&Some(80)) && seen.contains(&Some(20)));
    let shown = ask(&world.doors().subscribe, Subscribe, seconds(5)).await.unwrap().snapshot.hosts;
    assert!(shown[0].vitals.is_some(), "{shown:?}");
    world.finish().await;
}
