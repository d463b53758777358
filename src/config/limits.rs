//! `[limits]`: how much one creator, and everybody, may ask for.

use std::collections::{BTreeMap, BTreeSet};

use getaredis_actors::{
    domain::{Quotas, TokenName},
    settings::Rate,
};
use ipnet::IpNet;
use toml::Value;

use super::{
    admin::token_hash,
    fields::table,
    kinds::{Read, list, network, parsed, whole},
    reader::{Reader, read_section},
};

/// The highest cap that can be written down.
const MOST: i64 = 1_000_000;

/// An API token: whoever has it is a creator of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// What it is called wherever it must not be shown.
    pub name: TokenName,
    /// The SHA-256 of the token.
    pub sha256: [u8; 32],
    /// Instances its creator may have at once; 0 means no cap, nothing means [`Limits::per_creator`].
    pub per_creator: Option<u32>,
}

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
    /// Wrong tokens per minute and address.
    pub wrong_tokens_per_minute: u32,
    /// API tokens.
    pub tokens: Vec<ApiToken>,
    /// Networks that are not let in.
    pub banned: Vec<IpNet>,
    /// Creates worked on at once.
    pub max_in_flight: usize,
}

impl Limits {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let limits = read_section!(reader, "limits" => Limits {
            per_creator: whole(0..=MOST),
            global: whole(0..=MOST),
            creates_per_minute: whole(1..=MOST),
            burst: whole(1..=MOST),
            wrong_tokens_per_minute: whole(1..=MOST),
            tokens: list(token),
            banned: list(network),
            max_in_flight: whole(1..=100_000),
        });
        limits.rules(reader);
        Some(limits)
    }

    fn rules(&self, reader: &mut Reader<'_>) {
        let names: BTreeSet<_> = self.tokens.iter().map(|token| &token.name).collect();
        reader.rule(names.len() == self.tokens.len(), &["limits.tokens"], "every token needs a name of its own");
        let hashes: BTreeSet<_> = self.tokens.iter().map(|token| token.sha256).collect();
        reader.rule(
            hashes.len() == self.tokens.len(),
            &["limits.tokens"],
            "two names have the same token, so nobody could tell who asks",
        );
    }

    /// The caps that the store applies.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        Quotas { per_creator: self.per_creator, global: self.global }
    }

    /// The caps of tokens that have one of their own.
    #[must_use]
    pub fn token_caps(&self) -> BTreeMap<TokenName, u32> {
        self.tokens.iter().filter_map(|token| Some((token.name.clone(), token.per_creator?))).collect()
    }

    /// The rate of wrong tokens per address.
    #[must_use]
    pub fn wrong_tokens(&self) -> Rate {
        Rate { per_minute: self.wrong_tokens_per_minute, burst: self.wrong_tokens_per_minute }
    }

    /// The request rate per creator.
    #[must_use]
    pub fn rate(&self) -> Rate {
        Rate { per_minute: self.creates_per_minute, burst: self.burst }
    }
}

fn token(value: &Value) -> Read<ApiToken> {
    table(value, "name, sha256 and perhaps per_creator", |fields| {
        let name = fields.must("name", parsed(TokenName::parse));
        let sha256 = fields.must("sha256", parsed(token_hash));
        let per_creator = fields.may("per_creator", whole(0..=MOST));
        Some(ApiToken { name: name?, sha256: sha256?, per_creator: per_creator? })
    })
}
