//! What will go wrong with the next order, found before anybody waits for it.

use super::{ApiError, DigitalOcean, Placement, Region, Size};

/// What an account can be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// Droplets that the account may have, everybody's included.
    pub droplet_limit: u32,
    /// What is wrong with the settings or the account, a sentence each.
    pub findings: Vec<String>,
}

impl DigitalOcean {
    /// Asks for everything that an order will name. Changes nothing.
    ///
    /// # Errors
    /// When the account itself cannot be asked; what else cannot is a finding.
    pub async fn preflight(&self, max_hosts: u32) -> Result<Preflight, ApiError> {
        let account = self.api.account().await?;
        let mut findings = Vec::new();
        if account.status != "active" {
            findings.push(format!("the account is {}: {}", account.status, account.status_message));
        }
        if account.droplet_limit < max_hosts {
            let limit = account.droplet_limit;
            findings.push(format!("fleet.max_hosts is {max_hosts}, but the account may have {limit} droplets"));
        }
        self.check_keys_and_network(&mut findings).await;
        match (self.api.sizes().await, self.api.regions().await) {
            (Ok(sizes), Ok(regions)) => {
                findings.extend(self.settings.placements.iter().filter_map(|place| unfit(place, &sizes, &regions)));
                self.check_image(&sizes, &mut findings).await;
            }
            (Err(error), _) | (_, Err(error)) => findings.push(format!("what is sold is unknown: {error}")),
        }
        Ok(Preflight { droplet_limit: account.droplet_limit, findings })
    }

    async fn check_keys_and_network(&self, findings: &mut Vec<String>) {
        for key in &self.settings.ssh_keys {
            if let Err(error) = self.api.ssh_key(key).await {
                findings.push(format!("digitalocean.ssh_keys: {key}: {error}"));
            }
        }
        let Some(id) = &self.settings.vpc else { return };
        match self.api.vpc(id).await {
            Ok(vpc) => {
                let elsewhere = self.settings.placements.iter().filter(|place| place.region != vpc.region);
                findings.extend(elsewhere.map(|place| format!("{place}: digitalocean.vpc is in {}", vpc.region)));
            }
            Err(error) => findings.push(format!("digitalocean.vpc: {id}: {error}")),
        }
    }

    async fn check_image(&self, sizes: &[Size], findings: &mut Vec<String>) {
        let image = match self.api.image(&self.settings.image).await {
            Ok(image) => image,
            Err(error) => return findings.push(format!("digitalocean.image: {}: {error}", self.settings.image)),
        };
        for place in &self.settings.placements {
            if !image.regions.contains(&place.region) {
                findings.push(format!("{place}: the image {} is not there", image.name));
            }
            let disk = sizes.iter().find(|size| size.slug == place.size).map(|size| size.disk);
            if disk.zip(image.min_disk_size).is_some_and(|(disk, needed)| disk < needed) {
                findings.push(format!("{place}: its disk is too small for the image {}", image.name));
            }
        }
    }
}

/// What is wrong with a place, if anything.
fn unfit(place: &Placement, sizes: &[Size], regions: &[Region]) -> Option<String> {
    let size = sizes.iter().find(|size| size.slug == place.size);
    let region = regions.iter().find(|region| region.slug == place.region);
    match (size, region) {
        (None, _) => Some(format!("{place}: there is no such size")),
        (_, None) => Some(format!("{place}: there is no such region")),
        (_, Some(region)) if !region.available => Some(format!("{place}: the region sells nothing at this time")),
        (Some(size), _) if !size.available || !size.regions.contains(&place.region) => {
            Some(format!("{place}: the size is not sold there at this time"))
        }
        _ => None,
    }
}
