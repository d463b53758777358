//! The map from every error of the brain to a problem: exhaustive, so that a new error cannot be forgotten.

use std::{fmt, time::Duration};

use getaredis_actors::{
    domain::{InstanceState, LeaseRefused, QuotaExceeded, Timestamp},
    ports::StoreError,
    rate_limit::messages::Refused,
    reaper::messages::ExtendError,
    scheduler::messages::{CordonError, CreateError, EndError},
    supervision::AskError,
};
use serde_json::json;

use super::{Kind, Problem};

/// An actor that restarts is back within a second or two, unless it fails again.
const AFTER_A_RESTART: Duration = Duration::from_secs(2);
/// Somebody has to look after it first.
const AFTER_A_LOSS: Duration = Duration::from_secs(30);
/// What is in the way is being worked on now.
const AFTER_A_RUSH: Duration = Duration::from_secs(2);
/// A database that was restarted or locked is back by then.
const AFTER_THE_STORE: Duration = Duration::from_secs(5);
/// The next try goes to another host, or to one that has recovered.
const AFTER_A_HOST: Duration = Duration::from_secs(5);
/// Places become free as leases end; nobody knows when.
const AFTER_A_FULL_FLEET: Duration = Duration::from_secs(30);

impl Problem {
    /// Why an instance was not made; `now` turns times into waits.
    pub(in crate::web) fn of_create(error: CreateError, now: Timestamp) -> Self {
        match error {
            CreateError::Lease(refused) => Self::of_lease(&refused, now),
            CreateError::UnknownFlavour { name, known } => {
                let allowed = known.split(", ").collect::<Vec<_>>();
                Self::invalid("flavour", format!("There is no flavour {name:?}; there is: {known}."))
                    .allowed(json!(allowed))
            }
            CreateError::Quota(refused) => Self::of_quota(refused, now),
            CreateError::KeyConflict => Self::new(
                Kind::IdempotencyConflict,
                "This Idempotency-Key was used for a request that asked for something else. Use a new one.",
            ),
            // Not a conflict: the same request with the same key is right, only early.
            CreateError::KeyInUse => Self::new(
                Kind::Busy,
                "The first request with this Idempotency-Key is still being worked on. Repeat it with the same key.",
            )
            .retry_after(AFTER_A_RUSH),
            CreateError::NoPlace(why) => {
                // After a restart every host joins anew, which is a matter of a moment.
                let soonest = why.ready_in.or(why.next_order_in).unwrap_or(AFTER_A_FULL_FLEET);
                let wait = match why.joining > 0 {
                    true => AFTER_A_RESTART,
                    // What is ready then is for others. Somebody's time has to be over first.
                    false if why.spoken_for => soonest.max(AFTER_A_FULL_FLEET),
                    false => soonest,
                };
                Self::new(Kind::FleetFull, format!("No host has room for another instance: {why}."))
                    .reason(why)
                    .retry_after(wait)
            }
            CreateError::Busy { in_flight } => {
                Self::new(Kind::Busy, "As many requests are being worked on as can be at once.")
                    .retry_after(AFTER_A_RUSH)
                    .because(format_args!("{in_flight} in flight"))
            }
            CreateError::Starting => {
                Self::new(Kind::Restarting, "The server has just started and is still taking stock.")
                    .retry_after(AFTER_A_RESTART)
            }
            CreateError::Stopping => Self::new(
                Kind::Restarting,
                "The server stops, and you were still waiting for a place. Nothing was made.",
            )
            .retry_after(AFTER_A_RESTART),
            CreateError::Store(error) => Self::of_store(error),
            CreateError::Host(words) => {
                Self::new(Kind::HostFailed, "No machine managed to start it.").retry_after(AFTER_A_HOST).because(words)
            }
            CreateError::GivenUp(words) => {
                Self::new(Kind::HostFailed, "It could not be started in time and was given up.")
                    .retry_after(AFTER_A_HOST)
                    .because(words)
            }
        }
    }

    /// Why a host's cordon was not changed.
    pub(in crate::web) fn of_cordon(error: CordonError) -> Self {
        match error {
            CordonError::NoSuchHost => Self::no_such_host(),
            // The only one there is: it drains, and would be deleted once it is empty.
            CordonError::Illegal(illegal) => {
                Self::new(Kind::HostConflict, "The host drains already. Uncordon it first.").reason(illegal.from)
            }
            CordonError::Store(error) => Self::of_store(error),
        }
    }

    /// Why an instance was not ended.
    pub(in crate::web) fn of_end(error: EndError) -> Self {
        match error {
            EndError::NotFound => Self::no_such_instance(),
            EndError::AlreadyEnded(instance) => Self::ended(&instance),
            // Only an expiry can come too early, and the edge asks for none.
            EndError::NotDue => Self::internal("a deletion was taken for an expiry"),
            EndError::Store(error) => Self::of_store(error),
        }
    }

    /// Why a lease was not extended; `now` turns times into waits.
    pub(in crate::web) fn of_extend(error: ExtendError, now: Timestamp) -> Self {
        match error {
            ExtendError::NotFound => Self::no_such_instance(),
            ExtendError::NotRunning(instance) => match instance.state {
                // All but `Creating` are a race: it was not so when the reaper looked.
                InstanceState::Creating | InstanceState::Running | InstanceState::Unreachable => {
                    Self::new(Kind::NotRunning, "An instance can be extended once it is running.")
                        .reason(instance.state.as_str())
                        .retry_after(AFTER_A_RUSH)
                }
                InstanceState::Stopping(_) | InstanceState::Ended(_) => Self::ended(&instance),
            },
            ExtendError::Lease(refused) => Self::of_lease(&refused, now),
            ExtendError::Store(error) => Self::of_store(error),
        }
    }

    /// Why a creator was not let in.
    pub(in crate::web) fn of_refused(refused: &Refused) -> Self {
        match refused {
            Refused::TooFast { retry_after } => {
                Self::new(Kind::RateLimited, "You have asked too often in a short while.").retry_after(*retry_after)
            }
            Refused::Banned => {
                Self::new(Kind::Forbidden, "The operator of this server does not let requests from this address in.")
            }
        }
    }

    /// Why an actor gave no answer.
    pub(in crate::web) fn of_ask(error: AskError, whom: &'static str) -> Self {
        let problem = match error {
            AskError::Restarting => Self::new(Kind::Restarting, "A part of the server failed and is starting again.")
                .retry_after(AFTER_A_RESTART),
            AskError::Down => Self::new(Kind::Restarting, "A part of the server is out of service at the moment.")
                .retry_after(AFTER_A_LOSS),
            AskError::Timeout => Self::new(
                Kind::Busy,
                "It took too long. Repeat the request, with the same Idempotency-Key if it had one.",
            )
            .retry_after(AFTER_A_RUSH),
            AskError::Busy => Self::new(Kind::Busy, "As many requests are being worked on as can be at once.")
                .retry_after(AFTER_A_RUSH),
        };
        problem.because(format_args!("{whom}: {error}"))
    }

    /// Why the database did not do it.
    pub(in crate::web) fn of_store(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(words) => {
                Self::new(Kind::StoreUnavailable, "The server cannot read or write its records at the moment.")
                    .retry_after(AFTER_THE_STORE)
                    .because(words)
            }
            StoreError::NotFound => Self::no_such_instance(),
            StoreError::Illegal(illegal) => Self::internal(illegal),
            StoreError::Corrupt(words) => Self::internal(words),
        }
    }

    fn of_lease(refused: &LeaseRefused, now: Timestamp) -> Self {
        let problem = Self::invalid("ttl", sentence(refused));
        match refused {
            LeaseRefused::OutOfBounds { min, max } => Self::invalid("ttl", format!("The {refused}."))
                .allowed(json!({"min_s": min.as_secs(), "max_s": max.as_secs()})),
            LeaseRefused::BeyondLifetime { max_expires_at } => {
                let max_s = max_expires_at.duration_since(now).as_secs().max(0);
                problem.allowed(json!({"max_s": max_s, "max_expires_at": max_expires_at}))
            }
            LeaseRefused::Shortens { expires_at } => {
                problem.allowed(json!({"min_s": seconds_until(*expires_at, now), "min_expires_at": expires_at}))
            }
        }
    }

    fn of_quota(refused: QuotaExceeded, now: Timestamp) -> Self {
        match refused {
            QuotaExceeded::PerCreator { limit, frees_at } => {
                let problem = Self::new(Kind::QuotaExceeded, sentence(refused)).limit(limit);
                match frees_at {
                    Some(at) => problem.retry_after(Duration::from_secs(seconds_until(at, now))),
                    None => problem,
                }
            }
            QuotaExceeded::Global { limit } => Self::new(Kind::FleetFull, sentence(refused))
                .limit(limit)
                .reason("as many instances as the operator allows")
                .retry_after(AFTER_A_FULL_FLEET),
        }
    }
}

/// Whole seconds from `now` until `then`, rounded up; none when it is over.
pub(in crate::web) fn seconds_until(then: Timestamp, now: Timestamp) -> u64 {
    let millis = then.duration_since(now).as_millis();
    u64::try_from(millis).unwrap_or(0).div_ceil(1000)
}

/// The words of an error as a sentence.
fn sentence(words: impl fmt::Display) -> String {
    let words = words.to_string();
    let mut rest = words.chars();
    match rest.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), rest.as_str()),
        None => words,
    }
}
