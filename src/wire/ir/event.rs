//! An answer, event by event.
//!
//! Grammar, of every decoder and for every encoder: one [`Event::Start`], before all but a [`Event::Ping`]
//! or a [`Event::Fail`]; a block opens before its deltas and closes once, its number is never used again,
//! and all are closed before their candidate's stop; at most one [`Event::Stop`] a candidate; nothing behind
//! [`Event::Fail`] and [`Event::End`]. [`Event::Usage`] may stand anywhere between start and end, also
//! behind the stops, and a later usage replaces an earlier one, field by field. An answer without
//! [`Event::End`] was cut.

use serde_json::Value;

use super::request::{Media, Signature};
use crate::wire::api::Format;
use crate::wire::failure::ProviderError;
use crate::wire::inspect::usage::Usage;

/// A step of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start {
        /// The provider's id of it.
        id: Option<String>,
        /// The model that answers, as the provider names it.
        model: Option<String>,
        /// Unix time in seconds.
        created: Option<u64>,
    },
    /// A block begins. Several may be open at once.
    Open {
        /// From 0, in the order of opening, whatever the candidate.
        block: u32,
        /// Which of several answers it is of, from 0.
        candidate: u32,
        /// What it is.
        kind: Kind,
    },
    /// More of a block.
    Delta {
        /// Which.
        block: u32,
        /// What comes to it.
        piece: Piece,
    },
    /// A block is whole.
    Close {
        /// Which.
        block: u32,
    },
    /// Tokens counted so far.
    Usage(Usage),
    /// A candidate is whole.
    Stop {
        /// Which.
        candidate: u32,
        /// Why.
        why: Stop,
        /// The provider's word for it.
        raw: Option<String>,
        /// The stop sequence that was met.
        sequence: Option<String>,
    },
    /// The tier that served, in the provider's word.
    Tier(String),
    /// The answer is whole, by the provider's own word: its terminal event came, or its stream ended in
    /// order behind a stop. Nothing follows.
    End,
    /// The answer fails, and nothing follows.
    Fail(ProviderError),
    /// A sign of life.
    Ping,
}

/// What a block is, when it opens.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text.
    Text,
    /// What the model thinks.
    Reasoning,
    /// The model says that it will not answer.
    Refusal,
    /// A call of a tool.
    ToolCall {
        /// The provider's id; absent: it gave none, and the encoder makes one where its format needs it.
        id: Option<String>,
        /// The tool.
        name: String,
    },
    /// An image or a sound in the answer, whole.
    Media(Media),
    /// What only one format can say, whole: no delta follows.
    Foreign {
        /// Whose.
        format: Format,
        /// As it stands there.
        json: Value,
    },
}

/// What comes to a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text of a text, a thought or a refusal; of a call the next bytes of its arguments' JSON.
    Text(String),
    /// The block's signature, whole.
    Signature(Signature),
    /// Something that the text cites, in the provider's form.
    Citation(Value),
    /// Probabilities of the tokens just told: the elements of OpenAI's `logprobs.content`, into which
    /// decoders of other formats bring theirs.
    Logprobs(Vec<Value>),
}

/// Why an answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model has said all.
    End,
    /// A stop sequence came.
    Sequence,
    /// The token limit was met.
    Length,
    /// The context window is full.
    Window,
    /// Tools are to be called.
    Calls,
    /// The model will not answer.
    Refusal,
    /// A filter of the provider's took the answer away, or part of it.
    Filter,
    /// A server tool's turn is to be continued (Anthropic's `pause_turn`).
    Pause,
    /// A call came out damaged (Gemini's `MALFORMED_FUNCTION_CALL`).
    Malformed,
    /// Another reason; the provider's word stands beside it.
    Other,
}
