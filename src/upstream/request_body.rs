//! The body of a request to a provider: the caller's bytes with another model between them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Up to three pieces that leave as one body. Cloning it copies nothing, so that every attempt sends
/// the same bytes.
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    pieces: [Bytes; 3],
    next: usize,
}

impl RequestBody {
    /// The pieces, sent one after the other.
    pub fn new(pieces: [Bytes; 3]) -> Self {
        Self { pieces, next: 0 }
    }

    /// One piece.
    pub fn whole(body: Bytes) -> Self {
        Self::new([body, Bytes::new(), Bytes::new()])
    }

    /// All bytes at once; joins the pieces where there is more than one.
    pub fn joined(&self) -> Bytes {
        let mut filled = self.pieces.iter().filter(|piece| !piece.is_empty());
        match (filled.next(), filled.next()) {
            (Some(only), None) => only.clone(),
            _ => self.pieces.concat().into(),
        }
    }

    /// The pieces, in order; some may be empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Bytes not sent yet.
    fn left(&self) -> u64 {
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
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn pieces_leave_in_order_and_empty_ones_not_at_all() {
        let pieces = [Bytes::from("a"), Bytes::new(), Bytes::from("bc")];
        let body = RequestBody::new(pieces);
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.joined(), "abc");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }
}
