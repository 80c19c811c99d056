//! Callers that sign their requests in the manner of AWS, as every AWS SDK does with Bedrock's API.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::canonical_request::{Scope, Signed, signature, string_to_sign};
use super::sign::{SERVICE, hash};
use crate::secret::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const BODY_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// How far a caller's clock may be off. A request that is overheard can be sent again for as long.
const TOLERANCE: Duration = Duration::from_secs(15 * 60);

/// A signature that a request shows, not verified yet.
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

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// The header is not of the form `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`, or
    /// `x-amz-date` is no time.
    Form,
    /// It is for another service than Bedrock.
    Service,
    /// It does not cover `host` and `x-amz-date`, or covers a header that is not there.
    Headers,
    /// It was made more than 15 minutes ago, or in the future.
    Time,
    /// `x-amz-content-sha256` is not the hash of the body.
    Body,
    /// It is not that of this request with the secret.
    Signature,
}

impl SignatureError {
    /// In words, for the caller.
    pub fn message(self) -> &'static str {
        match self {
            SignatureError::Form => {
                "The Authorization header is not of the form AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=… with an x-amz-date."
            }
            SignatureError::Service => "The signature is for another service than bedrock.",
            SignatureError::Headers => {
                "The signature must cover host and x-amz-date, and no header that is not there."
            }
            SignatureError::Time => {
                "The signature was made more than 15 minutes from now: look at the clock."
            }
            SignatureError::Body => "The hash in x-amz-content-sha256 is not that of the body.",
            SignatureError::Signature => {
                "The signature is not that of this request with the secret key of its access key. A proxy that changes the path or the Host header makes it so too."
            }
        }
    }
}

impl<'h> CallerSignature<'h> {
    /// The signature in these headers; `None` when they show none. What can be told without the secret
    /// and the body is checked here.
    pub fn from_headers(
        headers: &'h HeaderMap,
        now: SystemTime,
    ) -> Option<Result<Self, SignatureError>> {
        let shown = headers.get(AUTHORIZATION)?.as_bytes();
        let shown = shown.strip_prefix(ALGORITHM.as_bytes())?;
        Some(Self::read(shown, headers, now))
    }

    fn read(
        shown: &'h [u8],
        headers: &'h HeaderMap,
        now: SystemTime,
    ) -> Result<Self, SignatureError> {
        let shown = str::from_utf8(shown).map_err(|_| SignatureError::Form)?;
        let [mut credential, mut names, mut signature] = [None; 3];
        for part in shown.split(',') {
            match part.trim().split_once('=').ok_or(SignatureError::Form)? {
                ("Credential", value) => credential = Some(value),
                ("SignedHeaders", value) => names = Some(value),
                ("Signature", value) => signature = Some(value),
                _ => return Err(SignatureError::Form),
            }
        }
        let (credential, names) = credential.zip(names).ok_or(SignatureError::Form)?;
        let signature = signature.and_then(unhex).ok_or(SignatureError::Form)?;
        let (access_key, scope) = read_credential(credential).ok_or(SignatureError::Form)?;
        let time =
            headers.get(DATE).and_then(|time| time.to_str().ok()).ok_or(SignatureError::Form)?;
        let made =
            unix(time).filter(|_| time.starts_with(scope.date)).ok_or(SignatureError::Form)?;
        if scope.service != SERVICE {
            return Err(SignatureError::Service);
        }
        let sorted = names.split(';').is_sorted_by(|a, b| a < b);
        if !sorted || !["host", DATE.as_str()].iter().all(|n| names.split(';').any(|o| o == *n)) {
            return Err(SignatureError::Headers);
        }
        let apart = now.duration_since(made).unwrap_or_else(|ahead| ahead.duration());
        if apart > TOLERANCE {
            return Err(SignatureError::Time);
        }
        Ok(Self { access_key, scope, names, signature, time })
    }

    /// Who says to have signed.
    pub fn access_key(&self) -> &'h str {
        self.access_key
    }

    /// Whether the request was signed with that secret.
    pub async fn verify(
        &self,
        head: &Parts,
        body: &Bytes,
        secret: &Secret,
    ) -> Result<(), SignatureError> {
        let hash = hash(std::slice::from_ref(body)).await;
        let told = self.names.split(';').any(|name| name == BODY_HASH.as_str());
        if told && head.headers.get(BODY_HASH).is_none_or(|own| own.as_bytes() != hash.as_bytes()) {
            return Err(SignatureError::Body);
        }
        let request = Signed {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            authority: head.uri.authority().map(http::uri::Authority::as_str),
            names: self.names,
        };
        let canonical = request.canonical(&hash).ok_or(SignatureError::Headers)?;
        let string_to_sign = string_to_sign(self.time, self.scope, &canonical);
        let expected = signature(secret.expose(), self.scope, &string_to_sign);
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_ref(), &self.signature)
            .map_err(|_| SignatureError::Signature)
    }
}

/// `AKID/20150830/us-east-1/bedrock/aws4_request`
fn read_credential(text: &str) -> Option<(&str, Scope<'_>)> {
    let mut parts = text.rsplitn(5, '/');
    let last = parts.next()?;
    let (service, region, date) = (parts.next()?, parts.next()?, parts.next()?);
    let access_key = parts.next().filter(|key| !key.is_empty())?;
    let whole = last == "aws4_request" && date.len() == 8 && !region.is_empty();
    whole.then_some((access_key, Scope { date, region, service }))
}

/// `20150830T123600Z`
fn unix(text: &str) -> Option<SystemTime> {
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

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = pair else { return None };
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    (text.len() == 64).then_some(out)
}
