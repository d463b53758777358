//! How a droplet is bought, whatever it is for: behind the firewall, at the first place that has one.

use getaredis_actors::ports::ProviderError;
use secrecy::SecretString;

use super::{Api, ApiError, DigitalOceanSettings, Droplet, NewDroplets, Placement, error::Refusal};

/// A droplet that shall be bought.
pub(super) struct Purchase<'a> {
    pub(super) name: &'a str,
    /// Where, the best place first.
    pub(super) places: &'a [Placement],
    pub(super) image: &'a str,
    pub(super) user_data: &'a SecretString,
}

impl Api {
    /// Puts the firewall right and asks one place after the other, until one sells.
    ///
    /// # Errors
    /// After [`ProviderError::Unknown`] it may have been bought.
    pub(super) async fn buy(
        &self,
        purchase: &Purchase<'_>,
        settings: &DigitalOceanSettings,
    ) -> Result<Droplet, ProviderError> {
        let tag = settings.tag();
        if !settings.inbound.is_empty() {
            self.ensure_firewall(&tag, &settings.inbound).await?;
        }
        let (names, tags) = ([purchase.name], [tag.as_str()]);
        let mut refusals = Vec::new();
        for place in purchase.places {
            let order = NewDroplets {
                vpc_uuid: settings.vpc.as_deref(),
                ssh_keys: &settings.ssh_keys,
                tags: &tags,
                user_data: Some(purchase.user_data),
                ..NewDroplets::plain(&names, place, purchase.image)
            };
            match self.create_droplets(&order).await {
                Ok(made) => {
                    tracing::info!(droplet = purchase.name, region = place.region, size = place.size, "droplet.bought");
                    let none = || ProviderError::Unknown("the answer to an order names no droplet".to_owned());
                    return made.into_iter().next().ok_or_else(none);
                }
                Err(error) if error.refusal() == Some(Refusal::Elsewhere) => {
                    tracing::info!(droplet = purchase.name, %place, %error, "droplet.sold_out");
                    let ApiError::Refused { message, .. } = error else { continue };
                    refusals.push(format!("{place}: {}", message.trim_end_matches('.')));
                }
                // Another order must not be made before it is known what became of this one.
                Err(error) => return Err(error.into()),
            }
        }
        Err(ProviderError::SoldOut(refusals.join("; ")))
    }
}
