//! The events of an answer.
//!
//! The grammar, for every decoder and encoder: one [`Event::Start`], before all others except [`Event::Ping`]
//! and [`Event::Fail`]; a block opens before its deltas and closes once, its number is never reused, and all
//! are closed before the stop of their candidate; at most one [`Event::Stop`] a candidate; nothing after
//! [`Event::Fail`] and [`Event::End`]. [`Event::Usage`] may come anywhere between start and end, also after
//! the stops, and a later usage replaces an earlier one, field by field. An answer without [`Event::End`] was
//! cut.

use serde_json::Value;

use super::request::{Media, Signature};
use crate::wire::api::Format;
use crate::wire::failure::ProviderError;
use crate::wire::inspect::usage::Usage;

/// One event of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start {
        /// The provider's id.
        id: Option<String>,
        /// The model, as the provider names it.
        model: Option<String>,
        /// Unix time in seconds.
        created: Option<u64>,
    },
    /// A block begins. Several may be open at once.
    Open {
        /// The number of the block: from 0, in the order of opening, across candidates.
        block: u32,
        /// The index of the candidate, from 0.
        candidate: u32,
        /// The kind of block.
        kind: Kind,
    },
    /// A block continues.
    Delta {
        /// The number of the block.
        block: u32,
        /// The addition.
        piece: Piece,
    },
    /// A block is complete.
    Close {
        /// The number of the block.
        block: u32,
    },
    /// The tokens counted so far.
    Usage(Usage),
    /// A candidate is complete.
    Stop {
        /// The index of the candidate.
        candidate: u32,
        /// The stop reason.
        why: Stop,
        /// The provider's word for it.
        raw: Option<String>,
        /// The stop sequence that occurred.
        sequence: Option<String>,
    },
    /// The service tier, in the provider's word.
    Tier(String),
    /// The answer is complete, as the provider reported: its terminal event came, or its stream ended
    /// regularly after a stop. Nothing follows.
    End,
    /// The answer fails, and nothing follows.
    Fail(ProviderError),
    /// A sign of life without content.
    Ping,
}

/// The kind of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text.
    Text,
    /// Reasoning.
    Reasoning,
    /// A refusal.
    Refusal,
    /// A tool call.
    ToolCall {
        /// The provider's id; absent if it gave none. An encoder whose format requires one makes it.
        id: Option<String>,
        /// The name of the tool.
        name: String,
    },
    /// A complete image or audio.
    Media(Media),
    /// Complete content that only one format has. No delta follows.
    Foreign {
        /// The format.
        format: Format,
        /// The block in that format.
        json: Value,
    },
}

/// An addition to a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// More text, reasoning or refusal; for a tool call the next bytes of its arguments' JSON.
    Text(String),
    /// The complete signature of the block.
    Signature(Signature),
    /// A citation of the text, in the provider's form.
    Citation(Value),
    /// Log probabilities of the last tokens: elements of OpenAI's `logprobs.content`, to which decoders of
    /// other formats convert theirs.
    Logprobs(Vec<Value>),
}

/// The stop reason of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The answer is finished.
    End,
    /// A stop sequence occurred.
    Sequence,
    /// The token limit was reached.
    Length,
    /// The context window is full.
    Window,
    /// The model calls tools.
    Calls,
    /// The model refuses to answer.
    Refusal,
    /// A filter of the provider removed the answer or part of it.
    Filter,
    /// The caller must continue the turn of a server tool (Anthropic's `pause_turn`).
    Pause,
    /// A tool call is damaged (Gemini's `MALFORMED_FUNCTION_CALL`).
    Malformed,
    /// Another reason; see the provider's word.
    Other,
}
