//! A stream for the caller: chunks in the form that OpenAI's own clients gather.

pub(crate) mod members;
pub(crate) mod whole;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::media::data_url;
use crate::wire::api::Format;
use crate::wire::format::context::ResponseContext;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Event, Kind, Media, Piece, Signature, Source, Stop};

/// Makes a stream for the caller.
#[derive(Debug)]
pub struct Encoder {
    shown: ResponseContext,
    /// What every chunk begins with.
    head: Vec<u8>,
    tier: Option<&'static str>,
    /// The blocks that are open.
    blocks: BTreeMap<u32, Block>,
    candidates: BTreeMap<u32, Candidate>,
    usage: Usage,
}

/// The arguments of a call without any: programs read them as JSON, and some providers say nothing at all
/// where a tool takes nothing.
pub(crate) const NOTHING: &str = "{}";

#[derive(Clone, Copy, Debug)]
struct Block {
    candidate: u32,
    what: What,
    /// Where its text began, in characters of the candidate's.
    from: usize,
    /// Whether it has said anything.
    said: bool,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Text,
    Thought,
    Refusal,
    /// The call's index.
    Call(u32),
    Nothing,
}

#[derive(Debug, Default)]
struct Candidate {
    /// Whether its role was told.
    begun: bool,
    calls: u32,
    refused: bool,
    /// Characters of its text.
    length: usize,
}

/// What comes to a message; in the order of OpenAI's chunks.
#[expect(clippy::option_option, reason = "`null` is not the same as absent")]
#[derive(Default, Serialize)]
struct Delta<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// `Some(None)` is `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'e str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'e>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[Value; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<[Value; 1]>,
}

#[derive(Serialize)]
struct Call<'e> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<Function<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Value>,
}

#[derive(Serialize)]
struct Function<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'e str>,
    arguments: &'e str,
}

impl<'e> Delta<'e> {
    fn call(index: u32) -> Call<'e> {
        Call { index, id: None, kind: None, function: None, extra_content: None }
    }
}

impl Encoder {
    /// Of an answer that shows this.
    pub fn new(shown: ResponseContext) -> Encoder {
        let mut encoder = Encoder {
            shown,
            head: Vec::new(),
            tier: None,
            blocks: BTreeMap::new(),
            candidates: BTreeMap::new(),
            usage: Usage::default(),
        };
        encoder.begin(None, None, None);
        encoder
    }

    /// Writes an event.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, created } => {
                self.begin(id.as_deref(), model.as_deref(), *created);
            }
            Event::Open { block, candidate, kind } => self.open(*block, *candidate, kind, out),
            Event::Delta { block, piece } => self.piece(*block, piece, out),
            Event::Close { block } => self.close(*block, out),
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { candidate, why, .. } => self.stop(*candidate, *why, out),
            Event::Tier(word) => self.tier = members::service_tier(word),
            Event::End => self.end(out),
            Event::Fail(told) => {
                line(out, &serde_json::json!({ "error": members::error(told) }));
            }
            // A comment (WHATWG HTML, section 9.2.6), which clients pass over.
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
        }
    }

    fn begin(&mut self, id: Option<&str>, model: Option<&str>, created: Option<u64>) {
        #[derive(Serialize)]
        struct Head<'e> {
            id: &'e str,
            object: &'static str,
            created: u64,
            model: &'e str,
        }
        let own = format!("chatcmpl-{}", self.shown.id);
        self.head.clear();
        json(
            &mut self.head,
            &Head {
                id: id.unwrap_or(&own),
                object: "chat.completion.chunk",
                created: created.unwrap_or(self.shown.created),
                model: model.unwrap_or(&self.shown.model),
            },
        );
        // Members follow.
        self.head.pop();
    }

    fn open(&mut self, block: u32, candidate: u32, kind: &Kind, out: &mut Vec<u8>) {
        let own = self.candidates.entry(candidate).or_default();
        let first = !own.begun;
        own.begun = true;
        let from = own.length;
        let role = first.then_some("assistant");
        let mut delta = Delta { role, ..Delta::default() };
        let made;
        let what = match kind {
            Kind::Text => {
                delta.content = first.then_some(Some(""));
                What::Text
            }
            Kind::Reasoning => {
                delta.content = first.then_some(None);
                What::Thought
            }
            Kind::Refusal => {
                own.refused = true;
                delta.content = first.then_some(None);
                What::Refusal
            }
            Kind::ToolCall { id, name } => {
                let index = own.calls;
                own.calls += 1;
                made = format!("call_{}_{block}", self.shown.id);
                delta.content = first.then_some(None);
                delta.tool_calls = Some([Call {
                    id: Some(id.as_deref().unwrap_or(&made)),
                    kind: Some("function"),
                    function: Some(Function { name: Some(name), arguments: "" }),
                    ..Delta::call(index)
                }]);
                What::Call(index)
            }
            Kind::Media(media) => {
                delta.images = image(media).map(|image| [image]);
                What::Nothing
            }
            // No other format's block can be said here, and this one's are all known.
            Kind::Foreign { .. } => What::Nothing,
        };
        self.blocks.insert(block, Block { candidate, what, from, said: false });
        if first || delta.tool_calls.is_some() || delta.images.is_some() {
            self.chunk(candidate, &delta, None, None, out);
        }
    }

    fn piece(&mut self, block: u32, piece: &Piece, out: &mut Vec<u8>) {
        let Some(open) = self.blocks.get_mut(&block) else { return };
        open.said |= matches!(piece, Piece::Text(text) if !text.is_empty());
        let Block { candidate, what, from, said: _ } = *open;
        let mut delta = Delta::default();
        match (piece, what) {
            (Piece::Text(text), What::Text) => {
                if let Some(own) = self.candidates.get_mut(&candidate) {
                    own.length += text.chars().count();
                }
                delta.content = Some(Some(text));
            }
            (Piece::Text(text), What::Thought) => delta.reasoning_content = Some(text),
            (Piece::Text(text), What::Refusal) => delta.refusal = Some(text),
            (Piece::Text(text), What::Call(index)) => {
                let function = Some(Function { name: None, arguments: text });
                delta.tool_calls = Some([Call { function, ..Delta::call(index) }]);
            }
            (Piece::Signature(signature), What::Call(index))
                if signature.format == Format::Gemini =>
            {
                let extra_content = Some(google(signature));
                delta.tool_calls = Some([Call { extra_content, ..Delta::call(index) }]);
            }
            (Piece::Signature(signature), What::Thought)
                if signature.format == Format::OpenAiChat =>
            {
                delta.reasoning_details = serde_json::from_str(&signature.data).ok();
                if delta.reasoning_details.is_none() {
                    return;
                }
            }
            (Piece::Citation(citation), What::Text) => {
                let to = self.candidates.get(&candidate).map_or(from, |own| own.length);
                let Some(annotation) = members::annotation(citation, from, to) else { return };
                delta.annotations = Some([annotation]);
            }
            (Piece::Logprobs(tokens), What::Text | What::Refusal) => {
                return self.chunk(candidate, &delta, Some((what, tokens)), None, out);
            }
            _ => return,
        }
        self.chunk(candidate, &delta, None, None, out);
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(closed) = self.blocks.remove(&block) else { return };
        if let (What::Call(index), false) = (closed.what, closed.said) {
            let function = Some(Function { name: None, arguments: NOTHING });
            let tool_calls = Some([Call { function, ..Delta::call(index) }]);
            let delta = Delta { tool_calls, ..Delta::default() };
            self.chunk(closed.candidate, &delta, None, None, out);
        }
    }

    fn stop(&mut self, candidate: u32, why: Stop, out: &mut Vec<u8>) {
        let own = self.candidates.entry(candidate).or_default();
        let role = (!own.begun).then_some("assistant");
        own.begun = true;
        let reason = members::finish_reason(why, own.refused);
        let content = role.map(|_| None);
        let delta = Delta { role, content, ..Delta::default() };
        self.chunk(candidate, &delta, None, Some(reason), out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.shown.usage
            && let Some(counted) = members::counted(self.usage)
        {
            self.open_chunk(out);
            out.extend_from_slice(br#""choices":[],"usage":"#);
            json(out, &counted);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// A chunk with one choice.
    fn chunk(
        &self,
        candidate: u32,
        delta: &Delta<'_>,
        logprobs: Option<(What, &[Value])>,
        reason: Option<&'static str>,
        out: &mut Vec<u8>,
    ) {
        self.open_chunk(out);
        out.extend_from_slice(br#""choices":[{"index":"#);
        json(out, &candidate);
        out.extend_from_slice(br#","delta":"#);
        json(out, delta);
        match logprobs {
            None => out.extend_from_slice(br#","logprobs":null"#),
            Some((what, tokens)) => {
                let refusal = matches!(what, What::Refusal);
                let (content, refusal) =
                    if refusal { (None, Some(tokens)) } else { (Some(tokens), None) };
                out.extend_from_slice(br#","logprobs":"#);
                json(out, &Logprobs { content, refusal });
            }
        }
        out.extend_from_slice(br#","finish_reason":"#);
        json(out, &reason);
        out.extend_from_slice(b"}]}\n\n");
    }

    fn open_chunk(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.head);
        out.push(b',');
        if let Some(tier) = self.tier {
            out.extend_from_slice(br#""service_tier":"#);
            json(out, tier);
            out.push(b',');
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Logprobs<'e> {
    pub(crate) content: Option<&'e [Value]>,
    pub(crate) refusal: Option<&'e [Value]>,
}

/// Where Google's own servers of this format have their signature of a call.
/// <https://ai.google.dev/gemini-api/docs/thought-signatures#openai>
pub(crate) fn google(signature: &Signature) -> Value {
    serde_json::json!({ "google": { "thought_signature": signature.data } })
}

/// An image as OpenRouter has those that a model makes; OpenAI's format has none.
pub(crate) fn image(media: &Media) -> Option<Value> {
    let url = match &media.source {
        Source::Base64 { media_type, data } if media_type.starts_with("image/") => {
            data_url(media_type, data)
        }
        Source::Url { url, .. } => url.clone(),
        _ => return None,
    };
    Some(serde_json::json!({ "type": "image_url", "image_url": { "url": url } }))
}

fn line(out: &mut Vec<u8>, value: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    json(out, value);
    out.extend_from_slice(b"\n\n");
}

fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Strings, numbers and JSON values always can be written, and a vector takes all.
    let _ = serde_json::to_writer(out, value);
}
