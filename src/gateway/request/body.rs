//! A caller's body, read whole under the limits: it must be, for its model to be known and for a
//! second attempt to send the same bytes. Large ones share a store whose size is bounded.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::gateway::response::error_response::Refusal;

/// Room made at once for a body whose length the caller announces; it grows by what really comes.
/// Bodies that need no more are not counted: the number of connections bounds them.
const FIRST_ROOM: usize = 64 * 1024;
/// Most that large bodies take together: this much, or that many times the largest that is allowed.
const STORE: usize = 256 << 20;
const STORE_OF_LARGEST: usize = 16;

/// What large bodies take at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store(Arc<AtomicUsize>);

impl Store {
    /// Takes room for something else than a body, of which the largest may be so large.
    pub(crate) fn room(&self, more: usize, max_body: usize) -> Option<Room> {
        self.take(more, most(max_body))
    }

    /// Takes room for so much more, while all stays within `most`.
    fn take(&self, more: usize, most: usize) -> Option<Room> {
        let fits = |taken: usize| taken.checked_add(more).filter(|all| *all <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Room { store: self.clone(), size: more })
    }
}

/// A part of the store, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    store: Store,
    size: usize,
}

impl Room {
    fn grow(&mut self, more: Room) {
        self.size += more.size;
        std::mem::forget(more);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.store.0.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// A body that comes in pieces.
#[derive(Debug, Default)]
struct Whole {
    bytes: Vec<u8>,
    room: Option<Room>,
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Whole {
    /// Takes a piece. Room doubles as with any vector, and for an announced length not beyond it.
    fn push(
        &mut self,
        piece: &[u8],
        announced: Option<usize>,
        store: &Store,
        most: usize,
    ) -> Result<(), Refusal> {
        let needed = self.bytes.len() + piece.len();
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let wanted = needed.max(2 * capacity).max(FIRST_ROOM);
            let wanted = announced.map_or(wanted, |length| wanted.min(length.max(needed)));
            if wanted > FIRST_ROOM {
                let counted = self.room.as_ref().map_or(0, |room| room.size);
                let more = store.take(wanted - counted, most).ok_or(Refusal::Crowded)?;
                match &mut self.room {
                    Some(room) => room.grow(more),
                    None => self.room = Some(more),
                }
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn freeze(self) -> Bytes {
        match self.room {
            None => Bytes::from(self.bytes),
            // Its room is taken for as long as anybody holds a part of it.
            Some(_) => Bytes::from_owner(self),
        }
    }
}

/// Reads the body: at most `limit` bytes, with no pause longer than `pause`.
pub(crate) async fn read(
    mut body: Incoming,
    limit: usize,
    pause: Duration,
    store: &Store,
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
    let most = most(limit);
    let rest = body.size_hint().exact().and_then(|rest| usize::try_from(rest).ok());
    let announced = rest.map(|rest| first.len().saturating_add(rest));
    let mut whole = Whole::default();
    whole.push(&within(first, limit)?, announced, store, most)?;
    while let Some(piece) = next(&mut body, pause).await? {
        if whole.bytes.len() + piece.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        whole.push(&piece, announced, store, most)?;
    }
    Ok(whole.freeze())
}

/// What large bodies may take together, when the largest may be so large.
fn most(limit: usize) -> usize {
    STORE.max(limit.saturating_mul(STORE_OF_LARGEST))
}

fn within(piece: Bytes, limit: usize) -> Result<Bytes, Refusal> {
    if piece.len() > limit { Err(Refusal::TooLarge(limit)) } else { Ok(piece) }
}

async fn next(body: &mut Incoming, pause: Duration) -> Result<Option<Bytes>, Refusal> {
    loop {
        match timeout(pause, body.frame()).await {
            Err(_) => return Err(Refusal::SlowBody),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(why(&error)),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers say nothing that we use.
                _ => {}
            },
        }
    }
}

/// A body that is framed wrongly, or the caller has left. hyper tells the first by the kind of an
/// `io::Error` of its own.
fn why(error: &hyper::Error) -> Refusal {
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

    fn gathered(
        pieces: &[usize],
        announced: Option<usize>,
        store: &Store,
    ) -> Result<Whole, Refusal> {
        let mut whole = Whole::default();
        for (at, piece) in pieces.iter().enumerate() {
            let filler = u8::try_from(at % 256).unwrap_or_default();
            whole.push(&vec![filler; *piece], announced, store, 1024 * KIB)?;
        }
        Ok(whole)
    }

    #[test]
    fn a_large_body_counts_for_what_it_takes_until_its_last_holder_is_gone() {
        let store = Store::default();
        let whole = gathered(&[50 * KIB; 6], Some(300 * KIB), &store).unwrap();
        assert_eq!(store.0.load(Ordering::Relaxed), 300 * KIB);
        assert!(whole.bytes.capacity() <= 300 * KIB);
        let body = whole.freeze();
        assert_eq!((body.len(), body[299 * KIB]), (300 * KIB, 5));
        let part = body.slice(7..9);
        drop(body);
        assert_eq!(store.0.load(Ordering::Relaxed), 300 * KIB);
        drop(part);
        assert_eq!(store.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn small_bodies_are_not_counted() {
        let store = Store::default();
        let whole = gathered(&[KIB; 64], None, &store).unwrap();
        assert_eq!((whole.bytes.len(), store.0.load(Ordering::Relaxed)), (64 * KIB, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_gives_back_what_it_took() {
        let store = Store::default();
        let kept = gathered(&[600 * KIB], Some(600 * KIB), &store).unwrap();
        let refused = gathered(&[100 * KIB; 6], None, &store);
        assert!(matches!(refused, Err(Refusal::Crowded)));
        assert_eq!(store.0.load(Ordering::Relaxed), 600 * KIB);
        drop(kept);
        assert!(gathered(&[100 * KIB; 6], None, &store).is_ok());
    }
}
