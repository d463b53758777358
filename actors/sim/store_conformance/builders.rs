//! Builders of images, which take places in the pool of droplets.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::{RACERS, UNTOUCHED, host};
use crate::{
    ports::{BuilderRow, DropletRow, DropletState, Store},
    sim::samples::{builder, droplet, later, now},
};

/// Orders a builder at [`now`], whose row ends so many seconds later.
async fn orders(store: &dyn Store, name: &str, ends: u64, most: u32) -> bool {
    store.order_builder(&builder(name, ends), now(), most).await.unwrap()
}

async fn names(store: &dyn Store) -> Vec<String> {
    store.builders().await.unwrap().into_iter().map(|row| row.name.to_string()).collect()
}

pub async fn a_builder_has_a_row_until_it_is_closed(store: &dyn Store) {
    assert_eq!(store.builders().await.unwrap(), []);
    assert!(!store.close_builder(&host("b1")).await.unwrap(), "there is none");
    assert!(orders(store, "b2", 60, 9).await);
    let crumb = BuilderRow { ends_at: later(60) + Duration::from_nanos(999_999), ..builder("b1", 0) };
    assert!(store.order_builder(&crumb, now(), 9).await.unwrap());
    assert_eq!(store.builders().await.unwrap(), [builder("b1", 60), builder("b2", 60)]);
    assert!(orders(store, "b2", 90, 2).await, "it is one of the two");
    assert_eq!(store.builders().await.unwrap(), [builder("b1", 60), builder("b2", 90)]);
    assert!(store.close_builder(&host("b2")).await.unwrap() && !store.close_builder(&host("b2")).await.unwrap());
    assert_eq!(names(store).await, ["b1"]);
}

pub async fn a_builder_is_ordered_only_while_fewer_rows_are_live_than_there_may_be(store: &dyn Store) {
    assert!(!orders(store, "b1", 60, 0).await);
    for name in ["d1", "d2"] {
        assert!(store.order_droplet(&droplet(name), 9, UNTOUCHED).await.unwrap());
    }
    assert!(!orders(store, "b1", 60, 2).await);
    assert!(store.condemn_droplet(&host("d1"), now()).await.unwrap());
    assert!(!orders(store, "b1", 60, 2).await, "its deletion was not accepted yet");
    assert!(store.bury_droplet(&host("d1")).await.unwrap());
    assert!(orders(store, "b1", 60, 2).await);
    assert!(!orders(store, "b2", 60, 2).await);
    assert_eq!(names(store).await, ["b1"]);
}

pub async fn a_droplet_is_ordered_only_while_fewer_rows_are_live_than_there_may_be(store: &dyn Store) {
    assert!(orders(store, "b1", 60, 1).await);
    assert!(!store.order_droplet(&droplet("d1"), 1, UNTOUCHED).await.unwrap());
    assert_eq!(store.droplets().await.unwrap(), []);
    assert!(store.order_droplet(&droplet("d1"), 2, UNTOUCHED).await.unwrap());
    let again = DropletRow { created_at: later(1), ..droplet("d1") };
    assert!(!store.order_droplet(&again, 1, UNTOUCHED).await.unwrap());
    assert!(store.order_droplet(&again, 2, UNTOUCHED).await.unwrap(), "it is one of the two");
    assert!(store.close_builder(&host("b1")).await.unwrap());
    assert!(store.order_droplet(&again, 1, UNTOUCHED).await.unwrap());
    assert_eq!(store.droplets().await.unwrap(), [again]);
}

pub async fn a_builder_whose_time_is_over_takes_no_place(store: &dyn Store) {
    assert!(orders(store, "b1", 60, 1).await);
    let created = |name, second| DropletRow { created_at: later(second), ..droplet(name) };
    assert!(!store.order_droplet(&created("d1", 59), 1, UNTOUCHED).await.unwrap());
    assert!(!store.order_builder(&builder("b2", 90), later(59), 1).await.unwrap());
    assert!(store.order_builder(&builder("b2", 90), later(60), 1).await.unwrap());
    assert_eq!(names(store).await, ["b1", "b2"], "a row that is over is kept until it is closed");
    assert!(!store.order_droplet(&created("d1", 89), 1, UNTOUCHED).await.unwrap());
    assert!(store.order_droplet(&created("d1", 90), 1, UNTOUCHED).await.unwrap());
    assert_eq!(store.droplets().await.unwrap()[0].state, DropletState::Creating);
}

pub async fn of_forty_orders_of_both_kinds_at_once_no_more_are_written_than_there_may_be(store: &dyn Store) {
    of_orders_of_both_kinds_no_more_are_written_than_there_may_be(store, store, RACERS).await;
}

/// Droplets are ordered at one store, and builders at the other.
pub(super) async fn of_orders_of_both_kinds_no_more_are_written_than_there_may_be(
    a: &dyn Store,
    b: &dyn Store,
    each: u128,
) {
    let (droplets, builders): (Vec<_>, Vec<_>) =
        (0..each / 2).map(|n| (droplet(&format!("d{n}")), builder(&format!("b{n}"), 60))).unzip();
    let droplets = join_all(droplets.iter().map(|row| a.order_droplet(row, 7, UNTOUCHED)));
    let builders = join_all(builders.iter().map(|row| b.order_builder(row, now(), 7)));
    let (droplets, builders) = join(droplets, builders).await;
    let written = droplets.into_iter().chain(builders).filter(|written| *written.as_ref().unwrap()).count();
    assert_eq!(written, 7);
    assert_eq!(b.droplets().await.unwrap().len() + a.builders().await.unwrap().len(), 7);
}
