//! Who asked: the unit that quotas and rates are counted by.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::ids::{InvalidName, TokenName};

/// What precedes the name of a token where a creator is written down.
const TOKEN: &str = "token:";

/// An IPv4 address, an IPv6 /64, or an API token that the operator has given out.
///
/// One household or server is given a whole /64, so counting single IPv6 addresses would give everybody
/// 2^64 quotas. An IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) is the IPv4 address that it maps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Creator {
    /// A single IPv4 address.
    V4(Ipv4Addr),
    /// The upper 64 bits of an IPv6 address, the lower ones zero.
    V6Net(Ipv6Addr),
    /// Whoever has the token of this name, from any address.
    Token(TokenName),
}

impl Creator {
    /// The creator that a client address belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6Net(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        }
    }
}

impl fmt::Display for Creator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(v4) => write!(f, "{v4}"),
            Self::V6Net(net) => write!(f, "{net}/64"),
            Self::Token(name) => write!(f, "{TOKEN}{name}"),
        }
    }
}

impl FromStr for Creator {
    type Err = InvalidName;

    /// Reads what `Display` wrote.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if let Some(name) = text.strip_prefix(TOKEN) {
            return TokenName::parse(name).map(Self::Token);
        }
        let parsed = match text.strip_suffix("/64") {
            Some(net) => net.parse().ok().map(IpAddr::V6),
            None => text.parse().ok().map(IpAddr::V4),
        };
        let allowed = "an IPv4 address, an IPv6 /64, or token: and a name";
        parsed.map(Self::of).ok_or(InvalidName { what: "a creator", allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mapped_address_is_the_ipv4_creator() {
        let mapped: IpAddr = "::ffff:198.51.100.7".parse().unwrap();
        assert_eq!(Creator::of(mapped), Creator::V4(Ipv4Addr::new(198, 51, 100, 7)));
    }

    proptest! {
        #[test]
        fn every_address_of_one_64_is_one_creator(net: u64, a: u64, b: u64) {
            let of = |low: u64| Creator::of(IpAddr::V6(Ipv6Addr::from_bits((u128::from(net) << 64) | u128::from(low))));
            prop_assume!(net != 0); // ::/64 holds the mapped IPv4 addresses
            prop_assert_eq!(of(a), of(b));
        }

        #[test]
        fn a_creator_is_read_back_as_it_was_written(address: IpAddr) {
            let creator = Creator::of(address);
            prop_assert_eq!(creator.to_string().parse::<Creator>(), Ok(creator));
        }

        #[test]
        fn a_token_is_read_back_as_it_was_written_and_is_no_address(name in "[a-z0-9][a-z0-9-]{0,31}") {
            let creator = Creator::Token(TokenName::parse(&name).unwrap());
            prop_assert_eq!(creator.to_string(), format!("token:{}", name));
            prop_assert_eq!(creator.to_string().parse::<Creator>(), Ok(creator));
            prop_assert!(!matches!(name.parse::<Creator>(), Ok(Creator::Token(_))));
        }

        #[test]
        fn no_text_whatever_breaks_the_reader(text in "(token:)?\\PC{0,40}") {
            if let Ok(creator) = text.parse::<Creator>() {
                prop_assert_eq!(creator.to_string().parse::<Creator>(), Ok(creator));
            }
        }
    }
}
