//! Turns a provider's response into the caller's: its status, its headers but for those of the provider's host,
//! its bytes.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, uri};

use crate::gateway::record::Record;
use crate::gateway::response::body::CallerBody;
use crate::gateway::response::headers::{REQUEST_ID, remove_unforwarded};
use crate::gateway::response::id_signer::ResponseIdSigner;
use crate::gateway::response::relay::Relay;
use crate::gateway::response::signature_recorder::SignatureRecorder;
use crate::gateway::response::started::StartedResponse;
use crate::observe::access::End;

/// Returns the caller's response. `body` chooses how the provider's body is delivered.
pub(super) fn respond(
    mut started: StartedResponse,
    record: &mut Record,
    id_signer: Option<Box<ResponseIdSigner>>,
    body: impl FnOnce(Relay) -> CallerBody,
) -> Response<CallerBody> {
    let stream = started.passage.is_stream();
    let status = started.response.status();
    let mut headers = std::mem::take(started.response.headers_mut());
    if let Some(id) = headers.get(REQUEST_ID) {
        record.upstream_id = id.to_str().ok().map(str::to_owned);
    }
    remove_unforwarded(&mut headers);
    let id_signer = id_signer.filter(|_| status.is_success() && is_json(&headers));
    if stream || id_signer.is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    record.stream = stream;
    // This holds until the body records another end.
    record.end = End::CallerGone;
    let signatures = SignatureRecorder::new(record).filter(|_| status.is_success());
    let mut response = Response::new(body(Relay::new(started, id_signer, signatures)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Returns true for JSON, whole or in events. The content of a file contains no ids of the provider.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is = |name: &[u8]| value.get(..name.len()).is_some_and(|v| v.eq_ignore_ascii_case(name));
    is(b"application/json") || is(b"text/event-stream")
}

/// Returns the URL at which the caller reached this gateway.
pub(super) fn own_origin(head: &Parts, tls: bool) -> String {
    let forwarded = head.headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    let scheme = if tls || forwarded == Some(b"https") { "https" } else { "http" };
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(head.uri.authority().map(uri::Authority::as_str));
    format!("{scheme}://{}", host.unwrap_or_default())
}
