//! Observes the streams of Bedrock: AWS event streams, whose events are the API's own (`converse-stream`)
//! or chunks of the model vendor's stream (`invoke-with-response-stream`).
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::progress::{Progress, StreamError};
use super::{anthropic, as_text};
use crate::wire::failure::classify::classify_exception;
use crate::wire::frame::aws_event_stream::{Frame, FrameDecoder};
use crate::wire::inspect::token_counts::Tally;
use crate::wire::json::walk::members;

/// The observer stops reading at a message longer than this, and also ignores all bytes after it.
const GATHERED: usize = 512 * 1024;

/// The messages, and the state collected from them.
#[derive(Debug)]
pub(crate) struct Stream {
    frames: FrameDecoder,
    heard: anthropic::Heard,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self { frames: FrameDecoder::new(GATHERED), heard: anthropic::Heard::default() }
    }

    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        let Self { frames, heard } = self;
        frames.push(bytes, |frame| match frame {
            Frame::Event { kind: "chunk", payload } => chunk(heard, payload),
            Frame::Event { kind, payload } => {
                event(&mut heard.progress, &mut heard.tally, kind.as_bytes(), payload);
            }
            Frame::Exception { kind, payload } => {
                let error = StreamError { body: payload.to_vec(), kind: Some(as_shape(kind)) };
                heard.progress.fail(classify_exception(kind, payload), error);
            }
            Frame::Error { code, message } => {
                let body = json!({ "message": message }).to_string().into_bytes();
                let failure = classify_exception(code, &body);
                heard.progress.fail(failure, StreamError { body, kind: Some(code.to_owned()) });
            }
            // The start of the next message is unknown; only HTTP shows if the response is complete.
            Frame::Malformed(_) => {
                heard.progress.begun = true;
                heard.progress.whole = true;
            }
        });
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.heard.progress
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.heard.tally
    }

    pub(crate) fn at_boundary(&self) -> bool {
        !self.frames.pending()
    }
}

/// Converts the name of a stream member to the name of its error: the API uses `throttlingException` for
/// the member and `ThrottlingException` for the error.
fn as_shape(kind: &str) -> String {
    let mut name = kind.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    name
}

/// Reads an event of `converse-stream`.
fn event(progress: &mut Progress, tally: &mut Tally, kind: &[u8], payload: &[u8]) {
    match kind {
        b"messageStart" => progress.known = true,
        b"contentBlockStart" | b"contentBlockDelta" | b"contentBlockStop" => {
            progress.begun = true;
            progress.known = true;
        }
        b"messageStop" => {
            progress.begun = true;
            progress.known = true;
            progress.closed = true;
        }
        b"metadata" => {
            progress.begun = true;
            progress.known = true;
            progress.done = true;
            tally.of_bedrock(members(payload, ["usage"])[0]);
        }
        _ => progress.begun = true,
    }
}

/// Reads a chunk `{"bytes":"…"}`, which contains the model vendor's stream in base64: Anthropic sends
/// events that contain their type, Amazon's Nova sends `converse-stream` events under their names, and
/// other vendors send unknown formats. Bedrock adds its own token counts to the last chunk of every vendor.
fn chunk(heard: &mut anthropic::Heard, payload: &[u8]) {
    let [bytes] = members(payload, ["bytes"]);
    let Ok(inner) = STANDARD.decode(as_text(bytes)) else {
        heard.progress.begun = true;
        return;
    };
    let [kind, metrics] = members(&inner, ["type", "amazon-bedrock-invocationMetrics"]);
    if kind.is_some() {
        heard.event(b"", &inner);
    } else {
        let named = [
            "messageStart",
            "contentBlockStart",
            "contentBlockDelta",
            "contentBlockStop",
            "messageStop",
            "metadata",
        ];
        let found = members(&inner, named);
        let named =
            named.iter().zip(found).find_map(|(name, value)| Some((name.as_bytes(), value?)));
        let (kind, value) = named.unwrap_or_default();
        event(&mut heard.progress, &mut heard.tally, kind, value);
    }
    if metrics.is_some() {
        heard.progress.done = true;
        heard.tally.of_bedrock(metrics);
    }
}
