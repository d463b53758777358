//! `[admin]`: who may see the operator's console.

use super::{
    kinds::{list, parsed},
    reader::{Reader, read_section},
};

/// The operator's access.
#[derive(Debug, Clone)]
pub struct Admin {
    /// SHA-256 of the operator's token; nothing closes the console.
    pub token_sha256: Option<[u8; 32]>,
    /// Origins that may open the feed, beside the page's own; `https://host[:port]` in lower case.
    pub allowed_origins: Vec<String>,
}

impl Admin {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(read_section!(reader, "admin" => Admin {
            token_sha256: parsed(optional_hash),
            allowed_origins: list(parsed(origin)),
        }))
    }
}

fn optional_hash(text: &str) -> Result<Option<[u8; 32]>, String> {
    if text.is_empty() { Ok(None) } else { token_hash(text).map(Some).map_err(|e| format!("{e}, or empty")) }
}

/// The SHA-256 of a token.
pub(super) fn token_hash(hex: &str) -> Result<[u8; 32], &'static str> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    hex.as_bytes()
        .chunks(2)
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or("must be 64 hex digits, the SHA-256 of the token: printf %s \"$TOKEN\" | sha256sum")
}

/// An origin as a browser sends it: scheme, host and port, nothing behind.
fn origin(text: &str) -> Result<String, &'static str> {
    let origin = text.to_ascii_lowercase();
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    if host.is_empty() || !host.bytes().all(plain) {
        return Err("must be scheme, host and port as a browser sends them, such as https://ops.example.org");
    }
    Ok(origin)
}
