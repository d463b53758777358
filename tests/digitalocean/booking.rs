//! A builder has a row from before it is ordered until it is gone, wherever its bake is cut off, and no instant has more
//! droplets than may be.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all, stream};
use getaredis::images::{HostImages, ImageError, Watcher};
use getaredis_actors::{
    domain::{Timestamp, scaling::OrderBudget},
    ports::{BuilderRow, DropletRow, DropletState, Store, StoreError},
    sim::samples::droplet,
};
use getaredis_testbed::api::Fault;
use tokio::sync::watch;

use crate::{
    baking::{Kitchen, LEFT, image_order, order},
    harness::{TAG, droplets, name},
};

/// A row that is live for an hour.
fn kept(builder: &str) -> BuilderRow {
    BuilderRow { name: name(builder), ends_at: Timestamp::now() + Duration::from_secs(3600) }
}

/// Every droplet that is paid for has a row.
async fn what_is_paid_for_has_a_row(kitchen: &Kitchen, when: &str) {
    // Rows are read last: what is bought in between has one as well.
    let paid = droplets(&kitchen.api);
    let rows = kitchen.rows().await;
    assert!(paid.iter().all(|droplet| rows.contains(droplet)), "{when}: {paid:?} {rows:?}");
}

#[tokio::test]
async fn a_builder_has_a_row_at_each_step_of_its_life_and_none_after_it() {
    let kitchen = Kitchen::new();
    let bake = kitchen.bake();
    let look = async {
        let mut most = 0;
        loop {
            what_is_paid_for_has_a_row(&kitchen, "at work").await;
            most = most.max(droplets(&kitchen.api).len());
            tokio::time::sleep(Duration::from_millis(2)).await;
            if most > 0 && kitchen.rows().await.is_empty() {
                return;
            }
        }
    };
    let (baked, ()) = tokio::join!(bake, look);
    baked.unwrap();
    assert_eq!(kitchen.is_tidy().await, ["bread"]);
}

#[tokio::test]
async fn the_row_is_written_before_anything_is_ordered_and_ends_after_the_deadline() {
    let kitchen = Kitchen::new();
    let begun = Timestamp::now();
    kitchen.faults.die_after_next("store.order_builder");
    tokio::select! {
        _ = kitchen.bake() => panic!("it is cut off"),
        () = kitchen.faults.until_frozen() => {}
    }
    kitchen.faults.thaw();
    assert_eq!(kitchen.api.count("POST", "/v2/droplets"), 0);
    let [row] = &kitchen.store.builders().await.unwrap()[..] else { panic!("one row") };
    let until = begun + kitchen.settings.bake_deadline + 2 * kitchen.settings.settle;
    assert!(row.ends_at >= until && row.ends_at < until + Duration::from_secs(10), "{row:?}");
    // Until then nobody else gets its place, and whoever wants it is told why.
    let now = Timestamp::now();
    let host = DropletRow { created_at: now, ..droplet("test-1") };
    assert!(!kitchen.store.order_droplet(&host, 1, OrderBudget::default()).await.unwrap());
    let refused = kitchen.bake_allowing(1).await.unwrap_err();
    assert_eq!(refused, ImageError::NoRoom { there: 1, allowed: 1, kept_until: Some(row.ends_at) });
    let later = DropletRow { created_at: row.ends_at, ..host };
    assert!(kitchen.store.order_droplet(&later, 1, OrderBudget::default()).await.unwrap());
}

#[tokio::test]
async fn wherever_a_bake_is_cut_off_what_is_paid_for_has_a_row() {
    // After how many answers of the API it is killed: a whole bake has more than twenty.
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
        let when = format!("{answers} answers");
        what_is_paid_for_has_a_row(&kitchen, &when).await;
        let cut = kitchen.rows().await;
        // A pool that has one place only: the next bake gets it if it takes away what the first one has left there. An
        // order that was on its way when the first one was killed may take effect later than that.
        let orders =
            || kitchen.api.calls().iter().filter(|call| call.method == "POST" && call.path == "/v2/droplets").count();
        match kitchen.bake_allowing(1).await {
            Ok(_) => assert!(cut.is_empty() || orders() == 2, "{when}"),
            Err(ImageError::NoRoom { there: 1, allowed: 1, kept_until: Some(_) }) => assert_eq!(cut.len(), 1, "{when}"),
            other => panic!("{when}: {other:?}"),
        }
        assert_eq!(kitchen.api.most_droplets().max(1), 1, "{when}");
    });
    bakes.await;
}

#[tokio::test]
async fn the_row_is_closed_when_a_bake_fails_and_its_builder_is_gone() {
    for fault in [
        order().status(422).message("invalid image"),
        image_order().status(422).message("no"),
        Fault::on("PUT", "/v2/images").status(422),
    ] {
        let what = format!("{fault:?}");
        let kitchen = Kitchen::new();
        kitchen.api.fault(fault);
        kitchen.bake().await.unwrap_err();
        assert!(kitchen.is_tidy().await.is_empty(), "{what}");
        assert_eq!(kitchen.faults.calls("store.close_builder"), 1, "{what}");
    }
}

#[tokio::test]
async fn the_row_stays_while_nobody_knows_that_the_builder_is_gone_and_the_next_bake_closes_it() {
    let kitchen = Kitchen::new();
    kitchen.api.fault(Fault::on("DELETE", "/v2/droplets").status(403));
    let left = kitchen.bake().await.unwrap().left.unwrap();
    assert!(left.contains("when its place is not kept any more, after 2"), "{left}");
    assert_eq!(kitchen.rows().await, droplets(&kitchen.api));
    // The only place there is.
    kitchen.bake_allowing(1).await.unwrap();
    assert_eq!(kitchen.is_tidy().await, ["bread", "bread"]);
    assert_eq!(kitchen.api.most_droplets(), 1);
}

#[tokio::test]
async fn while_the_database_is_away_nothing_is_bought() {
    for call in ["store.droplets", "store.builders", "store.order_builder"] {
        let kitchen = Kitchen::new();
        kitchen.faults.fail_next(call, 1);
        let refused = kitchen.bake().await.unwrap_err();
        assert!(matches!(refused, ImageError::Database(StoreError::Unavailable(_))), "{call}: {refused:?}");
        assert!(refused.to_string().contains("so it is not bought"), "{refused}");
        assert_eq!(kitchen.api.count("POST", "/v2/droplets"), 0, "{call}");
        assert!(kitchen.is_tidy().await.is_empty(), "{call}");
    }
    // It was written, although nobody was told.
    let kitchen = Kitchen::new();
    kitchen.faults.lie_next("store.order_builder");
    kitchen.bake().await.unwrap_err();
    assert_eq!(kitchen.api.count("POST", "/v2/droplets"), 0);
    assert!(kitchen.is_tidy().await.is_empty());
}

#[tokio::test]
async fn a_database_that_goes_away_meanwhile_costs_a_place_for_a_while_and_no_image() {
    let kitchen = Kitchen::new();
    kitchen.faults.fail_next("store.close_builder", 1);
    let told = std::cell::RefCell::new(String::new());
    let tell = |text: &str| told.borrow_mut().push_str(text);
    let (_stop, stop) = watch::channel(false);
    let baked = kitchen.bakery.bake(Some("bread"), Watcher { tell: &tell, stop }).await.unwrap();
    assert_eq!(baked.left, None, "nothing is paid for");
    assert!(told.borrow().contains("the builder is gone, but its place in the pool is kept until 2"), "{told:?}");
    assert_eq!((kitchen.pays_for_nothing_else().await.len(), kitchen.rows().await.len()), (1, 1));
}

#[tokio::test]
async fn a_bake_whose_row_another_one_closed_buys_nothing_again() {
    let kitchen = Kitchen::with(|_| {}, |settings| settings.settle = Duration::from_millis(500));
    // Nobody knows what became of the order, and it had no effect.
    kitchen.api.fault(order().drop_answer());
    let another = async {
        while kitchen.api.count("POST", "/v2/droplets") == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for row in kitchen.store.builders().await.unwrap() {
            kitchen.store.close_builder(&row.name).await.unwrap();
        }
    };
    let (baked, ()) = tokio::join!(kitchen.bake(), another);
    assert_eq!(baked.unwrap_err(), ImageError::BuilderGone);
    assert_eq!(kitchen.api.count("POST", "/v2/droplets"), 1);
    assert!(kitchen.is_tidy().await.is_empty());
}

#[tokio::test]
async fn the_bake_that_begins_last_takes_the_only_place() {
    let kitchen = Kitchen::with(|machines| machines.tasks.next_never_boot(1), |_| {});
    let first = kitchen.bake_allowing(1);
    let second = async {
        while kitchen.api.count("GET", "/v2/droplets/") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kitchen.bake_allowing(1).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second.is_ok()), (Err(ImageError::BuilderGone), true));
    assert_eq!((kitchen.is_tidy().await, kitchen.api.most_droplets()), (vec!["bread".to_owned()], 1));
}

#[tokio::test]
async fn what_is_paid_for_without_a_row_and_what_has_a_row_and_is_not_listed_take_their_places() {
    use DropletState::{Created, Creating, Deleted};
    // What is listed; the rows; another bake's row.
    for (listed, rows, another) in [
        (&["test-1", "test-2"][..], &[][..], None),
        (&["test-1"], &[("test-1", Created), ("test-2", Creating)], None),
        (&["test-1"], &[], Some(LEFT)),
        (&["test-1", "test-2"], &[("test-1", Deleted), ("test-2", Created)], None),
        (&["test-1", "test-1"], &[("test-1", Created)], None),
    ] {
        let kitchen = Kitchen::new();
        for droplet in listed {
            kitchen.api.plant(droplet, &[TAG]);
        }
        for (called, state) in rows {
            let row = DropletRow { state: *state, ..droplet(called) };
            assert!(kitchen.store.order_droplet(&row, 9, OrderBudget::default()).await.unwrap());
        }
        if let Some(another) = another {
            assert!(kitchen.store.order_builder(&kept(another), Timestamp::now(), 9).await.unwrap());
        }
        let what = format!("{listed:?} {rows:?} {another:?}");
        let refused = kitchen.bake().await.unwrap_err();
        assert!(matches!(refused, ImageError::NoRoom { there: 2, allowed: 2, .. }), "{what}: {refused:?}");
        assert_eq!(kitchen.api.count("POST", "/v2/droplets"), 0, "{what}");
        kitchen.bake_allowing(3).await.unwrap();
        assert_eq!(kitchen.rows().await, another.into_iter().collect::<Vec<_>>(), "{what}");
    }
}

#[tokio::test]
async fn of_hosts_and_a_builder_that_are_ordered_at_once_no_more_are_bought_than_there_may_be() {
    let races = (0..12).map(async |n| {
        let kitchen = Kitchen::new();
        kitchen.api.plant("test-0", &[TAG]);
        let zero = DropletRow { state: DropletState::Created, ..droplet("test-0") };
        assert!(kitchen.store.order_droplet(&zero, 2, OrderBudget::default()).await.unwrap());
        // As a pass does: the row, and then the order.
        let store = Arc::new(kitchen.store.clone());
        let host = async {
            while kitchen.api.calls().len() < n {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let row = DropletRow { created_at: Timestamp::now(), ..droplet("test-1") };
            let written = store.order_droplet(&row, 2, OrderBudget::default()).await.unwrap();
            if written {
                kitchen.api.plant("test-1", &[TAG]);
            }
            written
        };
        let (baked, bought) = tokio::join!(kitchen.bake(), host);
        assert!(kitchen.api.most_droplets() <= 2, "{n}");
        assert!(baked.is_ok() || bought, "{n}: nobody got the place: {baked:?}");
        assert!(baked.is_ok() || matches!(baked, Err(ImageError::NoRoom { there: 2, allowed: 2, .. })), "{baked:?}");
        assert!(droplets(&kitchen.api).contains(&"test-0".to_owned()) && kitchen.rows().await.is_empty(), "{n}");
    });
    join_all(races).await;
}
