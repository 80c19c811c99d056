//! Not written yet.

use super::feature::{Feature, Verdict};
use super::fields::Rejected;
use super::ir::Reply;
use super::ir::{Event, Request};
use super::quirks::Quirks;
use super::translate::Shown;
use super::translate::{Frame, Saying};

/// What becomes of a feature at a provider of this format.
pub fn verdict(_feature: Feature) -> Verdict {
    Verdict::Refused
}

/// Writes a request for a provider.
///
/// # Errors
///
/// When it cannot be said.
pub fn encode_request(
    _request: &Request,
    _quirks: &Quirks,
    _saying: &mut Saying,
) -> Result<Vec<u8>, Rejected> {
    Err(Rejected::new("", "cannot be said yet"))
}

/// Makes events of a provider's stream.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// Of a vendor with these quirks.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder {}
    }

    /// Takes a frame.
    pub fn frame(&mut self, _frame: Frame<'_>, _out: &mut Vec<Event>) {}

    /// The stream has ended in order.
    pub fn end(&mut self, _out: &mut Vec<Event>) {}
}

/// Makes events of a provider's whole answer.
pub fn decode_whole(_body: &[u8], _quirks: &'static Quirks) -> Vec<Event> {
    Vec::new()
}

/// Where a caller of this format asks for a feature.
pub fn place(_feature: Feature) -> Option<&'static str> {
    None
}

/// Reads a caller's request.
///
/// # Errors
///
/// When the body is not what the format asks for.
pub fn decode_request(_body: &[u8]) -> Result<Request, Rejected> {
    Err(Rejected::new("", "cannot be read yet"))
}

/// Makes a stream for the caller.
#[derive(Debug)]
pub struct Encoder {}

impl Encoder {
    /// Of an answer that shows this.
    pub fn new(_shown: Shown) -> Encoder {
        Encoder {}
    }

    /// Writes an event.
    pub fn event(&mut self, _event: &Event, _out: &mut Vec<u8>) {}
}

/// Writes a whole answer for the caller.
pub fn encode_whole(_reply: &Reply, _shown: &Shown) -> Vec<u8> {
    Vec::new()
}
