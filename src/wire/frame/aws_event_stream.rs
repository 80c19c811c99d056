//! `application/vnd.amazon.eventstream`: decodes a stream of bytes into messages, and encodes messages.
//! <https://smithy.io/2.0/aws/amazon-eventstream.html>
//!
//! ```text
//! total length (4)  headers length (4)  CRC of both (4)  headers  payload  CRC of everything before (4)
//! ```
//!
//! A message inside one chunk is decoded in place. A message that spans chunks is buffered, up to a limit.
//! Unlike server-sent events, a stream cannot be decoded further after a malformed message: nothing marks
//! where the next one begins.

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use aws_smithy_types::str_bytes::StrBytes;
use bytes::{Bytes, BytesMut};

/// The longest accepted message, in bytes.
pub const LONGEST: usize = 16 * 1024 * 1024;
/// Length of the two lengths and their checksum.
const PRELUDE: usize = 12;
/// Length of the shortest message: the prelude and the checksum at the end.
const SHORTEST: usize = PRELUDE + 4;
/// Capacity that the buffer keeps after a message; the rest is freed.
const KEPT_CAPACITY: usize = 16 * 1024;

/// One message, or the failure that ends decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// `:message-type = event`
    Event {
        /// `:event-type`, such as `contentBlockDelta`; empty if there is none.
        kind: &'f str,
        /// As sent; JSON in all of Bedrock's streams.
        payload: &'f [u8],
    },
    /// `:message-type = exception`: a failure that the API has a name for. It is the last message.
    Exception {
        /// `:exception-type`, such as `throttlingException`.
        kind: &'f str,
        /// As sent: `{"message":"…"}`.
        payload: &'f [u8],
    },
    /// `:message-type = error`: a failure without a payload. It is the last message.
    Error {
        /// `:error-code`
        code: &'f str,
        /// `:error-message`
        message: &'f str,
    },
    /// The bytes are not a valid message. Nothing after them is decoded.
    Malformed(FrameError),
}

/// Why a stream cannot be decoded further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length of a message is over the limit, or shorter than any message.
    Length,
    /// A checksum does not match, or the headers are malformed.
    Content,
}

/// Decodes chunks into frames. Any split of the same bytes into chunks gives the same frames.
#[derive(Debug)]
pub struct FrameDecoder {
    /// The beginning of an incomplete message.
    buffer: Vec<u8>,
    limit: usize,
    failed: bool,
}

impl FrameDecoder {
    /// Creates a decoder of messages of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), limit, failed: false }
    }

    /// Decodes a chunk and calls `each` for every frame that it completes, in order.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame<'_>)) {
        while !self.failed && !bytes.is_empty() {
            let step = if self.buffer.is_empty() {
                decode_message(&mut bytes, self.limit, &mut each)
            } else {
                self.continue_buffered(&mut bytes, &mut each)
            };
            match step {
                Ok(Step::Progress) => {}
                Ok(Step::Incomplete) => return self.buffer.extend_from_slice(bytes),
                Ok(Step::BufferDone) => {
                    self.buffer.clear();
                    self.buffer.shrink_to(KEPT_CAPACITY);
                }
                Err(error) => {
                    self.failed = true;
                    self.buffer = Vec::new();
                    each(Frame::Malformed(error));
                }
            }
        }
    }

    /// Returns whether a message is incomplete, or a malformed one ended decoding.
    pub fn pending(&self) -> bool {
        self.failed || !self.buffer.is_empty()
    }

    /// Moves the bytes that belong to the buffered message from `bytes` to the buffer.
    fn continue_buffered(
        &mut self,
        bytes: &mut &[u8],
        each: &mut impl FnMut(Frame<'_>),
    ) -> Result<Step, FrameError> {
        let wanted = length(&self.buffer, self.limit)?.unwrap_or(PRELUDE);
        let (moved, rest) = bytes.split_at(bytes.len().min(wanted - self.buffer.len()));
        self.buffer.extend_from_slice(moved);
        *bytes = rest;
        match decode_message(&mut &*self.buffer, self.limit, each)? {
            Step::Progress => Ok(Step::BufferDone),
            // Only the length may be complete so far.
            _ => Ok(Step::Progress),
        }
    }
}

/// Appends a frame of this event type with a JSON payload to `out`. Writes nothing if it is too long for a
/// message, rather than half of it.
pub fn write_event(kind: &'static str, payload: Vec<u8>, out: &mut Vec<u8>) {
    let header = |name: &'static str, value: &'static str| {
        Header::new(name, HeaderValue::String(value.into()))
    };
    let message = Message::new(payload)
        .add_header(header(":event-type", kind))
        .add_header(header(":content-type", "application/json"))
        .add_header(header(":message-type", "event"));
    let old_len = out.len();
    if write_message_to(&message, out).is_err() {
        out.truncate(old_len);
    }
}

/// Encodes a failure inside a stream, in Bedrock's form: SDKs raise the exception of that name.
pub fn exception(kind: &str, message: &str) -> Bytes {
    let header =
        |name: &'static str, value: String| Header::new(name, HeaderValue::String(value.into()));
    let payload = serde_json::json!({ "message": message }).to_string();
    let message = Message::new(payload)
        .add_header(header(":exception-type", kind.to_owned()))
        .add_header(header(":content-type", "application/json".to_owned()))
        .add_header(header(":message-type", "exception".to_owned()));
    let mut out = BytesMut::new();
    match write_message_to(&message, &mut out) {
        Ok(()) => out.freeze(),
        // A header of more than 32 KiB: write nothing rather than half of it.
        Err(_) => Bytes::new(),
    }
}

enum Step {
    /// A message was decoded, or the buffer has grown.
    Progress,
    /// The buffered message was decoded.
    BufferDone,
    /// The bytes are the beginning of a message.
    Incomplete,
}

/// Decodes the message that `bytes` begin with, and removes it from them.
fn decode_message(
    bytes: &mut &[u8],
    limit: usize,
    each: &mut impl FnMut(Frame<'_>),
) -> Result<Step, FrameError> {
    let Some((message, rest)) = length(bytes, limit)?.and_then(|at| bytes.split_at_checked(at))
    else {
        return Ok(Step::Incomplete);
    };
    let decoded = read_message_from(message).map_err(|_| FrameError::Content)?;
    each(frame(&decoded));
    *bytes = rest;
    Ok(Step::Progress)
}

/// Returns the length of the message that `bytes` begin with; `None` if the prelude is incomplete. The length
/// is used before its checksum is verified, which needs the whole message; the limit bounds the damage.
fn length(bytes: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = bytes.first_chunk().filter(|_| bytes.len() >= PRELUDE) else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if (SHORTEST..=limit).contains(&length) { Ok(Some(length)) } else { Err(FrameError::Length) }
}

fn frame(message: &Message) -> Frame<'_> {
    let header = |name: &str| {
        let found = message.headers().iter().find(|header| header.name().as_str() == name)?;
        found.value().as_string().ok().map(StrBytes::as_str)
    };
    let (kind, payload) = (|name| header(name).unwrap_or_default(), message.payload());
    match header(":message-type") {
        Some("exception") => Frame::Exception { kind: kind(":exception-type"), payload },
        Some("error") => {
            Frame::Error { code: kind(":error-code"), message: kind(":error-message") }
        }
        _ => Frame::Event { kind: kind(":event-type"), payload },
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn decode_all<'c>(
        chunks: impl IntoIterator<Item = &'c [u8]>,
        limit: usize,
    ) -> (Vec<String>, bool) {
        let (mut frames, mut decoded) = (FrameDecoder::new(limit), Vec::new());
        for chunk in chunks {
            frames.push(chunk, |frame| decoded.push(describe(&frame)));
        }
        (decoded, frames.pending())
    }

    fn describe(frame: &Frame<'_>) -> String {
        let text = String::from_utf8_lossy;
        match frame {
            Frame::Event { kind, payload } => format!("event {kind} {}", text(payload)),
            Frame::Exception { kind, payload } => format!("exception {kind} {}", text(payload)),
            Frame::Error { code, message } => format!("error {code} {message}"),
            Frame::Malformed(error) => format!("malformed {error:?}"),
        }
    }

    fn message(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
        let mut message = Message::new(payload.to_owned());
        for (name, value) in headers {
            let value = HeaderValue::String((*value).to_owned().into());
            message = message.add_header(Header::new((*name).to_owned(), value));
        }
        let mut out = Vec::new();
        write_message_to(&message, &mut out).unwrap();
        out
    }

    fn stream() -> Vec<u8> {
        let delta = [(":event-type", "contentBlockDelta"), (":message-type", "event")];
        let error = [
            (":error-code", "InternalError"),
            (":error-message", "late"),
            (":message-type", "error"),
        ];
        [
            message(&delta, r#"{"delta":{"text":"a"}}"#),
            message(&[], ""),
            message(&delta, &"long ".repeat(50)),
            exception("throttlingException", "too \"many\"").to_vec(),
            message(&error, ""),
        ]
        .concat()
    }

    #[test]
    fn the_message_type_selects_the_frame() {
        let (decoded, pending) = decode_all([&*stream()], LONGEST);
        assert!(!pending);
        assert_eq!(decoded[0], r#"event contentBlockDelta {"delta":{"text":"a"}}"#);
        assert_eq!(decoded[1], "event  ");
        assert_eq!(decoded[3], r#"exception throttlingException {"message":"too \"many\""}"#);
        assert_eq!(decoded[4], "error InternalError late");
        assert_eq!(decoded.len(), 5);
    }

    #[test]
    fn an_encoded_event_can_be_decoded() {
        let mut bytes = Vec::new();
        write_event("messageStart", br#"{"role":"assistant"}"#.to_vec(), &mut bytes);
        let event = [
            (":event-type", "messageStart"),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ];
        assert_eq!(bytes, message(&event, r#"{"role":"assistant"}"#));
        assert_eq!(
            decode_all([&*bytes], LONGEST).0,
            [r#"event messageStart {"role":"assistant"}"#]
        );
    }

    #[test]
    fn any_split_into_chunks_gives_the_same_frames() {
        let bytes = stream();
        let whole = decode_all([&*bytes], LONGEST);
        for at in 0..=bytes.len() {
            assert_eq!(decode_all([&bytes[..at], &bytes[at..]], LONGEST), whole, "split at {at}");
        }
        for size in 1..40 {
            assert_eq!(decode_all(bytes.chunks(size), LONGEST), whole, "chunks of {size}");
        }
    }

    #[test]
    fn a_stream_truncated_inside_a_message_is_pending() {
        let bytes = stream();
        let first = bytes.len() - message(&[], "").len();
        assert!(decode_all([&bytes[..first]], LONGEST).1);
        assert!(decode_all([&bytes[..1]], LONGEST).1);
        assert!(!decode_all([], LONGEST).1);
    }

    #[test]
    fn nothing_is_decoded_after_a_malformed_message() {
        let mut bytes = stream();
        let first = message(&[(":event-type", "x")], "payload");
        for at in 0..first.len() {
            let mut bad = first.clone();
            bad[at] ^= 0x40;
            bad.append(&mut bytes.clone());
            let (decoded, pending) = decode_all([&*bad], 1000);
            assert!(pending, "byte {at}");
            assert!(
                decoded.iter().all(|frame| frame.starts_with("malformed")),
                "byte {at}: {decoded:?}"
            );
        }
        bytes[..4].copy_from_slice(&15_u32.to_be_bytes());
        assert_eq!(decode_all([&*bytes], LONGEST), (vec!["malformed Length".to_owned()], true));
    }

    #[test]
    fn a_message_over_the_limit_is_not_buffered() {
        let long = message(&[(":event-type", "x")], &"x".repeat(1000));
        assert_eq!(decode_all(long.chunks(7), long.len()).0.len(), 1);
        let mut frames = FrameDecoder::new(long.len() - 1);
        let mut decoded = Vec::new();
        for chunk in long.chunks(7) {
            frames.push(chunk, |frame| decoded.push(describe(&frame)));
            assert!(frames.buffer.len() <= 14);
        }
        assert_eq!(decoded, ["malformed Length"]);
    }

    #[test]
    fn the_published_test_vectors_are_decoded_as_specified() {
        let Ok(shared) = std::env::var("KEYMUX_SHARED") else {
            return println!("skipped: KEYMUX_SHARED is not set");
        };
        let path = PathBuf::from(shared).join("specs/aws-eventstream/vectors.json");
        let all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let vectors = all["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 20);
        for vector in vectors {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let bytes = BASE64_STANDARD.decode(text(&vector["encoded_b64"])).unwrap();
            let (decoded, pending) = decode_all(bytes.chunks(5), LONGEST);
            let name = text(&vector["name"]);
            if vector["expect"] == "valid" {
                let payload = BASE64_STANDARD.decode(text(&vector["decoded"]["payload"])).unwrap();
                assert!(!pending, "{name}");
                assert_eq!(decoded.len(), 1, "{name}: {decoded:?}");
                assert!(decoded[0].ends_with(&*String::from_utf8_lossy(&payload)), "{name}");
            } else {
                assert!(pending, "{name}: {decoded:?}");
                assert!(
                    decoded.iter().all(|frame| frame.starts_with("malformed")),
                    "{name}: {decoded:?}"
                );
            }
        }
    }
}
