//! The time an instance may live: chosen by its creator within the operator's bounds, and extendable.

use std::time::Duration;

use super::Timestamp;

/// The operator's bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasePolicy {
    /// What a request without a wish gets.
    pub default_ttl: Duration,
    /// The shortest lease that may be asked for.
    pub min_ttl: Duration,
    /// The longest lease that may be asked for at once.
    pub max_ttl: Duration,
    /// The longest an instance may live, all extensions included, counted from its creation.
    pub max_lifetime: Duration,
    /// How long before its end an owner is warned; zero for never. A lease that is not twice as long is warned of when
    /// half of it is over.
    pub warn_before: Duration,
}

/// When an instance ends, and how far that can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The instance ends at this time, never before and within a second after.
    pub expires_at: Timestamp,
    /// No extension reaches beyond this time.
    pub max_expires_at: Timestamp,
    /// When its owner is to be warned of its end; `None` when that was done, or is not to be done.
    pub warn_at: Option<Timestamp>,
}

/// Why a lease was not granted or extended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefused {
    /// The asked time is outside the operator's bounds.
    #[error("ttl must be from {} to {}", humantime::format_duration(*min), humantime::format_duration(*max))]
    OutOfBounds {
        /// Shortest allowed.
        min: Duration,
        /// Longest allowed.
        max: Duration,
    },
    /// The extension reaches beyond the maximum lifetime.
    #[error("the lease can be extended to {max_expires_at} at most")]
    BeyondLifetime {
        /// The latest end there can be.
        max_expires_at: Timestamp,
    },
    /// The "extension" would end the instance earlier than it ends now.
    #[error("the lease runs until {expires_at} already; an extension must reach beyond that")]
    Shortens {
        /// When it ends now.
        expires_at: Timestamp,
    },
}

impl LeasePolicy {
    /// Grants a lease that begins `now`.
    ///
    /// # Errors
    /// [`LeaseRefused::OutOfBounds`] when the wish is shorter than `min_ttl` or longer than `max_ttl`.
    pub fn grant(&self, wish: Option<Duration>, now: Timestamp) -> Result<Lease, LeaseRefused> {
        let ttl = self.check(wish.unwrap_or(self.default_ttl))?;
        let expires_at = now + ttl;
        let max_expires_at = now + self.max_lifetime.max(ttl);
        Ok(Lease { expires_at, max_expires_at, warn_at: self.warn_at(ttl, expires_at) })
    }

    /// The same lease, ending `ttl` from `now`. Only the maximum lifetime bounds it: how long a lease may be asked for
    /// at once has been decided when it was granted.
    ///
    /// # Errors
    /// [`LeaseRefused::BeyondLifetime`], or [`LeaseRefused::Shortens`] when it is no extension at all.
    pub fn extend(&self, lease: Lease, ttl: Duration, now: Timestamp) -> Result<Lease, LeaseRefused> {
        match now.checked_add(ttl) {
            Ok(expires_at) if expires_at < lease.expires_at => {
                Err(LeaseRefused::Shortens { expires_at: lease.expires_at })
            }
            Ok(expires_at) if expires_at <= lease.max_expires_at => {
                Ok(Lease { expires_at, warn_at: self.warn_at(ttl, expires_at), ..lease })
            }
            _ => Err(LeaseRefused::BeyondLifetime { max_expires_at: lease.max_expires_at }),
        }
    }

    fn warn_at(&self, ttl: Duration, expires_at: Timestamp) -> Option<Timestamp> {
        (!self.warn_before.is_zero()).then(|| expires_at - self.warn_before.min(ttl / 2))
    }

    fn check(&self, ttl: Duration) -> Result<Duration, LeaseRefused> {
        if (self.min_ttl..=self.max_ttl).contains(&ttl) {
            Ok(ttl)
        } else {
            Err(LeaseRefused::OutOfBounds { min: self.min_ttl, max: self.max_ttl })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn policy() -> LeasePolicy {
        LeasePolicy {
            default_ttl: 12 * HOUR,
            min_ttl: HOUR / 60,
            max_ttl: 24 * HOUR,
            max_lifetime: 72 * HOUR,
            warn_before: HOUR / 6,
        }
    }

    #[test]
    fn no_wish_gets_the_default() {
        let lease = policy().grant(None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(lease.expires_at, Timestamp::UNIX_EPOCH + 12 * HOUR);
        assert_eq!(lease.max_expires_at, Timestamp::UNIX_EPOCH + 72 * HOUR);
    }

    #[test]
    fn the_bounds_belong_to_what_is_allowed() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(policy().grant(Some(HOUR / 60), now).is_ok());
        assert!(policy().grant(Some(24 * HOUR), now).is_ok());
        let refused = policy().grant(Some(Duration::from_secs(59)), now).unwrap_err();
        assert_eq!(refused.to_string(), "ttl must be from 1m to 1day");
    }

    #[test]
    fn an_extension_that_shortens_is_refused() {
        let lease = policy().grant(Some(2 * HOUR), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            policy().extend(lease, HOUR, Timestamp::UNIX_EPOCH),
            Err(LeaseRefused::Shortens { expires_at: lease.expires_at })
        );
    }

    #[test]
    fn an_extension_may_reach_the_maximum_lifetime_at_once_and_never_beyond() {
        let lease = policy().grant(None, Timestamp::UNIX_EPOCH).unwrap();
        assert!(policy().extend(lease, 72 * HOUR, Timestamp::UNIX_EPOCH).is_ok());
        for beyond in [72 * HOUR + HOUR / 60, Duration::MAX] {
            let refused = policy().extend(lease, beyond, Timestamp::UNIX_EPOCH);
            assert_eq!(refused, Err(LeaseRefused::BeyondLifetime { max_expires_at: lease.max_expires_at }));
        }
    }

    #[test]
    fn an_owner_is_warned_in_time_and_again_after_an_extension() {
        let (policy, now) = (policy(), Timestamp::UNIX_EPOCH);
        let lease = policy.grant(None, now).unwrap();
        assert_eq!(lease.warn_at, Some(now + 12 * HOUR - HOUR / 6));
        let warned = Lease { warn_at: None, ..lease };
        assert_eq!(policy.extend(warned, 24 * HOUR, now).unwrap().warn_at, Some(now + 24 * HOUR - HOUR / 6));
        assert_eq!(policy.grant(Some(HOUR / 60), now).unwrap().warn_at, Some(now + HOUR / 120), "half of a short one");
        let never = LeasePolicy { warn_before: Duration::ZERO, ..policy };
        assert_eq!(never.grant(None, now).unwrap().warn_at, None);
    }

    proptest! {
        #[test]
        fn no_chain_of_extensions_outlives_the_maximum_lifetime(wishes in prop::collection::vec((0u64..200_000, 0u64..50_000), 1..40)) {
            let born = Timestamp::UNIX_EPOCH;
            let mut lease = policy().grant(None, born).unwrap();
            let mut now = born;
            for (ttl, pause) in wishes {
                now += Duration::from_secs(pause);
                if let Ok(longer) = policy().extend(lease, Duration::from_secs(ttl), now) {
                    prop_assert!(longer.expires_at >= lease.expires_at);
                    lease = longer;
                }
                prop_assert!(lease.expires_at <= born + policy().max_lifetime);
            }
        }
    }
}
