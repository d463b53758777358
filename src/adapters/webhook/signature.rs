//! The signature of a notice, by version 1 of the Standard Webhooks specification.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

/// The value of `webhook-signature`.
///
/// # Errors
/// When the key is none; one of any length is.
pub(super) fn sign(key: &SecretSlice<u8>, id: &str, seconds: &str, body: &str) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).map_err(|e| e.to_string())?;
    for part in [id, ".", seconds, ".", body] {
        mac.update(part.as_bytes());
    }
    Ok(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
}
