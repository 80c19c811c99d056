//! The bytes of a stream that is not complete yet.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::gateway::body_memory::Reservation;
use crate::gateway::record::Record;

/// The most bytes held of one stream. A longer stream is forwarded as it arrives from then on.
const LIMIT: usize = 16 << 20;
/// The size of one piece. Chunks are copied together, so a chunk of a few bytes does not keep the large buffer
/// that it arrived in.
const PIECE: usize = 64 * 1024;

/// The start of a stream. All but its first piece is reserved in the memory for bodies, until the caller has
/// read it.
#[derive(Default)]
pub(super) struct HeldBytes {
    full: VecDeque<Piece>,
    open: BytesMut,
    reservation: Option<Reservation>,
    size: usize,
}

/// Bytes with their reservation, which lives as long as the bytes.
pub(super) struct Piece {
    bytes: Bytes,
    _reservation: Option<Reservation>,
}

impl Piece {
    pub(super) fn unreserved(bytes: Bytes) -> Self {
        Self { bytes, _reservation: None }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HeldBytes {
    /// Adds the next bytes, all or none. Returns false if there is no room for them.
    pub(super) fn push(&mut self, bytes: &[u8], record: &Record) -> bool {
        if self.size + bytes.len() > LIMIT {
            return false;
        }
        if self.open.len() + bytes.len() > PIECE {
            self.close();
            let max_body = record.gateway().config.server.max_body;
            let memory = &record.live().body_memory;
            let reservation = memory.reserve(PIECE.max(bytes.len()), max_body);
            let Some(reservation) = reservation else { return false };
            self.reservation = Some(reservation);
        }
        self.open.extend_from_slice(bytes);
        self.size += bytes.len();
        true
    }

    /// Adds a piece that is sent at once.
    pub(super) fn push_last(&mut self, piece: Piece) {
        self.close();
        self.full.push_back(piece);
    }

    fn close(&mut self) {
        let bytes = std::mem::take(&mut self.open).freeze();
        let reservation = self.reservation.take();
        if !bytes.is_empty() {
            self.full.push_back(Piece { bytes, _reservation: reservation });
        }
    }

    pub(super) fn into_pieces(mut self) -> VecDeque<Bytes> {
        self.close();
        self.full.into_iter().map(Bytes::from_owner).collect()
    }
}
