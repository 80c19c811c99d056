//! A provider's answer, streamed or whole -> events. The blocks of a whole answer are read as if each had been
//! streamed at once.
//! <https://platform.claude.com/docs/en/build-with-claude/streaming>

mod block;
mod error;
mod types;

use serde_json::value::RawValue;

use self::block::Blocks;
use self::types::{Delta, Message, StreamEvent, Tier};
use super::stop_reason;
use crate::wire::failure::ProviderError;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::token_counts::Tally;
use crate::wire::ir::block_writer::BlockWriter;
use crate::wire::ir::{Event, Stop};

/// No answer has more blocks.
const MAX_BLOCKS: u32 = 4096;

/// Decodes a provider's stream.
#[derive(Debug)]
pub struct Decoder {
    writer: BlockWriter,
    blocks: Blocks,
    tally: Tally,
    /// The tier is known.
    has_tier: bool,
}

impl Decoder {
    /// For a vendor with these quirks.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder {
            writer: BlockWriter::new(MAX_BLOCKS),
            blocks: Blocks::default(),
            tally: Tally::default(),
            has_tier: false,
        }
    }

    /// Decodes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        if self.writer.is_over() {
            return;
        }
        match frame {
            Frame::Event { data, .. } if data.is_empty() || data == b"[DONE]" => {}
            Frame::Event { name, data } => self.event(name, data, out),
            Frame::Exception { kind, payload } => {
                self.writer.fail(error::parse_exception(kind, payload), out);
            }
        }
    }

    /// The stream has ended in order. Every vendor sends `message_stop`, so a stream without it was cut.
    pub fn end(&mut self, _out: &mut Vec<Event>) {}

    fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Event>) {
        // serde reads a list as an object's members in order.
        let event = serde_json::from_slice::<StreamEvent<'_>>(data).ok();
        let Some(event) = event.filter(|_| data.starts_with(b"{")) else {
            return self.malformed("The provider sent an event that cannot be read.", out);
        };
        let kind = match event.kind.as_bytes() {
            b"" => name,
            kind => kind,
        };
        match kind {
            b"ping" => out.push(Event::Ping),
            b"message_start" => match event.message.map(|raw| serde_json::from_str(raw.get())) {
                Some(Ok(message)) => self.start(message, out),
                _ => self.malformed("The provider's answer begins without a message.", out),
            },
            b"error" => self.writer.fail(error::parse(data), out),
            // Vertex answers a request without `stream` at its address for streams with one event that is
            // the whole message (recorded).
            b"message" => self.whole(data, out),
            b"content_block_start"
            | b"content_block_delta"
            | b"content_block_stop"
            | b"message_delta"
            | b"message_stop"
                if !self.writer.is_started() =>
            {
                self.malformed("The provider's answer has no beginning.", out);
            }
            // After the stop only a usage and the end are expected.
            b"content_block_start" | b"content_block_delta" if self.writer.is_stopped(0) => {}
            b"content_block_start" => {
                let result = match (event.index, event.content_block) {
                    (Some(index), Some(block)) => {
                        self.blocks.start(index, block, &mut self.writer, out)
                    }
                    _ => Err("The provider began a block without an index or without contents."),
                };
                self.check(result, out);
            }
            b"content_block_delta" => {
                let result = match (event.index, event.delta) {
                    (Some(index), Some(delta)) => {
                        self.blocks.extend(index, delta, &mut self.writer, out)
                    }
                    _ => Err("The provider sent a delta without an index or without contents."),
                };
                self.check(result, out);
            }
            b"content_block_stop" => {
                if let Some(index) = event.index {
                    self.blocks.stop(index, &mut self.writer, out);
                }
            }
            b"message_delta" => {
                self.count(event.usage, out);
                if let Some(Delta { stop_reason: Some(reason), stop_sequence, .. }) = event.delta {
                    self.stop(Some(reason), stop_sequence, out);
                }
            }
            b"message_stop" => {
                self.stop(None, None, out);
                self.writer.end(out);
            }
            _ => {}
        }
    }

    fn start(&mut self, message: Message<'_>, out: &mut Vec<Event>) {
        if self.writer.is_started() {
            return;
        }
        let Message { id, model, content, stop_reason, stop_sequence, usage } = message;
        self.writer.start(id, model, None, out);
        self.count(usage, out);
        for (index, block) in (0..).zip(content.unwrap_or_default()) {
            let result = self.blocks.start(index, block, &mut self.writer, out);
            self.check(result, out);
            self.blocks.stop(index, &mut self.writer, out);
        }
        if stop_reason.is_some() {
            self.stop(stop_reason, stop_sequence, out);
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) {
        let message: Message<'_> = match serde_json::from_slice(body) {
            Ok(message) => message,
            Err(_) => return self.malformed("The provider's answer cannot be read.", out),
        };
        if message.content.is_none() {
            return self.malformed("The provider's answer is not a message.", out);
        }
        self.start(message, out);
        self.stop(None, None, out);
        self.writer.end(out);
    }

    fn count(&mut self, usage: Option<&RawValue>, out: &mut Vec<Event>) {
        let Some(usage) = usage else { return };
        self.tally.of_anthropic(Some(usage.get().as_bytes()));
        out.push(Event::Usage(self.tally.usage()));
        if !self.has_tier {
            let tier = serde_json::from_str::<Tier>(usage.get()).ok().and_then(|t| t.service_tier);
            self.has_tier = tier.is_some();
            out.extend(tier.map(Event::Tier));
        }
    }

    /// Stops the only candidate.
    fn stop(&mut self, reason: Option<String>, sequence: Option<String>, out: &mut Vec<Event>) {
        self.blocks.stop_all(&mut self.writer, out);
        let why = reason.as_deref().map_or(Stop::Other, stop_reason::parse);
        self.writer.stop(0, why, reason, sequence, out);
    }

    fn check(&mut self, result: Result<(), &'static str>, out: &mut Vec<Event>) {
        if let Err(why) = result {
            self.malformed(why, out);
        }
    }

    fn malformed(&mut self, why: &str, out: &mut Vec<Event>) {
        self.writer.fail(ProviderError::malformed(why), out);
    }
}

/// Decodes a provider's whole answer.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(quirks), Vec::new());
    if error::is_error(body) {
        decoder.writer.fail(error::parse(body), &mut out);
    } else {
        decoder.whole(body, &mut out);
    }
    out
}

#[cfg(test)]
mod tests;
