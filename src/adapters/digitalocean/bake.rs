//! One bake: a builder is ordered, sets itself up and powers itself off; an image of it is made, and finished by its tag
//! and its name.
//!
//! Owns the order of the steps, that nothing is bought without the row that keeps its place, and that none with an effect
//! is repeated before it is known what became of it. Must not delete anything: whatever comes of the bake, the
//! [bakery](super::Bakery) does that after it.

use getaredis_actors::{
    domain::Timestamp,
    ports::{BuilderRow, ProviderError, Store},
};
use secrecy::SecretString;
use tokio::time::Instant;

use super::{ActionStatus, ApiError, Bakery, Image, Placement, buying::Purchase, waiting::Waiting};
use crate::images::{HostImage, ImageError, Watcher};

/// A bake. See the module above.
pub(super) struct Bake<'a> {
    bakery: &'a Bakery,
    /// The name of the builder, and of the image until it is finished.
    builder: &'a str,
    /// From then on its row does not cover an order any more.
    order_by: Timestamp,
    books: &'a dyn Store,
    tell: &'a dyn Fn(&str),
    waiting: Waiting,
    /// Until when a droplet may still appear whose order was not answered.
    unsettled: Option<Instant>,
}

impl<'a> Bake<'a> {
    /// The row is written.
    pub(super) fn begin(bakery: &'a Bakery, row: &'a BuilderRow, books: &'a dyn Store, watcher: Watcher<'a>) -> Self {
        let Watcher { tell, stop } = watcher;
        let waiting = Waiting::of(bakery.settings.bake_deadline, bakery.baking.look_every, Some(stop));
        let order_by = row.ends_at - bakery.settings.listed_after();
        Self { bakery, builder: row.name.as_str(), order_by, books, tell, waiting, unsettled: None }
    }

    pub(super) fn tell(&self, text: &str) {
        (self.tell)(text);
    }

    pub(super) fn unsettled(&self) -> Option<Instant> {
        self.unsettled
    }

    pub(super) async fn run(&mut self, name: &str, user_data: &SecretString) -> Result<HostImage, ImageError> {
        let begun = Instant::now();
        let places = self.places().await?;
        let droplet = self.order(&places, user_data).await?;
        let from = &self.bakery.baking.from;
        self.tell(&format!("{}: bought, boots from {from} and sets itself up; this takes some minutes", self.builder));
        self.is_set_up(droplet).await?;
        self.tell(&format!("{}: set up after {} s; its image is being made", self.builder, begun.elapsed().as_secs()));
        let action = self.order_image(droplet).await?;
        self.is_made(action).await?;
        let image = self.find_image().await?;
        let image = self.finish(&image, name).await?;
        self.tell(&format!("the image is made after {} s; deleting the builder", begun.elapsed().as_secs()));
        Ok(self.bakery.host_image(image))
    }

    /// Where the builder may be bought: an image fits only on disks of at least the size of its builder's, so those of
    /// the configured places that have the smallest.
    async fn places(&self) -> Result<Vec<Placement>, ImageError> {
        let sizes = self
            .waiting
            .until("the sizes are known", async || Ok(Some(self.bakery.api.sizes().await.map_err(provider)?)))
            .await?;
        let configured = &self.bakery.settings.placements;
        let disk = |place: &Placement| sizes.iter().find(|size| size.slug == place.size).map(|size| size.disk);
        let smallest = configured.iter().filter_map(disk).min();
        Ok(configured.iter().filter(|place| smallest.is_none_or(|least| disk(place) == Some(least))).cloned().collect())
    }

    async fn order(&mut self, places: &[Placement], user_data: &SecretString) -> Result<u64, ImageError> {
        let Self { bakery, builder, unsettled, order_by, books, .. } = self;
        let purchase = Purchase { name: builder, places, image: &bakery.baking.from, user_data };
        let ordered = async || {
            if let Some(found) = bakery.api.droplets_named(builder).await.map_err(provider)?.first() {
                *unsettled = None;
                return Ok(Some(found.id));
            }
            if unsettled.is_some_and(|until| Instant::now() < until) {
                return Ok(None);
            }
            if !keeps_place(*books, builder, *order_by).await? {
                return Err(ImageError::BuilderGone);
            }
            // Before it is sent: nobody knows what becomes of an order that is cut off.
            *unsettled = Some(Instant::now() + bakery.settings.settle);
            let bought = bakery.api.buy(&purchase, &bakery.settings).await;
            if !matches!(bought, Err(ProviderError::Unknown(_))) {
                *unsettled = None;
            }
            Ok(Some(bought?.id))
        };
        self.waiting.until("the builder is bought", ordered).await
    }

    /// The builder powers itself off when it is done, and only then.
    async fn is_set_up(&self, droplet: u64) -> Result<(), ImageError> {
        let off = async || match self.bakery.api.droplet(droplet).await {
            Ok(builder) => Ok((builder.status == "off").then_some(())),
            Err(ApiError::NotFound) => Err(ImageError::BuilderGone),
            Err(error) => Err(provider(error)),
        };
        self.waiting.until("the builder has set itself up and powered itself off (its console may say why)", off).await
    }

    async fn order_image(&self, droplet: u64) -> Result<u64, ImageError> {
        let api = &self.bakery.api;
        let mut unsettled: Option<Instant> = None;
        let ordered = async || {
            let actions = api.actions_of(droplet).await.map_err(of_the_builder)?;
            if let Some(action) = actions.iter().find(|action| action.kind == "snapshot") {
                return Ok(Some(action.id));
            }
            if unsettled.is_some_and(|until| Instant::now() < until) {
                return Ok(None);
            }
            match api.snapshot(droplet, self.builder).await {
                Ok(action) => Ok(Some(action.id)),
                Err(error @ ApiError::Unknown(_)) => {
                    unsettled = Some(Instant::now() + self.bakery.settings.settle);
                    Err(provider(error))
                }
                // That it is off is known before its shutdown is over.
                Err(ApiError::Refused { status: 422, message }) if message.contains("pending") => Ok(None),
                Err(error) => Err(of_the_builder(error)),
            }
        };
        self.waiting.until("the image is ordered", ordered).await
    }

    async fn is_made(&self, action: u64) -> Result<(), ImageError> {
        let ended = async || match self.bakery.api.action(action).await.map_err(provider)?.status {
            ActionStatus::InProgress => Ok(None),
            ActionStatus::Completed => Ok(Some(())),
            ActionStatus::Errored => Err(ImageError::NotMade),
        };
        self.waiting.until("the image is made", ended).await
    }

    async fn find_image(&self) -> Result<Image, ImageError> {
        let listed = async || {
            let images = self.bakery.api.own_images().await.map_err(provider)?;
            Ok(images.into_iter().find(|image| image.name == self.builder))
        };
        self.waiting.until("the image is listed", listed).await
    }

    /// The tag makes it ours, and then its name makes it finished. Both may be said twice.
    async fn finish(&self, image: &Image, name: &str) -> Result<Image, ImageError> {
        let api = &self.bakery.api;
        let tagged = async || api.tag_image(image.id, &self.bakery.tag).await.map(Some).map_err(provider);
        self.waiting.until("the image has its tag", tagged).await?;
        let named = async || api.rename_image(image.id, name).await.map(Some).map_err(provider);
        self.waiting.until("the image has its name", named).await
    }
}

/// Whether what is ordered now has a row. A bake that began later may have closed it with the builder that it deleted, and
/// this process may have slept.
async fn keeps_place(books: &dyn Store, builder: &str, order_by: Timestamp) -> Result<bool, ImageError> {
    let row = books.builders().await?.into_iter().find(|row| row.name.as_str() == builder);
    Ok(row.is_some() && Timestamp::now() < order_by)
}

fn provider(error: ApiError) -> ImageError {
    ProviderError::from(error).into()
}

fn of_the_builder(error: ApiError) -> ImageError {
    match error {
        ApiError::NotFound => ImageError::BuilderGone,
        error => provider(error),
    }
}
