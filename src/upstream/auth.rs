//! The one place where a secret is opened: a key becomes a header here, and nowhere else.

use std::collections::HashSet;
use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{AzureAccess, Cloud, Key};
use crate::provider::{Auth, Kind};
use crate::secret::Secret;

/// No output of keymux holds this many characters of a secret in a row.
const TELLING: usize = 6;

/// A key made ready to go into requests, once per configuration and not once per request.
#[derive(Debug)]
pub struct Credential {
    header: Option<(HeaderName, HeaderValue)>,
    /// What the provider is sent and might echo.
    secrets: Vec<Secret>,
}

impl Credential {
    /// Makes the key ready for its provider's way of asking for it. `others` are secrets that go with
    /// it: the values of the provider's extra headers.
    pub fn of<'s>(
        key: &'s Key,
        kind: Kind,
        others: impl Iterator<Item = &'s Secret>,
    ) -> io::Result<Self> {
        let own = |name: &'static str, secret: &Secret| {
            Ok::<_, io::Error>(Some((HeaderName::from_static(name), header(secret)?)))
        };
        let header = match (kind.row().auth, &key.value, &key.cloud) {
            (Auth::Bearer, Some(secret), _) => Some(bearer(secret)?),
            (Auth::Anthropic, Some(secret), _) => own("x-api-key", secret)?,
            (Auth::Gemini, Some(secret), _) => own("x-goog-api-key", secret)?,
            (Auth::Cloud, _, Cloud::Azure(azure)) => match &azure.access {
                AzureAccess::ApiKey(secret) => own("api-key", secret)?,
                AzureAccess::Entra(_) => None,
            },
            _ => None,
        };
        Ok(Self { header, secrets: key.value.iter().chain(others).cloned().collect() })
    }

    /// Puts the credential into a request.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Some((name, value)) = &self.header {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// The body of a provider's error with every piece of a secret cut out of it; the same bytes when
    /// it holds none.
    pub fn redact(&self, body: Bytes) -> Bytes {
        self.secrets.iter().fold(body, |body, secret| redact(secret.expose().as_bytes(), body))
    }
}

fn bearer(secret: &Secret) -> io::Result<(HeaderName, HeaderValue)> {
    Ok((AUTHORIZATION, sensitive(&format!("Bearer {}", secret.expose()))?))
}

/// An extra header of a provider; its value may be a secret.
pub fn header(secret: &Secret) -> io::Result<HeaderValue> {
    sensitive(secret.expose())
}

/// `proxy-authorization` for a proxy's `user:password`.
pub fn proxy(secret: &Secret) -> io::Result<HeaderValue> {
    sensitive(&format!("Basic {}", BASE64_STANDARD.encode(secret.expose())))
}

fn sensitive(text: &str) -> io::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| io::Error::other("a secret holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn redact(secret: &[u8], body: Bytes) -> Bytes {
    let pieces: HashSet<&[u8]> = secret.windows(TELLING).collect();
    let mut hidden = vec![false; body.len()];
    for (at, window) in body.windows(TELLING).enumerate() {
        if pieces.contains(window) {
            hidden[at..at + TELLING].fill(true);
        }
    }
    if !hidden.contains(&true) {
        return body;
    }
    let mut out = BytesMut::with_capacity(body.len());
    let mut at = 0;
    for run in hidden.chunk_by(|a, b| a == b) {
        out.extend_from_slice(if run[0] { b"***" } else { &body[at..at + run.len()] });
        at += run.len();
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(secret: &str, body: &'static str) -> String {
        let body = redact(secret.as_bytes(), Bytes::from(body));
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn a_key_is_cut_out_of_an_error_whole_or_in_part() {
        let secret = "sk-proj-abcdefghij";
        assert_eq!(redacted(secret, "bad key sk-proj-abcdefghij!"), "bad key ***!");
        assert_eq!(redacted(secret, "bad key sk-proj-****ghij"), "bad key *******ghij");
        assert_eq!(redacted(secret, "sk-proj-abcdefghij and cdefgh"), "*** and ***");
        assert_eq!(redacted(secret, "nothing of it"), "nothing of it");
    }

    #[test]
    fn a_short_secret_never_matches() {
        assert_eq!(redacted("abc", "abcabcabc"), "abcabcabc");
    }
}
