//! Reads a caller's body whole and under the limits. It must be whole for its model to be found and for a second
//! attempt to send the same bytes.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::gateway::body_memory::{BodyMemory, Reservation};
use crate::gateway::response::refusal::Refusal;

/// The buffer allocated at once for a body with a `content-length`; it grows with the bytes that arrive. Bodies
/// that need no more are not counted: the number of connections bounds them.
const FIRST_BUFFER: usize = 64 * 1024;

/// The limits of one body.
#[derive(Clone, Copy)]
pub(super) struct BodyLimits<'m> {
    /// The largest size.
    pub(super) max_body: usize,
    /// The longest pause between two chunks.
    pub(super) pause: Duration,
    /// The memory that large bodies share.
    pub(super) memory: &'m BodyMemory,
}

/// Reads a body.
///
/// # Errors
///
/// When it is too large, too slow or malformed, or when the shared memory is full.
pub(super) async fn read(mut body: Incoming, limits: BodyLimits<'_>) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > limits.max_body as u64 {
        return Err(Refusal::TooLarge(limits.max_body));
    }
    let Some(first) = next_chunk(&mut body, limits.pause).await? else {
        return Ok(Bytes::new());
    };
    check_size(first.len(), limits)?;
    // Most bodies arrive in one chunk, which is then used as it is.
    if body.is_end_stream() {
        return Ok(first);
    }
    let rest = body.size_hint().exact().and_then(|rest| usize::try_from(rest).ok());
    let announced = rest.map(|rest| first.len().saturating_add(rest));
    let mut buffer = BodyBuffer::default();
    buffer.push(&first, announced, limits)?;
    while let Some(chunk) = next_chunk(&mut body, limits.pause).await? {
        check_size(buffer.bytes.len() + chunk.len(), limits)?;
        buffer.push(&chunk, announced, limits)?;
    }
    Ok(buffer.freeze())
}

/// A body that arrives in chunks.
#[derive(Debug, Default)]
struct BodyBuffer {
    bytes: Vec<u8>,
    reservation: Option<Reservation>,
}

impl AsRef<[u8]> for BodyBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyBuffer {
    /// Appends a chunk. The capacity doubles as with any vector, but not beyond an announced length.
    fn push(
        &mut self,
        chunk: &[u8],
        announced: Option<usize>,
        limits: BodyLimits<'_>,
    ) -> Result<(), Refusal> {
        let needed = self.bytes.len() + chunk.len();
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let wanted = needed.max(2 * capacity).max(FIRST_BUFFER);
            let wanted = announced.map_or(wanted, |length| wanted.min(length.max(needed)));
            if wanted > FIRST_BUFFER {
                let reserved = self.reservation.as_ref().map_or(0, Reservation::size);
                let more = limits.memory.reserve(wanted - reserved, limits.max_body);
                let more = more.ok_or(Refusal::BodyMemoryFull)?;
                match &mut self.reservation {
                    Some(reservation) => reservation.grow(more),
                    None => self.reservation = Some(more),
                }
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn freeze(self) -> Bytes {
        match self.reservation {
            None => Bytes::from(self.bytes),
            // The reservation lives as long as any part of the bytes is in use.
            Some(_) => Bytes::from_owner(self),
        }
    }
}

fn check_size(size: usize, limits: BodyLimits<'_>) -> Result<(), Refusal> {
    if size > limits.max_body { Err(Refusal::TooLarge(limits.max_body)) } else { Ok(()) }
}

async fn next_chunk(body: &mut Incoming, pause: Duration) -> Result<Option<Bytes>, Refusal> {
    loop {
        match timeout(pause, body.frame()).await {
            Err(_) => return Err(Refusal::SlowBody),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(body_error(&error)),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers are not used.
                _ => {}
            },
        }
    }
}

/// Distinguishes malformed framing from a caller that has disconnected: hyper reports the first by the kind of an
/// `io::Error` of its own.
fn body_error(error: &hyper::Error) -> Refusal {
    let inner = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match inner.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Refusal::BrokenBody,
        _ => Refusal::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    /// The shared limit is then 256 MiB.
    const MAX_BODY: usize = KIB;

    fn buffered(
        chunks: &[usize],
        announced: Option<usize>,
        memory: &BodyMemory,
    ) -> Result<BodyBuffer, Refusal> {
        let mut buffer = BodyBuffer::default();
        let limits = BodyLimits { max_body: MAX_BODY, pause: Duration::ZERO, memory };
        for (at, chunk) in chunks.iter().enumerate() {
            let filler = u8::try_from(at % 256).unwrap_or_default();
            buffer.push(&vec![filler; *chunk], announced, limits)?;
        }
        Ok(buffer)
    }

    #[test]
    fn a_large_body_is_counted_until_its_last_part_is_dropped() {
        let memory = BodyMemory::default();
        let buffer = buffered(&[50 * KIB; 6], Some(300 * KIB), &memory).unwrap();
        assert_eq!(memory.used(), 300 * KIB);
        assert!(buffer.bytes.capacity() <= 300 * KIB);
        let body = buffer.freeze();
        assert_eq!((body.len(), body[299 * KIB]), (300 * KIB, 5));
        let part = body.slice(7..9);
        drop(body);
        assert_eq!(memory.used(), 300 * KIB);
        drop(part);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn small_bodies_are_not_counted() {
        let memory = BodyMemory::default();
        let buffer = buffered(&[KIB; 64], None, &memory).unwrap();
        assert_eq!((buffer.bytes.len(), memory.used()), (64 * KIB, 0));
    }

    #[test]
    fn a_body_that_does_not_fit_is_refused_and_releases_its_memory() {
        let memory = BodyMemory::default();
        let most = memory.reserve(255 << 20, MAX_BODY).unwrap();
        let refused = buffered(&[100 * KIB; 11], None, &memory);
        assert!(matches!(refused, Err(Refusal::BodyMemoryFull)));
        assert_eq!(memory.used(), 255 << 20);
        drop(most);
        assert!(buffered(&[100 * KIB; 11], None, &memory).is_ok());
    }
}
