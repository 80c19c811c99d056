//! A whole answer: the fold of its events, so that streamed and whole answers cannot drift apart.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Block, Content, Event, Kind, Piece, Stop};
use crate::wire::failure::ProviderError;
use crate::wire::inspect::usage::Usage;

/// No API returns more candidates for one request (OpenAI's `n`).
const MOST_CANDIDATES: usize = 128;

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// The provider's id.
    pub id: Option<String>,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// Unix time in seconds.
    pub created: Option<u64>,
    /// One, unless more were requested.
    pub candidates: Vec<Candidate>,
    /// Token counts.
    pub usage: Usage,
    /// The service tier, in the provider's word.
    pub tier: Option<String>,
    /// True if the provider reported the end.
    pub ended: bool,
    /// The error with which it failed.
    pub failed: Option<ProviderError>,
}

/// One candidate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// In the order in which they were opened.
    pub blocks: Vec<Block>,
    /// The stop reason; absent while the candidate is incomplete.
    pub stop: Option<Stop>,
    /// The provider's word for it.
    pub raw: Option<String>,
    /// The stop sequence that occurred.
    pub sequence: Option<String>,
    /// Log probabilities of its tokens, in the form of OpenAI's `logprobs.content`.
    pub logprobs: Vec<Value>,
}

impl Response {
    /// Folds events that keep to the grammar.
    pub fn fold<'e>(events: impl IntoIterator<Item = &'e Event>) -> Response {
        let mut reply = Response::default();
        // Block number -> index of the candidate and of the block within it.
        let mut places: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for event in events {
            match event {
                Event::Start { id, model, created } => {
                    reply.id.clone_from(id);
                    reply.model.clone_from(model);
                    reply.created = *created;
                }
                Event::Open { block, candidate, kind } => {
                    let Some((at, own)) = reply.candidate(*candidate) else { continue };
                    own.blocks.push(Block::opened(kind));
                    let place = own.blocks.len() - 1;
                    places.insert(*block, (at, place));
                }
                Event::Delta { block, piece } => {
                    if let Some((at, place)) = places.get(block) {
                        reply.candidates[*at].take(*place, piece);
                    }
                }
                Event::Usage(usage) => reply.usage.update(*usage),
                Event::Stop { candidate, why, raw, sequence } => {
                    let Some((_, own)) = reply.candidate(*candidate) else { continue };
                    own.stop = Some(*why);
                    own.raw.clone_from(raw);
                    own.sequence.clone_from(sequence);
                }
                Event::Tier(tier) => reply.tier = Some(tier.clone()),
                Event::End => reply.ended = true,
                Event::Fail(told) => reply.failed = Some(told.clone()),
                Event::Close { .. } | Event::Ping => {}
            }
        }
        reply
    }

    /// Returns events that fold to this answer.
    pub fn events(&self) -> Vec<Event> {
        let mut out = vec![Event::Start {
            id: self.id.clone(),
            model: self.model.clone(),
            created: self.created,
        }];
        let mut next = 0;
        for (at, candidate) in (0..).zip(&self.candidates) {
            of_candidate(at, candidate, &mut next, &mut out);
            if let Some(why) = candidate.stop {
                let (raw, sequence) = (candidate.raw.clone(), candidate.sequence.clone());
                out.push(Event::Stop { candidate: at, why, raw, sequence });
            }
        }
        out.extend(self.tier.clone().map(Event::Tier));
        if self.usage != Usage::default() {
            out.push(Event::Usage(self.usage));
        }
        if self.ended {
            out.push(Event::End);
        }
        out.extend(self.failed.clone().map(Event::Fail));
        out
    }

    fn candidate(&mut self, at: u32) -> Option<(usize, &mut Candidate)> {
        let at = usize::try_from(at).ok().filter(|at| *at < MOST_CANDIDATES)?;
        if self.candidates.len() <= at {
            self.candidates.resize_with(at + 1, Candidate::default);
        }
        Some((at, &mut self.candidates[at]))
    }
}

impl Block {
    /// Returns the block that an [`Event::Open`] begins.
    pub(crate) fn opened(kind: &Kind) -> Block {
        let content = match kind {
            Kind::Text => Content::text(""),
            Kind::Reasoning => Content::Reasoning { text: String::new() },
            Kind::Refusal => Content::Refusal(String::new()),
            Kind::ToolCall { id, name } => {
                Content::ToolCall { id: id.clone(), name: name.clone(), arguments: String::new() }
            }
            Kind::Media(media) => Content::Media(media.clone()),
            Kind::Foreign { format, json } => {
                Content::Foreign { format: *format, json: json.clone() }
            }
        };
        Block::new(content, "")
    }

    /// Returns the text to which a [`Piece::Text`] adds.
    pub(crate) fn text_mut(&mut self) -> Option<&mut String> {
        match &mut self.content {
            Content::Text { text, .. }
            | Content::Reasoning { text }
            | Content::Refusal(text)
            | Content::ToolCall { arguments: text, .. } => Some(text),
            Content::Media(_) | Content::ToolResult(_) | Content::Foreign { .. } => None,
        }
    }
}

impl Candidate {
    fn take(&mut self, place: usize, piece: &Piece) {
        let block = &mut self.blocks[place];
        match piece {
            Piece::Text(more) => block.text_mut().into_iter().for_each(|text| text.push_str(more)),
            Piece::Citation(citation) => {
                if let Content::Text { citations, .. } = &mut block.content {
                    citations.push(citation.clone());
                }
            }
            Piece::Signature(signature) => block.signature = Some(signature.clone()),
            Piece::Logprobs(more) => self.logprobs.extend_from_slice(more),
        }
    }
}

/// Writes the events of a whole candidate.
fn of_candidate(at: u32, candidate: &Candidate, next: &mut u32, out: &mut Vec<Event>) {
    let mut logprobs = Some(&candidate.logprobs).filter(|all| !all.is_empty());
    for block in &candidate.blocks {
        let number = *next;
        *next += 1;
        let (kind, text) = match &block.content {
            Content::Text { text, .. } => (Kind::Text, Some(text)),
            Content::Reasoning { text } => (Kind::Reasoning, Some(text)),
            Content::Refusal(text) => (Kind::Refusal, Some(text)),
            Content::ToolCall { id, name, arguments } => {
                (Kind::ToolCall { id: id.clone(), name: name.clone() }, Some(arguments))
            }
            Content::Media(media) => (Kind::Media(media.clone()), None),
            Content::Foreign { format, json } => {
                (Kind::Foreign { format: *format, json: json.clone() }, None)
            }
            // Answers contain none.
            Content::ToolResult(_) => continue,
        };
        out.push(Event::Open { block: number, candidate: at, kind });
        let mut delta = |piece| out.push(Event::Delta { block: number, piece });
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            delta(Piece::Text(text.clone()));
        }
        if let Content::Text { .. } | Content::Refusal(_) = &block.content
            && let Some(all) = logprobs.take()
        {
            delta(Piece::Logprobs(all.clone()));
        }
        if let Content::Text { citations, .. } = &block.content {
            for citation in citations {
                delta(Piece::Citation(citation.clone()));
            }
        }
        if let Some(signature) = &block.signature {
            delta(Piece::Signature(signature.clone()));
        }
        out.push(Event::Close { block: number });
    }
}
