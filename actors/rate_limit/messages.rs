//! What the rate limit is asked.

use std::{net::IpAddr, time::Duration};

use actix::Message;

use crate::domain::Creator;

/// May this creator make one more request now? Sent by every door that lets a create in; the answer uses up one
/// request of the creator's rate. If no answer comes, nobody is let in.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Refused>")]
pub struct Admit {
    /// Whose rate it uses up.
    pub creator: Creator,
    /// Where it comes from, which is what bans look at.
    pub address: IpAddr,
}

/// May this address go on sending wrong tokens? Sent by every door that was shown one; the answer uses up one of the
/// address's wrong tokens, and no right one ever does. If no answer comes, the token is refused all the same.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Refused>")]
pub struct WrongToken {
    /// Where it comes from.
    pub address: IpAddr,
}

/// Why a creator is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many requests; the next one is let in after this long.
    #[error("too many requests; try again in {} s", retry_after.as_secs().max(1))]
    TooFast {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The operator banned this address.
    #[error("this address was banned by the operator of this server")]
    Banned,
}
