//! Header values that contain a secret, marked sensitive so that no log prints them.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use crate::secret::Secret;

/// Returns `Bearer SECRET`, for `authorization`.
pub fn bearer(secret: &Secret) -> io::Result<HeaderValue> {
    sensitive(&format!("Bearer {}", secret.expose()))
}

/// Returns `Basic ...` for a proxy's `user:password`, for `proxy-authorization`.
pub(super) fn basic(secret: &Secret) -> io::Result<HeaderValue> {
    sensitive(&format!("Basic {}", BASE64_STANDARD.encode(secret.expose())))
}

/// Returns the secret itself as a header value.
pub(super) fn plain(secret: &Secret) -> io::Result<HeaderValue> {
    sensitive(secret.expose())
}

fn sensitive(text: &str) -> io::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        io::Error::other("a secret contains characters that are not allowed in an HTTP header")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
