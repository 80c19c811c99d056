//! `application/vnd.amazon.eventstream`: a stream of bytes falls into messages.
//! <https://smithy.io/2.0/aws/amazon-eventstream.html>
//!
//! ```text
//! length of all (4)  length of headers (4)  CRC of those (4)  headers  payload  CRC of all before it (4)
//! ```
//!
//! A message that lies within one chunk is read where it is. One that is spread over chunks is gathered,
//! up to a limit. Other than with server-sent events there is no way back into a stream once a message is
//! broken: nothing says where the next one begins.

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use aws_smithy_types::str_bytes::StrBytes;
use bytes::{Bytes, BytesMut};

/// The longest message that is taken for one.
pub const LONGEST: usize = 16 * 1024 * 1024;
/// The two lengths and their checksum.
const PRELUDE: usize = 12;
/// The prelude and the checksum at the end.
const SHORTEST: usize = PRELUDE + 4;
/// Where a gathered message may leave room behind; more is given back.
const KEPT_CAPACITY: usize = 16 * 1024;

/// What the bytes fall into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// `:message-type = event`
    Event {
        /// `:event-type`, such as `contentBlockDelta`; empty: it has none.
        kind: &'f str,
        /// As sent; JSON in all of Bedrock's streams.
        payload: &'f [u8],
    },
    /// `:message-type = exception`: a failure that the API has a name for. It ends the stream.
    Exception {
        /// `:exception-type`, such as `throttlingException`.
        kind: &'f str,
        /// As sent: `{"message":"…"}`.
        payload: &'f [u8],
    },
    /// `:message-type = error`: a failure without a payload. It ends the stream.
    Error {
        /// `:error-code`
        code: &'f str,
        /// `:error-message`
        message: &'f str,
    },
    /// No message can be made of what came, and nothing behind it is read.
    Broken(Broken),
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A message is longer than the limit, or shorter than any message.
    Length,
    /// A checksum is not that of the bytes, or the headers are none.
    Content,
}

/// Takes chunks, gives frames. Any cut of the same bytes into chunks gives the same frames.
#[derive(Debug)]
pub struct Frames {
    /// The beginning of a message.
    carry: Vec<u8>,
    limit: usize,
    broken: bool,
}

impl Frames {
    /// Gathers messages of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { carry: Vec::new(), limit, broken: false }
    }

    /// Takes a chunk, and gives the frames that it completes, in order.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame<'_>)) {
        while !self.broken && !bytes.is_empty() {
            let read = if self.carry.is_empty() {
                take(&mut bytes, self.limit, &mut each)
            } else {
                self.gather(&mut bytes, &mut each)
            };
            match read {
                Ok(Taken::Message) => {}
                Ok(Taken::Beginning) => return self.carry.extend_from_slice(bytes),
                Ok(Taken::Gathered) => {
                    self.carry.clear();
                    self.carry.shrink_to(KEPT_CAPACITY);
                }
                Err(why) => {
                    self.broken = true;
                    self.carry = Vec::new();
                    each(Frame::Broken(why));
                }
            }
        }
    }

    /// Whether the stream stands within a message, or beyond what can be read.
    pub fn pending(&self) -> bool {
        self.broken || !self.carry.is_empty()
    }

    /// The gathered message goes on with `bytes`, of which what belongs to it is taken.
    fn gather(
        &mut self,
        bytes: &mut &[u8],
        each: &mut impl FnMut(Frame<'_>),
    ) -> Result<Taken, Broken> {
        let wanted = length(&self.carry, self.limit)?.unwrap_or(PRELUDE);
        let (own, rest) = bytes.split_at(bytes.len().min(wanted - self.carry.len()));
        self.carry.extend_from_slice(own);
        *bytes = rest;
        match take(&mut &*self.carry, self.limit, each)? {
            Taken::Message => Ok(Taken::Gathered),
            // Its length may just have come.
            _ => Ok(Taken::Message),
        }
    }
}

/// Writes a frame of this event type, whose payload is JSON, behind `out`. One that is too long to be a
/// message is left out: no message rather than half of one.
pub fn write_event(kind: &'static str, payload: Vec<u8>, out: &mut Vec<u8>) {
    let header = |name: &'static str, value: &'static str| {
        Header::new(name, HeaderValue::String(value.into()))
    };
    let message = Message::new(payload)
        .add_header(header(":event-type", kind))
        .add_header(header(":content-type", "application/json"))
        .add_header(header(":message-type", "event"));
    let before = out.len();
    if write_message_to(&message, out).is_err() {
        out.truncate(before);
    }
}

/// A frame that tells of a failure in the midst of a stream, as Bedrock does: SDKs raise the exception of
/// that name.
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
        // A header of more than 32 KiB: no message rather than half of one.
        Err(_) => Bytes::new(),
    }
}

enum Taken {
    /// A message, or a piece of the one that is gathered.
    Message,
    /// The message that was gathered.
    Gathered,
    /// Nothing: these bytes are the beginning of a message.
    Beginning,
}

/// Reads the message that `bytes` begin with, and takes it off them.
fn take(
    bytes: &mut &[u8],
    limit: usize,
    each: &mut impl FnMut(Frame<'_>),
) -> Result<Taken, Broken> {
    let Some((message, rest)) = length(bytes, limit)?.and_then(|at| bytes.split_at_checked(at))
    else {
        return Ok(Taken::Beginning);
    };
    let read = read_message_from(message).map_err(|_| Broken::Content)?;
    each(frame(&read));
    *bytes = rest;
    Ok(Taken::Message)
}

/// The length of the message that begins here, once that has come. It is looked at before its checksum
/// is, which comes with the whole message: what it can do meanwhile is bounded by the limit.
fn length(bytes: &[u8], limit: usize) -> Result<Option<usize>, Broken> {
    let Some(length) = bytes.first_chunk().filter(|_| bytes.len() >= PRELUDE) else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if (SHORTEST..=limit).contains(&length) { Ok(Some(length)) } else { Err(Broken::Length) }
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

    fn hear<'c>(chunks: impl IntoIterator<Item = &'c [u8]>, limit: usize) -> (Vec<String>, bool) {
        let (mut frames, mut heard) = (Frames::new(limit), Vec::new());
        for chunk in chunks {
            frames.push(chunk, |frame| heard.push(told(&frame)));
        }
        (heard, frames.pending())
    }

    fn told(frame: &Frame<'_>) -> String {
        let text = String::from_utf8_lossy;
        match frame {
            Frame::Event { kind, payload } => format!("event {kind} {}", text(payload)),
            Frame::Exception { kind, payload } => format!("exception {kind} {}", text(payload)),
            Frame::Error { code, message } => format!("error {code} {message}"),
            Frame::Broken(why) => format!("broken {why:?}"),
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
    fn frames_are_told_apart_by_their_message_type() {
        let (heard, pending) = hear([&*stream()], LONGEST);
        assert!(!pending);
        assert_eq!(heard[0], r#"event contentBlockDelta {"delta":{"text":"a"}}"#);
        assert_eq!(heard[1], "event  ");
        assert_eq!(heard[3], r#"exception throttlingException {"message":"too \"many\""}"#);
        assert_eq!(heard[4], "error InternalError late");
        assert_eq!(heard.len(), 5);
    }

    #[test]
    fn a_written_event_is_read_again() {
        let mut bytes = Vec::new();
        write_event("messageStart", br#"{"role":"assistant"}"#.to_vec(), &mut bytes);
        let event = [
            (":event-type", "messageStart"),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ];
        assert_eq!(bytes, message(&event, r#"{"role":"assistant"}"#));
        assert_eq!(hear([&*bytes], LONGEST).0, [r#"event messageStart {"role":"assistant"}"#]);
    }

    #[test]
    fn any_cut_into_chunks_gives_the_same_frames() {
        let bytes = stream();
        let whole = hear([&*bytes], LONGEST);
        for at in 0..=bytes.len() {
            assert_eq!(hear([&bytes[..at], &bytes[at..]], LONGEST), whole, "cut at {at}");
        }
        for size in 1..40 {
            assert_eq!(hear(bytes.chunks(size), LONGEST), whole, "chunks of {size}");
        }
    }

    #[test]
    fn a_stream_that_breaks_off_within_a_message_is_pending() {
        let bytes = stream();
        let first = bytes.len() - message(&[], "").len();
        assert!(hear([&bytes[..first]], LONGEST).1);
        assert!(hear([&bytes[..1]], LONGEST).1);
        assert!(!hear([], LONGEST).1);
    }

    #[test]
    fn nothing_is_read_behind_a_broken_message() {
        let mut bytes = stream();
        let first = message(&[(":event-type", "x")], "payload");
        for at in 0..first.len() {
            let mut bad = first.clone();
            bad[at] ^= 0x40;
            bad.append(&mut bytes.clone());
            let (heard, pending) = hear([&*bad], 1000);
            assert!(pending, "byte {at}");
            assert!(heard.iter().all(|told| told.starts_with("broken")), "byte {at}: {heard:?}");
        }
        bytes[..4].copy_from_slice(&15_u32.to_be_bytes());
        assert_eq!(hear([&*bytes], LONGEST), (vec!["broken Length".to_owned()], true));
    }

    #[test]
    fn a_message_over_the_limit_is_not_gathered() {
        let long = message(&[(":event-type", "x")], &"x".repeat(1000));
        assert_eq!(hear(long.chunks(7), long.len()).0.len(), 1);
        let mut frames = Frames::new(long.len() - 1);
        let mut broken = Vec::new();
        for chunk in long.chunks(7) {
            frames.push(chunk, |frame| broken.push(told(&frame)));
            assert!(frames.carry.len() <= 14);
        }
        assert_eq!(broken, ["broken Length"]);
    }

    #[test]
    fn the_published_vectors_are_read_as_they_say() {
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
            let (heard, pending) = hear(bytes.chunks(5), LONGEST);
            let name = text(&vector["name"]);
            if vector["expect"] == "valid" {
                let payload = BASE64_STANDARD.decode(text(&vector["decoded"]["payload"])).unwrap();
                assert!(!pending, "{name}");
                assert_eq!(heard.len(), 1, "{name}: {heard:?}");
                assert!(heard[0].ends_with(&*String::from_utf8_lossy(&payload)), "{name}");
            } else {
                assert!(pending, "{name}: {heard:?}");
                assert!(heard.iter().all(|told| told.starts_with("broken")), "{name}: {heard:?}");
            }
        }
    }
}
