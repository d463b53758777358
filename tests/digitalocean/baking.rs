//! Images are made of builders, and whatever goes wrong, nothing is left of a builder that is paid for.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::{
    FutureExt, StreamExt,
    future::{join_all, ready},
    stream,
};
use getaredis::{
    adapters::digitalocean::{Bakery, BakerySettings, Books, DigitalOceanSettings},
    images::{Baked, HostImages, ImageError, Watcher},
};
use getaredis_actors::{
    ports::{HostProvider, Listing, ProviderError, Store},
    sim::{faults::Faults, store::SimStore},
};
use getaredis_testbed::api::{
    Addresses, Api, Boot, Fault, Machines, Power, RateLimits,
    heartbeats::{Announce, Heartbeats, Machine},
};
use tokio::sync::watch;

use crate::harness::{TAG, api_with, client, droplets, name, place, provider, settings};

/// The longest that a bake of machines that are tasks may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a builder gets here: all that a machine that is a task understands of it.
const USER_DATA: &str = "#cloud-config\npower_state:\n  mode: poweroff\n";

/// A machine that announces itself: no builder does.
struct Heard(Arc<AtomicU32>);

#[async_trait]
impl Announce for Heard {
    async fn beat(&self, _: &Machine) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    async fn gone(&self, _: &Machine) {}
}

/// Machines that are tasks, with images that take their time or fail.
pub(crate) struct Builders {
    pub(crate) tasks: Heartbeats,
    image_takes: Duration,
    image_fails: bool,
}

#[async_trait]
impl Machines for Builders {
    async fn boot(&self, order: Boot) -> Result<Addresses, String> {
        self.tasks.boot(order).await
    }

    async fn destroy(&self, id: u64) {
        self.tasks.destroy(id).await;
    }

    async fn power(&self, id: u64, power: Power) -> Result<(), String> {
        self.tasks.power(id, power).await
    }

    async fn powered_itself_off(&self, id: u64) {
        self.tasks.powered_itself_off(id).await;
    }

    async fn snapshot(&self, id: u64, image: u64) -> Result<(), String> {
        tokio::time::sleep(self.image_takes).await;
        if self.image_fails { Err("it fails".to_owned()) } else { self.tasks.snapshot(id, image).await }
    }
}

/// A builder of another bake.
pub(crate) const LEFT: &str = "getaredis-test-builder-1234abcd";

/// The most droplets that may be paid for, where nothing else is said.
const MAX_HOSTS: usize = 2;

pub(crate) struct Kitchen {
    pub(crate) api: Api,
    pub(crate) settings: DigitalOceanSettings,
    pub(crate) bakery: Bakery,
    /// The database of the server that looks after the pool, and what is wrong with it.
    pub(crate) store: SimStore,
    pub(crate) faults: Faults,
    heard: Arc<AtomicU32>,
}

fn bakery(settings: DigitalOceanSettings, store: &SimStore, max_hosts: usize) -> Bakery {
    let baking = BakerySettings { from: "debian-13-x64".to_owned(), look_every: Duration::from_millis(20), max_hosts };
    let store: Arc<dyn Store> = Arc::new(store.clone());
    let books = move || ready(Ok(Books { store: Arc::clone(&store), known: true })).boxed_local();
    Bakery::new(settings, baking, Box::new(|| Ok(USER_DATA.into())), Box::new(books)).unwrap()
}

impl Kitchen {
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub(crate) fn with(machines: impl FnOnce(&mut Builders), change: impl FnOnce(&mut DigitalOceanSettings)) -> Self {
        let heard = Arc::new(AtomicU32::new(0));
        let announce = Arc::new(Heard(Arc::clone(&heard)));
        let tasks = Heartbeats::new(Duration::from_millis(50), Duration::from_millis(10), announce);
        let mut builders = Builders { tasks, image_takes: Duration::from_millis(50), image_fails: false };
        machines(&mut builders);
        let api = api_with(Arc::new(builders));
        api.limit_rates(RateLimits { per_hour: 1_000_000, per_minute: 100_000 });
        let mut settings = DigitalOceanSettings { bake_deadline: PATIENCE, ..settings(&api) };
        change(&mut settings);
        // As the program does at its start.
        let _ = client(&api);
        let faults = Faults::new();
        let store = SimStore::new(faults.clone());
        Self { bakery: bakery(settings.clone(), &store, MAX_HOSTS), api, settings, store, faults, heard }
    }

    pub(crate) async fn bake(&self) -> Result<Baked, ImageError> {
        let (_stop, stopped) = watch::channel(false);
        self.bakery.bake(Some("bread"), Watcher { tell: &|_| {}, stop: stopped }).await
    }

    /// Bakes in what would be another process.
    pub(crate) async fn bake_anew(&self) -> Result<Baked, ImageError> {
        self.bake_allowing(MAX_HOSTS).await
    }

    /// The same, with so many droplets allowed.
    pub(crate) async fn bake_allowing(&self, max_hosts: usize) -> Result<Baked, ImageError> {
        let (_stop, stopped) = watch::channel(false);
        bakery(self.settings.clone(), &self.store, max_hosts)
            .bake(Some("bread"), Watcher { tell: &|_| {}, stop: stopped })
            .await
    }

    /// The names of the builders that have a row.
    pub(crate) async fn rows(&self) -> Vec<String> {
        self.store.builders().await.unwrap().into_iter().map(|row| row.name.to_string()).collect()
    }

    /// No builder has a row, and nothing is paid for but finished images; their names.
    pub(crate) async fn is_tidy(&self) -> Vec<String> {
        assert_eq!(self.rows().await, Vec::<String>::new());
        self.pays_for_nothing_else().await
    }

    /// Nothing is paid for but finished images; their names.
    pub(crate) async fn pays_for_nothing_else(&self) -> Vec<String> {
        assert_eq!(droplets(&self.api), Vec::<String>::new());
        assert_eq!(self.heard.load(Ordering::SeqCst), 0, "a builder announced itself");
        let own = client(&self.api).own_images().await.unwrap();
        let ours = self.bakery.list().await.unwrap();
        assert!(ours.iter().all(|image| image.finished), "{ours:?}");
        assert_eq!(own.len(), ours.len());
        ours.into_iter().map(|image| image.name).collect()
    }
}

/// Says whether a bake failed as it should.
type Expected = fn(&ImageError) -> bool;

pub(crate) fn order() -> Fault {
    Fault::on("POST", "/v2/droplets")
}

pub(crate) fn image_order() -> Fault {
    Fault::on("POST", "/v2/droplets/")
}

fn rest(fault: Fault) -> Fault {
    Fault { retry_after: Some(1), ..fault.status(429) }
}

fn later(skip: u32, fault: Fault) -> Fault {
    Fault { skip, ..fault }
}

#[tokio::test]
async fn an_image_is_made_of_a_builder_that_is_tagged_and_given_back() {
    let kitchen = Kitchen::new();
    let told = RefCell::new(Vec::new());
    let tell = |text: &str| {
        let builders = kitchen.api.droplets();
        told.borrow_mut().push((text.to_owned(), builders));
    };
    let (_stop, stop) = watch::channel(false);
    let baked = kitchen.bakery.bake(None, Watcher { tell: &tell, stop }).await.unwrap();
    let told = told.into_inner();
    let (_, builders) = told.iter().find(|(text, _)| text.contains("bought")).unwrap();
    let builder = &builders[0];
    assert!(builder.name.starts_with("getaredis-test-builder-"), "{builder:?}");
    assert_eq!((&builder.tags[..], builder.image.as_str()), (&[TAG.to_owned()][..], "debian-13-x64"));
    assert_eq!(builder.user_data.as_deref(), Some(USER_DATA));
    assert!(told.iter().any(|(text, builders)| text.contains("image is being made") && builders[0].status == "off"));

    assert!(baked.image.name.starts_with("getaredis-test-2") && baked.image.finished && baked.left.is_none());
    assert_eq!((&baked.image.regions[..], baked.image.min_disk_gigabytes), (&["fra1".to_owned()][..], 25));
    assert_eq!(kitchen.is_tidy().await, [baked.image.name.as_str()]);

    // A host can be booted from it.
    let image = baked.image.id.clone();
    let hosts = provider(DigitalOceanSettings { image: image.clone(), ..settings(&kitchen.api) });
    hosts.create(&name("test-1")).await.unwrap();
    assert_eq!(kitchen.api.droplets()[0].image, image);
}

#[tokio::test]
async fn a_bake_goes_on_after_whatever_may_pass_by_itself_and_nothing_is_made_twice() {
    let get = |path| Fault::on("GET", path);
    let cases = [
        vec![order().drop_answer().after_effect()],
        vec![order().status(503)],
        vec![order().status(500).after_effect(), later(2, get("/v2/droplets").status(502).times(3))],
        vec![rest(order()), rest(get("/v2/sizes"))],
        vec![order().status(422).message("Region is not available")],
        vec![get("/v2/droplets/").drop_answer().times(2), rest(later(2, get("/v2/droplets/")))],
        vec![image_order().drop_answer().after_effect()],
        vec![image_order().status(503)],
        vec![rest(image_order())],
        vec![image_order().status(422).message("Droplet already has a pending event.")],
        vec![get("/v2/actions").drop_answer(), rest(get("/v2/actions"))],
        vec![later(1, get("/v2/images").status(500).times(2))],
        vec![Fault::on("POST", "/v2/tags").status(500), Fault::on("POST", "/v2/tags").drop_answer().after_effect()],
        vec![Fault::on("PUT", "/v2/images").status(500), Fault::on("PUT", "/v2/images").drop_answer().after_effect()],
        vec![Fault::on("DELETE", "/v2/droplets").drop_answer().after_effect()],
        vec![Fault::on("DELETE", "/v2/droplets").status(500), rest(Fault::on("DELETE", "/v2/droplets"))],
        vec![Fault::on("DELETE", "/v2/droplets").status(422).message("Droplet already has a pending event.")],
    ];
    let bakes = cases.into_iter().map(async |faults| {
        let what = format!("{faults:?}");
        let kitchen = Kitchen::new();
        faults.into_iter().for_each(|fault| kitchen.api.fault(fault));
        let baked = kitchen.bake().await;
        assert!(matches!(&baked, Ok(Baked { left: None, .. })), "{what}: {baked:?}");
        assert_eq!(kitchen.api.faults_left(), [], "{what}");
        assert_eq!(kitchen.is_tidy().await, ["bread"], "{what}");
        assert_eq!(kitchen.api.most_droplets(), 1, "{what}");
    });
    join_all(bakes).await;
}

#[tokio::test]
async fn a_bake_that_cannot_succeed_says_why_and_leaves_nothing() {
    let refused = |error: &ImageError| matches!(error, ImageError::Provider(ProviderError::Refused(_)));
    let cases: Vec<(Vec<Fault>, Expected)> = vec![
        // Nobody waits for an API that does not know us, or is away from the beginning.
        (vec![Fault::on("GET", "/").status(401)], |e| {
            matches!(e, ImageError::Provider(ProviderError::Unauthorized(_)))
        }),
        (vec![Fault::on("GET", "/").drop_answer()], |e| matches!(e, ImageError::Provider(ProviderError::Unknown(_)))),
        (vec![order().status(422).message("invalid image")], refused),
        (vec![order().status(422).message("this will exceed your droplet limit")], |e| {
            matches!(e, ImageError::Provider(ProviderError::LimitReached(_)))
        }),
        (vec![order().status(422).message("Size is not available in this region").times(2)], |e| {
            matches!(e, ImageError::Provider(ProviderError::SoldOut(_)))
        }),
        (vec![image_order().status(422).message("no")], refused),
        (vec![Fault::on("POST", "/v2/tags").status(403)], |e| {
            matches!(e, ImageError::Provider(ProviderError::Unauthorized(_)))
        }),
        (vec![Fault::on("PUT", "/v2/images").status(422)], refused),
        // Not even then.
        (vec![image_order().status(422).message("no"), Fault::on("DELETE", "/").status(503).times(3)], refused),
    ];
    let bakes = cases.into_iter().map(async |(faults, expected)| {
        let what = format!("{faults:?}");
        let kitchen = Kitchen::new();
        faults.into_iter().for_each(|fault| kitchen.api.fault(fault));
        let failed = kitchen.bake().await.unwrap_err();
        assert!(expected(&failed), "{what}: {failed:?}");
        assert_eq!(kitchen.api.faults_left(), [], "{what}");
        assert!(kitchen.is_tidy().await.is_empty(), "{what}");
    });
    join_all(bakes).await;
}

#[tokio::test]
async fn a_builder_that_never_settles_is_deleted_at_the_deadline() {
    let hasty = |settings: &mut DigitalOceanSettings| settings.bake_deadline = Duration::from_secs(1);
    let kitchen = Kitchen::with(|machines| machines.tasks.next_never_boot(1), hasty);
    let failed = kitchen.bake().await.unwrap_err();
    assert!(matches!(failed, ImageError::TooLate { .. }), "{failed:?}");
    assert!(failed.to_string().contains("in vain until the builder has set itself up"), "{failed}");
    assert!(kitchen.is_tidy().await.is_empty());
}

#[tokio::test]
async fn an_image_that_fails_leaves_nothing() {
    let kitchen = Kitchen::with(|machines| machines.image_fails = true, |_| {});
    assert_eq!(kitchen.bake().await, Err(ImageError::NotMade));
    assert!(kitchen.is_tidy().await.is_empty());
}

#[tokio::test]
async fn a_builder_that_somebody_deletes_ends_the_bake() {
    let kitchen = Kitchen::with(|machines| machines.tasks.next_never_boot(1), |_| {});
    let delete = async {
        while kitchen.api.count("GET", "/v2/droplets/") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client(&kitchen.api).delete_droplet(kitchen.api.droplets()[0].id).await.unwrap();
    };
    let (baked, ()) = tokio::join!(kitchen.bake(), delete);
    assert_eq!(baked, Err(ImageError::BuilderGone));
    assert!(kitchen.is_tidy().await.is_empty());
}

#[tokio::test]
async fn a_builder_that_cannot_be_deleted_is_told_with_the_image() {
    let kitchen = Kitchen::new();
    kitchen.api.fault(Fault::on("DELETE", "/v2/droplets").status(403));
    let baked = kitchen.bake().await.unwrap();
    let left = baked.left.unwrap();
    assert!(left.contains("getaredis-test-builder-") && left.contains("the next bake deletes it"), "{left}");
    assert_eq!((kitchen.rows().await, droplets(&kitchen.api).len()), (droplets(&kitchen.api), 1));
    // It was finished all the same, and outlives the next bake.
    kitchen.bake().await.unwrap();
    assert_eq!(kitchen.is_tidy().await, ["bread", "bread"]);
}

#[tokio::test]
async fn an_interrupted_bake_leaves_nothing_wherever_it_was() {
    let slow = |machines: &mut Builders| machines.image_takes = Duration::from_millis(500);
    let moments: [(&str, &str); 4] =
        [("GET", "/v2/sizes"), ("POST", "/v2/droplets"), ("GET", "/v2/droplets/"), ("GET", "/v2/actions")];
    let bakes = moments.into_iter().map(async |(method, path)| {
        let kitchen = Kitchen::with(slow, |_| {});
        let (stop, stopped) = watch::channel(false);
        let interrupt = async {
            while kitchen.api.count(method, path) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.send_replace(true);
        };
        let bake = kitchen.bakery.bake(None, Watcher { tell: &|_| {}, stop: stopped });
        let (baked, ()) = tokio::join!(bake, interrupt);
        assert_eq!(baked, Err(ImageError::Interrupted), "{method} {path}");
        assert!(kitchen.is_tidy().await.is_empty(), "{method} {path}");
    });
    join_all(bakes).await;
}

#[tokio::test]
async fn an_order_that_takes_effect_after_the_interruption_is_deleted_too() {
    let patient = |settings: &mut DigitalOceanSettings| {
        (settings.call_timeout, settings.settle) = (Duration::from_millis(200), Duration::from_secs(2));
    };
    let kitchen = Kitchen::with(|_| {}, patient);
    kitchen.api.fault(order().delay_ms(1_000));
    let (stop, stopped) = watch::channel(false);
    let interrupt = async {
        while kitchen.api.count("GET", "/v2/droplets?name") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(droplets(&kitchen.api).is_empty());
        stop.send_replace(true);
    };
    let bake = kitchen.bakery.bake(None, Watcher { tell: &|_| {}, stop: stopped });
    let (baked, ()) = tokio::join!(bake, interrupt);
    assert_eq!(baked, Err(ImageError::Interrupted));
    assert_eq!(kitchen.api.most_droplets(), 1);
    assert!(kitchen.is_tidy().await.is_empty());
}

#[tokio::test]
async fn what_a_killed_bake_leaves_is_deleted_by_the_next_one() {
    // After how many answers it is killed: a whole bake has more than twenty.
    let bakes = stream::iter(1..=24).for_each_concurrent(4, async |answers| {
        let kitchen = Kitchen::new();
        let killed = async {
            while kitchen.api.calls().len() < answers {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            baked = kitchen.bake() => drop(baked.unwrap()),
            () = killed => {}
        }
        kitchen.bake_anew().await.unwrap();
        if !droplets(&kitchen.api).is_empty() {
            // The last thing that it asked for was done after the next one had looked.
            kitchen.bake_anew().await.unwrap();
        }
        assert!(kitchen.pays_for_nothing_else().await.iter().all(|name| name == "bread"), "{answers}");
        assert!(kitchen.api.most_droplets() <= MAX_HOSTS, "{answers}");
        // Where there was no builder, nobody knows that there will be none.
        assert!(kitchen.rows().await.len() <= 1, "{answers}");
    });
    bakes.await;
}

#[tokio::test]
async fn a_builder_is_bought_with_the_smallest_disk_of_the_configured_places() {
    let large_first = |settings: &mut DigitalOceanSettings| {
        settings.placements = vec![place("fra1", "s-1vcpu-2gb"), place("ams3", "s-1vcpu-1gb")]
    };
    let kitchen = Kitchen::with(|_| {}, large_first);
    assert_eq!(kitchen.bake().await.unwrap().image.regions, ["ams3"]);
}

#[tokio::test]
async fn a_builder_is_ordered_only_while_fewer_droplets_are_paid_for_than_may_be() {
    let kitchen = Kitchen::new();
    kitchen.api.plant("getaredis-other-1", &["getaredis-other"]);
    kitchen.api.plant("test-1", &[TAG]);
    // What an earlier bake has left is deleted first, and takes nobody's place.
    kitchen.api.plant(LEFT, &[TAG]);
    kitchen.bake().await.unwrap();
    kitchen.api.plant("test-2", &[TAG]);
    let orders = kitchen.api.count("POST", "/v2/droplets");
    let refused = kitchen.bake().await.unwrap_err();
    assert_eq!(refused, ImageError::NoRoom { there: 2, allowed: 2, kept_until: None });
    assert!(refused.to_string().ends_with("GETAREDIS__FLEET__MAX_HOSTS=3"), "{refused}");
    assert_eq!((kitchen.api.count("POST", "/v2/droplets"), droplets(&kitchen.api).len()), (orders, 3));
}

#[tokio::test]
async fn images_of_others_are_neither_listed_nor_deleted() {
    let kitchen = Kitchen::new();
    let ours = kitchen.bake().await.unwrap().image;
    let other = kitchen.api.plant("other", &["getaredis-other"]);
    let api = client(&kitchen.api);
    // Nothing stands behind a planted one, but its image is in the books until its making fails.
    let made = api.snapshot(other, "others").await.unwrap();
    assert_eq!(made.kind, "snapshot");
    let stranger = api.own_images().await.unwrap().len();
    assert_eq!((stranger, kitchen.bakery.list().await.unwrap().len()), (1, 1));
    let unknown = kitchen.bakery.remove("123").await;
    assert_eq!(unknown, Err(ImageError::NoSuchImage("123".to_owned())));
    assert_eq!(kitchen.bakery.remove(&ours.id).await.unwrap().name, "bread");
    assert!(kitchen.bakery.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_name_that_would_be_taken_for_a_builders_is_refused_before_anything_is_bought() {
    let kitchen = Kitchen::new();
    for name in ["", "a\nb", LEFT] {
        let (_stop, stopped) = watch::channel(false);
        let refused = kitchen.bakery.bake(Some(name), Watcher { tell: &|_| {}, stop: stopped }).await;
        assert!(matches!(refused, Err(ImageError::Invalid(_))), "{name}");
    }
    assert!(kitchen.api.calls().is_empty());
}

#[tokio::test]
async fn a_builder_is_no_host_until_it_was_left_behind() {
    let api = crate::harness::api();
    api.plant(LEFT, &[TAG]);
    let with = |deadline| provider(DigitalOceanSettings { bake_deadline: deadline, ..settings(&api) });
    assert_eq!(with(PATIENCE).list().await.unwrap(), Listing { droplets: vec![], builders: vec![name(LEFT)] });
    let begun = Instant::now();
    let behind = loop {
        match with(Duration::from_secs(1)).list().await.unwrap().droplets.pop() {
            Some(behind) => break behind,
            None => assert!(begun.elapsed() < PATIENCE),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(behind.name, name(LEFT));
    with(PATIENCE).delete(&behind.name).await.unwrap();
    assert!(droplets(&api).is_empty());
}
