//! How much one creator, and everybody together, may have at once. The store applies it inside its admission
//! transaction, so that two requests can never both take the last place.

use super::Timestamp;

/// The caps. Zero means no cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Instances that one creator may have creating or running at once.
    pub per_creator: u32,
    /// Instances that may exist at once in this deployment.
    pub global: u32,
}

/// What is in use at the moment of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Instances of this creator that are creating or running.
    pub of_creator: u32,
    /// Instances of all creators that have not ended.
    pub total: u32,
    /// When the first of the creator's instances ends, if it has any.
    pub creator_frees_at: Option<Timestamp>,
}

/// Why a quota refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuotaExceeded {
    /// The creator has as many as one may have.
    #[error("you already have {}, which is the most you may have at once", counted(*limit))]
    PerCreator {
        /// The cap.
        limit: u32,
        /// When the first of them ends, which is when another try makes sense.
        frees_at: Option<Timestamp>,
    },
    /// The deployment has as many as its operator allows.
    #[error("this server already runs {}, which is the most its operator allows", counted(*limit))]
    Global {
        /// The cap.
        limit: u32,
    },
}

/// So many instances in words.
pub(crate) fn counted(instances: u32) -> String {
    if instances == 1 { "1 instance".to_owned() } else { format!("{instances} instances") }
}

impl Quotas {
    /// Whether one more instance is allowed.
    ///
    /// # Errors
    /// The cap that stands in the way; the creator's own comes first, because only it can be acted upon.
    pub fn check(&self, usage: Usage) -> Result<(), QuotaExceeded> {
        if self.per_creator > 0 && usage.of_creator >= self.per_creator {
            return Err(QuotaExceeded::PerCreator { limit: self.per_creator, frees_at: usage.creator_frees_at });
        }
        if self.global > 0 && usage.total >= self.global {
            return Err(QuotaExceeded::Global { limit: self.global });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(of_creator: u32, total: u32) -> Usage {
        Usage { of_creator, total, creator_frees_at: None }
    }

    #[test]
    fn the_last_place_is_given_and_the_next_is_refused() {
        let quotas = Quotas { per_creator: 6, global: 10 };
        assert_eq!(quotas.check(usage(5, 9)), Ok(()));
        assert_eq!(quotas.check(usage(6, 9)), Err(QuotaExceeded::PerCreator { limit: 6, frees_at: None }));
        assert_eq!(quotas.check(usage(0, 10)), Err(QuotaExceeded::Global { limit: 10 }));
    }

    #[test]
    fn zero_means_no_cap() {
        assert_eq!(Quotas { per_creator: 0, global: 0 }.check(usage(u32::MAX, u32::MAX)), Ok(()));
    }
}
