//! How a stream goes, whatever its format.

use crate::wire::failure::class::Failure;

/// What a stream has told so far of its beginning and its end.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// Something has come that a caller waits for.
    pub(crate) begun: bool,
    /// An event of the format's own was seen.
    pub(crate) known: bool,
    /// Nothing is missing, if the stream ends here and in order.
    pub(crate) whole: bool,
    /// The answer itself is over. What may follow are its counts, or nothing.
    pub(crate) closed: bool,
    /// The last event has come.
    pub(crate) done: bool,
    pub(crate) failure: Option<Failure>,
    pub(crate) told: Option<Told>,
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
    pub(crate) fn body(body: &[u8]) -> Told {
        Told { body: body.to_vec(), kind: None }
    }
}

impl Course {
    pub(crate) fn finished(&self) -> bool {
        self.done || self.closed
    }

    pub(crate) fn complete(&self) -> bool {
        let unknown = self.begun && !self.known && self.failure.is_none();
        self.finished() || self.whole || unknown
    }

    /// Notes the first failure.
    pub(crate) fn fail(&mut self, failure: Failure, told: Told) {
        self.begun = true;
        if self.failure.is_none() {
            self.failure = Some(failure);
            self.told = Some(told);
        }
    }
}
