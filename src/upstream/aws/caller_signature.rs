//! Verifies the signatures of callers that sign as AWS SDKs do for Bedrock.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::canonical_request::{Scope, SignedRequest, signature, string_to_sign};
use super::sign::{BEDROCK, hash};
use crate::secret::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const BODY_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// How far a caller's clock may deviate. For the same time a recorded request can be sent again.
const TOLERANCE: Duration = Duration::from_secs(15 * 60);

/// The signature of a request, not verified yet.
#[derive(Debug)]
pub struct CallerSignature<'h> {
    access_key: &'h str,
    scope: Scope<'h>,
    /// The names of the signed headers.
    names: &'h str,
    signature: [u8; 32],
    /// `x-amz-date`
    time: &'h str,
}

/// Why a signature is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// The header does not have the form `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`, or
    /// `x-amz-date` is not a time.
    Malformed,
    /// It is valid for another service than Bedrock.
    WrongService,
    /// It does not cover `host` and `x-amz-date`, or covers a missing header.
    WrongHeaders,
    /// It was made more than 15 minutes ago, or more than 15 minutes in the future.
    Expired,
    /// `x-amz-content-sha256` is not the hash of the body.
    BodyMismatch,
    /// It was not made for this request with the secret key.
    Mismatch,
}

impl SignatureError {
    /// Returns the error text for the caller.
    pub fn message(self) -> &'static str {
        match self {
            SignatureError::Malformed => {
                "The Authorization header must have the form AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…, and x-amz-date must be a time."
            }
            SignatureError::WrongService => "The signature must be for the service bedrock.",
            SignatureError::WrongHeaders => {
                "The signature must cover host and x-amz-date, and no header that is missing from the request."
            }
            SignatureError::Expired => {
                "The time of the signature differs from the server's clock by more than 15 minutes."
            }
            SignatureError::BodyMismatch => {
                "The hash in x-amz-content-sha256 does not match the body."
            }
            SignatureError::Mismatch => {
                "The signature does not match this request and the secret key of its access key. A proxy that changes the path or the Host header also causes this."
            }
        }
    }
}

impl<'h> CallerSignature<'h> {
    /// Parses the signature of these headers; `None` if they contain none. Checks everything that needs
    /// neither the secret nor the body.
    pub fn from_headers(
        headers: &'h HeaderMap,
        now: SystemTime,
    ) -> Option<Result<Self, SignatureError>> {
        let value = headers.get(AUTHORIZATION)?.as_bytes();
        let value = value.strip_prefix(ALGORITHM.as_bytes())?;
        Some(Self::parse(value, headers, now))
    }

    fn parse(
        value: &'h [u8],
        headers: &'h HeaderMap,
        now: SystemTime,
    ) -> Result<Self, SignatureError> {
        let value = str::from_utf8(value).map_err(|_| SignatureError::Malformed)?;
        let [mut credential, mut names, mut signature] = [None; 3];
        for part in value.split(',') {
            match part.trim().split_once('=').ok_or(SignatureError::Malformed)? {
                ("Credential", value) => credential = Some(value),
                ("SignedHeaders", value) => names = Some(value),
                ("Signature", value) => signature = Some(value),
                _ => return Err(SignatureError::Malformed),
            }
        }
        let (credential, names) = credential.zip(names).ok_or(SignatureError::Malformed)?;
        let signature = signature.and_then(decode_hex).ok_or(SignatureError::Malformed)?;
        let (access_key, scope) = parse_credential(credential).ok_or(SignatureError::Malformed)?;
        let time = headers
            .get(DATE)
            .and_then(|time| time.to_str().ok())
            .ok_or(SignatureError::Malformed)?;
        let signed_at = parse_time(time)
            .filter(|_| time.starts_with(scope.date))
            .ok_or(SignatureError::Malformed)?;
        if scope.service != BEDROCK {
            return Err(SignatureError::WrongService);
        }
        let is_sorted = names.split(';').is_sorted_by(|a, b| a < b);
        if !is_sorted || !["host", DATE.as_str()].iter().all(|n| names.split(';').any(|o| o == *n))
        {
            return Err(SignatureError::WrongHeaders);
        }
        let deviation = now.duration_since(signed_at).unwrap_or_else(|ahead| ahead.duration());
        if deviation > TOLERANCE {
            return Err(SignatureError::Expired);
        }
        Ok(Self { access_key, scope, names, signature, time })
    }

    /// Returns the access key that the request claims to be signed with.
    pub fn access_key(&self) -> &'h str {
        self.access_key
    }

    /// Checks that the request was signed with this secret key.
    pub async fn verify(
        &self,
        head: &Parts,
        body: &Bytes,
        secret: &Secret,
    ) -> Result<(), SignatureError> {
        let hash = hash(std::slice::from_ref(body)).await;
        let signs_hash = self.names.split(';').any(|name| name == BODY_HASH.as_str());
        if signs_hash
            && head.headers.get(BODY_HASH).is_none_or(|own| own.as_bytes() != hash.as_bytes())
        {
            return Err(SignatureError::BodyMismatch);
        }
        let request = SignedRequest {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            authority: head.uri.authority().map(http::uri::Authority::as_str),
            names: self.names,
        };
        let canonical = request.canonical(&hash).ok_or(SignatureError::WrongHeaders)?;
        let string_to_sign = string_to_sign(self.time, self.scope, &canonical);
        let expected = signature(secret.expose(), self.scope, &string_to_sign);
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_ref(), &self.signature)
            .map_err(|_| SignatureError::Mismatch)
    }
}

/// Parses `AKID/20150830/us-east-1/bedrock/aws4_request`.
fn parse_credential(text: &str) -> Option<(&str, Scope<'_>)> {
    let mut parts = text.rsplitn(5, '/');
    let last = parts.next()?;
    let (service, region, date) = (parts.next()?, parts.next()?, parts.next()?);
    let access_key = parts.next().filter(|key| !key.is_empty())?;
    let is_valid = last == "aws4_request" && date.len() == 8 && !region.is_empty();
    is_valid.then_some((access_key, Scope { date, region, service }))
}

/// Parses `20150830T123600Z`.
fn parse_time(text: &str) -> Option<SystemTime> {
    let digits = |at: std::ops::Range<usize>| {
        text.get(at).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (day, time) = (digits(0..8)?, digits(9..15)?);
    if text.len() != 16 || &text[8..9] != "T" || !text.ends_with('Z') {
        return None;
    }
    let day = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]);
    let time = format!("{}:{}:{}", &time[..2], &time[2..4], &time[4..]);
    humantime::parse_rfc3339(&format!("{day}T{time}Z")).ok()
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = pair else { return None };
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    (text.len() == 64).then_some(out)
}
