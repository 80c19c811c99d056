//! The hub between the formats: nothing here belongs to one of them.
//!
//! ```text
//! request.rs       a request: turns of blocks, tools, settings
//! event.rs         an answer as events
//! response.rs      a whole answer: the fold of its events
//! block_writer.rs  writes the events of an answer for decoders, so that they keep to the grammar
//! ```
//!
//! Content of one format that has no type here stays a [`Content::Foreign`] or a [`Request::asked`]: it is
//! refused or named if the target does not support it, and never lost silently.

pub(crate) mod block_writer;
mod event;
mod request;
mod response;

pub use self::response::{Candidate, Response};
pub use event::{Event, Kind, Piece, Stop};
pub use request::{
    Block, Cache, Choice, Content, Echo, Effort, Form, Logprobs, Media, MediaKind, Request, Role,
    Sampling, Signature, Source, Thinking, ThinkingMode, Tier, Tool, ToolResult, Turn,
};
