//! The text that a signature of Version 4 covers, from a received request.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use aws_lc_rs::hmac::{HMAC_SHA256, Key, Tag, sign};
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::sign::hex;
use crate::secret::sha256;

/// All characters except RFC 3986's unreserved ones.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &RESERVED.remove(b'/');

/// The parts of a request that its signature covers.
#[derive(Clone, Copy)]
pub(super) struct SignedRequest<'r> {
    pub(super) method: &'r str,
    /// As received, still encoded.
    pub(super) path: &'r str,
    pub(super) query: &'r str,
    pub(super) headers: &'r HeaderMap,
    /// The host, if no header contains it (HTTP/2).
    pub(super) authority: Option<&'r str>,
    /// The names of the signed headers, sorted and separated by `;`.
    pub(super) names: &'r str,
}

/// Date, region and service that a signature is valid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope<'r> {
    /// `20150830`
    pub(super) date: &'r str,
    pub(super) region: &'r str,
    pub(super) service: &'r str,
}

impl SignedRequest<'_> {
    /// Returns the canonical request for a body with this hash; `None` if a signed header is missing or
    /// not text.
    pub(super) fn canonical(&self, hash: &str) -> Option<String> {
        let mut out = format!(
            "{}\n{}\n{}\n",
            self.method,
            canonical_path(self.path),
            canonical_query(self.query)
        );
        for name in self.names.split(';') {
            let mut values = self.headers.get_all(name).iter().peekable();
            let host = self.authority.filter(|_| name == "host" && values.peek().is_none());
            if host.is_none() && values.peek().is_none() {
                return None;
            }
            out.push_str(name);
            let mut separator = ':';
            for value in values {
                out.push(separator);
                separator = ',';
                let words = value.to_str().ok()?.split_ascii_whitespace();
                for (index, word) in words.enumerate() {
                    out.push_str(if index > 0 { " " } else { "" });
                    out.push_str(word);
                }
            }
            if let Some(host) = host {
                out.push(separator);
                out.push_str(host);
            }
            out.push('\n');
        }
        Some(out + "\n" + self.names + "\n" + hash)
    }
}

/// Returns the string to sign for a canonical request, at a time such as `20150830T123600Z`.
pub(super) fn string_to_sign(time: &str, scope: Scope<'_>, canonical: &str) -> String {
    let Scope { date, region, service } = scope;
    let hash = hex(&sha256(canonical.as_bytes()));
    format!("AWS4-HMAC-SHA256\n{time}\n{date}/{region}/{service}/aws4_request\n{hash}")
}

/// Signs a [`string_to_sign`] with an account's secret key.
pub(super) fn signature(secret: &str, scope: Scope<'_>, string_to_sign: &str) -> Tag {
    let mac = |key: &[u8], text: &str| sign(&Key::new(HMAC_SHA256, key), text.as_bytes());
    let date = mac(format!("AWS4{secret}").as_bytes(), scope.date);
    let region = mac(date.as_ref(), scope.region);
    let service = mac(region.as_ref(), scope.service);
    mac(mac(service.as_ref(), "aws4_request").as_ref(), string_to_sign)
}

/// Removes dot segments and empty ones, and encodes the rest: a second time, because the path is encoded
/// already.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", utf8_percent_encode(&segments.join("/"), PATH))
}

/// Sorts the pairs, and encodes every name and value once.
fn canonical_query(query: &str) -> String {
    let encoded = |text: &str| {
        let bytes: Vec<u8> = percent_decode_str(text).collect();
        percent_encoding::percent_encode(&bytes, RESERVED).to_string()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut pairs: Vec<_> = pairs.map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}
