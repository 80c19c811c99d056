//! Bounds the memory that large bodies use together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The limit for all bodies: this many bytes, or this many times the largest allowed body, whichever is more.
const LIMIT: usize = 256 << 20;
const LIMIT_IN_BODIES: usize = 16;

/// The memory that large bodies use at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyMemory(Arc<AtomicUsize>);

impl BodyMemory {
    /// Reserves memory. `max_body` is the size of the largest allowed body. Returns `None` if the limit is
    /// reached.
    pub(crate) fn reserve(&self, bytes: usize, max_body: usize) -> Option<Reservation> {
        let limit = LIMIT.max(max_body.saturating_mul(LIMIT_IN_BODIES));
        self.reserve_within(bytes, limit)
    }

    fn reserve_within(&self, bytes: usize, limit: usize) -> Option<Reservation> {
        let fits = |used: usize| used.checked_add(bytes).filter(|all| *all <= limit);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Reservation { memory: self.clone(), size: bytes })
    }

    /// Returns the bytes that are reserved.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reserved memory, released when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: BodyMemory,
    size: usize,
}

impl Reservation {
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Adds another reservation to this one.
    pub(crate) fn grow(&mut self, more: Reservation) {
        self.size += more.size;
        std::mem::forget(more);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_bounded_and_released() {
        let memory = BodyMemory::default();
        let mut first = memory.reserve_within(600, 1000).unwrap();
        assert!(memory.reserve_within(401, 1000).is_none());
        first.grow(memory.reserve_within(400, 1000).unwrap());
        assert_eq!((first.size(), memory.used()), (1000, 1000));
        drop(first);
        assert_eq!(memory.used(), 0);
    }
}
