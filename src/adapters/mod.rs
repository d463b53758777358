//! What implements the ports of the brain. Only `wiring` names the adapters in here.

pub mod clock;
pub mod directory;
pub mod master_key;
