//! Signature Version 4 of a request to AWS, by `aws-sigv4`.
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
use crate::upstream::Outgoing;

/// The name under which Bedrock is signed for (`signingName` of its service models).
pub(super) const SERVICE: &str = "bedrock";
/// How much is hashed before others have their turn.
const AT_ONCE: usize = 256 * 1024;

/// What is asked of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// A model, or what the control plane knows of models.
    Bedrock,
    /// Who the credentials are.
    Sts,
}

impl Service {
    pub(super) fn name(self) -> &'static str {
        match self {
            Service::Bedrock => SERVICE,
            Service::Sts => "sts",
        }
    }
}

/// What requests are signed with, made once for many.
pub(super) fn identity(pair: &AwsCredentials) -> Identity {
    let token = pair.session_token.as_ref().map(|token| token.expose().to_owned());
    let (id, secret) = (pair.access_key.expose(), pair.secret_key.expose());
    Credentials::new(id, secret, token, None, "keymux").into()
}

/// Signs a request that is otherwise complete, whose body has this hash. `None`: it holds what cannot be
/// signed, such as a session token that no header can carry.
pub(super) fn sign(
    request: &mut Request<Outgoing>,
    hash: String,
    identity: &Identity,
    good: For<'_>,
    now: SystemTime,
) -> Option<()> {
    let (headers, uri) = (request.headers(), request.uri().to_string());
    let signed = headers.iter().filter(|(name, _)| is_signed(name));
    let signed = signed.map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signed: Vec<_> = signed.collect::<Option<_>>()?;
    let body = SignableBody::Precomputed(hash);
    let method = request.method().as_str();
    let signable = SignableRequest::new(method, uri, signed.into_iter(), body).ok()?;
    let made = signature(signable, identity, good, SigningSettings::default(), now)?;
    request.headers_mut().extend(made);
    Some(())
}

/// What a signature is good for.
#[derive(Clone, Copy)]
pub(super) struct For<'s> {
    pub(super) region: &'s str,
    pub(super) service: &'s str,
}

/// `authorization`, `x-amz-date`, and `x-amz-security-token` where there is one. The default settings
/// encode the path a second time and take out its dot segments, as every service but S3 wants it.
pub(super) fn signature(
    request: SignableRequest<'_>,
    identity: &Identity,
    good: For<'_>,
    settings: SigningSettings,
    now: SystemTime,
) -> Option<HeaderMap> {
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region(good.region)
        .name(good.service)
        .time(now)
        .settings(settings)
        .build()
        .ok()?;
    let (made, _) = aws_sigv4::http_request::sign(request, &params.into()).ok()?.into_parts();
    let (headers, _) = made.into_parts();
    headers
        .into_iter()
        .map(|header| {
            let mut value = HeaderValue::from_str(header.value()).ok()?;
            value.set_sensitive(header.sensitive() || header.name() == "authorization");
            Some((HeaderName::from_static(header.name()), value))
        })
        .collect()
}

/// What must reach Bedrock as it was signed. Headers that a proxy on the way may change are left out;
/// `host` is added from the address.
fn is_signed(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "content-type") || name.as_str().starts_with("x-amzn-bedrock-")
}

/// SHA-256 of a body in pieces. A long one is no reason for others on the same thread to wait: 32 MiB
/// take from 20 ms to ten times that, depending on the processor.
pub(super) async fn hash(pieces: &[Bytes]) -> String {
    let mut context = Context::new(&SHA256);
    for part in pieces.iter().flat_map(|piece| piece.chunks(AT_ONCE)) {
        context.update(part);
        if part.len() == AT_ONCE {
            tokio::task::yield_now().await;
        }
    }
    hex(context.finish().as_ref())
}

/// In lower case, as signatures have it.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
