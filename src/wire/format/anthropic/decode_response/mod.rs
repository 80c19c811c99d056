//! Making events of a provider's answer, streamed or whole: a whole one is taken block by block as if each
//! had been streamed at once.
//! <https://platform.claude.com/docs/en/build-with-claude/streaming>

pub(crate) mod block;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::api::Api;
use crate::wire::failure::ProviderError;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::classify::{classify_named, classify_told};
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::token_counts::Tally;
use crate::wire::ir::{Event, Stop};

use self::block::Blocks;
use super::stop_reason;

/// Makes events of a provider's stream.
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    stopped: bool,
    /// The answer has ended or failed.
    over: bool,
    blocks: Blocks,
    tally: Tally,
    /// The tier was told.
    tiered: bool,
}

#[derive(Deserialize)]
struct Written<'f> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'f, str>,
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    message: Option<&'f RawValue>,
    #[serde(borrow, default)]
    content_block: Option<&'f RawValue>,
    #[serde(borrow, default)]
    delta: Option<Delta<'f>>,
    #[serde(borrow, default)]
    usage: Option<&'f RawValue>,
}

/// What comes to a block, or to the message.
#[derive(Deserialize)]
struct Delta<'f> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'f, str>,
    text: Option<String>,
    thinking: Option<String>,
    partial_json: Option<String>,
    signature: Option<String>,
    #[serde(borrow)]
    citation: Option<&'f RawValue>,
    #[serde(borrow)]
    content: Option<&'f RawValue>,
    #[serde(borrow)]
    encrypted_content: Option<&'f RawValue>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

/// A message, as it begins or whole.
#[derive(Deserialize)]
struct Message<'f> {
    id: Option<String>,
    model: Option<String>,
    #[serde(borrow, default)]
    content: Option<Vec<&'f RawValue>>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    #[serde(borrow, default)]
    usage: Option<&'f RawValue>,
}

#[derive(Deserialize)]
struct Tier {
    service_tier: Option<String>,
}

impl Decoder {
    /// Of a vendor with these quirks.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder::default()
    }

    /// Takes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        match frame {
            Frame::Event { data, .. } if data.is_empty() || data == b"[DONE]" => {}
            Frame::Event { name, data } => self.event(name, data, out),
            Frame::Exception { kind, payload } => {
                let message = error_of(payload).message;
                let failure = classify_named(kind, payload);
                self.fail(told(failure, Some(kind.to_owned()), message), out);
            }
        }
    }

    /// The stream has ended in order. Nobody leaves out `message_stop`, so one that ends without it was cut.
    pub fn end(&mut self, _out: &mut Vec<Event>) {}

    fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Event>) {
        // serde reads a list as an object's members in order.
        let told = serde_json::from_slice::<Written<'_>>(data).ok();
        let Some(told) = told.filter(|_| data.starts_with(b"{")) else {
            return self.garbled("The provider sent an event that cannot be read.", out);
        };
        let kind = match told.kind.as_bytes() {
            b"" => name,
            kind => kind,
        };
        match kind {
            b"ping" => out.push(Event::Ping),
            b"message_start" => match told.message.map(|raw| serde_json::from_str(raw.get())) {
                Some(Ok(message)) => self.start(message, out),
                _ => self.garbled("The provider's answer begins with no message.", out),
            },
            b"error" => self.fail(failed(data), out),
            // Vertex answers a request without `stream` at its address for streams with one event that is
            // the whole message (recorded).
            b"message" => self.whole(data, out),
            b"content_block_start"
            | b"content_block_delta"
            | b"content_block_stop"
            | b"message_delta"
            | b"message_stop"
                if !self.started =>
            {
                self.garbled("The provider's answer has no beginning.", out);
            }
            // Nothing but a usage or the end belongs behind the stop.
            b"content_block_start" | b"content_block_delta" if self.stopped => {}
            b"content_block_start" => {
                let taken = match (told.index, told.content_block) {
                    (Some(index), Some(block)) => self.blocks.start(index, block, out),
                    _ => Err("The provider began a block that is none."),
                };
                self.check(taken, out);
            }
            b"content_block_delta" => {
                let taken = match (told.index, told.delta) {
                    (Some(index), Some(delta)) => self.blocks.delta(index, delta, out),
                    _ => Err("The provider sent a piece of no block."),
                };
                self.check(taken, out);
            }
            b"content_block_stop" => {
                if let Some(index) = told.index {
                    self.blocks.stop(index, out);
                }
            }
            b"message_delta" => {
                self.count(told.usage, out);
                if let Some(Delta { stop_reason: Some(reason), stop_sequence, .. }) = told.delta {
                    self.stop(Some(reason), stop_sequence, out);
                }
            }
            b"message_stop" => {
                self.stop(None, None, out);
                self.over = true;
                out.push(Event::End);
            }
            _ => {}
        }
    }

    fn start(&mut self, message: Message<'_>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let Message { id, model, content, stop_reason, stop_sequence, usage } = message;
        out.push(Event::Start { id, model, created: None });
        self.count(usage, out);
        for (index, block) in (0..).zip(content.unwrap_or_default()) {
            let taken = self.blocks.start(index, block, out);
            if !self.check(taken, out) {
                return;
            }
            self.blocks.stop(index, out);
        }
        if stop_reason.is_some() {
            self.stop(stop_reason, stop_sequence, out);
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<Event>) {
        let message: Message<'_> = match serde_json::from_slice(body) {
            Ok(message) => message,
            Err(_) => return self.garbled("The provider's answer cannot be read.", out),
        };
        if message.content.is_none() {
            return self.garbled("The provider's answer is no message.", out);
        }
        self.start(message, out);
        if !self.over {
            self.stop(None, None, out);
            self.over = true;
            out.push(Event::End);
        }
    }

    fn count(&mut self, usage: Option<&RawValue>, out: &mut Vec<Event>) {
        let Some(usage) = usage else { return };
        self.tally.of_anthropic(Some(usage.get().as_bytes()));
        out.push(Event::Usage(self.tally.usage()));
        if !self.tiered {
            let tier = serde_json::from_str::<Tier>(usage.get()).ok().and_then(|t| t.service_tier);
            self.tiered = tier.is_some();
            out.extend(tier.map(Event::Tier));
        }
    }

    /// The only candidate is whole.
    fn stop(&mut self, reason: Option<String>, sequence: Option<String>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.blocks.close_all(out);
        let why = reason.as_deref().map_or(Stop::Other, stop_reason::read);
        out.push(Event::Stop { candidate: 0, why, raw: reason, sequence });
    }

    fn check(&mut self, taken: Result<(), &'static str>, out: &mut Vec<Event>) -> bool {
        if let Err(why) = taken {
            self.garbled(why, out);
        }
        !self.over
    }

    fn garbled(&mut self, why: &str, out: &mut Vec<Event>) {
        let failure = Failure { class: Class::Trouble, retry_after: None };
        self.fail(told(failure, None, why.to_owned()), out);
    }

    fn fail(&mut self, told: ProviderError, out: &mut Vec<Event>) {
        self.over = true;
        out.push(Event::Fail(told));
    }
}

/// Makes events of a provider's whole answer.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(quirks), Vec::new());
    if error_of(body).told {
        decoder.fail(failed(body), &mut out);
    } else {
        decoder.whole(body, &mut out);
    }
    out
}

struct Error {
    /// Whether it is one, and not an answer.
    told: bool,
    kind: Option<String>,
    message: String,
}

/// The words of an error. Anthropic writes `{"type":"error","error":{…}}`; what copies it leaves out one or
/// the other, and AWS has the `message` at the top.
fn error_of(body: &[u8]) -> Error {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Outer<'b> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'b, str>,
        #[serde(borrow)]
        error: Option<&'b RawValue>,
        message: Option<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        #[serde(rename = "type")]
        kind: Option<String>,
        message: Option<String>,
    }
    let outer: Outer<'_> = serde_json::from_slice(body).unwrap_or_default();
    let told = outer.kind == "error" || outer.error.is_some();
    let inner = outer.error.map(|raw| {
        serde_json::from_str(raw.get())
            .unwrap_or_else(|_| Inner { kind: None, message: serde_json::from_str(raw.get()).ok() })
    });
    let inner = inner.unwrap_or_default();
    let message = inner.message.or(outer.message);
    let message = message.unwrap_or_else(|| "The provider reports an error.".to_owned());
    Error { told, kind: inner.kind, message }
}

fn failed(body: &[u8]) -> ProviderError {
    let error = error_of(body);
    let failure = classify_told(Api::Anthropic, body);
    told(failure, error.kind, error.message)
}

fn told(failure: Failure, kind: Option<String>, message: String) -> ProviderError {
    let status = kind.as_deref().and_then(stop_reason::status);
    ProviderError { failure, status, kind, code: None, param: None, message }
}

#[cfg(test)]
mod tests;
