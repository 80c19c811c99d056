//! The body of a request to a provider: the caller's bytes with another model inserted.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Up to three pieces that are sent as one body. A clone copies no bytes, so every attempt can send the
/// same ones.
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    pieces: [Bytes; 3],
    next: usize,
}

impl RequestBody {
    /// Makes a body of these pieces, sent in order.
    pub fn new(pieces: [Bytes; 3]) -> Self {
        Self { pieces, next: 0 }
    }

    /// Makes a body of one piece.
    pub fn whole(body: Bytes) -> Self {
        Self::new([body, Bytes::new(), Bytes::new()])
    }

    /// Returns all bytes; copies only if there is more than one piece.
    pub fn joined(&self) -> Bytes {
        let mut non_empty = self.pieces.iter().filter(|piece| !piece.is_empty());
        match (non_empty.next(), non_empty.next()) {
            (Some(only), None) => only.clone(),
            _ => self.pieces.concat().into(),
        }
    }

    /// Returns the pieces in order; some may be empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Returns the number of bytes not sent yet.
    fn remaining(&self) -> u64 {
        self.pieces[self.next..].iter().map(|piece| piece.len() as u64).sum()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        while let Some(piece) = self.pieces.get(self.next).cloned() {
            self.next += 1;
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn pieces_are_sent_in_order_and_empty_ones_are_skipped() {
        let pieces = [Bytes::from("a"), Bytes::new(), Bytes::from("bc")];
        let body = RequestBody::new(pieces);
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.joined(), "abc");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }
}
