//! placeholder until the real one lands
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("it is restarting")]
    Restarting,
    #[error("it is down")]
    Down,
    #[error("it did not answer in time")]
    Timeout,
    #[error("it is busy")]
    Busy,
}
