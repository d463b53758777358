//! What parents and onlookers see: the roster, its changes, and the end of a child that is dropped.

use super::*;

fn toy(roster: &Roster, name: &str, world: &World) -> Child<Toy> {
    let world = world.clone();
    supervise(Cradle::new(), Spec { name: name.to_owned(), ..spec() }, roster, move |slot| Toy::new(&world, slot))
}

#[actix::test]
async fn changes_and_causes_are_told_in_order() {
    tokio::time::pause();
    let (roster, world) = (new_roster(), World::default());
    let mut changes = roster.subscribe();
    let child = toy(&roster, "toy", &world);
    let addr = child.addr();
    assert!(addr.send(poison()).await.is_err());
    addr.send(act(|toy, ctx| {
        toy.slot.fail("the store is gone");
        ctx.stop();
    }))
    .await
    .unwrap();
    addr.send(Add(1)).await.unwrap();
    sleep(SECOND).await;
    assert!(addr.send(Hold { how_long: None, tells: false }).await.is_err());
    sleep(10 * SECOND).await;
    assert!(addr.send(poison()).await.is_err());
    drop(child);
    let expected = [
        "toy up after 0: -",
        "toy backing_off after 1: panicked: poison",
        "toy backing_off after 2: failed: the store is gone",
        "toy up after 2: failed: the store is gone",
        "toy backing_off after 3: stopped answering",
        "toy up after 3: stopped answering",
        "toy down after 3: panicked: poison",
        "toy removed",
    ];
    assert_eq!(seen(&mut changes), expected);
}

#[actix::test]
async fn reports_are_sorted_and_know_since_when() {
    tokio::time::pause();
    let (roster, world) = (new_roster(), World::default());
    let reaper = toy(&roster, "reaper", &world);
    sleep(5 * SECOND).await;
    let feed = toy(&roster, "feed", &world);
    let since = |name: &str| roster.report(name).unwrap().since.as_second();
    assert_eq!(roster.reports().iter().map(|report| report.name.as_str()).collect::<Vec<_>>(), ["feed", "reaper"]);
    assert_eq!((since("feed"), since("reaper")), (5, 0));
    sleep(5 * SECOND).await;
    assert!(reaper.addr().send(poison()).await.is_err());
    assert_eq!((since("feed"), since("reaper")), (5, 10));
    assert_eq!(roster.report("scheduler"), None);
    drop((reaper, feed));
    assert_eq!(roster.reports(), []);
}

#[actix::test]
async fn a_report_is_json_that_an_operator_can_read() {
    tokio::time::pause();
    let (roster, world) = (new_roster(), World::default());
    let child = toy(&roster, "toy", &world);
    assert!(child.addr().send(poison()).await.is_err());
    let expected = serde_json::json!({
        "name": "toy", "status": "backing_off", "restarts": 1,
        "since": "1970-01-01T00:00:00Z", "last_cause": "panicked: poison",
    });
    assert_eq!(serde_json::to_value(child.report()).unwrap(), expected);
}

#[actix::test]
async fn a_dropped_child_ends_before_its_next_message_and_leaves_the_roster() {
    let Nursery { roster, world, child, addr } = Nursery::new(spec());
    assert_eq!(addr.send(Add(5)).await, Ok(5));
    addr.send(act(|_, ctx| {
        ctx.run_interval(SECOND, |toy, _| toy.world.note("tick"));
    }))
    .await
    .unwrap();
    let queued = addr.send(Add(1));
    drop(child);
    assert_eq!(roster.reports(), []);
    assert!(queued.await.is_err());
    assert!(!addr.connected());
    sleep(100 * SECOND).await;
    assert_eq!(world.log(), ["started", "dropped with 5"]);
    assert_eq!(roster.reports(), [], "the dead one reported again");
}

#[actix::test]
async fn a_child_dropped_while_it_backs_off_is_not_started_again() {
    let Nursery { world, child, addr, .. } = Nursery::new(spec());
    assert!(addr.send(poison()).await.is_err());
    drop(child);
    sleep(100 * SECOND).await;
    assert_eq!(world.log(), ["started", "dropped with 0"]);
}

#[actix::test]
async fn a_child_dropped_before_its_first_turn_is_never_made() {
    let Nursery { world, child, addr, .. } = Nursery::new(spec());
    drop(child);
    assert!(addr.send(Add(1)).await.is_err());
    assert!(world.log().is_empty());
}

#[actix::test]
async fn a_detached_child_lives_on_and_stays_on_the_roster() {
    let Nursery { roster, child, .. } = Nursery::new(spec());
    let addr = child.detach();
    assert!(addr.send(poison()).await.is_err());
    assert_eq!(addr.send(Add(1)).await, Ok(1));
    sleep(3600 * SECOND).await;
    let report = roster.report("toy").unwrap();
    assert_eq!((report.status, report.restarts), (Status::Up, 1));
}

#[actix::test]
async fn a_child_without_any_address_left_goes_on() {
    let Nursery { world, child, addr, .. } = Nursery::new(spec());
    addr.send(act(|_, ctx| {
        ctx.run_later(100 * SECOND, |toy, _| toy.world.note("still here"));
    }))
    .await
    .unwrap();
    drop(addr);
    drop(child.detach());
    sleep(200 * SECOND).await;
    assert_eq!(world.log(), ["started", "still here"]);
}

#[actix::test]
async fn of_two_children_with_one_name_the_younger_speaks() {
    tokio::time::pause();
    let (roster, world) = (new_roster(), World::default());
    let mut changes = roster.subscribe();
    let (old, young) = (toy(&roster, "host:a", &world), toy(&roster, "host:a", &world));
    assert!(old.addr().send(poison()).await.is_err());
    assert_eq!(roster.report("host:a").unwrap().status, Status::Up);
    drop(old);
    assert_eq!(roster.reports().len(), 1);
    drop(young);
    assert_eq!(seen(&mut changes), ["host:a up after 0: -", "host:a up after 0: -", "host:a removed"]);
}

/// Starts a child of its own in `started`, as the scheduler does with its hosts.
struct Parent {
    roster: Roster,
    world: World,
    child: Option<Child<Toy>>,
}

impl Actor for Parent {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.child = Some(toy(&self.roster, "host:a", &self.world));
    }
}

answers_probe!(Parent);

#[derive(Message)]
#[rtype(result = "Option<Addr<Toy>>")]
struct Introduce {
    and_panic: bool,
}

impl Handler<Introduce> for Parent {
    type Result = Option<Addr<Toy>>;

    fn handle(&mut self, ask: Introduce, _: &mut Self::Context) -> Self::Result {
        assert!(!ask.and_panic, "poison");
        self.child.as_ref().map(Child::addr)
    }
}

#[actix::test]
async fn the_children_of_a_parent_that_died_end_when_it_is_rebuilt() {
    tokio::time::pause();
    let (roster, world) = (new_roster(), World::default());
    let (parents_roster, parents_world) = (roster.clone(), world.clone());
    let parent = supervise(Cradle::new(), Spec::permanent("parent"), &roster, move |_| {
        let (roster, world) = (parents_roster.clone(), parents_world.clone());
        Parent { roster, world, child: None }
    });
    let introduce = |and_panic| parent.addr().send(Introduce { and_panic });
    let first = introduce(false).await.unwrap().unwrap();
    assert_eq!(first.send(Add(1)).await, Ok(1));
    assert!(introduce(true).await.is_err());
    let second = introduce(false).await.unwrap().unwrap();
    assert_eq!(second.send(Add(2)).await, Ok(2));
    assert!(!first.connected());
    assert_eq!(roster.reports().len(), 2);
    assert_eq!(world.log(), ["started", "dropped with 1", "started"]);
}

#[test]
fn a_roster_and_a_child_may_be_held_on_any_thread() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Roster>();
    is_shared::<Child<Toy>>();
}
