//! A provider's answer: chunks of `GenerateContentResponse`, of which a whole answer is the only one.
//!
//! Nothing ends a stream but its own end, and some models have written a finish reason into every chunk, so
//! blocks stay open and stops are held until then.

pub(crate) mod arguments;
pub(crate) mod beside;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use self::arguments::Arguments;
use super::part::kind_of;
use super::{signature, stop_reason};
use crate::wire::api::{Api, Format};
use crate::wire::failure::ProviderError;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::classify::classify_told;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::token_counts::Tally;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Event, Kind, Media, Piece, Signature, Source, Stop};
use crate::wire::json::walk::members;

/// The API allows eight.
const MOST_CANDIDATES: usize = 128;
/// A model does not think, write and call in more turns within one answer.
const MOST_BLOCKS: u32 = 65_536;

/// Makes events of a provider's stream.
#[derive(Debug)]
pub struct Decoder {
    started: bool,
    over: bool,
    blocks: u32,
    candidates: Vec<Candidate>,
    tally: Tally,
    told: Usage,
    tier: bool,
}

/// One of the answers.
#[derive(Debug, Default)]
struct Candidate {
    /// Numbers that are passed over are none.
    seen: bool,
    open: Option<Open>,
    called: bool,
    /// The latest word for its end, and what it means.
    stop: Option<(Stop, String)>,
    /// Arguments that come in pieces, the block of their call, and its signature.
    partial: Option<Partial>,
}

/// A block that may go on with the next part.
#[derive(Clone, Copy, Debug)]
struct Open {
    block: u32,
    thought: bool,
    sealed: bool,
}

#[derive(Debug)]
struct Partial {
    block: u32,
    arguments: Arguments,
    signature: Option<Signature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'d> {
    #[serde(default, borrow)]
    candidates: Option<Vec<Share<'d>>>,
    #[serde(default, borrow)]
    usage_metadata: Option<&'d RawValue>,
    #[serde(default, borrow)]
    prompt_feedback: Option<&'d RawValue>,
    #[serde(default, borrow)]
    error: Option<&'d RawValue>,
    #[serde(default, borrow)]
    model_version: Option<&'d RawValue>,
    #[serde(default, borrow)]
    response_id: Option<&'d RawValue>,
}

/// A candidate's share of a chunk.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Share<'d> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default, borrow)]
    content: Option<Content<'d>>,
    #[serde(default, borrow)]
    finish_reason: Option<&'d RawValue>,
    #[serde(default, borrow)]
    grounding_metadata: Option<&'d RawValue>,
    #[serde(default, borrow)]
    citation_metadata: Option<&'d RawValue>,
    #[serde(default, borrow)]
    logprobs_result: Option<&'d RawValue>,
}

#[derive(Deserialize)]
struct Content<'d> {
    #[serde(default, borrow)]
    parts: Option<Vec<&'d RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'d> {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    thought: Option<bool>,
    #[serde(default)]
    thought_signature: Option<String>,
    #[serde(default, borrow)]
    function_call: Option<Call<'d>>,
    #[serde(default)]
    inline_data: Option<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call<'d> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, borrow)]
    args: Option<&'d RawValue>,
    #[serde(default)]
    partial_args: Option<Vec<arguments::Piece>>,
    #[serde(default)]
    will_continue: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    mime_type: String,
    data: String,
}

/// Makes events of a provider's whole answer. Of a stream's array that came whole, the elements.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(quirks), Vec::new());
    let body = body.trim_ascii();
    if body.starts_with(b"[") {
        let elements: Vec<&RawValue> = serde_json::from_slice(body).unwrap_or_default();
        for data in elements {
            decoder.chunk(data.get().as_bytes(), &mut out);
        }
    } else {
        decoder.chunk(body, &mut out);
    }
    decoder.finish(true, &mut out);
    if !decoder.over {
        decoder.fail(unread(), &mut out);
    }
    out
}

impl Decoder {
    /// Of a vendor with these quirks.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder {
            started: false,
            over: false,
            blocks: 0,
            candidates: Vec::new(),
            tally: Tally::default(),
            told: Usage::default(),
            tier: false,
        }
    }

    /// Takes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        match frame {
            Frame::Event { data, .. } => self.chunk(data, out),
            // No stream of Google's is framed so.
            Frame::Exception { .. } => self.fail(unread(), out),
        }
    }

    /// The stream has ended in order.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        self.finish(false, out);
    }

    fn chunk(&mut self, data: &[u8], out: &mut Vec<Event>) {
        let data = data.trim_ascii();
        if self.over || data.is_empty() {
            return;
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
            return self.fail(unread(), out);
        };
        if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
            return self.fail(told(data, error.get()), out);
        }
        let known = chunk.candidates.is_some()
            || chunk.prompt_feedback.is_some()
            || chunk.usage_metadata.is_some();
        if !known {
            return;
        }
        if !self.started {
            self.started = true;
            let text = |raw: Option<&RawValue>| serde_json::from_str(raw?.get()).ok();
            let (id, model) = (text(chunk.response_id), text(chunk.model_version));
            out.push(Event::Start { id, model, created: None });
        }
        let none = chunk.candidates.as_ref().is_none_or(Vec::is_empty);
        for share in chunk.candidates.unwrap_or_default() {
            let at = usize::try_from(share.index.unwrap_or(0)).unwrap_or(usize::MAX);
            if at >= MOST_CANDIDATES || self.blocks > MOST_BLOCKS {
                return self.fail(unread(), out);
            }
            if self.candidates.len() <= at {
                self.candidates.resize_with(at + 1, Candidate::default);
            }
            if self.share(at, share, out).is_none() {
                return self.fail(unread(), out);
            }
        }
        if let Some(feedback) = chunk.prompt_feedback
            && none
            && self.candidates.is_empty()
        {
            self.blocked(feedback.get());
        }
        if let Some(usage) = chunk.usage_metadata {
            self.count(usage.get().as_bytes(), out);
        }
    }

    /// A blocked prompt has no candidates.
    fn blocked(&mut self, feedback: &str) {
        let [Some([b'"', reason @ .., b'"'])] = members(feedback.as_bytes(), ["blockReason"])
        else {
            return;
        };
        let raw = String::from_utf8_lossy(reason).into_owned();
        let stop = Some((Stop::Filter, raw));
        self.candidates.push(Candidate { seen: true, stop, ..Candidate::default() });
    }

    fn count(&mut self, usage: &[u8], out: &mut Vec<Event>) {
        self.tally.of_gemini(Some(usage));
        let counted = self.tally.usage();
        if counted != self.told {
            self.told = counted;
            out.push(Event::Usage(counted));
        }
        if !self.tier
            && let [Some([b'"', tier @ .., b'"'])] = members(usage, ["serviceTier"])
        {
            self.tier = true;
            out.push(Event::Tier(String::from_utf8_lossy(tier).into_owned()));
        }
    }

    /// `None`: it cannot be read.
    fn share(&mut self, at: usize, share: Share<'_>, out: &mut Vec<Event>) -> Option<()> {
        self.candidates[at].seen = true;
        for raw in share.content.and_then(|content| content.parts).unwrap_or_default() {
            self.part(at, raw, out)?;
        }
        let open = self.candidates[at].open.filter(|open| !open.thought);
        if let Some(Open { block, .. }) = open {
            let citations = [share.grounding_metadata, share.citation_metadata];
            for citation in citations.into_iter().flatten().flat_map(beside::citations) {
                out.push(Event::Delta { block, piece: Piece::Citation(citation) });
            }
            let logprobs = share.logprobs_result.map(beside::logprobs).unwrap_or_default();
            if !logprobs.is_empty() {
                out.push(Event::Delta { block, piece: Piece::Logprobs(logprobs) });
            }
        }
        let own = &mut self.candidates[at];
        own.stop = share.finish_reason.and_then(|word| {
            let word = stop_reason::word(word.get())?;
            Some((stop_reason::read(&word, own.called)?, word))
        });
        Some(())
    }

    fn part(&mut self, at: usize, raw: &RawValue, out: &mut Vec<Event>) -> Option<()> {
        let part: Part<'_> = serde_json::from_str(raw.get()).ok()?;
        let thought = part.thought == Some(true);
        let signature = part.thought_signature.filter(|data| !data.is_empty());
        let signature = signature.map(|data| Signature { format: Format::Gemini, data, id: None });
        if let Some(call) = part.function_call {
            return self.call(at, call, signature, out);
        }
        if let Some(text) = part.text {
            self.settle(at, out);
            self.text(at, text, thought, signature, out);
            return Some(());
        }
        self.settle(at, out);
        // An image of a thought is none of the answer.
        if let Some(Blob { mime_type, data }) = part.inline_data.filter(|_| !thought) {
            let kind = kind_of(&mime_type);
            let source = Source::Base64 { media_type: mime_type, data: signature::standard(data) };
            let media = Media { kind, source, name: None, detail: None };
            self.whole(at, Kind::Media(media), None, signature, out);
            return Some(());
        }
        let json: Value = serde_json::from_str(raw.get()).ok()?;
        if json.as_object().is_some_and(|members| members.values().any(Value::is_object)) {
            self.whole(at, Kind::Foreign { format: Format::Gemini, json }, None, None, out);
        }
        Some(())
    }

    fn text(
        &mut self,
        at: usize,
        text: String,
        thought: bool,
        signature: Option<Signature>,
        out: &mut Vec<Event>,
    ) {
        let open = self.candidates[at].open;
        // The empty text that only carries a signature is of what stands before it.
        if text.is_empty() {
            let Some(signature) = signature else { return };
            match open {
                Some(Open { block, sealed: false, .. }) => {
                    self.candidates[at].open = open.map(|open| Open { sealed: true, ..open });
                    out.push(Event::Delta { block, piece: Piece::Signature(signature) });
                }
                _ => self.whole(at, Kind::Reasoning, None, Some(signature), out),
            }
            return;
        }
        let goes_on =
            |open: &Open| open.thought == thought && !(open.sealed && signature.is_some());
        let mut open = if let Some(open) = open.filter(goes_on) {
            open
        } else {
            self.close(at, out);
            let kind = if thought { Kind::Reasoning } else { Kind::Text };
            Open { block: self.open(at, kind, out), thought, sealed: false }
        };
        let block = open.block;
        out.push(Event::Delta { block, piece: Piece::Text(text) });
        if let Some(signature) = signature {
            open.sealed = true;
            out.push(Event::Delta { block, piece: Piece::Signature(signature) });
        }
        self.candidates[at].open = Some(open);
    }

    /// A call, whole; or in pieces (Vertex), of which the first has the name and the last says that none
    /// follows. Recorded: pieces without arguments, and an empty last one.
    fn call(
        &mut self,
        at: usize,
        call: Call<'_>,
        signature: Option<Signature>,
        out: &mut Vec<Event>,
    ) -> Option<()> {
        let name = call.name.filter(|name| !name.is_empty());
        let goes_on = call.will_continue == Some(true);
        let pieces = call.partial_args.unwrap_or_default();
        if let Some(name) = name {
            self.settle(at, out);
            self.candidates[at].called = true;
            let kind = Kind::ToolCall { id: call.id.filter(|id| !id.is_empty()), name };
            if !goes_on && pieces.is_empty() {
                let args = call.args.map_or("{}", RawValue::get);
                self.whole(at, kind, Some(args.to_owned()), signature, out);
                return Some(());
            }
            self.close(at, out);
            let block = self.open(at, kind, out);
            let arguments = Arguments::of(call.args.map(RawValue::get));
            self.candidates[at].partial = Some(Partial { block, arguments, signature });
        }
        let Some(partial) = &mut self.candidates[at].partial else { return Some(()) };
        for piece in pieces {
            partial.arguments.take(piece)?;
        }
        if goes_on {
            out.push(Event::Ping);
            return Some(());
        }
        self.settle(at, out);
        Some(())
    }

    /// Ends a call whose arguments came in pieces.
    fn settle(&mut self, at: usize, out: &mut Vec<Event>) {
        if let Some(Partial { block, arguments, signature }) = self.candidates[at].partial.take() {
            let text = arguments.into_text();
            out.push(Event::Delta { block, piece: Piece::Text(text) });
            out.extend(
                signature
                    .map(|signature| Event::Delta { block, piece: Piece::Signature(signature) }),
            );
            out.push(Event::Close { block });
        }
    }

    /// A block that comes in one piece.
    fn whole(
        &mut self,
        at: usize,
        kind: Kind,
        text: Option<String>,
        signature: Option<Signature>,
        out: &mut Vec<Event>,
    ) {
        self.close(at, out);
        let block = self.open(at, kind, out);
        let pieces = [text.map(Piece::Text), signature.map(Piece::Signature)];
        out.extend(pieces.into_iter().flatten().map(|piece| Event::Delta { block, piece }));
        out.push(Event::Close { block });
    }

    fn open(&mut self, at: usize, kind: Kind, out: &mut Vec<Event>) -> u32 {
        let block = self.blocks;
        self.blocks += 1;
        let candidate = u32::try_from(at).unwrap_or(u32::MAX);
        out.push(Event::Open { block, candidate, kind });
        block
    }

    fn close(&mut self, at: usize, out: &mut Vec<Event>) {
        if let Some(Open { block, .. }) = self.candidates[at].open.take() {
            out.push(Event::Close { block });
        }
    }

    /// Of a stream, the end is one if all candidates have stopped. Of a whole answer, HTTP says that it is
    /// whole.
    fn finish(&mut self, whole: bool, out: &mut Vec<Event>) {
        let mut seen = self.candidates.iter().filter(|own| own.seen).peekable();
        let stopped = seen.peek().is_some() && seen.all(|own| own.stop.is_some());
        if self.over || !self.started || !(whole || stopped) {
            return;
        }
        if self.candidates.is_empty() {
            self.candidates.push(Candidate { seen: true, ..Candidate::default() });
        }
        for at in 0..self.candidates.len() {
            if !self.candidates[at].seen {
                continue;
            }
            self.settle(at, out);
            self.close(at, out);
            let (why, raw) = match self.candidates[at].stop.take() {
                Some((why, raw)) => (why, Some(raw)),
                None => (Stop::Other, None),
            };
            let candidate = u32::try_from(at).unwrap_or(u32::MAX);
            out.push(Event::Stop { candidate, why, raw, sequence: None });
        }
        self.over = true;
        out.push(Event::End);
    }

    fn fail(&mut self, told: ProviderError, out: &mut Vec<Event>) {
        if !self.over {
            self.over = true;
            out.push(Event::Fail(told));
        }
    }
}

/// <https://cloud.google.com/apis/design/errors>
fn told(data: &[u8], error: &str) -> ProviderError {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Error {
        code: Value,
        status: Option<String>,
        message: Option<String>,
        details: Vec<Value>,
    }
    let error: Error = serde_json::from_str(error).unwrap_or_default();
    let reason = error.details.iter().find_map(|detail| detail["reason"].as_str());
    ProviderError {
        failure: classify_told(Api::Gemini, data),
        status: error.code.as_u64().and_then(|code| u16::try_from(code).ok()),
        kind: error.status,
        code: reason.map(str::to_owned),
        param: None,
        message: error.message.unwrap_or_else(|| "The provider failed.".to_owned()),
    }
}

fn unread() -> ProviderError {
    ProviderError {
        failure: Failure { class: Class::Trouble, retry_after: None },
        status: None,
        kind: None,
        code: None,
        param: None,
        message: "The provider sent an answer that cannot be read.".to_owned(),
    }
}

#[cfg(test)]
mod tests;
