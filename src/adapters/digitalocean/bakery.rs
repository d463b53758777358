//! The images of a deployment: made, listed, deleted, and what is left of bakes that were cut off.
//!
//! Owns which images and builders are ours, and that a builder has a row from before it is ordered until it is gone. A
//! finished image carries the deployment's tag; a builder, and an image that is not finished, are known by a builder's
//! name. Everything else in the account is left alone.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use getaredis_actors::{
    domain::{HostName, Timestamp},
    ports::{BuilderRow, ProviderError, Store, StoreError},
};
use secrecy::SecretString;
use tokio::time::Instant;

use super::{
    ActionStatus, Api, ApiError, DigitalOceanSettings, Image,
    bake::Bake,
    builders::{image_name, is_builder, new_builder},
    room::Room,
    waiting::Waiting,
};
use crate::images::{Baked, HostImage, HostImages, ImageError, Watcher};

/// How long it is tried to take away a builder; an image that is just being made has to be waited for.
const TIDYING: Duration = Duration::from_secs(10 * 60);

/// The longest name of an image.
const LONGEST_NAME: usize = 255;

/// Renders what a builder sets itself up with; an error names what to change.
pub type BuilderData = dyn Fn() -> Result<SecretString, String>;

/// The database in which the pool's rows are.
pub struct Books {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Whether a server of the deployment has used it.
    pub known: bool,
}

/// Opens them; only a bake needs them.
pub type OpenBooks = dyn Fn() -> LocalBoxFuture<'static, Result<Books, StoreError>>;

/// What images are made of.
#[derive(Debug, Clone)]
pub struct BakerySettings {
    /// The slug or id of the image that a builder is booted from.
    pub from: String,
    /// How often DigitalOcean is asked how far it is.
    pub look_every: Duration,
    /// The most droplets that may be paid for, the builder among them.
    pub max_hosts: usize,
}

/// Makes images. See the module above.
pub struct Bakery {
    pub(super) api: Api,
    pub(super) settings: DigitalOceanSettings,
    pub(super) baking: BakerySettings,
    pub(super) tag: String,
    user_data: Box<BuilderData>,
    books: Box<OpenBooks>,
}

/// Whose builders and unfinished images.
#[derive(Clone, Copy)]
enum Whose<'a> {
    /// This bake's.
    One(&'a str),
    /// All bakes' of this deployment.
    All,
}

impl Whose<'_> {
    fn include(self, tag: &str, name: &str) -> bool {
        match self {
            Self::One(builder) => name == builder,
            Self::All => is_builder(tag, name),
        }
    }
}

impl Bakery {
    /// Prepares it. Connects with the first call.
    ///
    /// # Errors
    /// See [`Api::new`].
    pub fn new(
        settings: DigitalOceanSettings,
        baking: BakerySettings,
        user_data: Box<BuilderData>,
        books: Box<OpenBooks>,
    ) -> Result<Self, String> {
        let api = Api::new(&settings.url, settings.token.clone(), settings.call_timeout)?;
        let tag = settings.tag();
        Ok(Self { api, settings, baking, tag, user_data, books })
    }

    /// Deletes what earlier bakes left and writes the builder's row, if there is a place for it. DigitalOcean is the first
    /// that is asked, so that an API that does not answer, or not us, is no reason to wait.
    async fn take_place(
        &self,
        builder: &HostName,
        books: &dyn Store,
        tell: &dyn Fn(&str),
    ) -> Result<BuilderRow, ImageError> {
        let mut room = self.room(books).await?;
        room.check(self.baking.max_hosts)?;
        if self.tidy(&room, books, tell).await? {
            room = self.room(books).await?;
        }
        let now = Timestamp::now();
        // What is ordered in the last moment takes effect, and is listed, after it.
        let row = BuilderRow {
            name: builder.clone(),
            ends_at: now + self.settings.bake_deadline + self.settings.listed_after(),
        };
        match books.order_builder(&row, now, room.most(self.baking.max_hosts)).await {
            Ok(true) => Ok(row),
            Ok(false) => Err(self.room(books).await?.none(self.baking.max_hosts)),
            Err(error) => {
                // It may have been written all the same.
                let _ = books.close_builder(builder).await;
                Err(error.into())
            }
        }
    }

    async fn room(&self, books: &dyn Store) -> Result<Room, ImageError> {
        // The list is read before the rows, so that what is ordered in between has a row.
        let listed = self.api.droplets_tagged(&self.tag).await.map_err(ProviderError::from)?;
        let rows = books.droplets().await?;
        Ok(Room::of(&self.tag, &listed, rows, books.builders().await?, Timestamp::now()))
    }

    /// Deletes what earlier bakes left, and closes the rows of what it has deleted. Says whether there was something.
    async fn tidy(&self, room: &Room, books: &dyn Store, tell: &dyn Fn(&str)) -> Result<bool, ImageError> {
        let unfinished = self.list().await?.iter().filter(|image| !image.finished).count();
        if !room.has_builders() && unfinished == 0 {
            return Ok(false);
        }
        tell(
            "another bake was cut off, or is still at work: deleting the builder and the unfinished image that it has left",
        );
        let gone = self.take_away(Whose::All, None).await?;
        for name in gone.iter().filter_map(|name| HostName::parse(name).ok()) {
            // Whoever is at work with it has bought it, or will see that its place is gone before it buys again.
            books.close_builder(&name).await?;
        }
        Ok(true)
    }

    /// Deletes builders and unfinished images until there are none; returns their names. What was ordered without an answer
    /// may still appear until `settled`.
    async fn take_away(&self, whose: Whose<'_>, settled: Option<Instant>) -> Result<BTreeSet<String>, ImageError> {
        let now = Instant::now();
        let patience = settled.map_or(Duration::ZERO, |settled| settled.saturating_duration_since(now)) + TIDYING;
        let waiting = Waiting::of(patience, self.baking.look_every, None);
        let mut gone = BTreeSet::new();
        let is_gone = async || {
            let some = self.take_away_once(whose, &mut gone).await.map_err(ProviderError::from)?;
            let settled = settled.is_none_or(|settled| Instant::now() >= settled);
            Ok((!some && settled).then_some(()))
        };
        waiting.until("the builder is deleted", is_gone).await?;
        Ok(gone)
    }

    /// Says whether there was something.
    async fn take_away_once(&self, whose: Whose<'_>, names: &mut BTreeSet<String>) -> Result<bool, ApiError> {
        let droplets = match whose {
            // The tag is attached a moment after a droplet was made.
            Whose::One(builder) => self.api.droplets_named(builder).await?,
            Whose::All => self.api.droplets_tagged(&self.tag).await?,
        };
        let theirs = |name: &str| whose.include(&self.tag, name);
        let mut some = false;
        for droplet in droplets.iter().filter(|droplet| theirs(&droplet.name)) {
            some = true;
            names.insert(droplet.name.clone());
            if !self.is_being_copied(droplet.id).await? {
                unless_busy(self.api.delete_droplet(droplet.id).await)?;
            }
        }
        for image in self.api.own_images().await?.iter().filter(|image| theirs(&image.name)) {
            some = true;
            names.insert(image.name.clone());
            unless_busy(self.api.delete_image(image.id).await)?;
        }
        Ok(some)
    }

    /// Whether an image of it is being made, which would outlive it.
    async fn is_being_copied(&self, droplet: u64) -> Result<bool, ApiError> {
        let actions = match self.api.actions_of(droplet).await {
            Err(ApiError::NotFound) => return Ok(false),
            actions => actions?,
        };
        Ok(actions.iter().any(|action| action.kind == "snapshot" && action.status == ActionStatus::InProgress))
    }

    fn check_name(&self, name: &str) -> Result<(), ImageError> {
        let sound = !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
        match sound && !is_builder(&self.tag, name) {
            true => Ok(()),
            false => Err(ImageError::Invalid(format!("{name:?} cannot be the name of an image"))),
        }
    }

    /// As everybody but DigitalOcean sees it.
    pub(super) fn host_image(&self, image: Image) -> HostImage {
        HostImage {
            finished: !is_builder(&self.tag, &image.name),
            id: image.id.to_string(),
            name: image.name,
            created_at: image.created_at,
            regions: image.regions,
            size_gigabytes: image.size_gigabytes,
            min_disk_gigabytes: image.min_disk_size.unwrap_or_default(),
        }
    }
}

/// Something else is being done with it, so it is tried again.
fn unless_busy(deleted: Result<(), ApiError>) -> Result<(), ApiError> {
    match deleted {
        Err(ApiError::Refused { status: 422, .. }) => Ok(()),
        other => other,
    }
}

#[async_trait(?Send)]
impl HostImages for Bakery {
    async fn bake(&self, name: Option<&str>, watcher: Watcher<'_>) -> Result<Baked, ImageError> {
        let name = name.map_or_else(|| image_name(&self.tag, Timestamp::now()), ToOwned::to_owned);
        self.check_name(&name)?;
        let user_data = (self.user_data)().map_err(ImageError::Invalid)?;
        let builder = new_builder(&self.tag).map_err(ImageError::Invalid)?;
        let Books { store: books, known } = (self.books)().await?;
        if !known {
            (watcher.tell)(
                "no server has used this database (database.url); if there is one, bake with its configuration and where it \
                 runs",
            );
        }
        let row = self.take_place(&builder, &*books, watcher.tell).await?;
        let mut bake = Bake::begin(self, &row, &*books, watcher);
        let image = bake.run(&name, &user_data).await;
        if image.is_err() {
            bake.tell("no image is made; seeing to it that nothing is left of the builder");
        }
        let left = self.take_away(Whose::One(builder.as_str()), bake.unsettled()).await.err().map(|why| {
            format!(
                "the builder {builder} may still be there and be paid for ({why}); the next bake deletes it, or the server \
                 when its place is not kept any more, after {:.0}",
                row.ends_at
            )
        });
        // What may still be there keeps its place.
        if left.is_none()
            && let Err(why) = books.close_builder(&builder).await
        {
            let until = row.ends_at;
            bake.tell(&format!("the builder is gone, but its place in the pool is kept until {until:.0}: {why}"));
        }
        match image {
            Ok(image) => Ok(Baked { image, left }),
            Err(why) => {
                left.iter().for_each(|left| bake.tell(left));
                Err(why)
            }
        }
    }

    async fn list(&self) -> Result<Vec<HostImage>, ImageError> {
        let own = self.api.own_images().await.map_err(ProviderError::from)?.into_iter();
        let ours = own.filter(|image| image.tags.contains(&self.tag) || is_builder(&self.tag, &image.name));
        let mut images: Vec<_> = ours.map(|image| self.host_image(image)).collect();
        images.sort_by_key(|image| image.created_at);
        Ok(images)
    }

    async fn remove(&self, id: &str) -> Result<HostImage, ImageError> {
        let unknown = || ImageError::NoSuchImage(id.to_owned());
        let image = self.list().await?.into_iter().find(|image| image.id == id).ok_or_else(unknown)?;
        let number = id.parse().map_err(|_| unknown())?;
        self.api.delete_image(number).await.map_err(ProviderError::from)?;
        Ok(image)
    }
}
