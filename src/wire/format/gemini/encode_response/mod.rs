//! Answers for a caller: chunks of a stream, and whole ones.
//!
//! A call has no pieces here, so it is held until it is whole. What ends an answer is one last chunk, with
//! the finish reasons and the usage. It has an empty text as Google's own have: the chats of the official
//! clients forget a turn of which a chunk has no content.

pub(crate) mod types;

use std::collections::BTreeMap;

use serde::Serialize;

use self::types::{Answer, Content, Count, Share, cited, error, likely};
use super::part::{Call, Own, Part};
use super::{part, signature, stop_reason};
use crate::wire::api::{Format, Framing};
use crate::wire::failure::ProviderError;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::format::context::ResponseContext;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir;
use crate::wire::ir::{Event, Kind, Piece, Response, Signature, Stop};

/// The longest arguments that are held.
const LARGEST: usize = 16 * 1024 * 1024;
/// No answer cites more places than this.
const MOST_CITED: usize = 1024;

/// Makes a stream for the caller.
#[derive(Debug)]
pub struct Encoder {
    shown: ResponseContext,
    id: Option<String>,
    model: Option<String>,
    open: BTreeMap<u32, Open>,
    ends: BTreeMap<u32, Ending>,
    usage: Usage,
    tier: Option<String>,
    /// A chunk has been written.
    begun: bool,
    over: bool,
}

#[derive(Debug)]
struct Open {
    candidate: u32,
    kind: Held,
}

#[derive(Debug)]
enum Held {
    Text,
    Thought,
    Call {
        id: Option<String>,
        name: String,
        arguments: String,
        signature: Option<Signature>,
    },
    /// Written already, or nothing to be written.
    Done,
}

/// What the last chunk says of a candidate.
#[derive(Debug, Default)]
struct Ending {
    why: Option<Stop>,
    /// The function that was called with arguments which are none.
    damaged: Option<String>,
    /// Addresses and titles.
    cited: Vec<(String, Option<String>)>,
}

impl Ending {
    /// A call that the token limit cut off is not to be wondered at; any other damaged one has Google's
    /// word for it.
    fn reason(&self) -> (Option<&'static str>, Option<String>) {
        match (self.why, &self.damaged) {
            (Some(why), Some(name)) if !matches!(why, Stop::Length | Stop::Window) => {
                let message =
                    format!("The model called `{name}` with arguments that are no JSON object.");
                (Some(stop_reason::write(Stop::Malformed)), Some(message))
            }
            (why, _) => (why.map(stop_reason::write), None),
        }
    }
}

impl Encoder {
    /// Of an answer that shows this.
    pub fn new(shown: ResponseContext) -> Encoder {
        Encoder {
            shown,
            id: None,
            model: None,
            open: BTreeMap::new(),
            ends: BTreeMap::new(),
            usage: Usage::default(),
            tier: None,
            begun: false,
            over: false,
        }
    }

    /// Writes an event.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Start { id, model, created: _ } => {
                self.id.clone_from(id);
                self.model.clone_from(model);
            }
            Event::Open { block, candidate, kind } => self.open(*block, *candidate, kind, out),
            Event::Delta { block, piece } => self.delta(*block, piece, out),
            Event::Close { block } => self.close(*block, out),
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { candidate, why, .. } => {
                self.ends.entry(*candidate).or_default().why = Some(*why);
            }
            Event::Tier(tier) => self.tier = Some(tier.clone()),
            Event::End => self.end(out),
            Event::Fail(told) => self.fail(told, out),
            // Google sends none, and a client that looks for `data:` at the start of what it has got is
            // lost behind a comment.
            Event::Ping => {}
        }
    }

    fn open(&mut self, block: u32, candidate: u32, kind: &Kind, out: &mut Vec<u8>) {
        let kind = match kind {
            Kind::Text | Kind::Refusal => Held::Text,
            Kind::Reasoning => Held::Thought,
            Kind::ToolCall { id, name } => Held::Call {
                id: id.clone(),
                name: name.clone(),
                arguments: String::new(),
                signature: None,
            },
            Kind::Media(media) => {
                if let Some(own) = part::media(media) {
                    self.part(candidate, own.into(), out);
                }
                Held::Done
            }
            Kind::Foreign { format, json } => {
                if *format == Format::Gemini {
                    self.part(candidate, Part::Foreign(json), out);
                }
                Held::Done
            }
        };
        self.open.insert(block, Open { candidate, kind });
    }

    fn delta(&mut self, block: u32, piece: &Piece, out: &mut Vec<u8>) {
        let Some(Open { candidate, kind }) = self.open.get_mut(&block) else { return };
        let candidate = *candidate;
        let thought = matches!(kind, Held::Thought);
        match (piece, kind) {
            (Piece::Text(text), Held::Text | Held::Thought) => {
                let text = Some(text.into());
                self.part(candidate, Own { text, thought, ..Own::default() }.into(), out);
            }
            (Piece::Text(more), Held::Call { arguments, .. }) => {
                if arguments.len() + more.len() > LARGEST {
                    return self.fail(&too_long(), out);
                }
                arguments.push_str(more);
            }
            (Piece::Signature(signature), Held::Text | Held::Thought) => {
                let thought_signature = Some(signature::write(signature));
                let text = Some("".into());
                let own = Own { text, thought, thought_signature, ..Own::default() };
                self.part(candidate, own.into(), out);
            }
            (Piece::Signature(own), Held::Call { signature, .. }) => *signature = Some(own.clone()),
            (Piece::Citation(citation), _) => {
                let all = &mut self.ends.entry(candidate).or_default().cited;
                if let Some(source) = cited(citation).filter(|source| !all.contains(source))
                    && all.len() < MOST_CITED
                {
                    all.push(source);
                }
            }
            (Piece::Logprobs(tokens), _) => {
                let content = Some(Content::nothing());
                let logprobs_result = Some(likely(tokens));
                let share = Share { logprobs_result, ..Share::of(candidate, content) };
                self.chunk(vec![share], None, out);
            }
            (Piece::Text(_) | Piece::Signature(_), Held::Done) => {}
        }
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(Open { candidate, kind }) = self.open.remove(&block) else { return };
        if let Held::Call { id, name, arguments, signature } = kind {
            match call(id.as_deref(), &name, &arguments, signature.as_ref()) {
                Some(own) => self.part(candidate, own.into(), out),
                None => self.ends.entry(candidate).or_default().damaged = Some(name),
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let ends = std::mem::take(&mut self.ends);
        let shares = ends.iter().map(|(candidate, end)| {
            let (finish_reason, finish_message) = end.reason();
            let grounding_metadata = types::grounding(&end.cited);
            let share = Share::of(*candidate, Some(Content::nothing()));
            Share { finish_reason, finish_message, grounding_metadata, ..share }
        });
        let count = Count::of(&self.usage, self.tier.as_deref());
        self.chunk(shares.collect(), count, out);
        if self.shown.framing == Framing::Array {
            out.push(b']');
        }
        self.over = true;
    }

    fn fail(&mut self, told: &ProviderError, out: &mut Vec<u8>) {
        self.write(&error(told), out);
        if self.shown.framing == Framing::Array {
            out.push(b']');
        }
        self.over = true;
    }

    fn part(&mut self, candidate: u32, part: Part<'_>, out: &mut Vec<u8>) {
        let content = Content { parts: vec![part], role: "model" };
        self.chunk(vec![Share::of(candidate, Some(content))], None, out);
    }

    fn chunk(&mut self, candidates: Vec<Share<'_>>, count: Option<Count>, out: &mut Vec<u8>) {
        let begun = std::mem::replace(&mut self.begun, true);
        let answer = Answer {
            candidates,
            usage_metadata: count,
            model_version: self.model.as_deref().unwrap_or(&self.shown.model),
            response_id: self.id.as_deref().unwrap_or(&self.shown.id),
        };
        write(&answer, self.shown.framing, begun, out);
    }

    fn write(&mut self, what: &impl Serialize, out: &mut Vec<u8>) {
        let begun = std::mem::replace(&mut self.begun, true);
        write(what, self.shown.framing, begun, out);
    }
}

/// One event, or one element of the array.
fn write(what: &impl Serialize, framing: Framing, begun: bool, out: &mut Vec<u8>) {
    let array = framing == Framing::Array;
    let before: &[u8] = match (array, begun) {
        (false, _) => b"data: ",
        (true, false) => b"[",
        (true, true) => b",\n",
    };
    out.extend_from_slice(before);
    let start = out.len();
    // Writing into memory cannot fail, and nothing in an answer is a map with other keys than strings.
    let _ = serde_json::to_writer(&mut *out, what);
    // Arguments stand as the model wrote them. A line break outside of strings is a blank like any other,
    // and would end the event's line.
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    if !array {
        out.extend_from_slice(b"\n\n");
    }
}

/// `None`: the arguments are no JSON object.
fn call<'c>(
    id: Option<&'c str>,
    name: &'c str,
    arguments: &'c str,
    signature: Option<&'c Signature>,
) -> Option<Own<'c>> {
    let args = part::object(arguments)?;
    Some(Own {
        function_call: Some(Call { id, name, args }),
        thought_signature: signature.map(signature::write),
        ..Own::default()
    })
}

fn too_long() -> ProviderError {
    ProviderError {
        failure: Failure { class: Class::Trouble, retry_after: None },
        status: None,
        kind: None,
        code: None,
        param: None,
        message: "The model called a function with arguments of more than 16 MiB.".to_owned(),
    }
}

/// Writes a whole answer for the caller.
pub fn encode_whole(reply: &Response, shown: &ResponseContext) -> Vec<u8> {
    if let Some(told) = &reply.failed {
        return serde_json::to_vec(&error(told)).unwrap_or_default();
    }
    let mut candidates = Vec::with_capacity(reply.candidates.len());
    for (index, candidate) in (0..).zip(&reply.candidates) {
        let mut ending = Ending { why: candidate.stop, ..Ending::default() };
        let parts: Vec<_> =
            candidate.blocks.iter().filter_map(|block| whole(block, &mut ending)).collect();
        let content = Content { parts, role: "model" };
        let (finish_reason, finish_message) = ending.reason();
        candidates.push(Share {
            finish_reason,
            finish_message,
            grounding_metadata: types::grounding(&ending.cited),
            logprobs_result: (!candidate.logprobs.is_empty()).then(|| likely(&candidate.logprobs)),
            ..Share::of(index, Some(content))
        });
    }
    let answer = Answer {
        candidates,
        usage_metadata: Count::of(&reply.usage, reply.tier.as_deref()),
        model_version: reply.model.as_deref().unwrap_or(&shown.model),
        response_id: reply.id.as_deref().unwrap_or(&shown.id),
    };
    serde_json::to_vec(&answer).unwrap_or_default()
}

fn whole<'r>(block: &'r ir::Block, ending: &mut Ending) -> Option<Part<'r>> {
    let thought_signature = block.signature.as_ref().map(signature::write);
    let words = |text: &'r str, thought| Own {
        text: Some(text.into()),
        thought,
        thought_signature: thought_signature.clone(),
        ..Own::default()
    };
    let own = match &block.content {
        ir::Content::Text { text, citations } => {
            let sources = citations.iter().filter_map(cited).take(MOST_CITED);
            for source in sources {
                if !ending.cited.contains(&source) {
                    ending.cited.push(source);
                }
            }
            words(text, false)
        }
        ir::Content::Refusal(text) => words(text, false),
        ir::Content::Reasoning { text } => words(text, true),
        ir::Content::ToolCall { id, name, arguments } => {
            let own = call(id.as_deref(), name, arguments, block.signature.as_ref());
            if own.is_none() {
                ending.damaged = Some(name.clone());
            }
            own?
        }
        ir::Content::Media(media) => Own { thought_signature, ..part::media(media)? },
        ir::Content::Foreign { format: Format::Gemini, json } => return Some(Part::Foreign(json)),
        ir::Content::Foreign { .. } | ir::Content::ToolResult(_) => return None,
    };
    Some(own.into())
}

#[cfg(test)]
mod tests;
