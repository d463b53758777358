//! Owns how tests wait: for a condition, with a deadline, and with what was there instead in the message.

use std::time::{Duration, Instant};

/// How soon a condition is looked at again: first this, then ever later, because looking costs a server without
/// optimizations some milliseconds of a processor that all tests share.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Long enough for anything that ought to happen by itself, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(45);

/// Waits until `look` finds what it looks for. Its error says how things stand instead, and is the test's message when
/// that does not change in time.
pub async fn eventually<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let (deadline, mut pause) = (Instant::now() + within, FIRST_PAUSE);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < deadline, "not within {within:?}: {what}; instead: {instead}"),
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}
