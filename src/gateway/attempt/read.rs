//! Reads a response before it is forwarded: the first event of a stream, the body of an error, a whole body.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::context::Deadlines;
use crate::gateway::response::started::StartedResponse;
use crate::upstream::{ResponseBody, UpstreamError};
use crate::wire::api::Api;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::classify::{in_whole, may_be_error};

/// The largest error body; a provider's errors have a few hundred bytes.
const ERROR_BODY: usize = 256 * 1024;
/// The most bytes read of a stream before its first event.
const BEFORE_FIRST_EVENT: usize = 64 * 1024;

/// The most bytes held of a whole response, and for how long. A response that is short and arrives at once can
/// still be replaced by another attempt if it breaks off or turns out to be an error. Some vendors send blank
/// lines for minutes before a whole response, and those are for the caller.
const SHORT_RESPONSE: usize = 256 * 1024;
const SHORT_TIME: Duration = Duration::from_secs(1);

/// Why a response did not begin.
pub(super) enum NotStarted {
    NoResponse(UpstreamError),
    Failed(Failure),
}

/// Holds a whole response if it is short and arrives at once, and checks if it is an error in spite of its
/// status.
pub(super) async fn short_response(
    started: &mut StartedResponse,
    api: Api,
    deadlines: Deadlines,
) -> Result<(), NotStarted> {
    let by = (Instant::now() + SHORT_TIME).min(deadlines.total);
    let mut length = 0;
    while !started.response.body().is_end_stream() && length < SHORT_RESPONSE {
        let frame = timeout_at(by, started.response.body_mut().frame());
        let bytes = match frame.await {
            Err(_) => return Ok(()),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(NotStarted::NoResponse(UpstreamError::ConnectionLost)),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        length += bytes.len();
        started.keep(bytes);
    }
    let begin = started.early.first().map_or(&b""[..], |bytes| &**bytes);
    if length >= SHORT_RESPONSE || !may_be_error(begin) {
        return Ok(());
    }
    match in_whole(api, &started.early.concat()) {
        // An error that is the caller's fault is forwarded as it is.
        Some(failure) if failure.class != Class::Caller => Err(NotStarted::Failed(failure)),
        _ => Ok(()),
    }
}

/// Waits for the first event that a caller waits for, and keeps what arrives before it.
pub(super) async fn first_event(
    started: &mut StartedResponse,
    by: Instant,
) -> Result<(), NotStarted> {
    let mut length = 0;
    while !started.passage.has_begun() && length < BEFORE_FIRST_EVENT {
        let frame = timeout_at(by, started.response.body_mut().frame());
        let bytes = match frame.await {
            Err(_) => return Err(NotStarted::NoResponse(UpstreamError::Timeout)),
            Ok(None | Some(Err(_))) => {
                return Err(NotStarted::NoResponse(UpstreamError::ConnectionLost));
            }
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        length += bytes.len();
        started.keep(bytes);
    }
    let failure = started.passage.provider_failure();
    failure.map_or(Ok(()), |failure| Err(NotStarted::Failed(failure)))
}

/// Reads the body of an error. Returns `None` if it is not complete in time and within [`ERROR_BODY`].
pub(super) async fn error_body(body: &mut ResponseBody, deadlines: Deadlines) -> Option<Bytes> {
    let by = deadlines.next_chunk();
    let mut whole = BytesMut::new();
    while let Some(frame) = timeout_at(by, body.frame()).await.ok()? {
        let bytes = frame.ok()?.into_data().unwrap_or_default();
        if whole.len() + bytes.len() > ERROR_BODY {
            return None;
        }
        whole.extend_from_slice(&bytes);
    }
    Some(whole.freeze())
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn whole_body(
    body: &mut ResponseBody,
    deadlines: Deadlines,
    limit: usize,
) -> Result<Bytes, UpstreamError> {
    let mut whole = BytesMut::new();
    loop {
        match timeout_at(deadlines.next_chunk(), body.frame()).await {
            Err(_) | Ok(Some(Err(_))) => return Err(UpstreamError::ConnectionLost),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Ok(frame))) => {
                let bytes = frame.into_data().unwrap_or_default();
                if whole.len() + bytes.len() > limit {
                    return Err(UpstreamError::ConnectionLost);
                }
                whole.extend_from_slice(&bytes);
            }
        }
    }
}
