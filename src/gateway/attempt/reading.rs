//! What is read of an answer before it is passed on: a stream's first event, an error's body.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::{Answered, Limits};
use crate::upstream::{Arriving, Broken};
use crate::wire::api::Api;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::classify::{classify_success_body, may_be_error};

/// Largest error body that is read; a provider's errors are a few hundred bytes.
const ERROR_BODY: usize = 256 * 1024;
/// Most that is read of a stream in wait for its first event.
const BEFORE_FIRST_EVENT: usize = 64 * 1024;

/// Most that is held of a whole answer, and for how long: an answer that is short and comes at once can
/// still be asked for elsewhere when it breaks off or turns out to be an error. Some vendors send blank
/// lines for minutes before a whole answer, and those are for the caller.
const SHORT: usize = 256 * 1024;
const AT_ONCE: Duration = Duration::from_secs(1);

/// Why a stream did not begin.
pub(super) enum Begun {
    Not(Broken),
    Failed(Failure),
}

/// Holds a whole answer, if it is short and comes at once, and looks whether it is an error in spite of
/// its status.
pub(super) async fn short_answer(
    answered: &mut Answered,
    api: Api,
    limits: Limits,
) -> Result<(), Begun> {
    let by = (Instant::now() + AT_ONCE).min(limits.total);
    let mut kept = 0;
    while !answered.response.body().is_end_stream() && kept < SHORT {
        let frame = timeout_at(by, answered.response.body_mut().frame());
        let bytes = match frame.await {
            Err(_) => return Ok(()),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Begun::Not(Broken::Lost)),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        kept += bytes.len();
        answered.listener.hear(&bytes);
        answered.early.push(bytes);
    }
    let begin = answered.early.first().map_or(&b""[..], |bytes| &**bytes);
    if kept >= SHORT || !may_be_error(begin) {
        return Ok(());
    }
    match classify_success_body(api, &answered.early.concat()) {
        // What is the caller's fault passes as it came.
        Some(failure) if failure.class != Class::Caller => Err(Begun::Failed(failure)),
        _ => Ok(()),
    }
}

/// Waits for the first event that means something, keeping what comes before it.
pub(super) async fn first_event(answered: &mut Answered, by: Instant) -> Result<(), Begun> {
    let mut kept = 0;
    while !answered.listener.begun() && kept < BEFORE_FIRST_EVENT {
        let frame = timeout_at(by, answered.response.body_mut().frame());
        let bytes = match frame.await {
            Err(_) => return Err(Begun::Not(Broken::Silent)),
            Ok(None | Some(Err(_))) => return Err(Begun::Not(Broken::Lost)),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        kept += bytes.len();
        answered.listener.hear(&bytes);
        answered.early.push(bytes);
    }
    answered.listener.failure().map_or(Ok(()), |failure| Err(Begun::Failed(failure)))
}

/// The body of an error; `None` when it does not come whole, in time and within [`ERROR_BODY`].
pub(super) async fn error(body: &mut Arriving, limits: Limits) -> Option<Bytes> {
    let by = (Instant::now() + limits.idle).min(limits.total);
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
