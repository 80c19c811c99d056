//! Tracks the progress of a stream in any format.

use crate::wire::failure::class::Failure;

/// The beginning and the end of a stream, as observed so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// An event with content for the client has arrived.
    pub(crate) begun: bool,
    /// An event that the format defines was seen.
    pub(crate) known: bool,
    /// The response is complete if the stream ends here without a transport error.
    pub(crate) whole: bool,
    /// The output is complete. Only token counts, or nothing, can follow.
    pub(crate) closed: bool,
    /// The last event has arrived.
    pub(crate) done: bool,
    pub(crate) failure: Option<Failure>,
    pub(crate) error: Option<StreamError>,
}

/// An error reported in a stream, as the error response that the provider would have sent with a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// The body, in the API's own form.
    pub body: Vec<u8>,
    /// The error name, which AWS sends only in a header and not in the body.
    pub kind: Option<String>,
}

impl StreamError {
    pub(crate) fn body(body: &[u8]) -> StreamError {
        StreamError { body: body.to_vec(), kind: None }
    }
}

impl Progress {
    pub(crate) fn finished(&self) -> bool {
        self.done || self.closed
    }

    pub(crate) fn complete(&self) -> bool {
        let unknown = self.begun && !self.known && self.failure.is_none();
        self.finished() || self.whole || unknown
    }

    /// Records the first failure.
    pub(crate) fn fail(&mut self, failure: Failure, error: StreamError) {
        self.begun = true;
        if self.failure.is_none() {
            self.failure = Some(failure);
            self.error = Some(error);
        }
    }
}
