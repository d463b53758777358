//! What can be bought where.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Refusal, Reply, Request, World, page::page};

/// A size of droplets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) slug: &'static str,
    pub(super) vcpus: u32,
    /// In megabytes.
    pub(super) memory: u32,
    /// In gigabytes.
    pub(super) disk: u32,
    /// In terabytes.
    transfer: f64,
    hourly: f64,
    monthly: f64,
}

/// The small sizes, with their prices in US dollars.
const SIZES: [Size; 6] = [
    size("s-1vcpu-512mb-10gb", 1, 512, 10, 0.5, 0.005_95, 4.0),
    size("s-1vcpu-1gb", 1, 1024, 25, 1.0, 0.008_93, 6.0),
    size("s-1vcpu-2gb", 1, 2048, 50, 2.0, 0.017_86, 12.0),
    size("s-2vcpu-2gb", 2, 2048, 60, 3.0, 0.026_79, 18.0),
    size("s-2vcpu-4gb", 2, 4096, 80, 4.0, 0.035_71, 24.0),
    size("s-4vcpu-8gb", 4, 8192, 160, 5.0, 0.071_43, 48.0),
];

const fn size(
    slug: &'static str,
    vcpus: u32,
    memory: u32,
    disk: u32,
    transfer: f64,
    hourly: f64,
    monthly: f64,
) -> Size {
    Size { slug, vcpus, memory, disk, transfer, hourly, monthly }
}

/// The regions and their names.
const REGIONS: [(&str, &str); 6] = [
    ("ams3", "Amsterdam 3"),
    ("fra1", "Frankfurt 1"),
    ("lon1", "London 1"),
    ("nyc1", "New York 1"),
    ("nyc3", "New York 3"),
    ("sgp1", "Singapore 1"),
];

/// What can be bought where, at this time.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    closed: BTreeSet<String>,
    sold_out: BTreeSet<(String, String)>,
}

impl Catalogue {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn regions(&self) -> impl Iterator<Item = &'static str> {
        REGIONS.into_iter().map(|(slug, _)| slug)
    }

    /// A region sells nothing any more, or sells again.
    pub(super) fn set_open(&mut self, region: &str, open: bool) {
        if open {
            self.closed.remove(region)
        } else {
            self.closed.insert(region.to_owned())
        };
    }

    /// A region has no droplets of a size any more, or has some again.
    pub(super) fn set_in_stock(&mut self, region: &str, size: &str, in_stock: bool) {
        let place = (region.to_owned(), size.to_owned());
        if in_stock {
            self.sold_out.remove(&place)
        } else {
            self.sold_out.insert(place)
        };
    }

    /// The size, if it can be bought there now.
    pub(super) fn buy(&self, region: &str, slug: &str) -> Result<Size, Refusal> {
        let invalid = |what| Refusal::unprocessable(format!("You specified an invalid {what} for Droplet creation."));
        let size = SIZES.into_iter().find(|size| size.slug == slug).ok_or_else(|| invalid("size"))?;
        if !self.regions().any(|slug| slug == region) {
            return Err(invalid("region"));
        }
        if self.closed.contains(region) {
            return Err(Refusal::unprocessable("Region is not available"));
        }
        if self.sold_out.contains(&(region.to_owned(), slug.to_owned())) {
            return Err(Refusal::unprocessable("Size is not available in this region."));
        }
        Ok(size)
    }

    pub(super) fn size(&self, slug: &str) -> Value {
        let Some(size) = SIZES.into_iter().find(|size| size.slug == slug) else { return Value::Null };
        let sells = |region: &&str| !self.sold_out.contains(&((*region).to_owned(), slug.to_owned()));
        let regions: Vec<_> = self.regions().filter(sells).collect();
        json!({
            "slug": slug, "memory": size.memory, "vcpus": size.vcpus, "disk": size.disk, "transfer": size.transfer,
            "price_monthly": size.monthly, "price_hourly": size.hourly, "available": !regions.is_empty(),
            "regions": regions, "description": "Basic",
            "disk_info": [{ "type": "local", "size": { "amount": size.disk, "unit": "gib" } }],
        })
    }

    pub(super) fn region(&self, slug: &str) -> Value {
        let name = REGIONS.into_iter().find(|(s, _)| *s == slug).map(|(_, name)| name);
        let in_stock = |size: &&str| !self.sold_out.contains(&(slug.to_owned(), (*size).to_owned()));
        json!({
            "slug": slug, "name": name, "available": !self.closed.contains(slug),
            "features": ["backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"],
            "sizes": SIZES.into_iter().map(|size| size.slug).filter(in_stock).collect::<Vec<_>>(),
        })
    }
}

impl World {
    pub(in crate::api) fn set_open(&mut self, region: &str, open: bool) {
        self.catalogue.set_open(region, open);
    }

    pub(in crate::api) fn set_in_stock(&mut self, region: &str, size: &str, in_stock: bool) {
        self.catalogue.set_in_stock(region, size, in_stock);
    }

    pub(super) fn list_sizes(&self, request: &Request<'_>) -> Reply {
        page(request, "sizes", SIZES.into_iter().map(|size| self.catalogue.size(size.slug)).collect())
    }

    pub(super) fn list_regions(&self, request: &Request<'_>) -> Reply {
        page(request, "regions", self.catalogue.regions().map(|slug| self.catalogue.region(slug)).collect())
    }
}
