//! Observes the streams of Anthropic's Messages API.
//! <https://platform.claude.com/docs/en/build-with-claude/streaming>

use super::progress::{Progress, StreamError};
use super::{GATHERED, as_text, name_of_long};
use crate::wire::api::Api;
use crate::wire::failure::classify::classify_error_body;
use crate::wire::frame::sse::{Frame, Sse};
use crate::wire::inspect::token_counts::Tally;
use crate::wire::json::walk::members;

/// Server-sent events; the name of each is its type.
#[derive(Debug)]
pub(crate) struct Stream {
    sse: Sse,
    /// True within an event that is too long to be gathered.
    in_long: bool,
    heard: Heard,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self { sse: Sse::new(GATHERED), in_long: false, heard: Heard::default() }
    }

    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        let Self { sse, in_long, heard } = self;
        sse.push(bytes, |frame| match frame {
            Frame::Event(event) => heard.event(event.name, event.data.trim_ascii()),
            Frame::Long { bytes, last } => {
                // Only content blocks are this long: a file or a page that a server tool returns.
                if !std::mem::replace(in_long, !last) {
                    heard.progress.known |= name_of_long(bytes).starts_with(b"content_block_");
                    heard.progress.begun = true;
                }
            }
        });
    }

    pub(crate) fn heard(&self) -> &Heard {
        &self.heard
    }

    pub(crate) fn open(&self) -> usize {
        self.sse.open()
    }

    pub(crate) fn at_boundary(&self) -> bool {
        !self.sse.pending()
    }
}

/// The state collected from the events, in either framing.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) progress: Progress,
    pub(crate) tally: Tally,
}

impl Heard {
    /// Reads an event: its name, empty if it has none, and its data.
    pub(crate) fn event(&mut self, name: &[u8], data: &[u8]) {
        if data.is_empty() || name == b"ping" {
            return;
        }
        let kind = if matches!(name, b"" | b"message") {
            let [kind] = members(data, ["type"]);
            as_text(kind)
        } else {
            name
        };
        match kind {
            b"ping" => {}
            b"message_start" => {
                self.progress.known = true;
                let [message] = members(data, ["message"]);
                let usage = message.and_then(|message| members(message, ["usage"])[0]);
                self.tally.of_anthropic(usage);
            }
            b"content_block_start" | b"content_block_delta" | b"content_block_stop" => {
                self.progress.begun = true;
                self.progress.known = true;
            }
            b"message_delta" => {
                self.progress.begun = true;
                self.progress.known = true;
                self.tally.of_anthropic(members(data, ["usage"])[0]);
            }
            b"message_stop" => {
                self.progress.begun = true;
                self.progress.known = true;
                self.progress.done = true;
            }
            // On its streaming path, Vertex responds to a request without `stream` with one event that
            // contains the whole message.
            b"message" => {
                self.progress.begun = true;
                self.progress.done = true;
                self.tally.of_anthropic(members(data, ["usage"])[0]);
            }
            b"error" => {
                self.progress
                    .fail(classify_error_body(Api::Anthropic, data), StreamError::body(data));
            }
            _ => self.progress.begun = true,
        }
    }
}
