//! Private networks.

use ipnet::IpNet;
use serde::Deserialize;

use super::{Api, ApiError};

/// A private network.
#[derive(Debug, Clone, Deserialize)]
pub struct Vpc {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// The addresses in it.
    pub ip_range: IpNet,
    /// Whether droplets of the region are put there unless told otherwise.
    #[serde(default)]
    pub default: bool,
}

#[derive(Deserialize)]
struct One {
    vpc: Vpc,
}

impl Api {
    /// A network.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn vpc(&self, id: &str) -> Result<Vpc, ApiError> {
        let one: One = self.get(&format!("/v2/vpcs/{id}")).await?;
        Ok(one.vpc)
    }

    /// The network that droplets of a region are put in unless told otherwise; a region where nothing was ever bought
    /// may have none yet.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn default_vpc(&self, region: &str) -> Result<Option<Vpc>, ApiError> {
        let all: Vec<Vpc> = self.list("/v2/vpcs", &[], "vpcs").await?;
        Ok(all.into_iter().find(|vpc| vpc.default && vpc.region == region))
    }
}
