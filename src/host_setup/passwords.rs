//! The line that opens a host's engine: a user and the hash of a password, as nginx reads it.

use getaredis_actors::domain::{HostName, MasterKey, secret::sha256_hex};
use secrecy::ExposeSecret;
use sha_crypt::{ROUNDS_MIN, Sha512Params, sha512_crypt_b64};

use super::HostSetupError;

/// The user that the control plane is at an engine.
pub const ENGINE_USER: &str = "getaredis";

/// The longest salt that SHA-512-crypt takes.
const SALT_BYTES: usize = 16;

/// `user:$6$…`. The fewest rounds there are: the password is 256 random bits, which no number of rounds has to protect,
/// and nginx does them for every request.
pub(super) fn line(master_key: &MasterKey, host: &HostName) -> Result<String, HostSetupError> {
    let password = master_key.engine_password(host);
    let failed = |why: String| HostSetupError::Secret { what: "password hash", why };
    // From the password itself, so that the same host always gets the same line; it gives nothing of it away.
    let digest = sha256_hex(&format!("salt\0{}", password.expose_secret()).into());
    let salt = &digest[..SALT_BYTES];
    let params = Sha512Params::new(ROUNDS_MIN).map_err(|e| failed(format!("{e:?}")))?;
    let hash = sha512_crypt_b64(password.expose_secret().as_bytes(), salt.as_bytes(), &params)
        .map_err(|e| failed(format!("{e:?}")))?;
    Ok(format!("{ENGINE_USER}:$6$rounds={ROUNDS_MIN}${salt}${hash}"))
}
