//! A caller's body, read whole under the limits: it must be, for its model to be known and for a
//! second attempt to send the same bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::answer::Refusal;

/// Room made at once for a body whose length the caller announces; it grows by what really comes.
const FIRST_ROOM: usize = 64 * 1024;

/// Reads the body: at most `limit` bytes, with no pause longer than `pause`.
pub(super) async fn read(
    mut body: Incoming,
    limit: usize,
    pause: Duration,
) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::TooLarge(limit));
    }
    let Some(first) = next(&mut body, pause).await? else {
        return Ok(Bytes::new());
    };
    // Most bodies come in one piece, which is then used as it is.
    if body.is_end_stream() {
        return within(first, limit);
    }
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut whole = BytesMut::with_capacity(first.len() + announced.min(FIRST_ROOM));
    whole.extend_from_slice(&within(first, limit)?);
    while let Some(piece) = next(&mut body, pause).await? {
        if whole.len() + piece.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

fn within(piece: Bytes, limit: usize) -> Result<Bytes, Refusal> {
    if piece.len() > limit { Err(Refusal::TooLarge(limit)) } else { Ok(piece) }
}

async fn next(body: &mut Incoming, pause: Duration) -> Result<Option<Bytes>, Refusal> {
    loop {
        match timeout(pause, body.frame()).await {
            Err(_) => return Err(Refusal::SlowBody),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Refusal::BrokenBody),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers say nothing that we use.
                _ => {}
            },
        }
    }
}
