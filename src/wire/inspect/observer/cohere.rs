//! Observes the streams of Cohere's chat API, version 2. <https://docs.cohere.com/v2/docs/streaming>

use serde_json::{Value, json};

use super::progress::{Progress, StreamError};
use super::{GATHERED, as_text};
use crate::wire::api::Api;
use crate::wire::failure::classify::classify_error_body;
use crate::wire::frame::sse::{Frame, Sse};
use crate::wire::inspect::token_counts::Tally;
use crate::wire::json::walk::members;

/// Server-sent events; the name of each is its type. A `[DONE]` follows, which some streams omit.
#[derive(Debug)]
pub(crate) struct Stream {
    sse: Sse,
    progress: Progress,
    tally: Tally,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self { sse: Sse::new(GATHERED), progress: Progress::default(), tally: Tally::default() }
    }

    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        let Self { sse, progress, tally } = self;
        sse.push(bytes, |frame| match frame {
            Frame::Event(event) => hear_event(progress, tally, event.name, event.data.trim_ascii()),
            Frame::Long { .. } => progress.begun = true,
        });
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn open(&self) -> usize {
        self.sse.open()
    }

    pub(crate) fn at_boundary(&self) -> bool {
        !self.sse.pending()
    }
}

fn hear_event(progress: &mut Progress, tally: &mut Tally, name: &[u8], data: &[u8]) {
    if data.is_empty() || name == b"ping" {
        return;
    }
    if data.starts_with(b"[DONE]") {
        progress.begun = true;
        progress.done = true;
        return;
    }
    let kind =
        if matches!(name, b"" | b"message") { as_text(members(data, ["type"])[0]) } else { name };
    match kind {
        b"message-start" => progress.known = true,
        b"message-end" => {
            progress.begun = true;
            progress.known = true;
            let [delta] = members(data, ["delta"]);
            let [usage, reason, error] =
                members(delta.unwrap_or_default(), ["usage", "finish_reason", "error"]);
            tally.of_cohere(usage);
            if as_text(reason) == b"ERROR" {
                let error = error.and_then(|error| serde_json::from_slice::<Value>(error).ok());
                let message =
                    error.as_ref().and_then(Value::as_str).unwrap_or("The generation failed.");
                let body = json!({ "message": message }).to_string();
                progress.fail(
                    classify_error_body(Api::Cohere, body.as_bytes()),
                    StreamError::body(body.as_bytes()),
                );
            } else {
                progress.closed = true;
            }
        }
        b"error" => progress.fail(classify_error_body(Api::Cohere, data), StreamError::body(data)),
        _ => {
            progress.begun = true;
            progress.known |= is_known(kind);
        }
    }
}

/// Returns true if this API defines the event type.
fn is_known(kind: &[u8]) -> bool {
    [&b"content-"[..], b"tool-plan-", b"tool-call-", b"citation-"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
}
