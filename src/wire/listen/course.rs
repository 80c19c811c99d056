//! How a stream goes, whatever its format.

use super::super::failure::Failure;

/// What a stream has told so far of its beginning and its end.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Something has come that a caller waits for.
    pub(super) begun: bool,
    /// An event of the format's own was seen.
    pub(super) known: bool,
    /// Nothing is missing, if the stream ends here and in order.
    pub(super) whole: bool,
    /// The answer itself is over. What may follow are its counts, or nothing.
    pub(super) closed: bool,
    /// The last event has come.
    pub(super) done: bool,
    pub(super) failure: Option<Failure>,
    pub(super) told: Option<Told>,
}

/// An error that a stream told: what the answer would have been, had the provider said it with a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The body, in the API's own form.
    pub body: Vec<u8>,
    /// The name of the error, which AWS has in a header and nowhere in the body.
    pub kind: Option<String>,
}

impl Told {
    pub(super) fn body(body: &[u8]) -> Told {
        Told { body: body.to_vec(), kind: None }
    }
}

impl Course {
    pub(super) fn finished(&self) -> bool {
        self.done || self.closed
    }

    pub(super) fn complete(&self) -> bool {
        let unknown = self.begun && !self.known && self.failure.is_none();
        self.finished() || self.whole || unknown
    }

    /// Notes the first failure.
    pub(super) fn fail(&mut self, failure: Failure, told: Told) {
        self.begun = true;
        if self.failure.is_none() {
            self.failure = Some(failure);
            self.told = Some(told);
        }
    }
}
