//! What implements the ports of the brain against the outside. Must not decide anything. Only `wiring` names the
//! adapters in here.

pub mod clock;
pub mod directory;
pub mod master_key;
pub mod store;
