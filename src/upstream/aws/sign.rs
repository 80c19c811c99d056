//! Signs requests to AWS with Signature Version 4, by `aws-sigv4`.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_lc_rs::digest::{Context, SHA256};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::config::AwsCredentials;
use crate::upstream::request_body::RequestBody;

/// The signing name of Bedrock (`signingName` of its service models).
pub(super) const BEDROCK: &str = "bedrock";
/// Bytes hashed before other tasks of the thread get a turn.
const HASH_CHUNK: usize = 256 * 1024;

/// A service of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The runtime and the control plane of Bedrock.
    Bedrock,
    /// The Security Token Service.
    Sts,
}

impl Service {
    pub(super) fn name(self) -> &'static str {
        match self {
            Service::Bedrock => BEDROCK,
            Service::Sts => "sts",
        }
    }
}

/// Converts the keys for `aws-sigv4`, once for many requests.
pub(super) fn identity(pair: &AwsCredentials) -> Identity {
    let token = pair.session_token.as_ref().map(|token| token.expose().to_owned());
    let (id, secret) = (pair.access_key.expose(), pair.secret_key.expose());
    Credentials::new(id, secret, token, None, "keymux").into()
}

/// Signs a request that is otherwise complete and whose body has this hash. `None`: it contains something
/// that cannot be signed, such as a session token that is no valid header value.
pub(super) fn sign(
    request: &mut Request<RequestBody>,
    hash: String,
    identity: &Identity,
    scope: Scope<'_>,
    now: SystemTime,
) -> Option<()> {
    let (headers, uri) = (request.headers(), request.uri().to_string());
    let signed = headers.iter().filter(|(name, _)| is_signed(name));
    let signed = signed.map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signed: Vec<_> = signed.collect::<Option<_>>()?;
    let body = SignableBody::Precomputed(hash);
    let method = request.method().as_str();
    let signable = SignableRequest::new(method, uri, signed.into_iter(), body).ok()?;
    let new_headers = signature(signable, identity, scope, SigningSettings::default(), now)?;
    request.headers_mut().extend(new_headers);
    Some(())
}

/// Region and service that a signature is valid for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s> {
    pub(super) region: &'s str,
    pub(super) service: &'s str,
}

/// Returns the headers `authorization`, `x-amz-date` and, with a session token, `x-amz-security-token`.
/// The default settings encode the path a second time and remove its dot segments, as every service
/// except S3 requires.
pub(super) fn signature(
    request: SignableRequest<'_>,
    identity: &Identity,
    scope: Scope<'_>,
    settings: SigningSettings,
    now: SystemTime,
) -> Option<HeaderMap> {
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region(scope.region)
        .name(scope.service)
        .time(now)
        .settings(settings)
        .build()
        .ok()?;
    let (instructions, _) =
        aws_sigv4::http_request::sign(request, &params.into()).ok()?.into_parts();
    let (headers, _) = instructions.into_parts();
    headers
        .into_iter()
        .map(|header| {
            let mut value = HeaderValue::from_str(header.value()).ok()?;
            value.set_sensitive(header.sensitive() || header.name() == "authorization");
            Some((HeaderName::from_static(header.name()), value))
        })
        .collect()
}

/// Returns true for headers that the signature covers. Headers that a proxy may change are left out; `host`
/// is added from the URI.
fn is_signed(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "content-type") || name.as_str().starts_with("x-amzn-bedrock-")
}

/// Returns the SHA-256 of a body in pieces, in hex. Yields between chunks, so that a long body does not
/// block other tasks: 32 MiB take from 20 ms to ten times that, depending on the processor.
pub(super) async fn hash(pieces: &[Bytes]) -> String {
    let mut context = Context::new(&SHA256);
    for chunk in pieces.iter().flat_map(|piece| piece.chunks(HASH_CHUNK)) {
        context.update(chunk);
        if chunk.len() == HASH_CHUNK {
            tokio::task::yield_now().await;
        }
    }
    hex(context.finish().as_ref())
}

/// Encodes in lower-case hex, as signatures require.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
