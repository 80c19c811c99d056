//! Answers for callers: chunks in the form that OpenAI's own clients gather, or one object, which is what those
//! chunks add up to.

mod types;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::types::{
    CallDelta, Choice, ChunkChoice, Delta, FunctionDelta, Logprobs, UsageObject, annotation,
    service_tier,
};
use super::media::{answer_image, google_signature};
use super::stop_reason;
use crate::wire::api::Format;
use crate::wire::format::context::ResponseContext;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Event, Kind, Piece, Response, Stop};
use crate::wire::json::write::{Object, put};

/// The arguments of a call without any: programs read them as JSON, and some providers send nothing for a tool
/// without parameters.
const NO_ARGUMENTS: &str = "{}";

/// Writes a whole answer for the caller.
pub fn encode_whole(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let mut encoder = Encoder::with_sink(context.clone(), Sink::Gather(BTreeMap::new()));
    let mut out = Vec::new();
    for event in response.events() {
        encoder.event(&event, &mut out);
    }
    let Sink::Gather(choices) = &encoder.sink else { return out };
    let mut body = encoder.object(&mut out);
    body.put("choices", &choices.values().collect::<Vec<_>>())
        .put_some("usage", UsageObject::new(encoder.usage).as_ref());
    body.end();
    out
}

/// Writes a stream for the caller.
#[derive(Debug)]
pub struct Encoder {
    context: ResponseContext,
    sink: Sink,
    id: String,
    model: String,
    created: u64,
    tier: Option<&'static str>,
    open_blocks: BTreeMap<u32, OpenBlock>,
    candidates: BTreeMap<u32, Candidate>,
    usage: Usage,
}

/// Where chunks go.
#[derive(Debug)]
enum Sink {
    /// Each is written as an event.
    Stream,
    /// They are added up.
    Gather(BTreeMap<u32, Choice>),
}

#[derive(Clone, Copy, Debug)]
struct OpenBlock {
    candidate: u32,
    shape: Shape,
    /// Where its text starts, in characters of the candidate's text.
    start: usize,
    has_text: bool,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Text,
    Reasoning,
    Refusal,
    /// With the call's index.
    Call(usize),
    /// The caller gets nothing more of it.
    Whole,
}

#[derive(Debug, Default)]
struct Candidate {
    has_role: bool,
    calls: usize,
    has_refusal: bool,
    /// Characters of its text.
    length: usize,
}

impl Encoder {
    /// For a stream in this context.
    pub fn new(context: ResponseContext) -> Encoder {
        Encoder::with_sink(context, Sink::Stream)
    }

    fn with_sink(context: ResponseContext, sink: Sink) -> Encoder {
        Encoder {
            id: format!("chatcmpl-{}", context.id),
            model: context.model.clone(),
            created: context.created,
            context,
            sink,
            tier: None,
            open_blocks: BTreeMap::new(),
            candidates: BTreeMap::new(),
            usage: Usage::default(),
        }
    }

    /// Writes an event.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, created } => {
                if let Some(id) = id {
                    id.clone_into(&mut self.id);
                }
                if let Some(model) = model {
                    model.clone_into(&mut self.model);
                }
                self.created = created.unwrap_or(self.created);
            }
            Event::Open { block, candidate, kind } => self.open(*block, *candidate, kind, out),
            Event::Delta { block, piece } => self.extend(*block, piece, out),
            Event::Close { block } => self.close(*block, out),
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { candidate, why, .. } => self.stop(*candidate, *why, out),
            Event::Tier(word) => self.tier = service_tier(word),
            Event::End => self.end(out),
            Event::Fail(error) => {
                if matches!(self.sink, Sink::Stream) {
                    write_event(out, |out| put(out, &json!({ "error": types::error(error) })));
                }
            }
            // A comment (WHATWG HTML, section 9.2.6), which clients ignore.
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
        }
    }

    fn open(&mut self, block: u32, candidate: u32, kind: &Kind, out: &mut Vec<u8>) {
        let own = self.candidates.entry(candidate).or_default();
        let is_first = !std::mem::replace(&mut own.has_role, true);
        let start = own.length;
        let mut delta = Delta {
            role: is_first.then_some("assistant"),
            content: is_first.then_some(None),
            ..Delta::default()
        };
        let made_id;
        let shape = match kind {
            Kind::Text => {
                delta.content = is_first.then_some(Some(""));
                Shape::Text
            }
            Kind::Reasoning => Shape::Reasoning,
            Kind::Refusal => {
                own.has_refusal = true;
                Shape::Refusal
            }
            Kind::ToolCall { id, name } => {
                let index = own.calls;
                own.calls += 1;
                made_id = format!("call_{}_{block}", self.context.id);
                delta.tool_calls = Some([CallDelta {
                    index,
                    id: Some(id.as_deref().unwrap_or(&made_id)),
                    r#type: Some("function"),
                    function: FunctionDelta { name: Some(name), arguments: "" },
                    extra_content: None,
                }]);
                Shape::Call(index)
            }
            Kind::Media(media) => {
                delta.images = answer_image(media).map(|image| [image]);
                Shape::Whole
            }
            // The format has no block of another one, and all of its own are known.
            Kind::Foreign { .. } => Shape::Whole,
        };
        self.open_blocks.insert(block, OpenBlock { candidate, shape, start, has_text: false });
        if is_first || delta.tool_calls.is_some() || delta.images.is_some() {
            self.chunk(candidate, &delta, None, None, out);
        }
    }

    fn extend(&mut self, block: u32, piece: &Piece, out: &mut Vec<u8>) {
        let Some(open) = self.open_blocks.get_mut(&block) else { return };
        open.has_text |= matches!(piece, Piece::Text(text) if !text.is_empty());
        let OpenBlock { candidate, shape, start, has_text: _ } = *open;
        let mut delta = Delta::default();
        let mut logprobs = None;
        match (piece, shape) {
            (Piece::Text(text), Shape::Text) => {
                if let Some(own) = self.candidates.get_mut(&candidate) {
                    own.length += text.chars().count();
                }
                delta.content = Some(Some(text));
            }
            (Piece::Text(text), Shape::Reasoning) => delta.reasoning_content = Some(text),
            (Piece::Text(text), Shape::Refusal) => delta.refusal = Some(text),
            (Piece::Text(arguments), Shape::Call(index)) => {
                let function = FunctionDelta { name: None, arguments };
                delta.tool_calls = Some([CallDelta { index, function, ..CallDelta::default() }]);
            }
            (Piece::Signature(signature), Shape::Call(index))
                if signature.format == Format::Gemini =>
            {
                let extra_content = Some(google_signature(signature));
                delta.tool_calls =
                    Some([CallDelta { index, extra_content, ..CallDelta::default() }]);
            }
            (Piece::Signature(signature), Shape::Reasoning)
                if signature.format == Format::OpenAiChat =>
            {
                let Ok(details) = serde_json::from_str(&signature.data) else { return };
                delta.reasoning_details = Some(details);
            }
            (Piece::Citation(citation), Shape::Text) => {
                let end = self.candidates.get(&candidate).map_or(start, |own| own.length);
                let Some(annotation) = annotation(citation, start, end) else { return };
                delta.annotations = Some([annotation]);
            }
            (Piece::Logprobs(tokens), Shape::Text) => {
                logprobs = Some(Logprobs { content: Some(&tokens[..]), refusal: None });
            }
            (Piece::Logprobs(tokens), Shape::Refusal) => {
                logprobs = Some(Logprobs { content: None, refusal: Some(&tokens[..]) });
            }
            _ => return,
        }
        self.chunk(candidate, &delta, logprobs, None, out);
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(closed) = self.open_blocks.remove(&block) else { return };
        if let (Shape::Call(index), false) = (closed.shape, closed.has_text) {
            let function = FunctionDelta { name: None, arguments: NO_ARGUMENTS };
            let tool_calls = Some([CallDelta { index, function, ..CallDelta::default() }]);
            let delta = Delta { tool_calls, ..Delta::default() };
            self.chunk(closed.candidate, &delta, None, None, out);
        }
    }

    fn stop(&mut self, candidate: u32, why: Stop, out: &mut Vec<u8>) {
        let own = self.candidates.entry(candidate).or_default();
        let is_first = !std::mem::replace(&mut own.has_role, true);
        let reason = stop_reason::encode(why, own.has_refusal);
        let delta = Delta {
            role: is_first.then_some("assistant"),
            content: is_first.then_some(None),
            ..Delta::default()
        };
        self.chunk(candidate, &delta, None, Some(reason), out);
    }

    fn end(&self, out: &mut Vec<u8>) {
        if !matches!(self.sink, Sink::Stream) {
            return;
        }
        if let Some(usage) = UsageObject::new(self.usage).filter(|_| self.context.usage) {
            write_event(out, |out| {
                let mut chunk = self.object(out);
                chunk.put("choices", &[(); 0]).put("usage", &usage);
                chunk.end();
            });
        }
        write_event(out, |out| out.extend_from_slice(b"[DONE]"));
    }

    /// Hands a chunk with one choice to the sink.
    fn chunk(
        &mut self,
        candidate: u32,
        delta: &Delta<'_>,
        logprobs: Option<Logprobs<&[Value]>>,
        finish_reason: Option<&'static str>,
        out: &mut Vec<u8>,
    ) {
        let choice = ChunkChoice { index: candidate, delta, logprobs, finish_reason };
        if let Sink::Gather(choices) = &mut self.sink {
            choices.entry(candidate).or_insert_with(|| Choice::new(candidate)).add(choice);
            return;
        }
        write_event(out, |out| {
            let mut chunk = self.object(out);
            chunk.put("choices", &[choice]);
            chunk.end();
        });
    }

    /// Begins the object of a chunk or of the answer.
    fn object<'o>(&self, out: &'o mut Vec<u8>) -> Object<'o> {
        let kind = match self.sink {
            Sink::Stream => "chat.completion.chunk",
            Sink::Gather(_) => "chat.completion",
        };
        let mut object = Object::new(out);
        object
            .put("id", &self.id)
            .put("object", kind)
            .put("created", &self.created)
            .put("model", &self.model)
            .put_some("service_tier", self.tier);
        object
    }
}

fn write_event(out: &mut Vec<u8>, write_data: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"data: ");
    write_data(out);
    out.extend_from_slice(b"\n\n");
}
