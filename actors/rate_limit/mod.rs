//! The room of the rate limit: the door that every create passes first.
//!
//! - **Owns** the request rates of creators that were seen lately, those of addresses that show wrong tokens, and the
//!   operator's bans.
//! - **Decides** whether one more request of a creator is let in, and when the next one will be; and the same of an
//!   address that guesses tokens.
//! - **Must never** let anybody in by staying silent: where no answer comes, the asker lets nobody in. It knows nothing
//!   of quotas, which count what lives and not what is asked for.
//! - **Forgets on restart** the rates: everybody has a full burst again. Bans come from the settings and stay.

pub mod messages;
mod state;

use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler};

use self::{
    messages::{Admit, Refused, WrongToken},
    state::Door,
};
use crate::{answers_probe, settings::Settings};

/// How often creators that have been idle are forgotten. A bucket is full again within minutes, and until then it is
/// some dozen bytes.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Answers [`Admit`]. See the module.
pub struct RateLimitActor {
    door: Door,
}

impl RateLimitActor {
    /// A limit that has seen nobody yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { door: Door::new(settings.rate, settings.wrong_tokens, settings.banned.clone()) }
    }

    fn tidy(&mut self, ctx: &mut Context<Self>) {
        self.door.tidy();
        ctx.run_later(TIDY_EVERY, Self::tidy);
    }
}

impl Actor for RateLimitActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.tidy(ctx);
    }
}

answers_probe!(RateLimitActor);

impl Handler<Admit> for RateLimitActor {
    type Result = Result<(), Refused>;

    fn handle(&mut self, Admit { creator, address }: Admit, _: &mut Context<Self>) -> Self::Result {
        self.door.knock(&creator, address)
    }
}

impl Handler<WrongToken> for RateLimitActor {
    type Result = Result<(), Refused>;

    fn handle(&mut self, WrongToken { address }: WrongToken, _: &mut Context<Self>) -> Self::Result {
        self.door.guess(address)
    }
}
