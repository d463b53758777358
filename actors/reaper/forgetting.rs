//! Forgetting what ended long ago, a little at a time.
//!
//! Owns when it is done and how much at once. Must never make a create wait, nor forget a row because a clock jumped:
//! ages are told by [`Steady`](super::steady::Steady).

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::ReaperActor;
use crate::patience;

/// It is looked for rows that have been kept for long enough when another such part of that time has passed, but so often
/// at most and so seldom at least.
const PART: u32 = 100;
const SOONEST: Duration = Duration::from_secs(10);
const LATEST: Duration = Duration::from_secs(3600);

/// Servers that start together do not purge together: the first pass is at any time within this.
pub(super) const FIRST_WITHIN: Duration = Duration::from_secs(60);

/// How long after a pass that failed the next one is made.
const AGAIN: Duration = Duration::from_secs(30);

/// Rows that are forgotten in one transaction, and the pause until the next one, so that a create never waits for long.
const AT_ONCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);

impl ReaperActor {
    /// Forgets one batch of what ended long ago; the next one follows soon if there is more or this one failed, else after
    /// a while. Nothing has to be remembered of a pass that is cut off.
    pub(super) fn purge(&mut self, ctx: &mut Context<Self>) {
        let tools = self.tools.clone();
        let batch = async move {
            match tools.steady.now(&*tools.clock).checked_sub(tools.settings.reaper.keep_ended) {
                Ok(ended_before) => patience::store(tools.store.purge(ended_before, AT_ONCE)).await,
                // Nothing is that old.
                Err(_) => Ok(0),
            }
        };
        ctx.spawn(batch.into_actor(self).map(|purged, actor, ctx| {
            let pause = match purged {
                Ok(purged) => {
                    actor.status.purged += u64::from(purged);
                    actor.status.purging = purged >= AT_ONCE;
                    let keep = actor.tools.settings.reaper.keep_ended;
                    if actor.status.purging { PAUSE } else { (keep / PART).clamp(SOONEST, LATEST) }
                }
                Err(error) => {
                    actor.status.purging = false;
                    actor.note_error(&error.to_string());
                    AGAIN
                }
            };
            ctx.run_later(pause, Self::purge);
        }));
    }
}
