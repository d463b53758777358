//! Owns what droplets boot from: the root trees that `testbed/image` builds, and the snapshots of one cloud.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{Mutex, PoisonError},
};

use super::{Error, run::run};

/// A root tree, and the disk that comes with it.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) tree: PathBuf,
    /// A file to copy; an empty one of the asked size when there is none.
    pub(super) disk: Option<PathBuf>,
    /// The packages that it lacks, as the files of an archive.
    pub(super) archive: Option<PathBuf>,
}

/// The snapshots of one cloud, in a folder that ends with it.
pub(super) struct Images {
    folder: PathBuf,
    snapshots: Mutex<HashMap<String, Image>>,
}

impl Images {
    pub(super) fn in_folder(cloud: &Path) -> Self {
        Self { folder: cloud.to_owned(), snapshots: Mutex::default() }
    }

    /// An image by its name: a snapshot's, or the provider's slug or the distribution's own name of a stock one.
    pub(super) fn find(&self, name: &str) -> Result<Image, Error> {
        if let Some(image) = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(image.clone());
        }
        let stock = |suite: &str| {
            let folder = built(&format!("stock-{suite}"))?;
            Ok(Image { tree: folder.join("tree"), disk: None, archive: Some(folder.join("archive")) })
        };
        let suite = match name {
            "debian-12-stock" => return stock("bookworm"),
            "debian-13-stock" => return stock("trixie"),
            "ubuntu-24-04-stock" => return stock("noble"),
            "debian-12-x64" | "bookworm" => "bookworm",
            "debian-13-x64" | "trixie" => "trixie",
            "ubuntu-22-04-x64" | "jammy" => "jammy",
            "ubuntu-24-04-x64" | "noble" => "noble",
            _ => return Err(Error::NoImage(name.to_owned())),
        };
        Ok(Image { tree: built(suite)?, disk: None, archive: None })
    }

    /// Keeps a copy of a disk as the image `name`; a later one of that name takes its place.
    pub(super) fn keep(&self, name: &str, tree: &Path, disk: &Path) -> Result<(), Error> {
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = self.folder.join(format!("snapshot-{}.img", snapshots.len()));
        copy_sparse(disk, &copy)?;
        snapshots.insert(name.to_owned(), Image { tree: tree.to_owned(), disk: Some(copy), archive: None });
        Ok(())
    }
}

/// Where images, templates and running clouds are, outside of any repository.
pub(super) fn cache() -> Result<PathBuf, Error> {
    if let Some(folder) = env::var_os("GETAREDIS_TESTBED_CACHE") {
        return Ok(folder.into());
    }
    let home = env::var_os("HOME").ok_or_else(|| Error::Impossible("HOME is not set".to_owned()))?;
    Ok(Path::new(&home).join(".cache/getaredis-testbed"))
}

/// Whether `testbed/image` has built a tree of that suite here, be it an older one. Tests of what it is not asked for by
/// default look at this.
#[must_use]
pub fn is_built(suite: &str) -> bool {
    let folders = cache().and_then(|cache| fs::read_dir(cache).map_err(Error::io("the cache of images")));
    let begins = |name: &str| name.strip_prefix(suite).is_some_and(|rest| rest.starts_with('-') && !rest.contains('.'));
    folders.is_ok_and(|all| all.flatten().any(|folder| folder.file_name().to_str().is_some_and(begins)))
}

/// The folder of what `testbed/image` builds, which takes half a minute the first time.
pub(super) fn built(what: &str) -> Result<PathBuf, Error> {
    let folder = run(Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/image")).arg(what))?;
    Ok(PathBuf::from(folder.trim_end()))
}

/// A file with an empty ext4 of so many megabytes, made once for all clouds.
pub(super) fn empty_disk(megabytes: u64) -> Result<PathBuf, Error> {
    let disk = cache()?.join(format!("empty-{megabytes}.img"));
    if !disk.exists() {
        let new = disk.with_extension(format!("new-{}", process::id()));
        fs::File::create(&new).and_then(|file| file.set_len(megabytes << 20)).map_err(Error::io("an empty disk"))?;
        let options = ["-q", "-F", "-m", "0", "-i", "65536", "-J", "size=16", "-E", "lazy_itable_init=1"];
        run(Command::new("mkfs.ext4").args(options).arg(&new))?;
        fs::rename(&new, &disk).map_err(Error::io("an empty disk"))?;
    }
    Ok(disk)
}

pub(super) fn copy_sparse(from: &Path, to: &Path) -> Result<(), Error> {
    run(Command::new("cp").arg("--sparse=always").args([from, to])).map(drop)
}
