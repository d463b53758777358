//! The account, its keys, and what can be bought.

use serde::Deserialize;

use super::{Api, ApiError};

/// The account.
#[derive(Debug, Clone, Deserialize)]
pub struct Account {
    /// Droplets that it may have at once, everybody's included.
    pub droplet_limit: u32,
    /// `active`, `warning` or `locked`.
    pub status: String,
    /// Why it is not active.
    #[serde(default)]
    pub status_message: String,
}

/// A key that may log in.
#[derive(Debug, Clone, Deserialize)]
pub struct SshKey {
    /// Its id.
    pub id: u64,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its name.
    pub name: String,
}

/// A size of droplets.
#[derive(Debug, Clone, Deserialize)]
pub struct Size {
    /// What it is called in orders.
    pub slug: String,
    /// Gigabytes of disk.
    pub disk: u32,
    /// US dollars.
    pub price_hourly: f64,
    /// Where it is sold.
    pub regions: Vec<String>,
    /// Whether it is sold at all.
    pub available: bool,
}

/// A region.
#[derive(Debug, Clone, Deserialize)]
pub struct Region {
    /// What it is called in orders.
    pub slug: String,
    /// Whether anything is sold there.
    pub available: bool,
}

impl Api {
    /// The account that the token belongs to.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn account(&self) -> Result<Account, ApiError> {
        #[derive(Deserialize)]
        struct One {
            account: Account,
        }
        let one: One = self.get("/v2/account").await?;
        Ok(one.account)
    }

    /// The key of this id or fingerprint.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn ssh_key(&self, key: &str) -> Result<SshKey, ApiError> {
        #[derive(Deserialize)]
        struct One {
            ssh_key: SshKey,
        }
        let one: One = self.get(&format!("/v2/account/keys/{key}")).await?;
        Ok(one.ssh_key)
    }

    /// Every size.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn sizes(&self) -> Result<Vec<Size>, ApiError> {
        self.list("/v2/sizes", &[], "sizes").await
    }

    /// Every region.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn regions(&self) -> Result<Vec<Region>, ApiError> {
        self.list("/v2/regions", &[], "regions").await
    }
}
