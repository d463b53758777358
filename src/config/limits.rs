//! `[limits]`: how much one creator, and everybody, may ask for.

use getaredis_actors::{domain::Quotas, settings::Rate};
use ipnet::IpNet;

use super::{
    kinds::{list, network, whole},
    reader::{Reader, read_section},
};

/// The caps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Instances of one creator at once; 0 means no cap.
    pub per_creator: u32,
    /// Instances of all creators at once; 0 means no cap.
    pub global: u32,
    /// Creates per minute and creator.
    pub creates_per_minute: u32,
    /// Creates of one creator at once.
    pub burst: u32,
    /// Networks that are not let in.
    pub banned: Vec<IpNet>,
    /// Creates worked on at once.
    pub max_in_flight: usize,
}

impl Limits {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(read_section!(reader, "limits" => Limits {
            per_creator: whole(0..=1_000_000),
            global: whole(0..=1_000_000),
            creates_per_minute: whole(1..=1_000_000),
            burst: whole(1..=1_000_000),
            banned: list(network),
            max_in_flight: whole(1..=100_000),
        }))
    }

    /// The caps that the store applies.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        Quotas { per_creator: self.per_creator, global: self.global }
    }

    /// The request rate per creator.
    #[must_use]
    pub fn rate(&self) -> Rate {
        Rate { per_minute: self.creates_per_minute, burst: self.burst }
    }
}
